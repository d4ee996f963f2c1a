//! One world: one seed, one thread, virtual time. Everything that happens is taken from one queue.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use callsheet_engine::{Event, ItemIndex, JobId, Millis, Outcome, StepIndex, Timestamp, Token};

use crate::actor::Actor;
use crate::body::Body;
use crate::caller::Caller;
use crate::chronicle::{Chronicle, hold};
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::graph::Graph;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::store::{Answer, Asker, Durable, Room, Store};
use crate::weather::{Fault, Weather};

/// Microseconds since the world began, by a clock that does not jump.
pub(crate) type Micros = u64;

/// The wall clock when the world begins.
const BEGINNING: i64 = 1_700_000_000_000;
/// When all faults end: two hours.
const CLEARING: Micros = 2 * 60 * 60 * SECOND;
/// When every job has to have ended: a hundred days.
const PATIENCE: Micros = 100 * 24 * 60 * 60 * SECOND;
/// What one world may do. More is a loop.
const MOST_STEPS: u64 = 200_000;
pub(crate) const SECOND: Micros = 1_000_000;

/// Everything there is.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    pub(crate) now: Micros,
    /// How far the wall clock is ahead of the steady one, in milliseconds.
    pub(crate) jumped: i64,
    /// All jumps forward.
    pub(crate) jumped_forward: i64,
    queue: BinaryHeap<Reverse<Due>>,
    serial: u64,
    pub(crate) store: Store,
    pub(crate) batch: u64,
    pub(crate) graphs: Vec<Arc<Graph>>,
    pub(crate) processes: BTreeMap<u64, Process>,
    /// The process that callers reach.
    pub(crate) main: Option<u64>,
    pub(crate) actors: BTreeMap<u64, Actor>,
    pub(crate) bodies: BTreeMap<u64, Body>,
    pub(crate) callers: Vec<Caller>,
    pub(crate) chronicles: BTreeMap<JobId, Chronicle>,
    pub(crate) ledger: Ledger,
    pub(crate) coverage: Coverage,
    pub(crate) cleared: bool,
    slow: bool,
    last_id: u64,
    steps: u64,
    most_steps: u64,
    digest: u64,
    trace: Option<Rc<RefCell<Vec<String>>>>,
}

/// Something that happens at an instant.
struct Due {
    at: Micros,
    serial: u64,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// All that can happen.
#[derive(Debug)]
pub(crate) enum What {
    Boot,
    Call(usize),
    HangUp(usize, u64),
    Batch(u64),
    Reply(u64, Asker, Answer),
    RunActor(u64),
    Resend(u64),
    RunJobs(u64),
    Timer(u64, u64),
    Tick(u64, u64),
    BodyEnds(u64),
    BodyTimedOut(u64),
    BodyGone(u64),
    Late(u64, Token, Outcome),
    /// Somebody looks at a doubt that is held.
    Person(JobId, StepIndex, ItemIndex),
    Release(u64),
    Exit(u64),
    Die(u64),
    Trouble(Fault),
    Relief(Fault),
    Clearing,
}

/// What became of a world.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) digest: u64,
    pub(crate) steps: u64,
    pub(crate) lived: Micros,
    pub(crate) coverage: Coverage,
    pub(crate) fair: bool,
    pub(crate) jobs: u64,
    pub(crate) succeeded: u64,
}

/// How a world is played.
#[derive(Clone, Debug, Default)]
pub(crate) struct Play {
    pub(crate) without: Vec<Fault>,
    pub(crate) most_steps: Option<u64>,
    pub(crate) most_jobs: Option<usize>,
    pub(crate) trace: Option<Rc<RefCell<Vec<String>>>>,
}

thread_local! {
    /// Where the world of this thread is, for the report of a broken promise.
    pub(crate) static AT: Cell<(u64, Micros)> = const { Cell::new((0, 0)) };
}

impl World {
    pub(crate) fn new(seed: u64, graphs: Vec<Arc<Graph>>, play: &Play, mut dice: Dice) -> Self {
        AT.set((0, 0));
        let mut weather = Weather::draw(&mut dice, &play.without);
        weather.submits = weather.submits.min(play.most_jobs.unwrap_or(usize::MAX));
        let mut world = Self {
            dice,
            weather,
            now: 0,
            jumped: 0,
            jumped_forward: 0,
            queue: BinaryHeap::new(),
            serial: 0,
            store: Store::default(),
            batch: 0,
            graphs,
            processes: BTreeMap::new(),
            main: None,
            actors: BTreeMap::new(),
            bodies: BTreeMap::new(),
            callers: Vec::new(),
            chronicles: BTreeMap::new(),
            ledger: Ledger::default(),
            coverage: Coverage::default(),
            cleared: false,
            slow: false,
            last_id: 0,
            steps: 0,
            most_steps: play.most_steps.unwrap_or(MOST_STEPS),
            digest: seed,
            trace: play.trace.clone(),
        };
        world.say(|world| format!("seed {seed}: {:?}", world.weather));
        world.draw_callers();
        world.draw_troubles();
        world.after(0, What::Boot);
        world.after(CLEARING, What::Clearing);
        world
    }

    /// Lives to the end, and is judged.
    pub(crate) fn live(mut self) -> Fate {
        while let Some(Reverse(due)) = self.queue.pop() {
            assert!(due.at >= self.now, "time goes forward");
            self.now = due.at;
            self.steps += 1;
            AT.set((self.steps, self.now));
            self.mix(due.at);
            self.mix(due.serial);
            if self.steps > self.most_steps {
                hold!(self.most_steps < MOST_STEPS, "a world comes to rest", "{:?}", due.what);
                break;
            }
            hold!(self.now < PATIENCE, "every job ends", "{:?}", self.store.live());
            self.happen(due.what);
        }
        if self.steps <= self.most_steps {
            self.judge();
        }
        self.fate()
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Boot => self.boot(),
            What::Call(caller) => self.call(caller),
            What::HangUp(caller, process) => self.hang_up(caller, process),
            What::Batch(serial) => self.batch_done(serial),
            What::Reply(process, asker, answer) => self.replied(process, asker, answer),
            What::RunActor(actor) => self.run_actor(actor),
            What::Resend(actor) => self.resend(actor),
            What::RunJobs(process) => self.run_jobs(process),
            What::Timer(actor, serial) => self.timer_fired(actor, serial),
            What::Tick(process, serial) => self.tick(process, serial),
            What::BodyEnds(body) => self.body_ends(body),
            What::BodyTimedOut(body) => self.body_timed_out(body),
            What::BodyGone(body) => self.body_gone(body),
            What::Late(actor, token, outcome) => self.late(actor, token, outcome),
            What::Person(job, step, item) => self.look(job, step, item),
            What::Release(process) => self.release(process),
            What::Exit(process) => self.exit(process),
            What::Die(process) => self.die(process, "death at any time"),
            What::Trouble(fault) => self.trouble(fault),
            What::Relief(fault) => self.relief(fault),
            What::Clearing => self.clear_up(),
        }
    }

    /// What must hold once nothing happens any more.
    fn judge(&mut self) {
        let live = self.store.live();
        hold!(live.is_empty(), "every job ends", "{live:?} at rest");
        for (id, kept) in self.store.jobs() {
            let told = self.chronicles[id].ended;
            hold!(told == Some(kept.status), "heads tell the end", "{id}: {told:?}, {kept:?}");
        }
        for (id, status) in &self.ledger.ends {
            let kept = self.store.job(*id).map(|kept| kept.status);
            hold!(kept == Some(*status), "an end is final", "{id}: told {status:?}, is {kept:?}");
        }
        for id in &self.ledger.cancelled {
            let ended = self.chronicles[id].ended;
            let right = ended == Some(crate::store::Status::Cancelled);
            hold!(right, "an accepted cancel is final", "{id} ended as {ended:?}");
        }
        let store = &self.store;
        self.ledger.check_store(|id| store.job(id).is_some());
        let waiting = self.callers.iter().find(|caller| !caller.is_answered());
        hold!(waiting.is_none(), "every caller is answered", "{waiting:?}");
    }

    fn fate(self) -> Fate {
        let ends = self.chronicles.values().map(|chronicle| chronicle.ended);
        let succeeded = ends.filter(|it| *it == Some(crate::store::Status::Succeeded)).count();
        Fate {
            digest: self.digest,
            steps: self.steps,
            lived: self.now,
            fair: self.weather.fair,
            jobs: self.chronicles.len() as u64,
            succeeded: succeeded as u64,
            coverage: self.coverage,
        }
    }

    /// Lets something happen after so many microseconds.
    pub(crate) fn after(&mut self, wait: Micros, what: What) {
        self.serial += 1;
        self.queue.push(Reverse(Due { at: self.now + wait, serial: self.serial, what }));
    }

    /// The time by the wall clock.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp(self.steady().0 + self.jumped)
    }

    /// The time by a wall clock that never jumps.
    pub(crate) fn steady(&self) -> Timestamp {
        Timestamp(BEGINNING + (self.now / 1_000) as i64)
    }

    /// The microseconds until the wall clock shows an instant, unless it jumps.
    pub(crate) fn until(&self, due: Timestamp) -> Micros {
        let Millis(wait) = due.since(self.wall());
        wait * 1_000
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Writes a line of the trace, if there is one.
    pub(crate) fn say(&self, line: impl FnOnce(&Self) -> String) {
        if let Some(trace) = &self.trace {
            let seconds = self.now as f64 / SECOND as f64;
            let line = format!("{:>6} {seconds:>16.6}  {}", self.steps, line(self));
            trace.borrow_mut().push(line);
        }
    }

    /// Makes something a part of what two plays of one seed must have in common.
    pub(crate) fn mix(&mut self, number: u64) {
        let mixed = (self.digest ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.digest = mixed ^ (mixed >> 29);
    }

    /// Starts the writer on the next batch, if it is idle and something waits.
    pub(crate) fn start_batch(&mut self) {
        if !self.store.is_idle() || !self.store.begin() {
            return;
        }
        self.batch += 1;
        let most = if self.slow { 5 * SECOND } else { 3_000 };
        let wait = self.dice.spread(50, most);
        let serial = self.batch;
        self.after(wait, What::Batch(serial));
    }

    fn batch_done(&mut self, serial: u64) {
        if serial != self.batch {
            return; // The batch died with its process.
        }
        for (request, answer, durable) in self.store.finish() {
            if let Some(durable) = durable {
                self.became_durable(&durable);
            }
            self.answer(request.process, request.asker, answer);
        }
        self.start_batch();
    }

    /// Sends an answer of the store on its way.
    pub(crate) fn answer(&mut self, process: u64, asker: Asker, answer: Answer) {
        let most = if self.slow { 2 * SECOND } else { 500 };
        let wait = self.dice.spread(1, most);
        // Answers to one asker keep their order: they come through one channel.
        self.after(if self.slow { wait } else { wait / 100 }, What::Reply(process, asker, answer));
    }

    /// Judges what has just become durable.
    pub(crate) fn became_durable(&mut self, durable: &Durable) {
        match durable {
            Durable::Created(job) => {
                self.coverage.count("event", job.event.kind());
                let graph = self.graphs[job.graph].clone();
                self.chronicles.insert(job.id, Chronicle::new(graph, &job.event));
                self.ledger.created(job.id, job.key);
                self.say(|_| format!("durable: {} is created", job.id));
            }
            Durable::Claimed(job, epoch) => {
                self.say(|_| format!("durable: {job} is claimed under epoch {epoch}"));
                self.chronicle(*job).claimed(*epoch);
                let last = self.chronicles[job].last_fence();
                self.ledger.claimed(*job, last);
            }
            Durable::Committed(commit) => {
                let (job, sequence) = (commit.job, commit.sequence);
                for event in &commit.events {
                    self.coverage.count("event", event.kind());
                    if let Event::JobFailed { failure, .. } = event
                        && failure.code == "job.poisoned"
                    {
                        self.coverage.count("life", "poisoned");
                    }
                    self.mix(event.at().0 as u64);
                    self.say(|_| format!("durable: {job} {sequence}: {event:?}"));
                }
                for event in &commit.events {
                    if let Event::StepHeld { step, item, .. } = event {
                        let wait = self.dice.spread(SECOND, 1_800 * SECOND);
                        self.after(wait, What::Person(job, *step, *item));
                    }
                }
                self.ledger.check_results(job, &commit.events);
                let told = self.ledger.told_of(job);
                let chronicle = self.chronicles.get_mut(&job).expect("jobs are created first");
                chronicle.record(commit.epoch, sequence, &commit.events, told);
                if let (Some(ended), Some(kept)) = (chronicle.ended, self.store.job(job)) {
                    let same = kept.status == ended;
                    hold!(same, "heads tell the end", "{job}: {ended:?}, {:?}", kept.status);
                    self.ledger.ends.entry(job).or_insert(ended);
                }
            }
        }
    }

    pub(crate) fn chronicle(&mut self, job: JobId) -> &mut Chronicle {
        self.chronicles.get_mut(&job).expect("jobs are created first")
    }

    /// Draws when troubles come.
    fn draw_troubles(&mut self) {
        for (fault, _) in Fault::ALL {
            if !self.weather.has(fault) {
                continue;
            }
            for _ in 0..self.dice.within(1, 4) {
                // Most troubles come soon after somebody has called: then there is work to spoil.
                let call = self.dice.index(self.callers.len());
                let at = match self.dice.chance(700) {
                    true => self.callers[call].at + self.dice.spread(100, 300 * SECOND),
                    false => self.dice.spread(1_000, CLEARING),
                };
                self.after(at, What::Trouble(fault));
            }
        }
    }

    fn trouble(&mut self, fault: Fault) {
        if self.cleared {
            return;
        }
        match fault {
            Fault::Crash => self.die_of("death at any time"),
            Fault::Zombie => self.rise(),
            Fault::Actor => self.actor_trouble(),
            Fault::Store => self.store_fails(),
            Fault::Full => {
                self.coverage.count("fault", "full disk");
                self.store.room = *self.dice.pick(&[Room::Scarce, Room::Full]);
                let wait = self.dice.spread(1_000, 60 * SECOND);
                self.after(wait, What::Relief(fault));
            }
            Fault::Slow => {
                self.coverage.count("fault", "slow store");
                self.slow = true;
                let wait = self.dice.spread(1_000, 600 * SECOND);
                self.after(wait, What::Relief(fault));
            }
            Fault::Clock => self.jump(),
            Fault::Timer => self.stale_timers(),
            Fault::Shutdown => self.shut_down(),
            // These come by themselves, where a body or a caller is drawn.
            Fault::Body | Fault::Deadly | Fault::Cancel | Fault::HangUp => {}
        }
        self.say(|world| format!("trouble: {fault:?} ({:?})", world.store.room));
    }

    fn relief(&mut self, fault: Fault) {
        match fault {
            Fault::Full => self.store.room = Room::Free,
            _ => self.slow = false,
        }
    }

    /// The wall clock jumps, mostly forward; the steady one, which timers go by, does not.
    fn jump(&mut self) {
        self.coverage.count("fault", "clock jump");
        let span = self.dice.spread(1, 10_000_000) as i64;
        if self.dice.chance(800) {
            self.jumped += span;
            self.jumped_forward += span;
        } else {
            self.jumped -= span.min(60_000);
        }
    }

    fn store_fails(&mut self) {
        if self.store.stopped || self.main.is_none() {
            return;
        }
        self.coverage.count("fault", "store failure");
        let reaches_disk = self.dice.chance(500);
        let (refused, durable) = self.store.fail(reaches_disk);
        self.batch += 1;
        for durable in &durable {
            self.coverage.count("store", "durable, never acknowledged");
            self.became_durable(durable);
        }
        for request in refused {
            let unknown = Answer::Refused(crate::store::Refusal::OutcomeUnknown);
            self.answer(request.process, request.asker, unknown);
        }
        // Whoever notices ends its process; so does the watch over the store.
        let all: Vec<u64> = self.processes.keys().copied().collect();
        for process in all {
            let wait = self.dice.spread(100, SECOND);
            self.after(wait, What::Die(process));
        }
    }

    /// All faults end; what they have left behind is cleared up as an operator would.
    fn clear_up(&mut self) {
        self.say(|_| "the weather clears up".to_owned());
        self.cleared = true;
        self.weather.clear_up();
        self.store.room = Room::Free;
        self.slow = false;
        let zombies = self.processes.values().filter(|process| process.zombie);
        let zombies: Vec<u64> = zombies.map(|process| process.id).collect();
        for zombie in zombies {
            self.die(zombie, "death at any time");
        }
        if let Some(main) = self.main
            && (!self.processes[&main].hopeless.is_empty() || self.dice.chance(300))
        {
            self.die(main, "death at any time");
        }
    }
}
