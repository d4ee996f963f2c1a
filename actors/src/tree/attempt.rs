//! An attempt's actor: owns the body and its child processes, and sees to it that all of it is gone
//! before the attempt is called ended.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callsheet_engine::{Failure, JobState, Millis, Outcome, StartStep};
use callsheet_storage::Hold;
use fail::fail_point;
use futures::FutureExt;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, ActorRuntime};
use tokio::task::JoinHandle;

use super::job::JobMsg;
use crate::context::StepContext;
use crate::core::Core;
use crate::files::Deed;
use crate::gauges::SharedGauge;
use crate::limits::{ABANDON_AFTER_MS, TERM_GRACE_MS};
use crate::mailbox::{Enrolled, Mailbox};
use crate::step::panicked;

/// What wakes an attempt.
pub(crate) enum AttemptMsg {
    /// The body came to its end.
    BodyEnded(Outcome),
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

/// An attempt under way.
pub(super) struct Running {
    context: StepContext,
    form: Form,
    /// Whether it does hardly more than wait for another job.
    pub(super) waits: bool,
    /// Counts for as long as it is held.
    open: Open,
}

enum Form {
    /// Its body alone, begun a moment ago.
    Young(Young),
    /// A body that is old enough for an actor of its own.
    Grown(Mailbox<AttemptMsg>),
}

/// One of the attempts that are open now. Held by the job's actor, so that it is no longer counted
/// once that is gone, whatever it died of.
struct Open(Arc<Core>);

impl Open {
    fn new(core: &Arc<Core>) -> Self {
        core.counters.attempts_open.up();
        Self(core.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.attempts_open.down();
    }
}

/// A body without an actor.
struct Young {
    context: StepContext,
    timeout: Millis,
    task: JoinHandle<()>,
    remains: Remains,
}

/// Begins an attempt: its body runs when this returns, or soon after.
pub(super) fn begin(
    core: &Arc<Core>,
    owner: &Mailbox<JobMsg>,
    (state, gauge, hold): (&JobState, &SharedGauge, &Arc<Hold>),
    start: StartStep,
) -> Result<Running, Failure> {
    let step = core.steps.get(&start.uses).cloned().ok_or_else(|| unknown_kind(&start.uses))?;
    let (shared, mine) = (core.shared.clone(), (gauge.clone(), hold.clone()));
    let context = StepContext::new(state, mine, &start, shared);
    let (timeout, version) = (start.timeout, core.catalog.get(&start.uses).and_then(|it| it.cache));
    let waits = step.waits();
    let deed = Deed { step, start, version };
    let body = run(core.clone(), deed, context.clone(), owner.clone());
    let task = core.shared.runtime.spawn(body);
    let remains = Remains::new(core.clone(), context.clone(), task.abort_handle());
    core.nursery.add(context.clone(), owner.clone());
    let young = Young { context: context.clone(), timeout, task, remains };
    Ok(Running { context, form: Form::Young(young), waits, open: Open::new(core) })
}

impl Running {
    /// Whether the body was all there was of the attempt.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.form, Form::Young(_)) && !self.context.0.has_remains()
    }

    /// The attempt is over, nothing of it is left.
    pub(super) fn bury(self) {
        if let Form::Young(young) = self.form {
            young.remains.gone();
        }
    }

    pub(super) fn is_actor(&self, id: ActorId) -> bool {
        matches!(&self.form, Form::Grown(mailbox) if mailbox.actor.get_id() == id)
    }

    /// The same with an actor of its own.
    pub(super) fn grown(self, core: &Arc<Core>, owner: &Mailbox<JobMsg>) -> Result<Self, Failure> {
        let Self { context, form: Form::Young(young), waits, open } = self else { return Ok(self) };
        let attempt = &context.0;
        let item = attempt.item.0;
        let name = format!("{}/{}/{item}#{}", attempt.job, attempt.step_id(), attempt.number);
        let enrolled = core.roster.enroll("attempt", name);
        let record = enrolled.record.clone();
        let arguments = Arguments { core: core.clone(), enrolled, owner: owner.clone(), young };
        let supervisor = owner.actor.get_cell();
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, Attempt, arguments, supervisor)
            .map_err(|error| Failure::retryable("step.actor", error.to_string()))?;
        Ok(Self { context, form: Form::Grown(Mailbox { actor, record }), waits, open })
    }

    /// Keeps the body from beginning if it has not begun: from here on nothing of it is seen.
    pub(super) fn hold_back(&self) {
        self.context.0.hold_back();
    }

    /// Tells the attempt's actor. One that has just ended has sent its word.
    pub(super) fn tell(&self, message: AttemptMsg) {
        if let Form::Grown(mailbox) = &self.form {
            drop(mailbox.send(message));
        }
    }
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
    young: Young,
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
        let Arguments { core, enrolled, owner, young } = arguments;
        let Young { context, timeout, task, remains } = young;
        let mailbox = Mailbox { actor: myself, record: enrolled.record.clone() };
        let deadline = context.0.deadline;
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(deadline.into()).await;
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
            AttemptMsg::BodyEnded(outcome) => outcome,
            AttemptMsg::TimedOut if body.never_began() => Outcome::Failed(timed_out(body.timeout)),
            AttemptMsg::TimedOut => Outcome::Lost(timed_out(body.timeout)),
            AttemptMsg::Stop(End::Stopped) => Outcome::Stopped,
            AttemptMsg::Stop(End::Released) if body.never_began() => Outcome::NotBegun,
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
    /// Whether the body was still waiting for its place, which it now gets no more: then nobody
    /// needs to doubt what it has done.
    fn never_began(&self) -> bool {
        self.context.0.hold_back()
    }

    /// Sees everything of the attempt off, then reports; at once when there is nothing to see off.
    fn clear(&mut self, myself: ActorRef<AttemptMsg>, by_itself: bool) {
        self.timer.abort();
        let Some(task) = self.task.take() else { return };
        let attempt = &self.context.0;
        if by_itself && !attempt.has_remains() {
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

/// The body with what surrounds it: a place among the running ones, and word of its end. A panic
/// in here fails the attempt; without word of it the job would wait for its deadline.
async fn run(core: Arc<Core>, deed: Deed, context: StepContext, owner: Mailbox<JobMsg>) {
    let body = async {
        // Who waits for another's result takes no place from those that run.
        let seat = deed.seat(&context).await;
        // The semaphore is never closed; without a permit the body would still be right to run.
        let _permit = match deed.step.waits() {
            false => core.bodies.acquire().await.ok(),
            true => None, // It waits for bodies that need a place.
        };
        fail_point!("actors.body.before");
        if !context.0.may_begin() {
            return None; // It was stopped on its way here; its actor tells of the end.
        }
        let outcome = deed.work(seat, &context).await;
        fail_point!("actors.body.after");
        Some(outcome)
    };
    let ended = AssertUnwindSafe(body).catch_unwind().await;
    let lost = |panic: Box<dyn Any + Send>| Some(Outcome::Lost(panicked(panic.as_ref())));
    let Some(outcome) = ended.unwrap_or_else(lost) else { return };
    context.0.end();
    // The job's actor is gone only if the attempt was stopped.
    let _ = owner.send(JobMsg::BodyEnded(context.0.token, outcome));
}

/// Ends the body's future, its child processes and its blocking work, and removes its files. What
/// does not return in time is abandoned: its fence token is stale, so nothing of it is recorded.
async fn see_off(core: &Core, context: &StepContext, task: JoinHandle<()>) {
    let attempt = &context.0;
    attempt.cancel().cancel();
    task.abort();
    attempt.tasks().close();
    let patience = Duration::from_millis(TERM_GRACE_MS + ABANDON_AFTER_MS);
    let all_gone = async {
        let _ = task.await; // An error here only says that it was aborted.
        attempt.tasks().wait().await;
    };
    let children = async {
        if attempt.children().any() {
            core.cancels.answers_first().await;
        }
        attempt.children().stop().await;
    };
    let (_, waited) = tokio::join!(children, tokio::time::timeout(patience, all_gone));
    if waited.is_err() {
        attempt.children().kill();
        core.counters.attempts_abandoned.up();
        tracing::warn!(job = %attempt.job, step = attempt.step_id(),
            "a stopped step did not return; it is abandoned");
    }
    remove_work_dir(context).await;
}

async fn remove_work_dir(context: &StepContext) {
    let Some(work_dir) = context.0.made_work_dir().map(Path::to_owned) else { return };
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
        self.context.0.cancel().cancel();
        self.context.0.children().kill();
        let context = self.context.clone();
        self.core.control.spawn(async move { remove_work_dir(&context).await });
    }
}
