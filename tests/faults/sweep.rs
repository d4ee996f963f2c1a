//! A crash at every write, sync and rename of a small run of the whole engine.
//!
//! The run is recorded once. From the trace the disk is built as a crash at any moment may leave it
//! (see `disk.rs`), opened, and held against what had been said by then. `CALLSHEET_SWEEP=all`
//! tries every moment in every way; otherwise a part of them, spread evenly.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use callsheet::StoreError;

use crate::disk::{Crash, Disk, Names, mix};
use crate::found::Found;
use crate::shim;
use crate::trace::{self, Call, What};
use crate::victim;
use crate::words::{Mouth, Words};

/// Checks that a run without `CALLSHEET_SWEEP=all` makes in each test, about.
const USUAL_CHECKS: usize = 100;
/// Of these so many go on until every job has ended.
const USUAL_RESUMES: usize = 8;
/// And so many of a complete sweep.
const ALL_RESUMES: usize = 60;

/// Crashes of a disk that lies that are tried without `CALLSHEET_SWEEP=all`, about.
const USUAL_LIES: usize = 40;

/// One recorded run.
struct Recording {
    root: PathBuf,
    calls: Vec<Call>,
    /// What was there in the end.
    whole: Found,
    _dir: tempfile::TempDir,
}

#[test]
fn a_crash_at_every_call_loses_nothing_acknowledged() {
    let recording = recording();
    let crashes = crashes(&recording.calls);
    let stride = if is_complete() { 1 } else { crashes.len().div_ceil(USUAL_CHECKS) };
    let tried: Vec<_> = crashes.iter().copied().step_by(stride).collect();
    let resumes = if is_complete() { ALL_RESUMES } else { USUAL_RESUMES };
    let one_in = (tried.len() / resumes).max(1) as u64;
    let resumed = AtomicUsize::new(0);
    let failures = try_all(recording, &tried, true, &|n, data, words| {
        let found = Found::read(data).map_err(|error| error.to_string())?;
        found.hold(words)?;
        found.begins(&recording.whole)?;
        found.artifacts_hold(data)?;
        if mix(7, n as u64, 0).is_multiple_of(one_in) {
            resumed.fetch_add(1, Ordering::Relaxed);
            resume(data, words, &found)?;
        }
        Ok(())
    });
    println!(
        "{} calls, {} crashes possible, {} tried, {} of them resumed to the end, {} failures",
        recording.calls.len(),
        crashes.len(),
        tried.len(),
        resumed.into_inner(),
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The test of the test: on a disk whose syncs do nothing, acknowledged records are lost, and that
/// is seen. The same crashes are what a user of such a disk has to fear: what was written may be
/// gone, but nothing that is read is wrong.
#[test]
fn a_disk_that_lies_loses_and_is_never_believed() {
    let recording = recording();
    let crashes = crashes(&recording.calls);
    let after_all = (recording.calls.len() - 1, Crash::Lost(Names::Ordered));
    let lost = try_all(recording, &[after_all], false, &|_, data, words| {
        Found::read(data).map_err(|error| error.to_string())?.hold(words)
    });
    assert_eq!(lost.len(), 1, "the loss of everything went unseen");

    let torn = crashes.iter().filter(|(_, crash)| matches!(crash, Crash::Torn(..)));
    let stride = if is_complete() { 1 } else { (crashes.len() / USUAL_LIES).max(1) };
    let tried: Vec<_> = torn.copied().step_by(stride).collect();
    let refused = AtomicUsize::new(0);
    let failures = try_all(recording, &tried, false, &|_, data, _| match Found::read(data) {
        Ok(found) => found.begins(&recording.whole),
        // Each of these says what is wrong and where.
        Err(StoreError::Open(_) | StoreError::Damaged { .. } | StoreError::Unreadable(_)) => {
            refused.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(other) => Err(other.to_string()),
    });
    println!("{} lies tried, {} refused", tried.len(), refused.into_inner());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The places of a trace where each kind of crash leaves something that another place does not.
fn crashes(calls: &[Call]) -> Vec<(usize, Crash)> {
    let mut crashes = Vec::new();
    let seeds = if is_complete() { crate::draw::number("CALLSHEET_SWEEP_SEEDS", 4) } else { 1 };
    for (n, call) in calls.iter().enumerate() {
        if matches!(call.what, What::Say(_)) {
            continue;
        }
        crashes.push((n, Crash::Kept));
        // What is synced changes with a sync only; the most is said just before it.
        let is_last = n + 1 == calls.len();
        for names in [Names::Ordered, Names::Worst] {
            if call.what == What::Sync || is_last {
                crashes.push((n, Crash::Lost(names)));
            }
            crashes.extend((0..seeds).map(|seed| (n, Crash::Torn(names, seed + 1))));
        }
    }
    crashes
}

type Check<'a> = &'a (dyn Fn(usize, &Path, &Words) -> Result<(), String> + Sync);

/// Builds each crash and checks what it leaves; answers with the failures. The call at which it
/// crashes has been made, but for a sync that loses: there it has not come back yet.
fn try_all(
    recording: &Recording,
    tried: &[(usize, Crash)],
    honest: bool,
    check: Check<'_>,
) -> Vec<String> {
    let half = tried.len().div_ceil(2);
    std::thread::scope(|scope| {
        let halves = tried.chunks(half.max(1)).enumerate();
        let threads: Vec<_> = halves
            .map(|(n, part)| {
                scope.spawn(move || try_some(recording, part, n * half, honest, check))
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn try_some(
    recording: &Recording,
    tried: &[(usize, Crash)],
    first: usize,
    honest: bool,
    check: Check<'_>,
) -> Vec<String> {
    let scratch = crate::scratch();
    let mut disk = Disk::new(&recording.root, honest);
    let mut words = Words::default();
    let mut at = 0;
    let mut failures = Vec::new();
    for (number, &(n, crash)) in tried.iter().enumerate() {
        let stop = if matches!(crash, Crash::Lost(_)) { n } else { n + 1 };
        for call in &recording.calls[at.min(stop)..stop] {
            disk.take(call);
            if let What::Say(line) = &call.what {
                words.hear(line);
            }
        }
        at = at.max(stop);
        let target = scratch.path().join(number.to_string());
        std::fs::create_dir(&target).unwrap();
        disk.leave(crash, &target);
        if let Err(why) = check(first + number, &target.join("data"), &words) {
            let call = &recording.calls[n];
            let kind = format!("{:?}", call.what).chars().take(40).collect::<String>();
            failures.push(format!("call {n} ({kind} {}), {crash:?}: {why}", call.path));
        }
        std::fs::remove_dir_all(&target).unwrap();
    }
    failures
}

/// Goes on with what a crash has left until every job has ended.
fn resume(data: &Path, words: &Words, found: &Found) -> Result<(), String> {
    let say = data.parent().unwrap().join("say");
    let mouth = Mouth::open(&say);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime
        .unwrap()
        .block_on(async {
            victim::live(data, &mouth, 0).await?;
            let engine = victim::kinds(&mouth).data_dir(data).open().await?;
            for (job, key) in words.accepted.iter().filter(|(_, key)| *key != "-") {
                let again = victim::again(&engine, key).await?;
                assert_eq!(again, (job.clone(), false), "the key gives the job it gave before");
            }
            engine.shutdown().await;
            Ok::<_, callsheet::EngineError>(())
        })
        .map_err(|error| error.to_string())?;
    let after = Found::read(data).map_err(|error| error.to_string())?;
    let said = Words::read(&say);
    after.hold(&said)?;
    for (id, job) in &found.0 {
        let now = &after.0[id];
        if !now.head.status.has_ended() {
            return Err(format!("job {id} did not end"));
        }
        let (old, new) = (job.results()?, now.results()?);
        if let Some((place, _)) = old.iter().find(|(place, output)| new[*place] != **output) {
            return Err(format!("the committed result of {place:?} of job {id} changed"));
        }
        let begun = said.begun.iter().filter(|begun| begun.0 == *id);
        for (_, step, item, attempt) in begun {
            if old.contains_key(&(step.clone(), *item)) {
                return Err(format!("`{step}` of job {id} had its result and ran again"));
            }
            let before = (id.clone(), step.clone(), *item, *attempt);
            if words.begun.contains(&before) {
                return Err(format!("an attempt began twice: {before:?}"));
            }
        }
    }
    Ok(())
}

/// The run, recorded once for all tests.
fn recording() -> &'static Recording {
    static RECORDED: OnceLock<Recording> = OnceLock::new();
    RECORDED.get_or_init(record)
}

fn record() -> Recording {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("disk");
    std::fs::create_dir(&root).unwrap();
    let [say, notes, data] = ["../say", "../trace", "data"].map(|name| root.join(name));
    let (say, notes) = (normal(&say), normal(&notes));
    let environment = [
        ("LD_PRELOAD", shim::library()),
        ("SHIM_DIR", root.as_path()),
        ("SHIM_TRACE", notes.as_path()),
        ("SHIM_SAY", say.as_path()),
    ];
    // Two lives, so that opening what is there is among the places to crash at.
    for life in 1..=2 {
        let status = victim::start(&data, &say, 1, &environment).wait().unwrap();
        let words = Words::read(&say);
        assert!(status.success(), "life {life}: {status}: {:?}", words.other);
    }
    let words = Words::read(&say);
    let whole = Found::read(&data).unwrap();
    whole.hold(&words).unwrap();
    assert_eq!(whole.0.len(), 14, "two jobs of each kind");
    whole.all_ended().unwrap();
    Recording { root, calls: trace::read(&notes), whole, _dir: dir }
}

fn normal(path: &Path) -> PathBuf {
    path.parent().unwrap().canonicalize().unwrap().join(path.file_name().unwrap())
}

fn is_complete() -> bool {
    std::env::var("CALLSHEET_SWEEP").is_ok_and(|what| what == "all")
}
