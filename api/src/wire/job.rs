//! Jobs: how one is submitted, looked at, listed and cancelled.

use std::collections::BTreeMap;

use callsheet_actors as actors;
use callsheet_actors::{FOLLOWS_UNTIL, HELD_UNTIL, JobView, Kin};
use callsheet_engine as engine;
use callsheet_storage as storage;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{Parent, Webhook, percent, rfc3339};

/// A job to submit: the name of a registered workflow or a definition of its own, and the input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The name of a registered workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "caption")]
    pub workflow: Option<String>,
    /// A whole workflow for this job alone, in place of a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
    /// The input, checked against the schema of the workflow; an empty object when absent.
    #[serde(default = "empty", skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// Marks of the submitter's own, shown in lists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How long the job's files are kept after its end: a time such as `2h` or `7d`, or `forever`;
    /// what the server is set to when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7d")]
    pub retention: Option<String>,
    /// Whether results of earlier attempts at the same input may be taken; `false` runs every
    /// step. `true` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
    /// Whom to tell of the job's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// The answer to a submit: the job is on stable storage and will end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The job.
    pub id: String,
    /// Where to look at it.
    #[schema(example = "/v1/jobs/019a…")]
    pub url: String,
    /// Whether the same key and request had given the job before.
    pub replayed: bool,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Only jobs of this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<JobStatus>,
    /// Only jobs of this workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Jobs in the page, 1 to 500; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of jobs, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobPage {
    /// The jobs. A filter that matches little may give a short page that still has a `next`.
    pub jobs: Vec<JobHead>,
    /// The `cursor` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What lists show of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobHead {
    /// The job's id.
    pub id: String,
    /// The name of the workflow that it runs.
    pub workflow: String,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was accepted.
    pub submitted_at: String,
    /// When the status last changed.
    pub changed_at: String,
    /// When it wakes, if it sleeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes_at: Option<String>,
    /// How far it has come, 0 to 100, its steps by their weights; 100 only once it has succeeded.
    /// In a list absent for jobs that are not at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 42.5)]
    pub progress: Option<f64>,
    /// The submitter's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The step that runs it, if it is a job within a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The job whose end it waits for, or waited for, such as that of a webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// The job that was accepted with it and begins at its end, such as a webhook's delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<String>,
}

/// A job with all that is recorded of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// What lists show of it.
    #[serde(flatten)]
    pub head: JobHead,
    /// The digest of the definition that it was accepted with and ends on.
    pub definition: String,
    /// Its input, with defaults filled in; what the schema marks as `writeOnly` is not shown.
    pub input: Value,
    /// Its output, once it has succeeded. Files in it are objects with the fields `artifact` (the
    /// digest), `name`, `media_type` and `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why it failed, or why it is being stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How long its files are kept after its end, such as `2h`; absent when for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// Records in its journal.
    pub records: u64,
    /// Its steps, in the order of the definition.
    pub steps: Vec<Step>,
    /// The job of `followed_by`, as it stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follower: Option<Box<JobHead>>,
}

/// Where a job stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Steps run or are about to.
    Running,
    /// Nothing can happen before a wait is over.
    Sleeping,
    /// Nothing can happen before somebody decides about a step in doubt.
    Held,
    /// It is being stopped.
    Stopping,
    /// It ended with an output.
    Succeeded,
    /// It ended with a failure.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobStatus {
    /// Whether the job is over.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The status that a store has for it: to a store, a held job sleeps for ever.
    #[must_use]
    pub fn stored(self) -> &'static str {
        match self {
            Self::Held => Self::Sleeping.as_str(),
            other => other.as_str(),
        }
    }

    /// The status as one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Held => "held",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A step of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Its name in the workflow.
    pub id: String,
    /// The step kind; `sleep` or `until` for a timer.
    pub uses: String,
    /// Where it stands.
    pub status: StepStatus,
    /// Attempts made so far, over all items.
    pub attempts: u32,
    /// Whether its result, with `for_each` that of every item, was taken from an earlier attempt at
    /// the same input and nothing was run; absent when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Items whose result was taken so; absent when there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_items: u32,
    /// When its first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// When a timer is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wakes_at: Option<String>,
    /// The items that wait for somebody to say whether they were done, while it is at work; 0 for
    /// a step without `for_each`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<u32>,
    /// How many of its items are done, while it is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
    /// The jobs that it has run or runs, in the order of its items, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Items of a step at work; a step without `for_each` has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Items {
    /// Items that have settled.
    pub done: u64,
    /// All items.
    pub total: u64,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// The steps that it needs have not all settled.
    Pending,
    /// An attempt is open, or another item is about to start.
    Running,
    /// It waits for its next attempt.
    Waiting,
    /// A timer that is not over yet.
    Sleeping,
    /// Nobody knows whether its deed was done, and its kind is being asked.
    InDoubt,
    /// Nobody knows whether its deed was done, and it waits for somebody to say.
    Held,
    /// It has its result.
    Succeeded,
    /// It did not have to run.
    Skipped,
    /// It failed for good.
    Failed,
    /// It was stopped with its job.
    Cancelled,
}

impl StepStatus {
    /// The status as one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Sleeping => "sleeping",
            Self::InDoubt => "in_doubt",
            Self::Held => "held",
            Self::Succeeded => "succeeded",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why an attempt, a step or a job did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// Stable and dotted.
    #[schema(example = "step.timeout")]
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same attempt made again may succeed.
    pub retryable: bool,
}

impl From<storage::JobStatus> for JobStatus {
    fn from(status: storage::JobStatus) -> Self {
        match status {
            storage::JobStatus::Running => Self::Running,
            storage::JobStatus::Sleeping { until: HELD_UNTIL } => Self::Held,
            storage::JobStatus::Sleeping { .. } => Self::Sleeping,
            storage::JobStatus::Stopping => Self::Stopping,
            storage::JobStatus::Succeeded => Self::Succeeded,
            storage::JobStatus::Failed => Self::Failed,
            storage::JobStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl From<storage::JobHead> for JobHead {
    fn from(head: storage::JobHead) -> Self {
        let wakes_at = match head.status {
            storage::JobStatus::Sleeping { until } if until < FOLLOWS_UNTIL => Some(rfc3339(until)),
            _ => None,
        };
        let kin = Kin::of(&head.labels);
        let mut labels = head.labels;
        labels.retain(|name, _| !Kin::is_told_by(name));
        Self {
            id: head.id.to_string(),
            workflow: head.workflow.name,
            status: head.status.into(),
            submitted_at: rfc3339(head.submitted_at),
            changed_at: rfc3339(head.changed_at),
            wakes_at,
            progress: (head.status == storage::JobStatus::Succeeded).then_some(100.0),
            labels,
            parent: kin.parent.map(Parent::from),
            follows: kin.follows.map(|job| job.to_string()),
            followed_by: kin.followed_by.map(|job| job.to_string()),
        }
    }
}

impl JobPage {
    /// The page without the jobs of another status, which a store lists together.
    #[must_use]
    pub fn only(mut self, status: Option<JobStatus>) -> Self {
        self.jobs.retain(|job| status.is_none_or(|status| job.status == status));
        self
    }
}

impl From<storage::Page> for JobPage {
    fn from(page: storage::Page) -> Self {
        Self {
            jobs: page.heads.into_iter().map(JobHead::from).collect(),
            next: page.next.map(|id| id.to_string()),
        }
    }
}

impl From<JobView> for Job {
    fn from(view: JobView) -> Self {
        let state = &view.state;
        let (output, failure, ended_at) = match &state.phase {
            engine::Phase::Running | engine::Phase::Stopping(engine::StopCause::Cancel) => {
                (None, None, None)
            }
            engine::Phase::Stopping(engine::StopCause::Failure(failure)) => {
                (None, Some(failure.into()), None)
            }
            engine::Phase::Ended { ending, at } => {
                let at = Some(rfc3339(*at));
                match ending {
                    engine::Ending::Succeeded(output) => (Some(Value::clone(output)), None, at),
                    engine::Ending::Failed(failure) => (None, Some(failure.into()), at),
                    engine::Ending::Cancelled => (None, None, at),
                }
            }
        };
        let steps = state.plan.steps().iter().zip(&state.steps).map(step_of).collect();
        let schema = state.plan.workflow().input.as_ref();
        let input = engine::definition::without_secrets(Value::clone(&state.input), schema);
        let children = view.children();
        let job = Self {
            definition: view.head.workflow.digest.clone(),
            input,
            head: JobHead { progress: Some(percent(view.progress)), ..view.head.into() },
            output,
            failure,
            ended_at,
            retention: state.options.retention.map(|time| time.to_string()),
            records: view.records,
            steps,
            follower: None,
        };
        job.with_children(children)
    }
}

impl Job {
    /// The job with jobs that its steps run, beside those that are known of it already.
    pub(crate) fn with_children(
        mut self,
        mut children: Vec<(actors::Parent, engine::JobId)>,
    ) -> Self {
        children.sort();
        for (parent, child) in children {
            let child = child.to_string();
            let step = self.steps.iter_mut().find(|step| step.id == parent.step);
            if let Some(step) = step.filter(|step| !step.jobs.contains(&child)) {
                step.jobs.push(child);
            }
        }
        self
    }
}

fn step_of((planned, state): (&engine::PlannedStep, &engine::StepState)) -> Step {
    let (status, items, failure) = match &state.status {
        engine::StepStatus::Pending => (StepStatus::Pending, None, None),
        engine::StepStatus::Active(active) => {
            let (done, total) = active.progress();
            let items = Items { done: done as u64, total: total as u64 };
            (at_work(active), Some(items), None)
        }
        engine::StepStatus::Succeeded(_) => (StepStatus::Succeeded, None, None),
        engine::StepStatus::Skipped => (StepStatus::Skipped, None, None),
        engine::StepStatus::Failed(failure) => (StepStatus::Failed, None, Some(failure.into())),
        engine::StepStatus::Cancelled => (StepStatus::Cancelled, None, None),
    };
    Step {
        id: planned.id.clone(),
        uses: planned.uses().to_owned(),
        status,
        attempts: state.attempts,
        cached: is_cached(planned, state),
        cached_items: state.recalled,
        started_at: state.started_at.map(rfc3339),
        ended_at: state.ended_at.map(rfc3339),
        wakes_at: wakes_at(&state.status),
        held: held(&state.status),
        items,
        jobs: Vec::new(),
        failure,
    }
}

/// Whether nothing was run for a step that has its result.
fn is_cached(planned: &engine::PlannedStep, state: &engine::StepState) -> bool {
    let items = match &state.status {
        engine::StepStatus::Succeeded(output) if planned.for_each.is_some() => {
            output.as_array().map_or(0, Vec::len)
        }
        engine::StepStatus::Succeeded(_) => 1,
        _ => 0,
    };
    items > 0 && state.recalled as usize == items
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// When a timer that is not over yet will be.
fn wakes_at(status: &engine::StepStatus) -> Option<String> {
    match status {
        engine::StepStatus::Active(active) => match active.items.first()?.status {
            engine::ItemStatus::Sleeping { due } => Some(rfc3339(due)),
            _ => None,
        },
        _ => None,
    }
}

/// A step at work stands where its busiest item does; one that waits for a person is told before
/// those that wait by themselves.
fn at_work(active: &engine::Active) -> StepStatus {
    let of = |item: &engine::Item| match &item.status {
        engine::ItemStatus::Running { .. } => Some((4, StepStatus::Running)),
        engine::ItemStatus::Sleeping { .. } => Some((4, StepStatus::Sleeping)),
        engine::ItemStatus::InDoubt(doubt) => Some(match doubt.stage {
            engine::DoubtStage::Held => (2, StepStatus::Held),
            _ => (3, StepStatus::InDoubt),
        }),
        engine::ItemStatus::Waiting { .. } => Some((1, StepStatus::Waiting)),
        _ => None,
    };
    let busiest = active.items.iter().filter_map(of).max_by_key(|(rank, _)| *rank);
    busiest.map_or(StepStatus::Running, |(_, status)| status)
}

/// The items that wait for a person.
fn held(status: &engine::StepStatus) -> Vec<u32> {
    let engine::StepStatus::Active(active) = status else { return Vec::new() };
    let is_held = |item: &engine::Item| match &item.status {
        engine::ItemStatus::InDoubt(doubt) => doubt.stage == engine::DoubtStage::Held,
        _ => false,
    };
    let items = (0u32..).zip(&active.items);
    items.filter(|(_, item)| is_held(item)).map(|(n, _)| n).collect()
}

impl From<&engine::Failure> for Failure {
    fn from(failure: &engine::Failure) -> Self {
        Self {
            code: failure.code.clone(),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
            retryable: failure.retryable,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{JobId, Timestamp, WorkflowRef};
    use serde_json::json;

    use super::super::CancelRequest;
    use super::*;

    fn head(status: storage::JobStatus) -> storage::JobHead {
        storage::JobHead {
            id: JobId::from_bytes([1; 16]),
            workflow: WorkflowRef { name: "caption".into(), digest: "d".into() },
            status,
            submitted_at: Timestamp(0),
            changed_at: Timestamp(1_000),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn heads_have_their_status_as_a_word() {
        for status in [
            storage::JobStatus::Running,
            storage::JobStatus::Sleeping { until: Timestamp(5_000) },
            storage::JobStatus::Sleeping { until: HELD_UNTIL },
            storage::JobStatus::Stopping,
            storage::JobStatus::Succeeded,
            storage::JobStatus::Failed,
            storage::JobStatus::Cancelled,
        ] {
            let wire = JobHead::from(head(status));
            assert_eq!(wire.status.stored(), status.as_str());
            assert_eq!(wire.status.has_ended(), status.has_ended());
            assert_eq!(serde_json::to_value(wire.status).unwrap(), wire.status.as_str());
            assert_eq!(wire.wakes_at.is_some(), wire.status == JobStatus::Sleeping);
        }
    }

    #[test]
    fn a_head_is_flat_json() {
        let wire = JobHead::from(head(storage::JobStatus::Running));
        assert_eq!(
            serde_json::to_value(&wire).unwrap(),
            json!({
                "id": "01010101-0101-0101-0101-010101010101",
                "workflow": "caption",
                "status": "running",
                "submitted_at": "1970-01-01T00:00:00.000Z",
                "changed_at": "1970-01-01T00:00:01.000Z",
            })
        );
    }

    #[test]
    fn unknown_fields_of_requests_are_refused() {
        for text in [r#"{"workflow":"a","inptu":{}}"#, r#"{"job":"a"}"#] {
            assert!(serde_json::from_str::<SubmitRequest>(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<CancelRequest>(r#"{"why":"x"}"#).is_err());
    }
}
