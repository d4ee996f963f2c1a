//! A job's actor: owns the job under its epoch; decides, commits, then acts.
//!
//! A handler awaits no commit: its record is written by a task that sends word, and what is decided
//! meanwhile gathers for the next record; see [`ledger`](super::ledger). What rests on a record is
//! done when that is durable. Only the bodies of pure steps begin before: nothing of them can be
//! seen outside, and a crash at worst repeats them.
//!
//! Whatever goes wrong here is mended by starting again from the journal.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use callsheet_engine::definition::Effect;
use callsheet_engine::{
    Action, Failure, HeldDoubt, Input, JobId, JobState, Outcome, Phase, Resolution, Timestamp,
    Token, decide, fold, mutated,
};
use callsheet_storage::{Commit, Hold, JobHead, JobStatus, StoreError};
use fail::fail_point;
use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::AbortHandle;

use super::JobsMsg;
use super::answer::{Answered, CancelAnswer, Reply};
use super::attempt::{self, AttemptMsg, End, Running};
use super::ledger::{Landed, Ledger, Turn};
use super::parking::{self, Flight};
use super::status::status_of;
use super::trial::Trial;
use crate::clock;
use crate::core::Core;
use crate::gauges::Metered;
use crate::handle::{HELD_UNTIL, JobView};
use crate::kin::ORPHANED;
use crate::mailbox::{Enrolled, Mailbox};

/// What wakes a job.
pub(crate) enum JobMsg {
    /// Take the job over: the first message of every actor.
    Load,
    /// The record under way finds no room on the disk.
    Parked,
    /// A record is durable, or will never be, or the task that wrote it died.
    Committed(Result<Result<(), StoreError>, Died>),
    /// The body of an attempt came to its end.
    BodyEnded(Token, Outcome),
    /// An attempt came to its end, and nothing of it is left.
    StepEnded(Token, Outcome),
    /// A body has run for so long that it needs an actor.
    ComeOfAge(Token),
    /// A wait may be over.
    TimerFired,
    /// Somebody wants the job to stop, and to be told when that is durable.
    Cancel(Option<String>, oneshot::Sender<Answered<CancelAnswer>>),
    /// Somebody has looked whether a deed in doubt was done, and is to be told when their word is
    /// durable.
    Resolve(HeldDoubt, Resolution, oneshot::Sender<Answered<bool>>),
    /// It is this job's turn to be tried alone.
    Tried(OwnedSemaphorePermit),
    /// It was tried for long enough.
    Cleared,
    /// The process is about to stop: let what runs end, start nothing.
    Drain,
    /// The process stops now: give every attempt back.
    Release,
}

/// A task panicked; its message has been logged.
#[derive(Debug)]
pub(crate) struct Died;

/// What an actor is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To run a job that nobody has ever worked on.
    First,
    /// To go on with a job.
    Again,
    /// To record that the job has killed its actor too often.
    Quarantine,
}

impl Mode {
    fn input(self) -> Input {
        match self {
            Self::First | Self::Again => Input::Resume,
            Self::Quarantine => Input::Quarantine { failure: poisoned() },
        }
    }
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
    ledger: Ledger,
    flight: Option<Flight>,
    /// Files that the job uses are in use while this lives.
    hold: Arc<Hold>,
    /// Nothing of the job was ever interrupted, so its pure steps may run ahead of the disk. One
    /// that kills the process is thereby counted from the second time on, and found out.
    fresh: bool,
    attempts: BTreeMap<Token, Running>,
    timer: Option<(Timestamp, AbortHandle)>,
    draining: bool,
    /// The process stops now: what has not begun never does.
    released: bool,
    trial: Trial,
    meter: Metered,
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
                owned.attempts.iter().find(|(_, attempt)| attempt.is_actor(who.get_id()))
        {
            let failure = Failure::retryable("step.actor", format!("its actor died: {error}"));
            let mailbox = Mailbox { actor: myself, record: life.enrolled.record.clone() };
            let _ = mailbox.send(JobMsg::StepEnded(*token, Outcome::Lost(failure)));
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
            JobMsg::Load => return self.load(mailbox).await,
            JobMsg::Parked => self.park(),
            JobMsg::Committed(result) => {
                result.expect("a task that dies with a record takes the actor with it")?;
                self.land(mailbox);
            }
            JobMsg::BodyEnded(token, result) => self.body_ended(mailbox, token, result),
            JobMsg::StepEnded(token, outcome) => self.step_ended(mailbox, token, outcome),
            JobMsg::ComeOfAge(token) => self.grow(mailbox, token),
            JobMsg::TimerFired => self.turn(mailbox, Input::TimerFired, None),
            JobMsg::Cancel(reason, reply) => self.cancel(mailbox, reason, reply),
            JobMsg::Resolve(doubt, resolution, reply) => {
                self.resolve(mailbox, doubt, resolution, reply);
            }
            JobMsg::Tried(place) => self.go_on_alone(mailbox, place),
            JobMsg::Cleared => self.owned.iter_mut().for_each(|owned| owned.trial.clear()),
            JobMsg::Drain => self.drain(mailbox),
            JobMsg::Release => {
                self.owned.iter_mut().for_each(|owned| owned.released = true);
                self.drain(mailbox);
                self.stop_those(mailbox, End::Released, |_| true);
            }
        }
        Ok(())
    }

    /// Takes the job over and goes on from its last record.
    async fn load(&mut self, mailbox: &Mailbox<JobMsg>) -> Result<(), StoreError> {
        let claim = self.core.store.claim(self.id).await?;
        let plan = self.core.plans.frozen(&claim.head.workflow.digest, &*self.core.store).await?;
        let events = claim.records.iter().flat_map(|record| &record.events);
        let state = fold(self.id, plan, events)
            .map_err(|error| StoreError::Damaged { job: self.id, why: error.to_string() })?;
        let is_running = state.phase == Phase::Running;
        let is_unwanted = is_running && self.core.is_orphan(&claim.head).await?;
        let trial = match self.mode {
            Mode::Again if !is_unwanted => Trial::of(&state, &self.core, mailbox),
            Mode::First | Mode::Again | Mode::Quarantine => Trial::None,
        };
        self.owned = Some(Owned {
            meter: self.core.shared.gauges.meter(&state),
            state,
            head: claim.head,
            epoch: claim.epoch,
            sequence: claim.records.len() as u64,
            ledger: Ledger::default(),
            flight: None,
            hold: Arc::new(self.core.shared.files.artifacts.hold()),
            fresh: claim.records.len() == 1 && self.mode == Mode::First,
            attempts: BTreeMap::new(),
            timer: None,
            draining: false,
            released: false,
            trial,
        });
        // What was open is dead, and still looks open: nothing may start before that is recorded,
        // which is for whoever goes on with the job.
        let unwanted = || Input::Cancel { reason: Some(ORPHANED.to_owned()) };
        match self.core.is_draining() {
            true => self.drain(mailbox),
            false if is_unwanted => self.turn(mailbox, unwanted(), None),
            false if self.waits_for_trial() => self.turn(mailbox, Input::Drain, None),
            false => self.turn(mailbox, self.mode.input(), None),
        }
        self.note_end();
        Ok(())
    }

    fn waits_for_trial(&self) -> bool {
        self.owned.as_ref().is_some_and(|owned| owned.trial.is_waiting())
    }

    /// Goes on, after the others that are suspected and before the next of them.
    fn go_on_alone(&mut self, mailbox: &Mailbox<JobMsg>, place: OwnedSemaphorePermit) {
        let Some(owned) = &mut self.owned else { return };
        owned.trial = Trial::None;
        // Nothing is to go on with in a job that was cancelled meanwhile, or that is to stop.
        if owned.state.phase == Phase::Running && !owned.draining {
            self.turn(mailbox, Input::Resume, None);
            if let Some(owned) = &mut self.owned {
                owned.trial.begin(place, &owned.state, mailbox);
            }
        }
    }

    fn cancel(
        &mut self,
        mailbox: &Mailbox<JobMsg>,
        reason: Option<String>,
        reply: oneshot::Sender<Answered<CancelAnswer>>,
    ) {
        let Some(owned) = &self.owned else { return };
        if owned.is_parked() {
            // Not even decided: the asker may ask again when there is room.
            drop(reply.send(Err(StoreError::Full)));
            return;
        }
        let answer = match &owned.state.phase {
            Phase::Ended { .. } => CancelAnswer::AlreadyEnded(owned.head.status),
            Phase::Stopping(callsheet_engine::StopCause::Cancel) => CancelAnswer::AlreadyStopping,
            _ => CancelAnswer::Accepted,
        };
        let reply = Reply::Cancel(reply, answer);
        self.turn(mailbox, Input::Cancel { reason }, Some(reply));
    }

    /// A person's word about a doubt; of one that is not held there is nothing to say.
    fn resolve(
        &mut self,
        mailbox: &Mailbox<JobMsg>,
        doubt: HeldDoubt,
        resolution: Resolution,
        reply: oneshot::Sender<Answered<bool>>,
    ) {
        let Some(owned) = &self.owned else { return };
        if owned.is_parked() {
            drop(reply.send(Err(StoreError::Full)));
            return;
        }
        let is_held = owned.state.held().any(|held| held == doubt);
        let input = Input::Resolve { doubt, resolution };
        self.turn(mailbox, input, Some(Reply::Resolve(reply, is_held)));
    }

    /// The record under way waits for room. A cancel that waits with it is answered now; it is
    /// still recorded in its turn, for it was decided on.
    fn park(&mut self) {
        let Some(owned) = &mut self.owned else { return };
        owned.flight.iter_mut().for_each(|flight| flight.parked = true);
        owned.ledger.take_replies().into_iter().for_each(Reply::refuse);
    }

    fn drain(&mut self, mailbox: &Mailbox<JobMsg>) {
        self.owned.iter_mut().for_each(|owned| owned.draining = true);
        self.turn(mailbox, Input::Drain, None);
        // Whoever waits for another job would hold the shutdown up for nothing.
        self.stop_those(mailbox, End::Released, |attempt| attempt.waits);
    }

    /// Decide, commit, act: in that order, always. What may go ahead of the commit is said at
    /// [`Owned::goes_ahead`].
    fn turn(&mut self, mailbox: &Mailbox<JobMsg>, input: Input, reply: Option<Reply>) {
        let Some(owned) = &mut self.owned else { return };
        let decision = decide(&mut owned.state, input, clock::now());
        owned.meter.gauge.follow(&owned.state);
        let head = (!decision.events.is_empty()).then(|| owned.next_head()).flatten();
        if let Some(head) = &head {
            owned.head = head.clone();
        }
        let core = &self.core;
        let (ahead, deeds): (Vec<_>, Vec<_>) =
            decision.actions.into_iter().partition(|deed| owned.goes_ahead(core, deed));
        let mut replies: Vec<_> = reply.into_iter().collect();
        if mutated("cancel-answer") {
            say(std::mem::take(&mut replies));
        }
        let landed = owned.ledger.note(Turn { events: decision.events, head, deeds, replies });
        self.commit_next(mailbox);
        ahead.into_iter().for_each(|deed| self.act(mailbox, deed));
        self.settle(mailbox, landed);
    }

    /// Hands the next record to the store, if one is due.
    fn commit_next(&mut self, mailbox: &Mailbox<JobMsg>) {
        let Some(owned) = &mut self.owned else { return };
        let Some((events, head)) = owned.ledger.take_off() else { return };
        let (job, epoch, sequence) = (self.id, owned.epoch, owned.sequence);
        owned.sequence += 1;
        let commit = Commit { job, epoch, sequence, events, head };
        let options = owned.state.options;
        let flight = owned.flight.insert(Flight::default());
        let (core, mailbox, given_up) = (self.core.clone(), mailbox.clone(), flight.given_up());
        tokio::spawn(async move {
            let written = AssertUnwindSafe(async {
                if commit.head.as_ref().is_some_and(|head| head.status.has_ended()) {
                    core.shared.files.farewell(job, options, &commit.events).await;
                }
                parking::commit(&core, &mailbox, commit, &given_up).await
            });
            let result = written.catch_unwind().await.map_err(|_| Died);
            if let Some(result) =
                result.map_or_else(|died| Some(Err(died)), |written| written.map(Ok))
            {
                // The actor may have died meanwhile; its follower reads the journal.
                let _ = mailbox.send(JobMsg::Committed(result));
            }
        });
    }

    /// A record is durable: does and says what rests on it.
    fn land(&mut self, mailbox: &Mailbox<JobMsg>) {
        let Some(owned) = &mut self.owned else { return };
        self.core.counters.commits.up();
        owned.flight = None;
        let landed = owned.ledger.land();
        if landed.head.as_ref().is_some_and(|head| head.status.has_ended()) {
            self.core.count_ending(&owned.state);
        }
        landed.head.iter().for_each(|head| self.core.tell_kin(head));
        self.commit_next(mailbox);
        self.settle(mailbox, landed);
        self.note_end();
    }

    fn settle(&mut self, mailbox: &Mailbox<JobMsg>, landed: Landed) {
        for deed in landed.deeds {
            self.act(mailbox, deed);
        }
        say(landed.replies);
    }

    /// Tells those who wait for the job's end, once that is durable.
    fn note_end(&self) {
        if let Some(owned) = &self.owned
            && owned.state.has_ended()
            && owned.ledger.is_settled()
        {
            self.core.waiters.ended(self.id, || JobView {
                head: owned.head.clone(),
                state: owned.state.clone(),
                records: owned.sequence,
                progress: owned.state.progress(),
            });
        }
    }

    fn act(&mut self, mailbox: &Mailbox<JobMsg>, action: Action) {
        let Some(owned) = &mut self.owned else { return };
        fail_point!("actors.deed.before");
        match action {
            Action::StartStep(start) if owned.released => {
                drop(mailbox.send(JobMsg::StepEnded(start.token, Outcome::NotBegun)));
            }
            // Decided since, and on its way to the disk: the job stops. That tells the attempt to
            // stop, which then was never begun.
            Action::StartStep(_) if owned.state.phase != Phase::Running => {}
            Action::StartStep(start) => {
                self.core.counters.attempts_started.up();
                let token = start.token;
                let job = (&owned.state, &owned.meter.gauge, &owned.hold);
                match attempt::begin(&self.core, mailbox, job, start) {
                    Ok(attempt) => drop(owned.attempts.insert(token, attempt)),
                    Err(failure) => {
                        let ended = JobMsg::StepEnded(token, Outcome::Failed(failure));
                        let _ = mailbox.send(ended);
                    }
                }
            }
            Action::StopStep(token) => self.stop(mailbox, token, End::Stopped),
        }
        fail_point!("actors.deed.after");
    }

    /// Stops an attempt. What has not begun by now never does: an answer may follow at once.
    fn stop(&mut self, mailbox: &Mailbox<JobMsg>, token: Token, end: End) {
        let attempt = self.owned.as_ref().and_then(|owned| owned.attempts.get(&token));
        attempt.into_iter().for_each(Running::hold_back);
        self.grow(mailbox, token);
        let attempt = self.owned.as_ref().and_then(|owned| owned.attempts.get(&token));
        match attempt {
            Some(attempt) => attempt.tell(AttemptMsg::Stop(end)),
            // It has just ended, or was never begun.
            None => drop(mailbox.send(JobMsg::StepEnded(token, Outcome::Stopped))),
        }
    }

    fn stop_those(&mut self, mailbox: &Mailbox<JobMsg>, end: End, which: fn(&Running) -> bool) {
        let Some(owned) = &self.owned else { return };
        let those = owned.attempts.iter().filter(|(_, attempt)| which(attempt));
        let tokens: Vec<_> = those.map(|(token, _)| *token).collect();
        tokens.into_iter().for_each(|token| self.stop(mailbox, token, end));
    }

    /// Gives an attempt an actor of its own, unless it has one.
    fn grow(&mut self, mailbox: &Mailbox<JobMsg>, token: Token) {
        let Some(owned) = &mut self.owned else { return };
        let Some(attempt) = owned.attempts.remove(&token) else { return };
        match attempt.grown(&self.core, mailbox) {
            Ok(attempt) => drop(owned.attempts.insert(token, attempt)),
            Err(failure) => {
                drop(mailbox.send(JobMsg::StepEnded(token, Outcome::Lost(failure))));
            }
        }
    }

    fn body_ended(&mut self, mailbox: &Mailbox<JobMsg>, token: Token, outcome: Outcome) {
        let Some(owned) = &mut self.owned else { return };
        // One that is not known was stopped, and has told its end.
        let Some(attempt) = owned.attempts.get(&token) else { return };
        if attempt.is_bare() {
            return self.step_ended(mailbox, token, outcome);
        }
        self.grow(mailbox, token);
        if let Some(attempt) = self.owned.as_ref().and_then(|owned| owned.attempts.get(&token)) {
            attempt.tell(AttemptMsg::BodyEnded(outcome));
        }
    }

    fn step_ended(&mut self, mailbox: &Mailbox<JobMsg>, token: Token, outcome: Outcome) {
        self.count_end(token, &outcome);
        self.turn(mailbox, Input::StepEnded { token, outcome }, None);
    }

    fn count_end(&mut self, token: Token, outcome: &Outcome) {
        let known = self.owned.as_mut().is_some_and(|owned| {
            let attempt = owned.attempts.remove(&token);
            let started = attempt.is_some();
            attempt.into_iter().for_each(Running::bury);
            started || owned.state.open_attempt(token).is_some()
        });
        if !known {
            return;
        }
        let counters = &self.core.counters;
        match outcome {
            // A probe that has an answer has done its work, whatever the answer is.
            Outcome::Succeeded(_) | Outcome::Recalled(_) | Outcome::NotDone | Outcome::Unknown => {
                counters.attempts_succeeded.up();
            }
            Outcome::Failed(_) | Outcome::Lost(_) => counters.attempts_failed.up(),
            Outcome::Stopped | Outcome::Released | Outcome::NotBegun => {}
        }
    }

    /// Sets the timer of the next wait, or asks to be let go when there is nothing to do for long.
    fn rest(&mut self, mailbox: &Mailbox<JobMsg>, handled: u64) -> Result<(), ActorProcessingErr> {
        let Some(owned) = &mut self.owned else { return Ok(()) };
        // A draining job that is parked is let go with what it could not record.
        let idle = owned.draining && owned.attempts.is_empty();
        match &owned.flight {
            Some(flight) if flight.parked && idle => flight.give_up(),
            _ if !owned.ledger.is_settled() => return Ok(()),
            _ => {}
        }
        owned.trial.look(&owned.state);
        let over = owned.state.has_ended() || idle;
        let sleeps = match owned.head.status {
            JobStatus::Sleeping { until } if owned.state.only_waits() => Some(until),
            _ => None,
        };
        if over || sleeps.is_some() {
            if let Some(until) = sleeps.filter(|until| *until != HELD_UNTIL) {
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
    fn is_parked(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.parked)
    }

    /// Whether a deed may be done before what it rests on is durable: a pure body, of which nothing
    /// can be seen outside before its result is, in a job that was never interrupted.
    fn goes_ahead(&self, core: &Core, deed: &Action) -> bool {
        match deed {
            Action::StartStep(_) if mutated("intent-write") => true,
            Action::StartStep(start) if self.fresh && self.ledger.may_run_ahead() => {
                core.catalog.get(&start.uses).is_some_and(|kind| kind.effect == Effect::Pure)
            }
            Action::StartStep(_) | Action::StopStep(_) => false,
        }
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

    /// Sets one timer, for the soonest wait.
    fn arm(&mut self, mailbox: &Mailbox<JobMsg>) {
        // A draining job starts nothing, so no wait is worth waking up for, and one that waits for
        // its trial goes on with that.
        let waits =
            self.state.phase == Phase::Running && !self.draining && !self.trial.is_waiting();
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

/// Answers those whose wish is durable.
fn say(replies: Vec<Reply>) {
    for reply in replies {
        fail_point!("actors.answer.before");
        reply.give();
        fail_point!("actors.answer.after");
    }
}

fn poisoned() -> Failure {
    Failure::fatal("job.poisoned", "the job's actor died again and again")
        .with_hint("look at the log for the panic, then submit the job again")
}
