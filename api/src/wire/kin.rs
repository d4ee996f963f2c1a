//! Jobs that belong together, and whom to tell of a job's end.

use std::fmt;

use callsheet_actors as actors;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The step that runs a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parent {
    /// Its job.
    pub job: String,
    /// Its name in the workflow of that job.
    pub step: String,
    /// The item; 0 for a step without `for_each`.
    pub item: u32,
}

impl From<actors::Parent> for Parent {
    fn from(parent: actors::Parent) -> Self {
        Self { job: parent.job.to_string(), step: parent.step, item: parent.item.0 }
    }
}

/// Whom to tell of a job's end, by a signed request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where the receiver is. It is shown to whoever may look at jobs.
    #[schema(example = "https://example.org/hooks/callsheet")]
    pub url: String,
    /// What signs the message, by the convention of Standard Webhooks: `whsec_` and Base64, or any
    /// other text. Shown nowhere. Without it the server's own secret signs, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub secret: Option<String>,
    /// Which ends are told of; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<WebhookEvent>>,
}

impl fmt::Debug for Webhook {
    /// Shows whether there is a secret, never which.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.url)
            .field("secret", &self.secret.as_ref().map(|_| "…"))
            .field("events", &self.events)
            .finish()
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookEvent {
    /// With an output.
    Succeeded,
    /// With a failure.
    Failed,
    /// By a cancel.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_shown() {
        let secret = Some("canary".to_owned());
        let webhook = Webhook { url: "https://example.org".to_owned(), secret, events: None };
        let shown = format!("{webhook:?}");
        assert!(shown.contains("example.org") && !shown.contains("canary"), "{shown}");
    }
}
