//! A job's actor, as in `actors/src/tree/job.rs`: decides, commits, then acts; in that order,
//! though several commits may be under way at once.

use std::collections::{BTreeMap, VecDeque};

use callsheet_engine::{
    Action, Decision, Ending, Failure, Input, JobId, JobState, Outcome, Phase, StopCause,
    Timestamp, Token, decide, fold,
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
    /// What is decided and not yet done, oldest first.
    turns: VecDeque<Turn>,
    /// Commits that the store has not answered.
    under_way: usize,
    parked: bool,
    out_of_turn: bool,
}

/// A job under this actor's epoch.
#[derive(Debug)]
struct Owned {
    state: JobState,
    status: Status,
    epoch: u64,
    sequence: u64,
    attempts: BTreeMap<Token, u64>,
    timer: Option<(Timestamp, u64)>,
    draining: bool,
    released: bool,
}

/// One decision on its way to being done.
#[derive(Debug)]
struct Turn {
    commit: Option<Commit>,
    durable: bool,
    actions: Vec<Action>,
    reply: Option<(usize, CancelAnswer)>,
    release: bool,
}

/// A job whose next wait is longer than this gives up its actor, in milliseconds.
const PASSIVATE_AFTER: u64 = 1_000;

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
            turns: VecDeque::new(),
            under_way: 0,
            parked: false,
            out_of_turn: false,
        }
    }

    /// Everybody who waits for an answer of this actor.
    pub(crate) fn callers(&self) -> Vec<usize> {
        let asked = self.inbox.iter().filter_map(|message| match message {
            JobMsg::Cancel(caller) => Some(*caller),
            _ => None,
        });
        let due = self.turns.iter().filter_map(|turn| turn.reply.map(|(caller, _)| caller));
        asked.chain(due).collect()
    }

    pub(crate) fn epoch(&self) -> Option<u64> {
        self.owned.as_ref().map(|owned| owned.epoch)
    }

    fn is_blocked(&self, pipeline: usize) -> bool {
        self.owned.is_none() || self.parked || self.turns.len() >= pipeline
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
        let pipeline = self.weather.pipeline;
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let ready = !actor.inbox.is_empty() && !actor.is_blocked(pipeline);
        if ready && !std::mem::replace(&mut actor.scheduled, true) {
            let wait = self.dice.spread(1, 200);
            self.after(wait, What::RunActor(id));
        }
    }

    /// The actor handles one message.
    pub(crate) fn run_actor(&mut self, id: u64) {
        let pipeline = self.weather.pipeline;
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.scheduled = false;
        if actor.is_blocked(pipeline) {
            return;
        }
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
            JobMsg::Drain => {
                self.owned(id).draining = true;
                self.turn(id, Input::Drain, None);
            }
            JobMsg::Release => {
                self.owned(id).draining = true;
                self.turn(id, Input::Drain, None);
                if let Some(turn) = self.actors.get_mut(&id).and_then(|it| it.turns.back_mut()) {
                    turn.release = true;
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
        let mut turn = Turn { commit: None, durable: true, actions, reply, release: false };
        if !events.is_empty() {
            let owned = self.owned(id);
            let status = status_of(&owned.state, now);
            let changed = status != owned.status;
            owned.status = status;
            let (epoch, sequence) = (owned.epoch, owned.sequence);
            owned.sequence += 1;
            let status = changed.then_some(status);
            let commit = Commit { job, epoch, sequence, events, status };
            if self.dies_here(process, "death between decision and commit") {
                return;
            }
            (turn.commit, turn.durable) = (Some(commit), false);
        }
        self.actor(id).turns.push_back(turn);
        self.hand_over(id);
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

    /// Hands the newest turn's commit to the store.
    fn hand_over(&mut self, id: u64) {
        let actor = self.actor(id);
        let Some(commit) = actor.turns.back().and_then(|turn| turn.commit.clone()) else { return };
        let process = actor.process;
        actor.under_way += 1;
        if actor.under_way > 1 {
            self.coverage.count("life", "two commits at once");
        }
        self.ask(Request { process, asker: Asker::Actor(id), verb: Verb::Commit(commit) });
    }

    /// The store has answered the actor.
    pub(crate) fn actor_answered(&mut self, id: u64, answer: Answer) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let (process, job) = (actor.process, actor.job);
        match answer {
            Answer::Claimed(claim) => return self.load(id, claim),
            Answer::Committed(sequence) => {
                actor.under_way -= 1;
                let mut commits = actor.turns.iter_mut().filter(|turn| turn.commit.is_some());
                let is_it = |turn: &&mut Turn| {
                    turn.commit.as_ref().is_some_and(|commit| commit.sequence == sequence)
                };
                let turn = commits.find(is_it).expect("a commit is acknowledged once");
                turn.durable = true;
                if self.dies_here(process, "death between commit and acknowledgement") {
                    return;
                }
            }
            Answer::Refused(Refusal::Full) => {
                actor.under_way -= 1;
                actor.parked = true;
            }
            Answer::Refused(Refusal::WrongSequence) => {
                actor.under_way -= 1;
                actor.out_of_turn = true;
            }
            Answer::Refused(Refusal::StaleEpoch) => {
                let epoch = actor.epoch();
                let latest = self.chronicles[&job].epoch();
                hold!(epoch != Some(latest), "the owner may write", "{job} under {epoch:?}");
                return self.actor_died(id, "it has a follower");
            }
            Answer::Refused(refusal) => {
                let fatal = matches!(refusal, Refusal::OutcomeUnknown | Refusal::Stopped);
                hold!(fatal, "the store knows its jobs", "{job}: {refusal:?}");
                return self.actor_died(id, "the store has failed");
            }
            Answer::New(_) | Answer::Existing(_) | Answer::Conflict(_) => {
                panic!("an actor submits nothing");
            }
        }
        self.wait_for_room(id);
        self.settle(id);
    }

    /// While the disk is full the job is parked; nothing that it has done is lost. All commits that
    /// were under way are handed over again, in order, once the store has answered each.
    fn wait_for_room(&mut self, id: u64) {
        let actor = self.actor(id);
        if actor.under_way > 0 {
            return;
        }
        let job = actor.job;
        let explained = actor.parked || !actor.out_of_turn;
        hold!(explained, "an owner's record is the next", "{job}: out of turn without a reason");
        if actor.parked {
            actor.out_of_turn = false;
            self.coverage.count("life", "parked");
            self.after(SECOND, What::Resend(id));
        }
    }

    pub(crate) fn resend(&mut self, id: u64) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.parked = false;
        let process = actor.process;
        let again = actor.turns.iter().filter(|turn| !turn.durable);
        let again: Vec<Commit> = again.filter_map(|turn| turn.commit.clone()).collect();
        actor.under_way = again.len();
        for commit in again {
            self.ask(Request { process, asker: Asker::Actor(id), verb: Verb::Commit(commit) });
        }
        self.schedule_actor(id);
    }

    /// Does the deeds of everything that is durable, in order.
    fn settle(&mut self, id: u64) {
        while let Some(actor) = self.actors.get_mut(&id)
            && let Some(turn) = actor.turns.pop_front_if(|turn| turn.durable)
        {
            self.do_deeds(id, turn);
        }
        let Some(actor) = self.actors.get(&id) else { return };
        if actor.owned.is_some() && actor.turns.is_empty() {
            self.check_fold(id);
            self.rest(id);
        }
        self.schedule_actor(id);
    }

    fn do_deeds(&mut self, id: u64, turn: Turn) {
        let process = self.actors[&id].process;
        let count = turn.actions.len();
        for (n, action) in turn.actions.into_iter().enumerate() {
            let why = match n {
                0 => "death between acknowledgement and deeds",
                _ => "death in the middle of the deeds",
            };
            if self.dies_here(process, why) {
                return;
            }
            self.act(id, action);
        }
        if count > 0 && self.dies_here(process, "death after the deeds") {
            return;
        }
        if let Some((caller, answer)) = turn.reply
            && self.callers[caller].waiting == Some(process)
        {
            self.cancel_answered(caller, answer);
        }
        if turn.release {
            self.give_back(id);
        }
    }

    fn act(&mut self, id: u64, action: Action) {
        match action {
            Action::StartStep(start) => {
                let token = start.token;
                let owned = self.owned(id);
                if owned.released {
                    return self.say_ended(id, token, Outcome::Released);
                }
                // A later decision, on its way to the disk, has stopped the job already: its own
                // deed tells the attempt to stop, which never began.
                if owned.state.phase != Phase::Running {
                    self.coverage.count("life", "start withheld");
                    return;
                }
                if let Some(body) = self.start_body(id, start) {
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
            self.tell_jobs(process, JobsMsg::Sleep(job, until));
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
        Phase::Running => match state.next_wake() {
            Some(until) if state.only_waits() && until.since(now).0 > PASSIVATE_AFTER => {
                Status::Sleeping(until)
            }
            _ => Status::Running,
        },
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
