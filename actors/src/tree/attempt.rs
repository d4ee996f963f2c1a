//! An attempt's actor: owns the body and its child processes, and sees to it that all of it is gone
//! before the attempt is called ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callsheet_engine::{Failure, JobId, Millis, Outcome, StartStep};
use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorRuntime};
use tokio::task::JoinHandle;

use super::job::JobMsg;
use crate::context::StepContext;
use crate::core::Core;
use crate::limits::{ABANDON_AFTER_MS, TERM_GRACE_MS};
use crate::mailbox::{Enrolled, Mailbox};
use crate::step::{AnyStep, BodyResult};

/// What wakes an attempt.
pub(crate) enum AttemptMsg {
    /// The body came to its end.
    BodyEnded(BodyResult),
    /// The attempt's time is up.
    TimedOut,
    /// The attempt is to stop.
    Stop(End),
    /// Everything of the attempt is gone.
    Gone,
}

/// Why an attempt is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The job is ending.
    Stopped,
    /// The process is ending.
    Released,
}

/// Starts the actor of an attempt, and with it the body.
pub(crate) fn start(
    core: &Arc<Core>,
    job: JobId,
    owner: &Mailbox<JobMsg>,
    step_id: String,
    start: StartStep,
) -> Result<Mailbox<AttemptMsg>, Failure> {
    let step = core.steps.get(&start.uses).cloned().ok_or_else(|| unknown_kind(&start.uses))?;
    let name = format!("{job}/{step_id}/{}#{}", start.item.0, start.attempt);
    let enrolled = core.roster.enroll("attempt", name);
    let context = StepContext::new(
        job,
        step_id,
        (start.step, start.item),
        (start.attempt, start.token),
        start.timeout.into(),
        core.shared.clone(),
    );
    let record = enrolled.record.clone();
    let arguments =
        Arguments { core: core.clone(), enrolled, owner: owner.clone(), step, context, start };
    let supervisor = owner.actor.get_cell();
    let (actor, _) = ActorRuntime::spawn_linked_instant(None, Attempt, arguments, supervisor)
        .map_err(|error| Failure::retryable("step.actor", error.to_string()))?;
    Ok(Mailbox { actor, record })
}

fn unknown_kind(uses: &str) -> Failure {
    Failure::retryable("step.unknown_kind", format!("no step kind `{uses}` is registered"))
        .with_hint("register it before the engine is opened, then submit the job again")
}

struct Attempt;

struct Arguments {
    core: Arc<Core>,
    enrolled: Enrolled,
    owner: Mailbox<JobMsg>,
    step: Arc<dyn AnyStep>,
    context: StepContext,
    start: StartStep,
}

struct Body {
    core: Arc<Core>,
    enrolled: Enrolled,
    owner: Mailbox<JobMsg>,
    context: StepContext,
    timeout: Millis,
    task: Option<JoinHandle<()>>,
    timer: JoinHandle<()>,
    /// How the attempt ended, once it has; it is told to the job when everything is gone.
    outcome: Option<Outcome>,
    remains: Remains,
}

impl Actor for Attempt {
    type Msg = AttemptMsg;
    type State = Body;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<AttemptMsg>,
        arguments: Arguments,
    ) -> Result<Body, ActorProcessingErr> {
        let Arguments { core, enrolled, owner, step, context, start } = arguments;
        let mailbox = Mailbox { actor: myself, record: enrolled.record.clone() };
        let body = run(core.clone(), step, start.input, context.clone(), mailbox.clone());
        let task = core.shared.runtime.spawn(body);
        let remains = Remains::new(core.clone(), context.clone(), task.abort_handle());
        let timeout = start.timeout;
        let timer = tokio::spawn(async move {
            tokio::time::sleep(timeout.into()).await;
            // The attempt may have ended meanwhile.
            let _ = mailbox.send(AttemptMsg::TimedOut);
        });
        Ok(Body {
            core,
            enrolled,
            owner,
            context,
            timeout,
            task: Some(task),
            timer,
            outcome: None,
            remains,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<AttemptMsg>,
        message: AttemptMsg,
        body: &mut Body,
    ) -> Result<(), ActorProcessingErr> {
        body.enrolled.record.handled();
        fail_point!("tree.attempt");
        let by_itself = matches!(message, AttemptMsg::BodyEnded(_));
        let outcome = match message {
            AttemptMsg::Gone => {
                body.report(&myself);
                return Ok(());
            }
            AttemptMsg::BodyEnded(Ok(output)) => Outcome::Succeeded(output),
            AttemptMsg::BodyEnded(Err(failure)) => Outcome::Failed(failure),
            AttemptMsg::TimedOut => Outcome::Failed(timed_out(body.timeout)),
            AttemptMsg::Stop(End::Stopped) => Outcome::Stopped,
            AttemptMsg::Stop(End::Released) => Outcome::Released,
        };
        // The first end counts; a body that ends while it is being stopped has been stopped.
        if body.outcome.is_none() {
            body.outcome = Some(outcome);
            body.clear(myself, by_itself);
        }
        Ok(())
    }
}

impl Body {
    /// Sees everything of the attempt off, then reports; at once when there is nothing to see off.
    fn clear(&mut self, myself: ActorRef<AttemptMsg>, by_itself: bool) {
        self.timer.abort();
        let Some(task) = self.task.take() else { return };
        let attempt = &self.context.0;
        if by_itself && attempt.tasks.is_empty() && attempt.made_work_dir.get().is_none() {
            return self.report(&myself);
        }
        let mailbox = Mailbox { actor: myself, record: self.enrolled.record.clone() };
        let (core, context) = (self.core.clone(), self.context.clone());
        let remains = self.remains.clone();
        tokio::spawn(async move {
            see_off(&core, &context, task).await;
            remains.gone();
            // The job's actor may have died meanwhile, and this one with it.
            let _ = mailbox.send(AttemptMsg::Gone);
        });
    }

    /// Tells the job how the attempt ended. It is the actor's last word.
    fn report(&mut self, myself: &ActorRef<AttemptMsg>) {
        self.remains.gone();
        if let Some(outcome) = self.outcome.take() {
            // A job actor that is gone is followed by one that knows the attempt to be dead.
            let _ = self.owner.send(JobMsg::StepEnded(self.context.0.token, outcome));
        }
        myself.stop(None);
    }
}

/// The body with what surrounds it: a place among the running ones, and word of its end.
async fn run(
    core: Arc<Core>,
    step: Arc<dyn AnyStep>,
    input: serde_json::Value,
    context: StepContext,
    mailbox: Mailbox<AttemptMsg>,
) {
    // The semaphore is never closed; without a permit the body would still be right to run.
    let _permit = core.bodies.clone().acquire_owned().await.ok();
    let result = step.run(input, context).await;
    // The attempt's actor is gone only if the attempt was stopped.
    let _ = mailbox.send(AttemptMsg::BodyEnded(result));
}

/// Ends the body's future, its child processes and its blocking work, and removes its files. What
/// does not return in time is abandoned: its fence token is stale, so nothing of it is recorded.
async fn see_off(core: &Core, context: &StepContext, task: JoinHandle<()>) {
    let attempt = &context.0;
    attempt.cancel.cancel();
    task.abort();
    attempt.tasks.close();
    let patience = Duration::from_millis(TERM_GRACE_MS + ABANDON_AFTER_MS);
    let all_gone = async {
        let _ = task.await; // An error here only says that it was aborted.
        attempt.tasks.wait().await;
    };
    let (_, waited) =
        tokio::join!(attempt.children.stop(), tokio::time::timeout(patience, all_gone));
    if waited.is_err() {
        attempt.children.kill();
        core.counters.attempts_abandoned.up();
        tracing::warn!(job = %attempt.job, step = attempt.step_id,
            "a stopped step did not return; it is abandoned");
    }
    remove_work_dir(context).await;
}

async fn remove_work_dir(context: &StepContext) {
    if context.0.made_work_dir.get().is_none() {
        return;
    }
    let work_dir = context.0.work_dir.clone();
    let removed = tokio::task::spawn_blocking(move || {
        let removed = std::fs::remove_dir_all(&work_dir);
        if let Some(of_job) = work_dir.parent() {
            // Fails while other attempts of the job have directories in it.
            let _ = std::fs::remove_dir(of_job);
        }
        removed.map_err(|error| (work_dir, error))
    });
    if let Ok(Err((work_dir, error))) = removed.await {
        tracing::warn!(%error, path = %work_dir.display(), "cannot remove a work directory");
    }
}

fn timed_out(limit: Millis) -> Failure {
    Failure::retryable("step.timeout", format!("the attempt took longer than {limit}"))
        .with_hint("give the step a longer `timeout`, or less to do")
}

/// What is left of an attempt whose actor is killed with its job's actor: sees it off on drop.
#[derive(Clone)]
struct Remains(Arc<RemainsInner>);

struct RemainsInner {
    core: Arc<Core>,
    context: StepContext,
    body: tokio::task::AbortHandle,
    gone: AtomicBool,
}

impl Remains {
    fn new(core: Arc<Core>, context: StepContext, body: tokio::task::AbortHandle) -> Self {
        Self(Arc::new(RemainsInner { core, context, body, gone: AtomicBool::new(false) }))
    }

    fn gone(&self) {
        self.0.gone.store(true, Ordering::SeqCst);
    }
}

impl Drop for RemainsInner {
    fn drop(&mut self) {
        if self.gone.load(Ordering::SeqCst) {
            return;
        }
        self.body.abort();
        self.context.0.cancel.cancel();
        self.context.0.children.kill();
        self.core.counters.attempts_open.down();
        let context = self.context.clone();
        self.core.control.spawn(async move { remove_work_dir(&context).await });
    }
}
