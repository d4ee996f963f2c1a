//! The step kind `workflow.run`: a job within a job.
//!
//! A child is accepted under a key made of the parent's step, item and request, so however often an
//! attempt is made, after a crash or a shutdown, it finds the one child that there is. All that an
//! attempt does is to wait for its end. It waits without a place among the running bodies, and the
//! child has a lane of places of its own: nobody who waits can keep away what they wait for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callsheet_engine::{Ending, Event, Failure, JobId, Phase, idempotency_key};
use callsheet_storage::{Created, Digest, JobStatus, NewJob};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::StepContext;
use crate::core::Core;
use crate::error::EngineError;
use crate::handle::JobView;
use crate::kin::{self, Kin, ORPHANED, PARENT, Parent};
use crate::limits::{CHILD_AGAIN_MS, CHILD_GONE_MS, MAX_CHILD_DEPTH_COUNT};
use crate::step::{Step, StepError, StepResult};
use crate::submit::Submit;

/// Why a child is cancelled that takes longer than its step's `timeout`.
const LATE: &str = "it took longer than the step that ran it may take";

/// The step kind `workflow.run`.
pub(crate) struct RunWorkflow;

/// What to run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// The name of a registered workflow.
    workflow: String,
    /// Its input; an empty object when absent.
    #[serde(default = "empty")]
    input: Value,
    /// What follows when the job does not succeed: `fail`, as a rule, fails the step with the job's
    /// code and message; `report` makes it the step's output.
    #[serde(default)]
    on_failure: OnFailure,
    /// A name of the caller's own, handed through to the output.
    #[serde(default)]
    id: Option<String>,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// What follows when a child does not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnFailure {
    /// The step fails.
    #[default]
    Fail,
    /// The step succeeds and tells of it.
    Report,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Ran {
    /// The name that the caller gave.
    id: Option<String>,
    /// How it ended.
    status: RanStatus,
    /// Its output, if it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    /// Why it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<RanFailure>,
    /// The job; absent when none was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RanStatus {
    Succeeded,
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It was never accepted: there is no such workflow, or the input is not what it takes.
    Refused,
}

/// Why a child did not succeed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
struct RanFailure {
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Step for RunWorkflow {
    type Input = Run;
    type Output = Ran;

    fn kind(&self) -> String {
        // The same as `RUN_WORKFLOW`, by which the engine knows it.
        "workflow.run".to_owned()
    }

    fn description(&self) -> String {
        "Runs another workflow as a job of its own and waits for its end.".to_owned()
    }

    fn waits(&self) -> bool {
        true
    }

    async fn run(&self, asked: Run, context: StepContext) -> StepResult<Ran> {
        let Some(core) = context.0.shared.core() else { return std::future::pending().await };
        let control = core.control.clone();
        // In a task of its own, which a stop does not drop: it sees the child off.
        let task = serve(core, context.clone(), asked);
        match context.0.tasks().spawn_on(task, &control).await {
            Ok(ended) => ended,
            Err(error) => Err(StepError::retryable("step.panic", error.to_string())),
        }
    }
}

async fn serve(core: Arc<Core>, context: StepContext, asked: Run) -> StepResult<Ran> {
    let child = match accept(&core, &context, &asked).await? {
        Accepted::Child(child) => child,
        Accepted::Not(failure) => return asked.refused(failure),
    };
    let stop = context.cancelled().clone();
    let ended = tokio::select! {
        ended = core.job_end(child) => ended,
        () = stop.cancelled() => {
            see_off(&core, &context, child).await;
            Err(EngineError::ShuttingDown)
        }
    };
    match ended {
        Ok(view) => {
            let late = is_late(&core, &view).await?;
            asked.answer(child, view, late)
        }
        Err(EngineError::ShuttingDown) => {
            // The attempt is being given back, or was stopped; nobody hears an answer.
            stop.cancelled().await;
            Err(StepError::retryable("engine.draining", "the engine is shutting down"))
        }
        Err(error) => Err(passing(&error)),
    }
}

/// A stopped attempt takes its child with it, unless it is only given back or made again: the truth
/// about that stands in the parent's head.
async fn see_off(core: &Core, context: &StepContext, child: JobId) {
    let parent = core.store.head(context.job()).await.ok().flatten();
    // Then the child was told so with the parent's head.
    let is_told = parent.is_some_and(|head| kin::is_over(head.status));
    let is_late = !is_told && Instant::now() >= context.deadline();
    if is_late {
        core.end_child(child, LATE).await;
    }
    if is_told || is_late {
        // The attempt is over when its work is; what takes longer goes on being stopped.
        let gone = Duration::from_millis(CHILD_GONE_MS);
        let _ = tokio::time::timeout(gone, core.job_end(child)).await;
    }
}

/// Whether a child was cancelled because an attempt of before had waited too long for it.
async fn is_late(core: &Core, view: &JobView) -> StepResult<bool> {
    if !matches!(view.state.phase, Phase::Ended { ending: Ending::Cancelled, .. }) {
        return Ok(false);
    }
    let records = core.store.journal(view.head.id, 0).await?;
    let reasons =
        records.iter().flat_map(|record| &record.events).filter_map(|event| match event {
            Event::CancelRequested { reason, .. } => reason.as_deref(),
            _ => None,
        });
    Ok(reasons.into_iter().next() == Some(LATE))
}

enum Accepted {
    Child(JobId),
    Not(Failure),
}

/// Finds the child of this step and item, or makes it.
async fn accept(core: &Core, context: &StepContext, asked: &Run) -> StepResult<Accepted> {
    let parent =
        Parent { job: context.job(), step: context.step().to_owned(), item: context.item() };
    let key = key(&parent, asked);
    // One of before stands, whatever has become of its workflow since.
    let child = match core.store.key(key.clone()).await? {
        Some(before) => before.job,
        None => match make(core, context, (&parent, key), asked).await? {
            Accepted::Child(child) => child,
            refused @ Accepted::Not(_) => return Ok(refused),
        },
    };
    if core.adopt(&parent, child).await? {
        core.end_child(child, ORPHANED).await;
    }
    Ok(Accepted::Child(child))
}

async fn make(
    core: &Core,
    context: &StepContext,
    (parent, key): (&Parent, String),
    asked: &Run,
) -> StepResult<Accepted> {
    let ancestors = match ancestors(core, context.job(), &asked.workflow).await? {
        Ok(count) => count,
        Err(failure) => return Ok(Accepted::Not(failure)),
    };
    let request = Submit::named(asked.workflow.clone(), asked.input.clone())
        .idempotency_key(key)
        .options_of(context.0.options)
        .marked(PARENT, parent.mark());
    let lane = kin::TOP + u8::try_from(ancestors).unwrap_or(u8::MAX);
    let accepted = async {
        core.is_open()?;
        let job = core.prepare(kin::new_id(lane), request, JobStatus::Running)?;
        accept_in_time(core, context, job).await
    };
    match accepted.await {
        Ok(child) => Ok(Accepted::Child(child)),
        Err(EngineError::ShuttingDown) => {
            context.cancelled().cancelled().await;
            Err(passing(&EngineError::ShuttingDown))
        }
        Err(error @ (EngineError::UnknownWorkflow { .. } | EngineError::Refused(_))) => {
            Ok(Accepted::Not(fatal(&error)))
        }
        Err(error) => Err(passing(&error)),
    }
}

/// Accepts a child. A job that was accepted does not fail for want of room: it waits for some.
async fn accept_in_time(
    core: &Core,
    context: &StepContext,
    job: NewJob,
) -> Result<JobId, EngineError> {
    let id = job.head.id;
    loop {
        match core.accept(job.clone(), None).await {
            Ok(Created::New) => return Ok(id),
            Ok(Created::Existing(id) | Created::Conflict(id)) => return Ok(id),
            Err(EngineError::Full) => {}
            Err(error) => return Err(error),
        }
        context.progress(0.0, "waits for room on the disk");
        let wait = tokio::time::sleep(Duration::from_millis(CHILD_AGAIN_MS));
        if context.cancelled().run_until_cancelled(wait).await.is_none() {
            return Err(EngineError::Full);
        }
    }
}

/// The jobs above a child, counted; or why there must not be a child of this workflow.
async fn ancestors(
    core: &Core,
    parent: JobId,
    workflow: &str,
) -> StepResult<Result<usize, Failure>> {
    let (mut count, mut next) = (0, Some(parent));
    while let Some(job) = next {
        let head = core.job_head(job).await.map_err(|error| passing(&error))?;
        if head.workflow.name == workflow {
            let message = format!("`{workflow}` would run itself, as a part of job `{job}`");
            let failure = Failure::fatal("child.recursion", message);
            let hint = "a workflow must not run itself, neither directly nor through others";
            return Ok(Err(failure.with_hint(hint)));
        }
        count += 1;
        if count > MAX_CHILD_DEPTH_COUNT {
            let message = format!("`{workflow}` would be a job {count} levels below the first");
            let failure = Failure::fatal("child.too_deep", message);
            let hint = format!("jobs within jobs go {MAX_CHILD_DEPTH_COUNT} levels deep at most");
            return Ok(Err(failure.with_hint(hint)));
        }
        next = Kin::of(&head.labels).parent.map(|parent| parent.job);
    }
    Ok(Ok(count))
}

/// The key of a child. No submitter can have it: the first character is none that a header holds.
/// What is asked for is a part of it, since a fallback asks for something else.
fn key(parent: &Parent, asked: &Run) -> String {
    let request = Digest::of(format!("{} {}", asked.workflow, asked.input).as_bytes());
    let place = idempotency_key(parent.job, &parent.step, parent.item);
    format!("\u{1}{}", Digest::of(format!("{place} {request}").as_bytes()))
}

impl Run {
    fn answer(self, job: JobId, view: JobView, is_late: bool) -> StepResult<Ran> {
        let job = Some(job.to_string());
        let named = || job.clone().unwrap_or_default();
        let (status, failure) = match &view.state.phase {
            Phase::Ended { ending: Ending::Succeeded(output), .. } => {
                let output = Some(Value::clone(output));
                let status = RanStatus::Succeeded;
                return Ok(Ran { id: self.id, status, output, failure: None, job });
            }
            Phase::Ended { ending: Ending::Failed(failure), .. } => {
                (RanStatus::Failed, Failure { retryable: false, ..failure.clone() })
            }
            _ if is_late => {
                let message = format!("job `{}` was cancelled: {LATE}", named());
                (RanStatus::Cancelled, Failure::fatal("step.timeout", message))
            }
            _ => {
                let message = format!("job `{}` was cancelled", named());
                (RanStatus::Cancelled, Failure::fatal("child.cancelled", message))
            }
        };
        let hint = match &failure.hint {
            Some(hint) => format!("{hint}; it is job `{}`", named()),
            None => format!("look at job `{}`", named()),
        };
        self.without_success(status, failure.with_hint(hint), job)
    }

    fn refused(self, failure: Failure) -> StepResult<Ran> {
        self.without_success(RanStatus::Refused, failure, None)
    }

    fn without_success(
        self,
        status: RanStatus,
        failure: Failure,
        job: Option<String>,
    ) -> StepResult<Ran> {
        match self.on_failure {
            OnFailure::Fail => Err(StepError(failure)),
            OnFailure::Report => {
                let Failure { code, message, hint, .. } = failure;
                let failure = Some(RanFailure { code, message, hint });
                Ok(Ran { id: self.id, status, output: None, failure, job })
            }
        }
    }
}

fn fatal(error: &EngineError) -> Failure {
    let failure = Failure::fatal(error.code(), error.to_string());
    match error.hint() {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// What may be better another time: a full disk, an engine that goes down.
fn passing(error: &EngineError) -> StepError {
    StepError(Failure { retryable: true, ..fatal(error) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{ItemIndex, RUN_WORKFLOW};
    use serde_json::json;

    use super::*;

    fn asked(workflow: &str, input: Value) -> Run {
        serde_json::from_value(json!({ "workflow": workflow, "input": input })).unwrap()
    }

    #[test]
    fn the_engine_knows_the_kind_by_its_name() {
        assert_eq!(RunWorkflow.kind(), RUN_WORKFLOW);
    }

    #[test]
    fn a_key_belongs_to_a_step_an_item_and_a_request() {
        let parent = |byte, step: &str, item| Parent {
            job: JobId::from_bytes([byte; 16]),
            step: step.to_owned(),
            item: ItemIndex(item),
        };
        let one = (parent(1, "a", 0), asked("w", json!({ "n": 1 })));
        let others = [
            (parent(2, "a", 0), asked("w", json!({ "n": 1 }))),
            (parent(1, "b", 0), asked("w", json!({ "n": 1 }))),
            (parent(1, "a", 1), asked("w", json!({ "n": 1 }))),
            (parent(1, "a", 0), asked("v", json!({ "n": 1 }))),
            (parent(1, "a", 0), asked("w", json!({ "n": 2 }))),
        ];
        let first = key(&one.0, &one.1);
        assert_eq!(first, key(&one.0, &one.1));
        assert!(first.len() <= crate::limits::MAX_KEY_BYTES && first.starts_with(char::is_control));
        for (parent, asked) in &others {
            assert_ne!(key(parent, asked), first, "{parent:?} {asked:?}");
        }
    }
}
