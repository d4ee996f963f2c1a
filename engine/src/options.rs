//! What a submitter asks for beside the work itself.

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// What a submitter asks for beside the work itself. Recorded with the job, so that it holds
/// whatever the engine's own settings are later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOptions {
    /// How long the job's files are kept after it has ended; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Millis>,
    /// Whether every step is to run, whatever results there are of before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_cache: bool,
}

impl JobOptions {
    /// Whether nothing was asked for: such options are left out of the journal.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}
