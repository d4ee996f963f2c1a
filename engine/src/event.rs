//! Recorded facts about a job. Folding them in order gives its state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::options::{JobOptions, is_false};
use crate::time::Timestamp;

/// The workflow that a job runs, frozen: its definition is kept under the digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    /// The workflow's name.
    pub name: String,
    /// BLAKE3 of the definition in its canonical JSON, as lower-case hexadecimal digits.
    pub digest: String,
}

/// One recorded fact, past tense. What one commit appends is a list of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The job was accepted.
    JobSubmitted {
        /// What it runs.
        workflow: WorkflowRef,
        /// Its input, checked, with defaults filled in.
        input: Value,
        /// The submitter's own marks.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// What else the submitter asked for.
        #[serde(default, skip_serializing_if = "JobOptions::is_default")]
        options: JobOptions,
        /// When.
        at: Timestamp,
    },
    /// A step's `if` was false, or a step that it needs was skipped.
    StepSkipped {
        /// Which step.
        step: StepIndex,
        /// When.
        at: Timestamp,
    },
    /// A step's `for_each` was evaluated.
    StepExpanded {
        /// Which step.
        step: StepIndex,
        /// The items, in order.
        items: Vec<Value>,
        /// When.
        at: Timestamp,
    },
    /// A timer began. It is over at an instant that no restart changes.
    SleepBegan {
        /// Which step.
        step: StepIndex,
        /// When it is over.
        due: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// A timer is over: its step has succeeded.
    SleepEnded {
        /// Which step.
        step: StepIndex,
        /// When.
        at: Timestamp,
    },
    /// An attempt is about to be made. Recorded before its body starts; a pure body, of which
    /// nothing is seen outside before its result is recorded, may run ahead.
    StepStarted {
        /// Which step.
        step: StepIndex,
        /// Which item.
        item: ItemIndex,
        /// Number of the attempt at this item, from 1.
        attempt: u32,
        /// The attempt's fence.
        token: Token,
        /// 0 for the step's own kind, n for the n-th fallback.
        candidate: u32,
        /// When.
        at: Timestamp,
    },
    /// An attempt succeeded: the one result of this item.
    StepSucceeded {
        /// The attempt's fence.
        token: Token,
        /// The result.
        output: Value,
        /// Whether it was recalled from an attempt of before, in place of running the body.
        #[serde(default, skip_serializing_if = "is_false")]
        cached: bool,
        /// When.
        at: Timestamp,
    },
    /// An attempt failed and another will follow.
    AttemptFailed {
        /// The attempt's fence.
        token: Token,
        /// Why.
        failure: Failure,
        /// When the next attempt is due.
        retry_at: Timestamp,
        /// The kind of the next attempt: 0 for the step's own, n for the n-th fallback.
        candidate: u32,
        /// When.
        at: Timestamp,
    },
    /// An attempt's body died with its process or actor, or was given back by a shutdown.
    AttemptInterrupted {
        /// The attempt's fence.
        token: Token,
        /// What ended it.
        cause: Interruption,
        /// When.
        at: Timestamp,
    },
    /// An attempt of a kind that is done `once` ended without an answer: nobody knows whether its
    /// deed was done.
    StepInDoubt {
        /// The attempt's fence.
        token: Token,
        /// What ended it.
        cause: Interruption,
        /// What was seen of its end, when its process lived on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// When.
        at: Timestamp,
    },
    /// The step kind is about to be asked whether the deed was done. Recorded before it is.
    ProbeStarted {
        /// Which step.
        step: StepIndex,
        /// Which item.
        item: ItemIndex,
        /// Number of the probe in this doubt, from 1.
        probe: u32,
        /// The probe's fence.
        token: Token,
        /// When.
        at: Timestamp,
    },
    /// A probe failed and another will follow.
    ProbeFailed {
        /// The probe's fence.
        token: Token,
        /// Why.
        failure: Failure,
        /// When the next probe is due.
        retry_at: Timestamp,
        /// When.
        at: Timestamp,
    },
    /// The doubt waits for a person.
    StepHeld {
        /// Which step.
        step: StepIndex,
        /// Which item.
        item: ItemIndex,
        /// Why the last probe could not tell, when it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
        /// When.
        at: Timestamp,
    },
    /// A doubt is over. One that ends with a failure is `ItemFailed`.
    DoubtResolved {
        /// Which step.
        step: StepIndex,
        /// Which item.
        item: ItemIndex,
        /// Who decided.
        by: Resolver,
        /// What.
        verdict: Verdict,
        /// When.
        at: Timestamp,
    },
    /// An item failed for good.
    ItemFailed {
        /// Which step.
        step: StepIndex,
        /// Which item.
        item: ItemIndex,
        /// Why.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// A step failed before any item of it could start.
    StepFailed {
        /// Which step.
        step: StepIndex,
        /// Why.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// An attempt was stopped because the job is ending.
    AttemptCancelled {
        /// The attempt's fence.
        token: Token,
        /// When.
        at: Timestamp,
    },
    /// Somebody asked for the job to be cancelled. No attempt starts after this.
    CancelRequested {
        /// Why, in the words of whoever asked.
        reason: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// All steps have ended. Terminal.
    JobSucceeded {
        /// The job's output.
        output: Value,
        /// When.
        at: Timestamp,
    },
    /// A step failed for good. Terminal.
    JobFailed {
        /// Why.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// The job was cancelled and nothing of it runs any more. Terminal.
    JobCancelled {
        /// When.
        at: Timestamp,
    },
}

impl Event {
    /// The name of the event's kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::JobSubmitted { .. } => "JobSubmitted",
            Self::StepSkipped { .. } => "StepSkipped",
            Self::StepExpanded { .. } => "StepExpanded",
            Self::SleepBegan { .. } => "SleepBegan",
            Self::SleepEnded { .. } => "SleepEnded",
            Self::StepStarted { .. } => "StepStarted",
            Self::StepSucceeded { .. } => "StepSucceeded",
            Self::AttemptFailed { .. } => "AttemptFailed",
            Self::AttemptInterrupted { .. } => "AttemptInterrupted",
            Self::StepInDoubt { .. } => "StepInDoubt",
            Self::ProbeStarted { .. } => "ProbeStarted",
            Self::ProbeFailed { .. } => "ProbeFailed",
            Self::StepHeld { .. } => "StepHeld",
            Self::DoubtResolved { .. } => "DoubtResolved",
            Self::ItemFailed { .. } => "ItemFailed",
            Self::StepFailed { .. } => "StepFailed",
            Self::AttemptCancelled { .. } => "AttemptCancelled",
            Self::CancelRequested { .. } => "CancelRequested",
            Self::JobSucceeded { .. } => "JobSucceeded",
            Self::JobFailed { .. } => "JobFailed",
            Self::JobCancelled { .. } => "JobCancelled",
        }
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::JobSubmitted { at, .. }
            | Self::StepSkipped { at, .. }
            | Self::StepExpanded { at, .. }
            | Self::SleepBegan { at, .. }
            | Self::SleepEnded { at, .. }
            | Self::StepStarted { at, .. }
            | Self::StepSucceeded { at, .. }
            | Self::AttemptFailed { at, .. }
            | Self::AttemptInterrupted { at, .. }
            | Self::StepInDoubt { at, .. }
            | Self::ProbeStarted { at, .. }
            | Self::ProbeFailed { at, .. }
            | Self::StepHeld { at, .. }
            | Self::DoubtResolved { at, .. }
            | Self::ItemFailed { at, .. }
            | Self::StepFailed { at, .. }
            | Self::AttemptCancelled { at, .. }
            | Self::CancelRequested { at, .. }
            | Self::JobSucceeded { at, .. }
            | Self::JobFailed { at, .. }
            | Self::JobCancelled { at } => *at,
        }
    }
}

/// What ended an attempt that neither succeeded nor failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interruption {
    /// The process or the job's actor died. Counted: three such deaths quarantine the job.
    Death,
    /// An orderly shutdown gave the attempt back. Not counted.
    Shutdown,
    /// Its body panicked, ran out of time or lost its actor. Only said of attempts in doubt:
    /// others have failed then.
    NoAnswer,
}

/// Who decided about a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolver {
    /// The step's `in_doubt`.
    Policy,
    /// The step kind, asked by a probe.
    Probe,
    /// Somebody who looked.
    Person,
}

/// What was decided about a doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Another attempt follows: the deed was not done, may be done twice, or a fallback does it.
    Again {
        /// When it is due.
        retry_at: Timestamp,
        /// Its kind: 0 for the step's own, n for the n-th fallback.
        candidate: u32,
    },
    /// The deed was done, with this result.
    Succeeded {
        /// The result.
        output: Value,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    /// Every kind of event as it stands in journals that were written once and stay readable.
    const WRITTEN: [&str; 26] = [
        concat!(
            r#"{"JobSubmitted":{"workflow":{"name":"w","digest":"d"},"#,
            r#""input":1,"labels":{"a":"b"},"at":9}}"#,
        ),
        concat!(
            r#"{"JobSubmitted":{"workflow":{"name":"w","digest":"d"},"input":1,"labels":{},"#,
            r#""options":{"retention":"2h","no_cache":true},"at":9}}"#,
        ),
        r#"{"StepSkipped":{"step":1,"at":9}}"#,
        r#"{"StepExpanded":{"step":1,"items":[1,"x"],"at":9}}"#,
        r#"{"SleepBegan":{"step":1,"due":10,"at":9}}"#,
        r#"{"SleepEnded":{"step":1,"at":9}}"#,
        concat!(
            r#"{"StepStarted":{"step":1,"item":2,"#,
            r#""attempt":3,"token":4,"candidate":5,"at":9}}"#,
        ),
        r#"{"StepSucceeded":{"token":4,"output":{"n":1.5},"at":9}}"#,
        r#"{"StepSucceeded":{"token":4,"output":1,"cached":true,"at":9}}"#,
        concat!(
            r#"{"AttemptFailed":{"token":4,"#,
            r#""failure":{"code":"a.b","message":"m","hint":"h","retryable":true},"#,
            r#""retry_at":10,"candidate":0,"at":9}}"#,
        ),
        r#"{"AttemptInterrupted":{"token":4,"cause":"shutdown","at":9}}"#,
        r#"{"StepInDoubt":{"token":4,"cause":"death","at":9}}"#,
        concat!(
            r#"{"StepInDoubt":{"token":4,"cause":"no_answer","#,
            r#""failure":{"code":"a.b","message":"m","retryable":true},"at":9}}"#,
        ),
        r#"{"ProbeStarted":{"step":1,"item":2,"probe":3,"token":4,"at":9}}"#,
        concat!(
            r#"{"ProbeFailed":{"token":4,"#,
            r#""failure":{"code":"a.b","message":"m","retryable":true},"#,
            r#""retry_at":10,"at":9}}"#,
        ),
        r#"{"StepHeld":{"step":1,"item":2,"at":9}}"#,
        concat!(
            r#"{"StepHeld":{"step":1,"item":2,"#,
            r#""failure":{"code":"a.b","message":"m","retryable":true},"at":9}}"#,
        ),
        concat!(
            r#"{"DoubtResolved":{"step":1,"item":2,"by":"person","#,
            r#""verdict":{"again":{"retry_at":10,"candidate":0}},"at":9}}"#,
        ),
        concat!(
            r#"{"DoubtResolved":{"step":1,"item":2,"by":"probe","#,
            r#""verdict":{"succeeded":{"output":[1]}},"at":9}}"#,
        ),
        concat!(
            r#"{"ItemFailed":{"step":1,"item":2,"#,
            r#""failure":{"code":"a.b","message":"m","retryable":false},"at":9}}"#,
        ),
        concat!(
            r#"{"StepFailed":{"step":1,"#,
            r#""failure":{"code":"a.b","message":"m","retryable":false},"at":9}}"#,
        ),
        r#"{"AttemptCancelled":{"token":4,"at":9}}"#,
        r#"{"CancelRequested":{"reason":"enough","at":9}}"#,
        r#"{"JobSucceeded":{"output":null,"at":9}}"#,
        concat!(
            r#"{"JobFailed":{"failure":{"code":"a.b","message":"m","retryable":false},"#,
            r#""at":9}}"#,
        ),
        r#"{"JobCancelled":{"at":9}}"#,
    ];

    #[test]
    fn every_kind_is_written_as_it_always_was() {
        for text in WRITTEN {
            let event: Event = serde_json::from_str(text).unwrap();
            assert!(text.starts_with(&format!("{{\"{}\":", event.kind())), "{text}");
            assert_eq!(event.at(), Timestamp(9));
            assert_eq!(serde_json::to_string(&event).unwrap(), text);
        }
    }

    #[test]
    fn a_submission_without_labels_is_readable() {
        let text = r#"{"JobSubmitted":{"workflow":{"name":"w","digest":"d"},"input":1,"at":9}}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        let workflow = WorkflowRef { name: "w".to_owned(), digest: "d".to_owned() };
        let (input, labels) = (json!(1), BTreeMap::new());
        let (options, at) = (JobOptions::default(), Timestamp(9));
        assert_eq!(event, Event::JobSubmitted { workflow, input, labels, options, at });
    }
}
