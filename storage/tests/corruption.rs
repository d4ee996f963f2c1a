//! The corruption sweep: a small store, one damage at a time, everywhere.
//!
//! Every byte of every file is changed, every file is cut at every length, every 4 KiB page is
//! zeroed, every two pages change places, every file is removed. Whatever was damaged, a record
//! that was acknowledged is read back equal, or its job or the whole store is refused with words.
//! A wrong answer, a hang, or a panic that gets out is a failure.
//!
//! The sweep looks at files only, so it holds for every layout. The full one is long; a plain test
//! run takes a sample:
//!
//! | `CALLSHEET_SWEEP` | cases |
//! |---|---|
//! | unset | a few hundred, spread over all kinds of damage and all files |
//! | a number | so many |
//! | `all` | every one |
//!
//! `CALLSHEET_SWEEP_SEED` chooses another sample.
#![allow(clippy::unwrap_used)]

mod common;
mod harm;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use callsheet_storage::{Created, SledStore, Store, StoreError};
use common::{copy_dir, id, new_job};
use harm::Case;
use world::expected::Expected;

/// Cases of a plain test run.
const SAMPLE_COUNT: usize = 400;
/// Nothing but a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(300);
/// After one case in so many the store is also written to and opened again.
const WRITE_EVERY: usize = 8;

/// What became of a damaged store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// It opens, and all is there.
    Intact,
    /// It opens, and says what it cannot read.
    PartRefused(String),
    /// It does not open, and says why.
    Refused(String),
}

#[test]
fn no_damage_gives_a_wrong_answer() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    let expected = small_world(&whole);
    let all = harm::all(&whole);
    let count = match std::env::var("CALLSHEET_SWEEP").as_deref() {
        Err(_) => SAMPLE_COUNT,
        Ok("all") => all.len(),
        Ok(number) => number.parse().expect("CALLSHEET_SWEEP is a number or `all`"),
    };
    let seed = std::env::var("CALLSHEET_SWEEP_SEED").map_or(1, |text| text.parse().unwrap());
    let cases = harm::sample(&all, count, seed);
    println!("{} of {} cases, seed {seed}", cases.len(), all.len());
    // sled's own threads panic on damage and say so at length.
    std::panic::set_hook(Box::new(|_| {}));
    let tally = sweep(root.path(), &whole, &expected, &cases);
    let _ = std::panic::take_hook();
    print!("{}", tally.table());
    assert!(tally.wrong.is_empty(), "{} cases are wrong:\n{}", tally.wrong.len(), tally.first());
    let ended = |kind| tally.counts.keys().any(|(_, _, ending)| *ending == kind);
    assert!(ended("intact") && ended("refused"), "the sweep damages what matters, and what not");
}

/// A few jobs, some of them with values in files of their own.
fn small_world(dir: &Path) -> Expected {
    let mut scripts = world::scripts::all();
    let wanted = [0, 1, 3, 9];
    let mut n = 0;
    scripts.retain(|_| {
        n += 1;
        wanted.contains(&(n - 1))
    });
    let expected = world::fill_with(dir, &scripts);
    // Without content the ballast is there all the same, and is not written at each opening.
    fs::write(dir.join("ballast"), "").unwrap();
    fs::remove_dir_all(dir.join("artifacts")).unwrap();
    expected
}

/// How all cases ended.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<(String, &'static str, &'static str), usize>,
    examples: BTreeMap<String, String>,
    wrong: Vec<String>,
}

fn sweep(root: &Path, whole: &Path, expected: &Expected, cases: &[Case]) -> Tally {
    let next = AtomicUsize::new(0);
    let (results, ended) = mpsc::channel();
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        // Opening waits more than it computes.
        let workers = 4 * std::thread::available_parallelism().map_or(2, usize::from);
        for worker in 0..workers {
            let (results, next) = (results.clone(), &next);
            let dir = root.join(format!("worker-{worker}"));
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(n) else { return };
                    let ending = try_case(&runtime, whole, &dir, expected, case, n);
                    if results.send((n, ending)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for _ in cases {
            match ended.recv_timeout(PATIENCE) {
                Ok((n, ending)) => tally.add(&cases[n], ending),
                // The thread that hangs cannot be ended: the process must be.
                Err(_) => {
                    let begun = next.load(Ordering::Relaxed).min(cases.len());
                    eprintln!("a case hangs, one of {:?}", &cases[begun.saturating_sub(4)..begun]);
                    std::process::exit(1);
                }
            }
        }
    });
    tally
}

fn try_case(
    runtime: &tokio::runtime::Runtime,
    whole: &Path,
    dir: &Path,
    expected: &Expected,
    case: &Case,
    n: usize,
) -> Result<Ending, String> {
    if dir.exists() {
        fs::remove_dir_all(dir).unwrap();
    }
    copy_dir(whole, dir);
    case.damage(dir);
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let ending = runtime.block_on(judge(dir, expected));
        if n.is_multiple_of(WRITE_EVERY) && ending == Ending::Intact {
            runtime.block_on(write_and_judge(dir, expected));
        }
        ending
    }));
    judged.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

/// Opens a damaged store and asks for everything.
async fn judge(dir: &Path, expected: &Expected) -> Ending {
    let store = match SledStore::open(dir) {
        Ok(store) => store,
        Err(StoreError::Open(why)) => {
            assert!(why.contains(&dir.display().to_string()), "it names the place: {why}");
            return Ending::Refused(why);
        }
        Err(other) => panic!("it is refused with another error: {other}"),
    };
    let refused = expected.check_honest(&store).await;
    // A store that found damage may have stopped for good.
    let closed = store.close().await;
    if refused.is_empty() {
        assert_eq!(closed, Ok(()), "nothing was refused");
        return Ending::Intact;
    }
    Ending::PartRefused(refused.join("; "))
}

/// A store that seems whole takes a job and keeps it, beside all others.
async fn write_and_judge(dir: &Path, expected: &Expected) {
    let store = common::open(dir);
    assert_eq!(store.create(new_job(77)).await, Ok(Created::New));
    store.close().await.unwrap();
    let store = common::open(dir);
    assert_eq!(store.journal(id(77), 0).await.unwrap().len(), 1, "the new job is kept");
    for job in &expected.jobs {
        let kept = store.journal(job.id, 0).await.unwrap().len();
        assert_eq!(kept, job.records.len(), "the others stay");
    }
    store.close().await.unwrap();
}

impl Tally {
    fn add(&mut self, case: &Case, ending: Result<Ending, String>) {
        let (name, why) = match ending {
            Ok(Ending::Intact) => ("intact", String::new()),
            Ok(Ending::PartRefused(why)) => ("part refused", why),
            Ok(Ending::Refused(why)) => ("refused", why),
            Err(why) => {
                self.wrong.push(format!("{case:?}: {why}"));
                ("WRONG", why)
            }
        };
        let key = (case.file.display().to_string(), case.damage.kind(), name);
        let example = format!("{} {} {name}: {case:?}: {why}", key.0, key.1);
        self.examples.entry(format!("{key:?}")).or_insert(example);
        *self.counts.entry(key).or_default() += 1;
    }

    fn table(&self) -> String {
        let mut text = String::new();
        for ((file, kind, ending), count) in &self.counts {
            let file: String = file.chars().take(24).collect();
            writeln!(text, "{file:24} {kind:10} {ending:12} {count:8}").unwrap();
        }
        if std::env::var_os("CALLSHEET_SWEEP").is_some() {
            for example in self.examples.values() {
                writeln!(text, "e.g. {}", example.replace('\n', " ")).unwrap();
            }
        }
        text
    }

    fn first(&self) -> String {
        self.wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n")
    }
}
