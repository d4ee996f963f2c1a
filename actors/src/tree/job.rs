//! A job's actor: owns the job under its epoch; decides, commits, then acts.
//!
//! A handler awaits nothing but its commit. Whatever goes wrong here is mended by starting again
//! from the journal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callsheet_engine::{
    Action, Ending, Failure, Input, JobId, JobState, Outcome, Phase, StartStep, Timestamp, Token,
    decide, fold,
};
use callsheet_storage::{Commit, JobHead, JobStatus, StoreError};
use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::JobsMsg;
use super::attempt::{self, AttemptMsg, End};
use crate::clock;
use crate::core::Core;
use crate::limits::{PASSIVATE_AFTER_MS, ROOM_RETRY_MS};
use crate::mailbox::{Enrolled, Mailbox};

/// What wakes a job.
pub(crate) enum JobMsg {
    /// Take the job over: the first message of every actor.
    Load,
    /// An attempt came to its end.
    StepEnded(Token, Outcome),
    /// A wait may be over.
    TimerFired,
    /// Somebody wants the job to stop, and to be told when that is durable.
    Cancel(Option<String>, oneshot::Sender<CancelAnswer>),
    /// The process is about to stop: let what runs end, start nothing.
    Drain,
    /// The process stops now: give every attempt back.
    Release,
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It is recorded; the job's work is being stopped.
    Accepted,
    /// The job was being cancelled already.
    AlreadyStopping,
    /// The job had ended before, like this.
    AlreadyEnded(JobStatus),
}

/// What an actor is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To run the job.
    Run,
    /// To record that the job has killed its actor too often.
    Quarantine,
}

pub(crate) struct Job;

pub(crate) struct Life {
    core: Arc<Core>,
    enrolled: Enrolled,
    id: JobId,
    mode: Mode,
    /// `None` until the journal is loaded.
    owned: Option<Owned>,
}

/// A job under this actor's epoch.
struct Owned {
    state: JobState,
    head: JobHead,
    epoch: u64,
    sequence: u64,
    attempts: HashMap<Token, Mailbox<AttemptMsg>>,
    timer: Option<(Timestamp, AbortHandle)>,
    draining: bool,
}

impl Actor for Job {
    type Msg = JobMsg;
    type State = Life;
    type Arguments = (Arc<Core>, Enrolled, JobId, Mode);

    async fn pre_start(
        &self,
        _: ActorRef<JobMsg>,
        (core, enrolled, id, mode): Self::Arguments,
    ) -> Result<Life, ActorProcessingErr> {
        Ok(Life { core, enrolled, id, mode, owned: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<JobMsg>,
        message: JobMsg,
        life: &mut Life,
    ) -> Result<(), ActorProcessingErr> {
        let mailbox = Mailbox { actor: myself, record: life.enrolled.record.clone() };
        let handled = life.enrolled.record.handled();
        life.react(&mailbox, message).await.inspect_err(|error| life.core.note(error))?;
        life.rest(&mailbox, handled)
    }

    /// An attempt's actor that dies has failed its attempt; one that ends has said so before.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<JobMsg>,
        event: SupervisionEvent,
        life: &mut Life,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(who, error) = event
            && let Some(owned) = &life.owned
            && let Some((token, _)) =
                owned.attempts.iter().find(|(_, mailbox)| mailbox.actor.get_id() == who.get_id())
        {
            let failure = Failure::retryable("step.actor", format!("its actor died: {error}"));
            let mailbox = Mailbox { actor: myself, record: life.enrolled.record.clone() };
            let _ = mailbox.send(JobMsg::StepEnded(*token, Outcome::Failed(failure)));
        }
        Ok(())
    }
}

impl Life {
    async fn react(
        &mut self,
        mailbox: &Mailbox<JobMsg>,
        message: JobMsg,
    ) -> Result<(), StoreError> {
        match message {
            JobMsg::Load => self.load(mailbox).await,
            JobMsg::StepEnded(token, outcome) => {
                self.count_end(token, &outcome);
                self.turn(mailbox, Input::StepEnded { token, outcome }).await
            }
            JobMsg::TimerFired => self.turn(mailbox, Input::TimerFired).await,
            JobMsg::Cancel(reason, reply) => self.cancel(mailbox, reason, reply).await,
            JobMsg::Drain => {
                self.owned.iter_mut().for_each(|owned| owned.draining = true);
                self.turn(mailbox, Input::Drain).await
            }
            JobMsg::Release => {
                self.owned.iter_mut().for_each(|owned| owned.draining = true);
                self.turn(mailbox, Input::Drain).await?;
                self.owned.iter().for_each(Owned::release);
                Ok(())
            }
        }
    }

    /// Takes the job over and goes on from its last record.
    async fn load(&mut self, mailbox: &Mailbox<JobMsg>) -> Result<(), StoreError> {
        let claim = self.core.store.claim(self.id).await?;
        let plan = self.core.plans.frozen(&claim.head.workflow.digest, &*self.core.store).await?;
        let events = claim.records.iter().flat_map(|record| &record.events);
        let state = fold(self.id, plan, events)
            .map_err(|error| StoreError::Damaged { job: self.id, why: error.to_string() })?;
        self.owned = Some(Owned {
            state,
            head: claim.head,
            epoch: claim.epoch,
            sequence: claim.records.len() as u64,
            attempts: HashMap::new(),
            timer: None,
            draining: false,
        });
        let input = match self.mode {
            Mode::Run => Input::Resume,
            Mode::Quarantine => Input::Quarantine { failure: poisoned() },
        };
        self.turn(mailbox, input).await
    }

    async fn cancel(
        &mut self,
        mailbox: &Mailbox<JobMsg>,
        reason: Option<String>,
        reply: oneshot::Sender<CancelAnswer>,
    ) -> Result<(), StoreError> {
        let Some(owned) = &self.owned else { return Ok(()) };
        let answer = match &owned.state.phase {
            Phase::Ended { .. } => CancelAnswer::AlreadyEnded(owned.head.status),
            Phase::Stopping(callsheet_engine::StopCause::Cancel) => CancelAnswer::AlreadyStopping,
            _ => CancelAnswer::Accepted,
        };
        self.turn(mailbox, Input::Cancel { reason }).await?;
        fail_point!("actors.answer.before");
        // The asker may have gone away; the cancel stands all the same.
        let _ = reply.send(answer);
        fail_point!("actors.answer.after");
        Ok(())
    }

    /// Decide, commit, act: in that order, always.
    async fn turn(&mut self, mailbox: &Mailbox<JobMsg>, input: Input) -> Result<(), StoreError> {
        let Some(owned) = &mut self.owned else { return Ok(()) };
        let decision = decide(&mut owned.state, input, clock::now());
        if !decision.events.is_empty() {
            let head = owned.next_head();
            let commit = Commit {
                job: self.id,
                epoch: owned.epoch,
                sequence: owned.sequence,
                events: decision.events,
                head: head.clone(),
            };
            fail_point!("actors.commit.before");
            commit_when_there_is_room(&self.core, commit).await?;
            fail_point!("actors.commit.after");
            self.core.counters.commits.up();
            owned.sequence += 1;
            if let Some(head) = head {
                owned.head = head;
                self.core.count_ending(&owned.state);
            }
        }
        for action in decision.actions {
            fail_point!("actors.deed.before");
            self.act(mailbox, action);
            fail_point!("actors.deed.after");
        }
        Ok(())
    }

    fn act(&mut self, mailbox: &Mailbox<JobMsg>, action: Action) {
        let Some(owned) = &mut self.owned else { return };
        match action {
            Action::StartStep(start) => {
                self.core.counters.attempts_started.up();
                self.core.counters.attempts_open.up();
                let (token, step_id) = (start.token, owned.step_id(&start));
                match attempt::start(&self.core, self.id, mailbox, step_id, start) {
                    Ok(attempt) => {
                        owned.attempts.insert(token, attempt);
                    }
                    Err(failure) => {
                        let ended = JobMsg::StepEnded(token, Outcome::Failed(failure));
                        let _ = mailbox.send(ended);
                    }
                }
            }
            Action::StopStep(token) => match owned.attempts.get(&token) {
                // One that has just ended has sent its word; it is on its way.
                Some(attempt) => drop(attempt.send(AttemptMsg::Stop(End::Stopped))),
                None => drop(mailbox.send(JobMsg::StepEnded(token, Outcome::Stopped))),
            },
        }
    }

    fn count_end(&mut self, token: Token, outcome: &Outcome) {
        let known = self.owned.as_mut().is_some_and(|owned| {
            let started = owned.attempts.remove(&token).is_some();
            started || owned.state.open_attempt(token).is_some()
        });
        if !known {
            return;
        }
        let counters = &self.core.counters;
        counters.attempts_open.down();
        match outcome {
            Outcome::Succeeded(_) => counters.attempts_succeeded.up(),
            Outcome::Failed(_) => counters.attempts_failed.up(),
            Outcome::Stopped | Outcome::Released => {}
        }
    }

    /// Sets the timer of the next wait, or asks to be let go when there is nothing to do for long.
    fn rest(&mut self, mailbox: &Mailbox<JobMsg>, handled: u64) -> Result<(), ActorProcessingErr> {
        let Some(owned) = &mut self.owned else { return Ok(()) };
        let over = owned.state.has_ended() || (owned.draining && owned.attempts.is_empty());
        let sleeps = match owned.head.status {
            JobStatus::Sleeping { until } if owned.state.only_waits() => Some(until),
            _ => None,
        };
        if over || sleeps.is_some() {
            if let Some(until) = sleeps {
                self.core
                    .tell_jobs(JobsMsg::Sleep(self.id, until))
                    .map_err(|_| "the jobs supervisor is gone")?;
            }
            let retire = JobsMsg::Retire(self.id, handled);
            self.core.tell_jobs(retire).map_err(|_| "the jobs supervisor is gone")?;
        } else {
            owned.arm(mailbox);
        }
        Ok(())
    }
}

impl Owned {
    fn step_id(&self, start: &StartStep) -> String {
        self.state.plan.step(start.step).id.clone()
    }

    /// The head after the turn, if its status changed.
    fn next_head(&self) -> Option<JobHead> {
        let now = clock::now();
        let status = status_of(&self.state, now);
        (status != self.head.status).then(|| JobHead {
            status,
            changed_at: now,
            ..self.head.clone()
        })
    }

    fn release(&self) {
        for attempt in self.attempts.values() {
            // One that has just ended has sent its word.
            let _ = attempt.send(AttemptMsg::Stop(End::Released));
        }
    }

    /// Sets one timer, for the soonest wait.
    fn arm(&mut self, mailbox: &Mailbox<JobMsg>) {
        // A draining job starts nothing, so no wait is worth waking up for.
        let waits = self.state.phase == Phase::Running && !self.draining;
        let Some(due) = self.state.next_wake().filter(|_| waits) else { return };
        if let Some((armed, timer)) = &self.timer {
            if *armed == due && !timer.is_finished() {
                return;
            }
            timer.abort();
        }
        let wait = Duration::from(due.since(clock::now())).max(Duration::from_millis(1));
        let mailbox = mailbox.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // The actor may have ended meanwhile; its follower sets its own timer.
            let _ = mailbox.send(JobMsg::TimerFired);
        });
        self.timer = Some((due, timer.abort_handle()));
    }
}

impl Core {
    fn count_ending(&self, state: &JobState) {
        match &state.phase {
            Phase::Ended { ending: Ending::Succeeded(_), .. } => self.counters.jobs_succeeded.up(),
            Phase::Ended { ending: Ending::Failed(_), .. } => self.counters.jobs_failed.up(),
            Phase::Ended { ending: Ending::Cancelled, .. } => self.counters.jobs_cancelled.up(),
            Phase::Running | Phase::Stopping(_) => {}
        }
    }
}

/// The recorded status of a job in this state.
fn status_of(state: &JobState, now: Timestamp) -> JobStatus {
    match &state.phase {
        Phase::Running => match state.next_wake() {
            Some(until) if state.only_waits() && until.since(now).0 > PASSIVATE_AFTER_MS => {
                JobStatus::Sleeping { until }
            }
            _ => JobStatus::Running,
        },
        Phase::Stopping(_) => JobStatus::Stopping,
        Phase::Ended { ending: Ending::Succeeded(_), .. } => JobStatus::Succeeded,
        Phase::Ended { ending: Ending::Failed(_), .. } => JobStatus::Failed,
        Phase::Ended { ending: Ending::Cancelled, .. } => JobStatus::Cancelled,
    }
}

/// Commits; while the disk is full the job is parked here, and nothing that it has done is lost.
async fn commit_when_there_is_room(core: &Core, commit: Commit) -> Result<(), StoreError> {
    loop {
        match core.store.commit(commit.clone()).await {
            Err(StoreError::Full) => {
                tracing::warn!(job = %commit.job, "the disk is full; the job is parked");
                tokio::time::sleep(Duration::from_millis(ROOM_RETRY_MS)).await;
            }
            other => return other,
        }
    }
}

fn poisoned() -> Failure {
    Failure::fatal("job.poisoned", "the job's actor died again and again")
        .with_hint("look at the log for the panic, then submit the job again")
}
