//! An engine's process: the supervisor of its jobs and its scheduler, as in `actors/src/tree`; and
//! what can befall it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use callsheet_engine::{JobId, Millis, Timestamp};

use crate::actor::{Actor, HELD_UNTIL, JobMsg};
use crate::store::{Answer, Asker, Refusal, Request, Status, Verb};
use crate::weather::Fault;
use crate::world::{SECOND, What, World};

/// One process and what it has in memory.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) id: u64,
    /// It was given up and lives on. It has lost the lock, so it takes over no jobs.
    pub(crate) zombie: bool,
    pub(crate) draining: bool,
    actors: BTreeMap<JobId, u64>,
    /// Deaths in a row, of jobs whose actor has died.
    deaths: BTreeMap<JobId, u32>,
    /// Jobs that could not even be quarantined.
    pub(crate) hopeless: BTreeSet<JobId>,
    backlog: VecDeque<JobId>,
    due: BTreeSet<(Timestamp, JobId)>,
    armed: Option<(Timestamp, u64)>,
    inbox: VecDeque<JobsMsg>,
    scheduled: bool,
}

/// What wakes the supervisor.
#[derive(Debug)]
pub(crate) enum JobsMsg {
    Wake(JobId),
    Tell(JobId, JobMsg),
    Retire(JobId, u64),
    Sleep(JobId, Timestamp),
    Drain,
    Release,
}

/// Deaths of one job's actor in a row before the job is quarantined.
const MAX_ACTOR_DEATHS: u32 = 3;
/// First and longest wait before a dead actor is followed by another, in milliseconds.
const BACKOFF: (u64, u64) = (100, 30_000);
/// The time that a stopping engine gives its actors to record what they give back.
const RELEASE_GRACE: u64 = 10 * SECOND;

impl World {
    /// A process starts, opens the store and wakes every job that is alive.
    pub(crate) fn boot(&mut self) {
        if self.main.is_some() {
            return;
        }
        let id = self.new_id();
        self.say(|_| format!("process {id} starts"));
        self.processes.insert(id, Process { id, ..Process::default() });
        self.main = Some(id);
        self.store.stopped = false;
        self.wake_all(id);
    }

    fn wake_all(&mut self, id: u64) {
        let now = self.wall();
        for (job, status) in self.store.live() {
            match status {
                Status::Sleeping(HELD_UNTIL) => {}
                Status::Sleeping(until) if until > now => self.schedule(id, job, until),
                _ => self.tell_jobs(id, JobsMsg::Wake(job)),
            }
        }
    }

    fn process(&mut self, id: u64) -> &mut Process {
        self.processes.get_mut(&id).expect("the process is alive")
    }

    /// Sends to the supervisor of a process.
    pub(crate) fn tell_jobs(&mut self, id: u64, message: JobsMsg) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.inbox.push_back(message);
        if !std::mem::replace(&mut process.scheduled, true) {
            let wait = self.dice.spread(1, 100);
            self.after(wait, What::RunJobs(id));
        }
    }

    pub(crate) fn run_jobs(&mut self, id: u64) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.scheduled = false;
        while let Some(message) = self.processes.get_mut(&id).and_then(|it| it.inbox.pop_front()) {
            match message {
                JobsMsg::Wake(job) => self.wake(id, job),
                JobsMsg::Tell(job, message) => self.tell(id, job, message),
                JobsMsg::Retire(job, handled) => self.retire(id, job, handled),
                JobsMsg::Sleep(job, until) => self.schedule(id, job, until),
                JobsMsg::Drain => self.tell_all(id, &|| JobMsg::Drain),
                JobsMsg::Release => self.tell_all(id, &|| JobMsg::Release),
            }
        }
        self.exit_when_idle(id);
    }

    fn exit_when_idle(&mut self, id: u64) {
        let process = self.processes.get(&id);
        if process.is_some_and(|process| process.draining && process.actors.is_empty()) {
            self.after(1, What::Exit(id));
        }
    }

    fn wake(&mut self, id: u64, job: JobId) {
        let most = self.weather.active_jobs;
        let process = self.process(id);
        if process.draining || process.zombie || process.hopeless.contains(&job) {
            return;
        }
        if let Some(actor) = process.actors.get(&job).copied() {
            return self.send(actor, JobMsg::TimerFired);
        }
        if process.actors.len() >= most {
            process.backlog.push_back(job);
            self.coverage.count("life", "waited for a place");
            return;
        }
        self.start_actor(id, job);
    }

    fn tell(&mut self, id: u64, job: JobId, message: JobMsg) {
        let process = self.process(id);
        let known = process.actors.get(&job).copied();
        if known.is_none() && (process.zombie || process.hopeless.contains(&job)) {
            return self.drop_message(&message);
        }
        let actor = known.unwrap_or_else(|| self.start_actor(id, job));
        self.send(actor, message);
    }

    /// Starts the actor of a job: it takes the job over first.
    fn start_actor(&mut self, id: u64, job: JobId) -> u64 {
        let actor = self.new_id();
        let process = self.process(id);
        let quarantine = process.deaths.get(&job).is_some_and(|it| *it >= MAX_ACTOR_DEATHS);
        process.actors.insert(job, actor);
        self.say(|_| format!("process {id} starts actor {actor} for {job}"));
        self.actors.insert(actor, Actor::new(id, job, quarantine));
        if quarantine {
            self.chronicle(job).given_up = true;
        }
        let verb = Verb::Claim(job);
        self.ask(Request { process: id, asker: Asker::Actor(actor), verb });
        actor
    }

    /// Lets an actor go if nothing is on its way to it; otherwise it will ask again.
    fn retire(&mut self, id: u64, job: JobId, handled: u64) {
        let Some(actor) = self.process(id).actors.get(&job).copied() else { return };
        if self.actors[&actor].sent == handled {
            self.say(|_| format!("actor {actor} of {job} retires"));
            self.remove_actor(actor);
            self.process(id).deaths.remove(&job);
        }
        self.fill(id);
    }

    fn fill(&mut self, id: u64) {
        let most = self.weather.active_jobs;
        loop {
            let process = self.process(id);
            if process.actors.len() >= most || process.draining {
                return;
            }
            let Some(job) = process.backlog.pop_front() else { return };
            self.wake(id, job);
        }
    }

    fn tell_all(&mut self, id: u64, message: &dyn Fn() -> JobMsg) {
        let actors: Vec<u64> = self.process(id).actors.values().copied().collect();
        for actor in actors {
            self.send(actor, message());
        }
    }

    /// Takes an actor out of the world, with its bodies; what was on its way to it is lost.
    pub(crate) fn remove_actor(&mut self, actor: u64) {
        let Some(gone) = self.actors.remove(&actor) else { return };
        if let Some(process) = self.processes.get_mut(&gone.process)
            && process.actors.get(&gone.job) == Some(&actor)
        {
            process.actors.remove(&gone.job);
        }
        self.bodies.retain(|_, body| body.actor != actor);
        for caller in gone.callers() {
            self.callers[caller].waiting = None;
            self.call_after(50_000, caller);
        }
    }

    fn drop_message(&mut self, message: &JobMsg) {
        if let JobMsg::Cancel(caller) = message {
            self.callers[*caller].waiting = None;
            self.call_after(50_000, *caller);
        }
    }

    /// An actor has died: it is followed by another after a while, or its job is given up.
    pub(crate) fn actor_died(&mut self, actor: u64, why: &str) {
        let Some(dead) = self.actors.get(&actor) else { return };
        let (id, job) = (dead.process, dead.job);
        self.say(|_| format!("actor {actor} of {job} dies: {why}"));
        self.remove_actor(actor);
        if self.store.stopped {
            return;
        }
        let now = self.wall();
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.draining || process.zombie {
            return self.exit_when_idle(id);
        }
        let deaths = process.deaths.entry(job).or_insert(0);
        *deaths += 1;
        if *deaths > MAX_ACTOR_DEATHS {
            process.hopeless.insert(job);
        } else {
            let wait = (BACKOFF.0 << (*deaths - 1)).min(BACKOFF.1);
            self.schedule(id, job, now + Millis(wait));
        }
        self.fill(id);
    }

    fn schedule(&mut self, id: u64, job: JobId, until: Timestamp) {
        self.process(id).due.insert((until, job));
        self.arm_scheduler(id);
    }

    /// Sets the scheduler's one timer, for the soonest wait.
    fn arm_scheduler(&mut self, id: u64) {
        let Some((due, _)) = self.process(id).due.first().copied() else { return };
        if self.process(id).armed.is_some_and(|(armed, _)| armed <= due) {
            return;
        }
        let (serial, wait) = (self.new_id(), self.until(due));
        self.process(id).armed = Some((due, serial));
        self.after(wait, What::Tick(id, serial));
    }

    pub(crate) fn tick(&mut self, id: u64, serial: u64) {
        let now = self.wall();
        let Some(process) = self.processes.get_mut(&id) else { return };
        if process.armed.is_none_or(|(_, armed)| armed != serial) {
            return;
        }
        process.armed = None;
        let later = process.due.split_off(&(Timestamp(now.0 + 1), JobId::from_bytes([0; 16])));
        let due = std::mem::replace(&mut process.due, later);
        for (_, job) in due {
            self.coverage.count("life", "woken by the scheduler");
            self.tell_jobs(id, JobsMsg::Wake(job));
        }
        self.arm_scheduler(id);
    }

    /// Hands a request to the store.
    pub(crate) fn ask(&mut self, request: Request) {
        if self.store.stopped {
            let stopped = Answer::Refused(Refusal::Stopped);
            return self.answer(request.process, request.asker, stopped);
        }
        if self.store.ask(request) {
            self.start_batch();
        }
    }

    /// An answer of the store arrives, if somebody is there to hear it.
    pub(crate) fn replied(&mut self, process: u64, asker: Asker, answer: Answer) {
        let name = match &answer {
            Answer::New(_) => "New",
            Answer::Existing(_) => "Existing",
            Answer::Conflict(_) => "Conflict",
            Answer::Claimed(_) => "Claimed",
            Answer::Committed(_) => "Committed",
            Answer::Refused(Refusal::UnknownJob) => "UnknownJob",
            Answer::Refused(Refusal::StaleEpoch) => "StaleEpoch",
            Answer::Refused(Refusal::WrongSequence) => "WrongSequence",
            Answer::Refused(Refusal::Full) => "Full",
            Answer::Refused(Refusal::OutcomeUnknown) => "OutcomeUnknown",
            Answer::Refused(Refusal::Stopped) => "Stopped",
        };
        self.coverage.count("store", name);
        if !self.processes.contains_key(&process) {
            return;
        }
        if let Answer::New(id) = answer {
            // Whether or not the caller still listens, the job is there.
            self.tell_jobs(process, JobsMsg::Wake(id));
        }
        match asker {
            Asker::Caller(caller, question) => {
                let asker = &self.callers[caller];
                // Otherwise it has hung up.
                if asker.waiting == Some(process) && asker.questions == question {
                    self.submit_answered(caller, &answer);
                }
            }
            Asker::Actor(actor) => self.actor_answered(actor, answer),
        }
    }

    /// The process ends at once: whatever it had in memory is gone.
    pub(crate) fn die(&mut self, id: u64, why: &'static str) {
        if self.processes.remove(&id).is_none() {
            return;
        }
        self.say(|_| format!("process {id} ends: {why}"));
        self.coverage.count("fault", why);
        self.hang_up_all(id);
        self.actors.retain(|_, actor| actor.process != id);
        let actors = &self.actors;
        self.bodies.retain(|_, body| actors.contains_key(&body.actor));
        let reaches_disk = self.dice.chance(500);
        let was_idle = self.store.is_idle();
        for durable in self.store.forget(id, reaches_disk) {
            self.coverage.count("store", "durable, never acknowledged");
            self.became_durable(&durable);
        }
        self.drop_empty_batch(was_idle);
        if self.main == Some(id) {
            self.main = None;
            let wait = self.dice.spread(1_000, 30 * SECOND);
            self.after(wait, What::Boot);
        }
    }

    /// Everybody who waits for a process loses the connection.
    fn hang_up_all(&mut self, id: u64) {
        for caller in 0..self.callers.len() {
            if self.callers[caller].waiting == Some(id) {
                self.caller_lost(caller);
            }
        }
    }

    pub(crate) fn die_of(&mut self, why: &'static str) {
        if let Some(main) = self.main {
            self.die(main, why);
        }
    }

    /// Whether the process dies at this very point.
    pub(crate) fn dies_here(&mut self, id: u64, why: &'static str) -> bool {
        let deaths = self.weather.deaths;
        if !self.weather.has(Fault::Crash) || self.weather.lives == 0 || !self.dice.chance(deaths) {
            return false;
        }
        self.weather.lives -= 1;
        self.die(id, why);
        true
    }

    /// The main process is given up, and lives on as a zombie beside its follower.
    pub(crate) fn rise(&mut self) {
        let Some(main) = self.main else { return };
        if self.store.stopped {
            return;
        }
        self.say(|_| format!("process {main} is a zombie from now on"));
        self.coverage.count("fault", "zombie");
        self.process(main).zombie = true;
        self.lock_lost(main);
        self.hang_up_all(main);
        self.main = None;
        let (boot, end) = (self.dice.spread(1, SECOND), self.dice.spread(1_000, 600 * SECOND));
        self.after(boot, What::Boot);
        self.after(end, What::Die(main));
    }

    fn lock_lost(&mut self, id: u64) {
        let was_idle = self.store.is_idle();
        self.store.lock_lost(id);
        self.drop_empty_batch(was_idle);
    }

    fn drop_empty_batch(&mut self, was_idle: bool) {
        if self.store.is_idle() && !was_idle {
            self.batch += 1;
            self.start_batch();
        }
    }

    /// An orderly shutdown begins: nothing starts any more.
    pub(crate) fn shut_down(&mut self) {
        let Some(main) = self.main else { return };
        if std::mem::replace(&mut self.process(main).draining, true) {
            return;
        }
        self.coverage.count("fault", "shutdown");
        self.tell_jobs(main, JobsMsg::Drain);
        let grace = self.dice.spread(1_000, 30 * SECOND);
        self.after(grace, What::Release(main));
    }

    /// The drain's grace is over: what runs is given back.
    pub(crate) fn release(&mut self, id: u64) {
        if self.processes.contains_key(&id) {
            self.tell_jobs(id, JobsMsg::Release);
            self.after(RELEASE_GRACE, What::Exit(id));
        }
    }

    pub(crate) fn exit(&mut self, id: u64) {
        if self.processes.get(&id).is_some_and(|process| process.draining) {
            self.die(id, "orderly end");
        }
    }

    /// A job's actor dies, or with a supervisor all of them.
    pub(crate) fn actor_trouble(&mut self) {
        let Some(main) = self.main else { return };
        if self.dice.chance(200) {
            return self.tree_dies(main);
        }
        let actors: Vec<u64> = self.process(main).actors.values().copied().collect();
        if !actors.is_empty() {
            self.coverage.count("fault", "actor death");
            let actor = *self.dice.pick(&actors);
            self.actor_died(actor, "for no reason");
        }
    }

    fn tree_dies(&mut self, id: u64) {
        self.coverage.count("fault", "tree death");
        let actors: Vec<u64> = self.process(id).actors.values().copied().collect();
        for actor in actors {
            self.remove_actor(actor);
        }
        let process = self.process(id);
        let messages = std::mem::take(&mut process.inbox);
        *process = Process {
            id,
            zombie: process.zombie,
            draining: process.draining,
            scheduled: process.scheduled,
            ..Process::default()
        };
        for message in messages {
            if let JobsMsg::Tell(_, message) = message {
                self.drop_message(&message);
            }
        }
        self.wake_all(id);
        self.exit_when_idle(id);
    }

    /// Timers fire that nobody set.
    pub(crate) fn stale_timers(&mut self) {
        let Some(main) = self.main else { return };
        self.coverage.count("fault", "stale timer");
        for (job, _) in self.store.live() {
            for _ in 0..self.dice.below(3) {
                self.tell_jobs(main, JobsMsg::Wake(job));
            }
        }
    }
}
