//! What a receiver is told of a job that has ended.

use std::collections::BTreeMap;

use callsheet_actors::{JobView, Kin};
use callsheet_engine::{Ending, Failure, Phase, Timestamp};
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::MAX_WEBHOOK_OUTPUT_BYTES;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookEvent {
    /// With an output.
    Succeeded,
    /// With a failure.
    Failed,
    /// By a cancel.
    Cancelled,
}

impl WebhookEvent {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The type of a message.
    fn kind(self) -> &'static str {
        match self {
            Self::Succeeded => "job.succeeded",
            Self::Failed => "job.failed",
            Self::Cancelled => "job.cancelled",
        }
    }
}

/// A message, in the form that the convention recommends.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Message<'j> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: Data<'j>,
}

/// The job: what lists show of it, and its result.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Data<'j> {
    id: String,
    workflow: &'j str,
    status: WebhookEvent,
    submitted_at: String,
    ended_at: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'j str, &'j str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'j Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_omitted: Option<Omitted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'j Failure>,
}

/// An output that is too large for a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Omitted {
    bytes: usize,
    note: String,
}

/// How the job ended, and the message about it; none of a job that has not.
pub(super) fn of(view: &JobView) -> Option<(WebhookEvent, Vec<u8>)> {
    let Phase::Ended { ending, at } = &view.state.phase else { return None };
    let (event, output, failure) = match ending {
        Ending::Succeeded(output) => (WebhookEvent::Succeeded, Some(&**output), None),
        Ending::Failed(failure) => (WebhookEvent::Failed, None, Some(failure)),
        Ending::Cancelled => (WebhookEvent::Cancelled, None, None),
    };
    let head = &view.head;
    let bytes = output.map_or(0, |output| output.to_string().len());
    let is_large = bytes > MAX_WEBHOOK_OUTPUT_BYTES;
    let output_omitted = is_large.then(|| Omitted {
        bytes,
        note: format!("too large for a message: see GET /v1/jobs/{}", head.id),
    });
    let own = head.labels.iter().filter(|(name, _)| !Kin::is_told_by(name));
    let data = Data {
        id: head.id.to_string(),
        workflow: &head.workflow.name,
        status: event,
        submitted_at: rfc3339(head.submitted_at),
        ended_at: rfc3339(*at),
        labels: own.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        output: output.filter(|_| !is_large),
        output_omitted,
        failure,
    };
    let message = Message { kind: event.kind(), timestamp: rfc3339(*at), data };
    let body = serde_json::to_vec(&message).expect("texts and JSON values make JSON");
    Some((event, body))
}

fn rfc3339(at: Timestamp) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(at.0).unwrap_or(DateTime::UNIX_EPOCH);
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
