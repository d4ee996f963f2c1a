//! The actors of the engine, as an operator sees them.

use callsheet_actors::ActorInfo;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rfc3339;

/// All actors that live now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorList {
    /// The actors.
    pub actors: Vec<Actor>,
}

/// One actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// Its name.
    pub name: String,
    /// What it is: `root`, `scheduler`, `job`, `step`, …
    pub kind: String,
    /// When it started.
    pub started_at: String,
    /// Messages sent to it that it has not handled.
    pub waiting: u64,
    /// Messages that it has handled.
    pub handled: u64,
}

impl From<ActorInfo> for Actor {
    fn from(actor: ActorInfo) -> Self {
        Self {
            name: actor.name,
            kind: actor.kind.to_owned(),
            started_at: rfc3339(actor.started_at),
            waiting: actor.waiting,
            handled: actor.handled,
        }
    }
}
