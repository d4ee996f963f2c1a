//! Many worlds, one after the other or on several threads; and what is said of a broken promise.

use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::graph::Graph;
use crate::weather::Fault;
use crate::world::{AT, Fate, Micros, Play, SECOND, World};

/// Workflows that worlds choose from. Drawn by number, so that a thread compiles each once.
const GRAPHS: u64 = 512;
/// Broken promises after which a campaign gives up.
const ENOUGH: usize = 5;

/// Which worlds to play, and on how many threads.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) from: u64,
    pub(crate) seeds: u64,
    pub(crate) threads: u64,
    pub(crate) without: Vec<Fault>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) worlds: u64,
    pub(crate) steps: u64,
    pub(crate) lived: Micros,
    pub(crate) jobs: u64,
    pub(crate) fair_jobs: u64,
    pub(crate) fair_successes: u64,
    pub(crate) coverage: Coverage,
    pub(crate) broken: Vec<Broken>,
}

/// A promise that did not hold.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) seed: u64,
    pub(crate) step: u64,
    at: Micros,
    pub(crate) what: String,
    /// Flags under which it is broken still.
    flags: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at as f64 / SECOND as f64;
        writeln!(f, "seed {} broke a promise at step {}, {seconds} s:", self.seed, self.step)?;
        writeln!(f, "  {}", self.what)?;
        write!(f, "  play it again: callsheet-sim --seed {}{} --trace", self.seed, self.flags)
    }
}

impl Campaign {
    /// Plays all worlds.
    pub(crate) fn run(&self, progress: impl Fn(u64) + Sync) -> Report {
        let (next, report) = (AtomicU64::new(0), Mutex::new(Report::default()));
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| self.work(&next, &report, &progress));
            }
        });
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.broken.sort_by_key(|broken| broken.seed);
        report
    }

    fn work(&self, next: &AtomicU64, report: &Mutex<Report>, progress: &impl Fn(u64)) {
        let mut own = Report::default();
        let mut graphs = Graphs::default();
        let play = Play { without: self.without.clone(), ..Play::default() };
        while own.broken.len() < ENOUGH {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= self.seeds {
                break;
            }
            progress(n);
            match graphs.world(self.from + n, &play) {
                Ok(fate) => own.note(&fate),
                Err(broken) => own.broken.push(graphs.shrink(broken, &play)),
            }
        }
        report.lock().unwrap_or_else(PoisonError::into_inner).merge(own);
    }
}

impl Report {
    fn note(&mut self, fate: &Fate) {
        self.worlds += 1;
        self.steps += fate.steps;
        self.lived += fate.lived;
        self.jobs += fate.jobs;
        if fate.fair {
            self.fair_jobs += fate.jobs;
            self.fair_successes += fate.succeeded;
        }
        self.coverage.merge(&fate.coverage);
    }

    fn merge(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.steps += other.steps;
        self.lived += other.lived;
        self.jobs += other.jobs;
        self.fair_jobs += other.fair_jobs;
        self.fair_successes += other.fair_successes;
        self.coverage.merge(&other.coverage);
        self.broken.extend(other.broken);
    }

    /// Of a hundred jobs in worlds without faults, those that succeeded.
    pub(crate) fn fair_percent(&self) -> f64 {
        100.0 * self.fair_successes as f64 / self.fair_jobs.max(1) as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.coverage)?;
        let days = self.lived as f64 / (24.0 * 3_600.0 * SECOND as f64);
        writeln!(f, "{} worlds, {} jobs, {} steps", self.worlds, self.jobs, self.steps)?;
        writeln!(f, "{days:.1} days of virtual time")?;
        write!(f, "{:.1} % of the jobs in fair worlds succeeded", self.fair_percent())
    }
}

/// The workflows that one thread has compiled.
#[derive(Default)]
pub(crate) struct Graphs(Vec<Option<Arc<Graph>>>);

impl Graphs {
    /// Plays one world.
    pub(crate) fn world(&mut self, seed: u64, play: &Play) -> Result<Fate, Broken> {
        listen();
        let mut dice = Dice::new(seed);
        let count = dice.within(1, 3);
        let chosen = (0..count).map(|_| self.get(dice.below(GRAPHS))).collect();
        let world = || World::new(seed, chosen, play, dice).live();
        let fate = panic::catch_unwind(AssertUnwindSafe(world));
        let (step, at) = AT.replace((0, 0));
        fate.map_err(|_| {
            let what = LAST_WORDS.take().unwrap_or_default();
            Broken { seed, step, at, what, flags: String::new() }
        })
    }

    fn get(&mut self, number: u64) -> Arc<Graph> {
        let at = number as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        self.0[at].get_or_insert_with(|| Arc::new(Graph::numbered(number))).clone()
    }

    /// Leaves out what the broken promise does not need.
    fn shrink(&mut self, broken: Broken, play: &Play) -> Broken {
        let promise = |broken: &Broken| broken.what.split(':').next().map(str::to_owned);
        let (wanted, mut play, mut best) = (promise(&broken), play.clone(), broken);
        let mut attempt = |play: &Play, best: &mut Broken| match self.world(best.seed, play) {
            Err(again) if promise(&again) == wanted => {
                *best = again;
                true
            }
            _ => false,
        };
        for (fault, _) in Fault::ALL {
            let mut fewer = play.clone();
            fewer.without.push(fault);
            if attempt(&fewer, &mut best) {
                play = fewer;
            }
        }
        for jobs in 1..5 {
            let fewer = Play { most_jobs: Some(jobs), ..play.clone() };
            if attempt(&fewer, &mut best) {
                play = fewer;
                break;
            }
        }
        best.flags = flags(&play);
        best
    }
}

fn flags(play: &Play) -> String {
    let names = Fault::ALL.iter().filter(|(fault, _)| play.without.contains(fault));
    let names: Vec<&str> = names.map(|(_, name)| *name).collect();
    let mut flags = String::new();
    if !names.is_empty() {
        flags = format!(" --without {}", names.join(","));
    }
    if let Some(jobs) = play.most_jobs {
        flags = format!("{flags} --max-jobs {jobs}");
    }
    flags
}

/// The lines of one world's trace, and what became of it.
pub(crate) fn trace(seed: u64, play: &Play) -> (Vec<String>, Result<Fate, Broken>) {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let play = Play { trace: Some(lines.clone()), ..play.clone() };
    let fate = Graphs::default().world(seed, &play);
    (lines.take(), fate)
}

thread_local! {
    static LAST_WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the words of a panic for the report in place of printing them.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A test that fails is to be heard; only worlds are quiet.
            if AT.get().0 == 0 {
                return before(info);
            }
            let words = info.payload_as_str().unwrap_or("a panic without words");
            let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line()));
            let words = format!("{words}{}", place.unwrap_or_default());
            LAST_WORDS.with(|last| *last.borrow_mut() = Some(words));
        }));
    });
}
