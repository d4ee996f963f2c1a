//! A job's actor, as in `actors/src/tree/job.rs`: decides, commits, then acts, in that order. One
//! record is under way at a time; what is decided meanwhile gathers for the next, and pure bodies
//! may begin ahead of the disk.

use std::collections::{BTreeMap, VecDeque};

use callsheet_engine::{
    Action, Decision, Ending, Event, Failure, HeldDoubt, Input, JobId, JobState, Outcome, Phase,
    Resolution, StopCause, Timestamp, Token, decide, fold,
};

use crate::caller::CancelAnswer;
use crate::chronicle::hold;
use crate::process::JobsMsg;
use crate::store::{Answer, Asker, Claim, Commit, Refusal, Request, Status, Verb};
use crate::world::{SECOND, What, World};

/// What wakes a job.
#[derive(Debug)]
pub(crate) enum JobMsg {
    StepEnded(Token, Outcome),
    TimerFired,
    /// From this caller.
    Cancel(usize),
    /// From somebody who has looked.
    Resolve(HeldDoubt, Resolution),
    Drain,
    Release,
}

/// An actor and what is on its way to it.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) process: u64,
    pub(crate) job: JobId,
    quarantine: bool,
    /// `None` until the journal is loaded.
    owned: Option<Owned>,
    inbox: VecDeque<JobMsg>,
    pub(crate) sent: u64,
    handled: u64,
    scheduled: bool,
    /// The record on its way to the disk.
    flight: Option<Flight>,
    /// What was decided since, oldest first.
    waiting: VecDeque<Turn>,
}

/// A job under this actor's epoch.
#[derive(Debug)]
struct Owned {
    state: JobState,
    status: Status,
    epoch: u64,
    sequence: u64,
    /// Nothing of the job was ever interrupted, so its pure steps may run ahead of the disk.
    fresh: bool,
    attempts: BTreeMap<Token, u64>,
    timer: Option<(Timestamp, u64)>,
    draining: bool,
    released: bool,
}

/// What one decision came to.
#[derive(Debug)]
struct Turn {
    events: Vec<Event>,
    status: Option<Status>,
    rest: Rest,
}

/// What is done and said once a record is durable.
#[derive(Debug, Default)]
struct Rest {
    deeds: Vec<Action>,
    replies: Vec<(usize, CancelAnswer)>,
}

#[derive(Debug)]
struct Flight {
    commit: Commit,
    rest: Rest,
}

impl Rest {
    fn append(&mut self, mut next: Self) {
        self.deeds.append(&mut next.deeds);
        self.replies.append(&mut next.replies);
    }
}

/// A job whose next wait is longer than this gives up its actor, in milliseconds.
const PASSIVATE_AFTER: u64 = 1_000;

/// A job that only waits for a person sleeps until then, and nothing wakes it but a word.
pub(crate) const HELD_UNTIL: Timestamp = Timestamp(253_402_300_799_999);

impl Actor {
    pub(crate) fn new(process: u64, job: JobId, quarantine: bool) -> Self {
        Self {
            process,
            job,
            quarantine,
            owned: None,
            inbox: VecDeque::new(),
            sent: 0,
            handled: 0,
            scheduled: false,
            flight: None,
            waiting: VecDeque::new(),
        }
    }

    /// Everybody who waits for an answer of this actor.
    pub(crate) fn callers(&self) -> Vec<usize> {
        let asked = self.inbox.iter().filter_map(|message| match message {
            JobMsg::Cancel(caller) => Some(*caller),
            _ => None,
        });
        let flight = self.flight.iter().map(|flight| &flight.rest);
        let rests = flight.chain(self.waiting.iter().map(|turn| &turn.rest));
        let due = rests.flat_map(|rest| rest.replies.iter().map(|(caller, _)| *caller));
        asked.chain(due).collect()
    }

    pub(crate) fn epoch(&self) -> Option<u64> {
        self.owned.as_ref().map(|owned| owned.epoch)
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.owned.as_ref().is_some_and(|owned| owned.fresh)
    }

    fn is_settled(&self) -> bool {
        self.flight.is_none() && self.waiting.is_empty()
    }
}

impl World {
    pub(crate) fn send(&mut self, id: u64, message: JobMsg) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.sent += 1;
        actor.inbox.push_back(message);
        self.schedule_actor(id);
    }

    fn schedule_actor(&mut self, id: u64) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let ready = !actor.inbox.is_empty() && actor.owned.is_some();
        if ready && !std::mem::replace(&mut actor.scheduled, true) {
            let wait = self.dice.spread(1, 200);
            self.after(wait, What::RunActor(id));
        }
    }

    /// The actor handles one message.
    pub(crate) fn run_actor(&mut self, id: u64) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.scheduled = false;
        let Some(message) = actor.inbox.pop_front() else { return };
        actor.handled += 1;
        self.react(id, message);
        self.settle(id);
    }

    fn react(&mut self, id: u64, message: JobMsg) {
        match message {
            JobMsg::StepEnded(token, outcome) => {
                self.owned(id).attempts.remove(&token);
                self.turn(id, Input::StepEnded { token, outcome }, None);
            }
            JobMsg::TimerFired => self.turn(id, Input::TimerFired, None),
            JobMsg::Cancel(caller) => {
                let answer = match &self.owned(id).state.phase {
                    Phase::Ended { .. } => CancelAnswer::AlreadyEnded,
                    Phase::Stopping(StopCause::Cancel) => CancelAnswer::AlreadyStopping,
                    _ => CancelAnswer::Accepted,
                };
                let reason = Some("enough".to_owned());
                self.turn(id, Input::Cancel { reason }, Some((caller, answer)));
            }
            JobMsg::Resolve(doubt, resolution) => {
                self.turn(id, Input::Resolve { doubt, resolution }, None);
            }
            JobMsg::Drain => {
                self.owned(id).draining = true;
                self.turn(id, Input::Drain, None);
            }
            JobMsg::Release => {
                self.owned(id).draining = true;
                self.turn(id, Input::Drain, None);
                if self.actors.contains_key(&id) {
                    self.give_back(id);
                }
            }
        }
    }

    fn owned(&mut self, id: u64) -> &mut Owned {
        let owned = self.actors.get_mut(&id).and_then(|actor| actor.owned.as_mut());
        owned.expect("only actors that have loaded handle messages")
    }

    /// The actor has taken the job over and goes on from its last record.
    fn load(&mut self, id: u64, claim: Claim) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let (job, quarantine) = (actor.job, actor.quarantine);
        let plan = self.graphs[claim.graph].plan.clone();
        let folded = fold(job, plan, &claim.events);
        let state = folded.unwrap_or_else(|error| panic!("journals fold: {job}: {error}"));
        actor.owned = Some(Owned {
            fresh: claim.records == 1 && !quarantine,
            state,
            status: claim.status,
            epoch: claim.epoch,
            sequence: claim.records,
            attempts: BTreeMap::new(),
            timer: None,
            draining: false,
            released: false,
        });
        let input = match quarantine {
            true => Input::Quarantine {
                failure: Failure::fatal("job.poisoned", "the job's actor died again and again"),
            },
            false => Input::Resume,
        };
        self.turn(id, input, None);
        self.settle(id);
    }

    /// Decides, and hands the commit to the store; the deeds wait until it is durable.
    fn turn(&mut self, id: u64, input: Input, reply: Option<(usize, CancelAnswer)>) {
        let now = self.wall();
        let (process, job) = (self.actors[&id].process, self.actors[&id].job);
        let name = name_of(&input, &self.owned(id).state.phase);
        self.coverage.count("input", name);
        self.say(|_| format!("actor {id} of {job}: {input:?}"));
        let owned = self.owned(id);
        let decision = decide(&mut owned.state, input, now);
        self.check_decision(id, &decision);
        let Decision { events, actions } = decision;
        if !events.is_empty() && self.dies_here(process, "death between decision and commit") {
            return;
        }
        let (ahead, deeds): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|deed| self.goes_ahead(id, deed));
        let owned = self.owned(id);
        let status = status_of(&owned.state, now);
        let changed = !events.is_empty() && status != owned.status;
        if changed {
            owned.status = status;
        }
        let rest = Rest { deeds, replies: reply.into_iter().collect() };
        self.note(id, Turn { events, status: changed.then_some(status), rest });
        for deed in ahead {
            self.coverage.count("life", "ran ahead of the disk");
            self.act(id, deed, true);
        }
    }

    /// Whether a deed may be done before what it rests on is durable.
    fn goes_ahead(&self, id: u64, deed: &Action) -> bool {
        let actor = &self.actors[&id];
        let Action::StartStep(start) = deed else { return false };
        let pure = self.chronicles[&actor.job].graph.nodes[start.step.at()].pure;
        pure && actor.is_fresh() && self.weather.ahead
    }

    /// Takes a turn in. What rests on nothing that is still to become durable is done at once.
    fn note(&mut self, id: u64, turn: Turn) {
        let actor = self.actor(id);
        if !turn.events.is_empty() {
            actor.waiting.push_back(turn);
            return self.commit_next(id);
        }
        let last = actor.waiting.back_mut().map(|last| &mut last.rest);
        match last.or(actor.flight.as_mut().map(|flight| &mut flight.rest)) {
            Some(rest) => rest.append(turn.rest),
            None => self.land(id, turn.rest),
        }
    }

    /// Hands the next record to the store, if none is under way: one or more whole turns.
    fn commit_next(&mut self, id: u64) {
        let most = self.weather.turns_a_record;
        let actor = self.actor(id);
        if actor.flight.is_some() || actor.waiting.is_empty() {
            return;
        }
        let count = actor.waiting.len().min(most);
        let turns: Vec<Turn> = actor.waiting.drain(..count).collect();
        let (process, job) = (actor.process, actor.job);
        if count > 1 {
            self.coverage.count("life", "many turns in one record");
        }
        let owned = self.owned(id);
        let (epoch, sequence) = (owned.epoch, owned.sequence);
        owned.sequence += 1;
        let (mut events, mut status, mut rest) = (Vec::new(), None, Rest::default());
        for mut turn in turns {
            events.append(&mut turn.events);
            status = turn.status.or(status);
            rest.append(turn.rest);
        }
        let commit = Commit { job, epoch, sequence, events, status };
        self.actor(id).flight = Some(Flight { commit: commit.clone(), rest });
        self.ask(Request { process, asker: Asker::Actor(id), verb: Verb::Commit(commit) });
    }

    fn actor(&mut self, id: u64) -> &mut Actor {
        self.actors.get_mut(&id).expect("the actor is alive")
    }

    fn check_decision(&mut self, id: u64, decision: &Decision) {
        let (steady, jumped) = (self.steady(), self.jumped_forward);
        for action in &decision.actions {
            match action {
                Action::StartStep(_) => self.coverage.count("action", "StartStep"),
                Action::StopStep(_) => self.coverage.count("action", "StopStep"),
            }
        }
        let actor = &self.actors[&id];
        if !self.processes[&actor.process].zombie {
            self.ledger.check_waits(actor.job, decision, steady, jumped);
        }
    }

    /// The store has answered the actor.
    pub(crate) fn actor_answered(&mut self, id: u64, answer: Answer) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let (process, job) = (actor.process, actor.job);
        match answer {
            Answer::Claimed(claim) => self.load(id, claim),
            Answer::Committed(sequence) => {
                let flight = actor.flight.take().expect("a record lands once, after it took off");
                assert_eq!(flight.commit.sequence, sequence, "one record is under way");
                if self.dies_here(process, "death between commit and acknowledgement") {
                    return;
                }
                self.commit_next(id);
                self.land(id, flight.rest);
                self.settle(id);
            }
            Answer::Refused(Refusal::Full) => {
                self.coverage.count("life", "parked");
                self.after(SECOND, What::Resend(id));
            }
            Answer::Refused(Refusal::StaleEpoch) => {
                let epoch = actor.epoch();
                let latest = self.chronicles[&job].epoch();
                hold!(epoch != Some(latest), "the owner may write", "{job} under {epoch:?}");
                self.actor_died(id, "it has a follower");
            }
            Answer::Refused(refusal) => {
                let fatal = matches!(refusal, Refusal::OutcomeUnknown | Refusal::Stopped);
                hold!(fatal, "the owner's record is the next", "{job}: {refusal:?}");
                self.actor_died(id, "the store has failed");
            }
            Answer::New(_) | Answer::Existing(_) | Answer::Conflict(_) => {
                panic!("an actor submits nothing");
            }
        }
    }

    /// The disk was full: the job is parked, and tries again. Nothing that it has done is lost.
    pub(crate) fn resend(&mut self, id: u64) {
        let Some(actor) = self.actors.get(&id) else { return };
        let flight = actor.flight.as_ref().expect("a parked job has a record to write");
        let (process, verb) = (actor.process, Verb::Commit(flight.commit.clone()));
        self.ask(Request { process, asker: Asker::Actor(id), verb });
    }

    /// After every message: when all is durable, the state is compared, and the actor rests.
    fn settle(&mut self, id: u64) {
        let Some(actor) = self.actors.get(&id) else { return };
        if actor.owned.is_some() && actor.is_settled() {
            self.check_fold(id);
            self.rest(id);
        }
        self.schedule_actor(id);
    }

    /// Does and says what rests on a record that is durable.
    fn land(&mut self, id: u64, rest: Rest) {
        let process = self.actors[&id].process;
        for (n, deed) in rest.deeds.into_iter().enumerate() {
            let why = match n {
                0 => "death between acknowledgement and deeds",
                _ => "death in the middle of the deeds",
            };
            if self.dies_here(process, why) {
                return;
            }
            self.act(id, deed, false);
        }
        for (caller, answer) in rest.replies {
            if self.dies_here(process, "death between deeds and answer") {
                return;
            }
            if self.callers[caller].waiting == Some(process) {
                self.cancel_answered(caller, answer);
            }
        }
    }

    fn act(&mut self, id: u64, action: Action, ahead: bool) {
        match action {
            Action::StartStep(start) => {
                let token = start.token;
                let owned = self.owned(id);
                if owned.released {
                    return self.say_ended(id, token, Outcome::NotBegun);
                }
                // A later decision, on its way to the disk, has stopped the job already: its own
                // deed tells the attempt to stop, which never began.
                if owned.state.phase != Phase::Running {
                    self.coverage.count("life", "start withheld");
                    return;
                }
                if let Some(body) = self.start_body(id, start, ahead) {
                    self.owned(id).attempts.insert(token, body);
                }
            }
            Action::StopStep(token) => match self.owned(id).attempts.get(&token).copied() {
                Some(body) => self.stop_body(body, Outcome::Stopped),
                None => self.say_ended(id, token, Outcome::Stopped),
            },
        }
    }

    /// Tells the actor that an attempt ended without ever having had a body.
    pub(crate) fn say_ended(&mut self, id: u64, token: Token, outcome: Outcome) {
        let job = self.actors[&id].job;
        self.ledger.told(job, token.0, &outcome);
        self.send(id, JobMsg::StepEnded(token, outcome));
    }

    fn give_back(&mut self, id: u64) {
        let owned = self.owned(id);
        owned.released = true;
        let bodies: Vec<u64> = owned.attempts.values().copied().collect();
        for body in bodies {
            self.coverage.count("life", "given back");
            self.stop_body(body, Outcome::Released);
        }
    }

    /// Sets the timer of the next wait, or asks to be let go when there is nothing to do for long.
    fn rest(&mut self, id: u64) {
        let actor = self.actor(id);
        let (process, job, handled) = (actor.process, actor.job, actor.handled);
        let owned = self.owned(id);
        let over = owned.state.has_ended() || (owned.draining && owned.attempts.is_empty());
        let sleeps = match owned.status {
            Status::Sleeping(until) if owned.state.only_waits() => Some(until),
            _ => None,
        };
        if !over && sleeps.is_none() {
            return self.arm(id);
        }
        if let Some(until) = sleeps {
            self.coverage.count("life", "passivated");
            if until != HELD_UNTIL {
                self.tell_jobs(process, JobsMsg::Sleep(job, until));
            }
        }
        self.tell_jobs(process, JobsMsg::Retire(job, handled));
    }

    fn arm(&mut self, id: u64) {
        let owned = self.owned(id);
        let waits = owned.state.phase == Phase::Running && !owned.draining;
        let Some(due) = owned.state.next_wake().filter(|_| waits) else { return };
        if owned.timer.is_some_and(|(armed, _)| armed == due) {
            return;
        }
        let (serial, wait) = (self.new_id(), self.until(due).max(1_000));
        self.owned(id).timer = Some((due, serial));
        self.after(wait, What::Timer(id, serial));
    }

    pub(crate) fn timer_fired(&mut self, id: u64, serial: u64) {
        let owned = self.actors.get_mut(&id).and_then(|actor| actor.owned.as_mut());
        let Some(owned) = owned else { return };
        if owned.timer.take_if(|(_, armed)| *armed == serial).is_some() {
            self.send(id, JobMsg::TimerFired);
        }
    }

    /// What is on the disk, folded, is what the owner has in memory.
    fn check_fold(&mut self, id: u64) {
        let actor = &self.actors[&id];
        let (job, now) = (actor.job, self.wall());
        let owned = actor.owned.as_ref().expect("the caller looked");
        let kept = self.store.job(job).expect("accepted is durable");
        if self.chronicles[&job].epoch() != owned.epoch {
            return; // It has a follower and does not know.
        }
        let count = kept.records.len() as u64;
        hold!(count == owned.sequence, "the owner knows its journal", "{job}: {count} records");
        let plan = owned.state.plan.clone();
        let mut folded = fold(job, plan, kept.records.iter().flatten())
            .unwrap_or_else(|error| panic!("journals fold: {job}: {error}"));
        if owned.draining {
            decide(&mut folded, Input::Drain, now);
        }
        let same = folded == owned.state;
        hold!(same, "the fold is the state", "{job}: {folded:?} is not {:?}", owned.state);
        let told = self.chronicles[&job].ended;
        let ended = match &owned.state.phase {
            Phase::Ended { .. } => Some(status_of(&owned.state, now)),
            _ => None,
        };
        hold!(told == ended, "the state ends as its journal", "{job}: {told:?}, {ended:?}");
    }
}

/// The recorded status of a job in this state.
fn status_of(state: &JobState, now: Timestamp) -> Status {
    match &state.phase {
        Phase::Running if state.only_waits() => match state.next_wake() {
            Some(until) if until.since(now).0 > PASSIVATE_AFTER => Status::Sleeping(until),
            Some(_) => Status::Running,
            None => Status::Sleeping(HELD_UNTIL),
        },
        Phase::Running => Status::Running,
        Phase::Stopping(_) => Status::Stopping,
        Phase::Ended { ending: Ending::Succeeded(_), .. } => Status::Succeeded,
        Phase::Ended { ending: Ending::Failed(_), .. } => Status::Failed,
        Phase::Ended { ending: Ending::Cancelled, .. } => Status::Cancelled,
    }
}

/// The name of an input in a phase.
fn name_of(input: &Input, phase: &Phase) -> &'static str {
    let names = match input {
        Input::Resume => [
            "Resume while running",
            "Resume while cancelling",
            "Resume while failing",
            "Resume when ended",
        ],
        Input::TimerFired => [
            "TimerFired while running",
            "TimerFired while cancelling",
            "TimerFired while failing",
            "TimerFired when ended",
        ],
        Input::StepEnded { .. } => [
            "StepEnded while running",
            "StepEnded while cancelling",
            "StepEnded while failing",
            "StepEnded when ended",
        ],
        Input::Resolve { .. } => [
            "Resolve while running",
            "Resolve while cancelling",
            "Resolve while failing",
            "Resolve when ended",
        ],
        Input::Cancel { .. } => [
            "Cancel while running",
            "Cancel while cancelling",
            "Cancel while failing",
            "Cancel when ended",
        ],
        Input::Drain => [
            "Drain while running",
            "Drain while cancelling",
            "Drain while failing",
            "Drain when ended",
        ],
        Input::Quarantine { .. } => [
            "Quarantine while running",
            "Quarantine while cancelling",
            "Quarantine while failing",
            "Quarantine when ended",
        ],
    };
    match phase {
        Phase::Running => names[0],
        Phase::Stopping(StopCause::Cancel) => names[1],
        Phase::Stopping(StopCause::Failure(_)) => names[2],
        Phase::Ended { .. } => names[3],
    }
}
