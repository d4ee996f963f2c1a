//! Events of a job: past tense, with the names of steps instead of their positions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Failure, percent};

/// One recorded fact about a job, told by its `type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The job was accepted.
    JobSubmitted {
        /// When.
        at: String,
        /// The name of the workflow.
        workflow: String,
        /// The submitter's own marks.
        labels: BTreeMap<String, String>,
    },
    /// A step did not have to run.
    StepSkipped {
        /// When.
        at: String,
        /// The step.
        step: String,
    },
    /// The items of a step are known.
    StepExpanded {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// How many items there are.
        items: u64,
    },
    /// A timer began.
    SleepBegan {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// When it is over.
        due: String,
    },
    /// A timer is over.
    SleepEnded {
        /// When.
        at: String,
        /// The step.
        step: String,
    },
    /// An attempt began.
    StepStarted {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item, 0 for a step without `for_each`.
        item: u32,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The step kind.
        uses: String,
    },
    /// An attempt succeeded: the one result of this item.
    StepSucceeded {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Number of the attempt.
        attempt: u32,
        /// The result.
        output: Value,
        /// Whether the result is that of an earlier attempt at the same input, here or in another
        /// job, and nothing was run; absent when not.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cached: bool,
    },
    /// An attempt failed and another will follow.
    AttemptFailed {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Number of the attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// When the next attempt is due.
        retry_at: String,
    },
    /// An attempt died with its process or was given back by a shutdown; it is made again.
    AttemptInterrupted {
        /// When that was recorded.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Number of the attempt.
        attempt: u32,
        /// `death` or `shutdown`.
        cause: String,
    },
    /// An attempt that must not be made twice ended without an answer: nobody knows whether its
    /// deed was done.
    StepInDoubt {
        /// When that was recorded.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Number of the attempt.
        attempt: u32,
        /// `death`, `shutdown` or `no_answer`.
        cause: String,
        /// What was seen of its end, when its process lived on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// The step kind is asked whether the deed was done.
    ProbeStarted {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Number of the probe in this doubt, from 1.
        probe: u32,
    },
    /// A probe failed and another will follow.
    ProbeFailed {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Number of the probe.
        probe: u32,
        /// Why.
        failure: Failure,
        /// When the next probe is due.
        retry_at: String,
    },
    /// The doubt waits for somebody: see `POST /v1/jobs/{id}/steps/{step}/resolve`.
    StepHeld {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Why the last probe could not tell, when it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// A doubt is over. One that ends with a failure for good is `item_failed`, and one whose
    /// probe knew the result is `step_succeeded`.
    DoubtResolved {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Who decided: `policy`, `probe` or `person`.
        by: String,
        /// When another attempt is due, if one follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<String>,
        /// The result, if the deed was done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
    },
    /// An item failed for good.
    ItemFailed {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Why.
        failure: Failure,
    },
    /// A step failed before any item of it could start.
    StepFailed {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// Why.
        failure: Failure,
    },
    /// An attempt was stopped because the job is ending.
    AttemptCancelled {
        /// When.
        at: String,
        /// The step.
        step: String,
        /// The item.
        item: u32,
        /// Number of the attempt.
        attempt: u32,
    },
    /// Somebody asked for the job to be cancelled.
    CancelRequested {
        /// When.
        at: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The job ended with an output.
    JobSucceeded {
        /// When.
        at: String,
        /// The output.
        output: Value,
    },
    /// The job ended with a failure.
    JobFailed {
        /// When.
        at: String,
        /// Why.
        failure: Failure,
    },
    /// The job was cancelled and nothing of it runs any more.
    JobCancelled {
        /// When.
        at: String,
    },
}

impl Event {
    /// The event's `type`, also the name of its SSE event.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::JobSubmitted { .. } => "job_submitted",
            Self::StepSkipped { .. } => "step_skipped",
            Self::StepExpanded { .. } => "step_expanded",
            Self::SleepBegan { .. } => "sleep_began",
            Self::SleepEnded { .. } => "sleep_ended",
            Self::StepStarted { .. } => "step_started",
            Self::StepSucceeded { .. } => "step_succeeded",
            Self::AttemptFailed { .. } => "attempt_failed",
            Self::AttemptInterrupted { .. } => "attempt_interrupted",
            Self::StepInDoubt { .. } => "step_in_doubt",
            Self::ProbeStarted { .. } => "probe_started",
            Self::ProbeFailed { .. } => "probe_failed",
            Self::StepHeld { .. } => "step_held",
            Self::DoubtResolved { .. } => "doubt_resolved",
            Self::ItemFailed { .. } => "item_failed",
            Self::StepFailed { .. } => "step_failed",
            Self::AttemptCancelled { .. } => "attempt_cancelled",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::JobSucceeded { .. } => "job_succeeded",
            Self::JobFailed { .. } => "job_failed",
            Self::JobCancelled { .. } => "job_cancelled",
        }
    }

    /// Whether nothing follows it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Self::JobSucceeded { .. } | Self::JobFailed { .. } | Self::JobCancelled { .. }
        )
    }
}

/// How far an attempt has come. Live only: it is not recorded and has no id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// The step.
    pub step: String,
    /// The item.
    pub item: u32,
    /// Number of the attempt.
    pub attempt: u32,
    /// How far the attempt is, 0 to 100.
    pub percent: f64,
    /// How far the job is, 0 to 100, its steps by their weights.
    #[serde(default)]
    pub progress: f64,
    /// What is being done.
    pub message: String,
}

/// How far a job has come after what was just recorded of it. Live only, like [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobProgress {
    /// 0 to 100, its steps by their weights.
    pub progress: f64,
}

impl From<callsheet_actors::Progress> for Progress {
    fn from(note: callsheet_actors::Progress) -> Self {
        Self {
            step: note.step_id,
            item: note.item.0,
            attempt: note.attempt,
            percent: percent(note.percent),
            progress: percent(note.overall),
            message: note.message,
        }
    }
}
