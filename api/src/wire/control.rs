//! What is done to a job that is there: cancelling it, and deciding about its doubts.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::JobStatus;

/// Why a job is to be cancelled. The whole body may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// In words of the caller's own; recorded with the cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to a cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelAnswer {
    /// The job.
    pub id: String,
    /// What the cancel came to.
    pub outcome: CancelOutcome,
    /// Where the job stands: when it had ended before, that is how it ended, for ever.
    pub status: JobStatus,
}

/// What somebody found out about a step that is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// What became of it.
    #[serde(rename = "as")]
    pub verdict: ResolveAs,
    /// The item; may be left out while one item of the step is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// With `succeeded`: the result that the steps after it see; `null` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// With `failed`: why, in words of the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a step in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResolveAs {
    /// It was not done, or may be done twice: another attempt is made.
    Retry,
    /// It was not done and shall not be: a fallback takes over, or the step fails with
    /// `step.in_doubt`.
    Failed,
    /// It was done.
    Succeeded,
}

impl ResolveAs {
    /// The verdict as one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
        }
    }
}

/// The answer to a word about a held step: it is on stable storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resolved {
    /// The job.
    pub id: String,
    /// The step.
    pub step: String,
    /// Where the job stands now.
    pub status: JobStatus,
}

/// What a cancel came to. All three are good answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// It is recorded; no step starts any more, and what runs is being stopped.
    Accepted,
    /// It had been cancelled before and is being stopped.
    AlreadyStopping,
    /// It had ended before.
    AlreadyEnded,
}
