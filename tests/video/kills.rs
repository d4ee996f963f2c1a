//! Each shipped workflow, killed with SIGKILL at random moments: the job ends all the same, no step
//! that has its result begins again, no finished encode is made twice, and nothing is left behind.
//!
//! `CALLSHEET_KILLS` sets the kills of each workflow (3 unless set; the full proof is 50),
//! `CALLSHEET_KILL_SEED` the seed, which is printed, and `CALLSHEET_WORKFLOW` picks workflows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::commands::works;
use super::draw::{Draw, number};
use super::encodes::{Encodes, noted};
use super::journal::{Journal, Place};
use super::media::{files, workers};
use super::samples::{Example, wanted};
use super::world::{Finished, Running, callsheet};

/// Kills of one job: a third death of one attempt would rightly quarantine it.
const KILLS_A_JOB: u64 = 2;

#[test]
fn killed_at_random_moments_every_workflow_ends_and_repeats_nothing() {
    let wanted_kills = number("CALLSHEET_KILLS", 3);
    let seed = number("CALLSHEET_KILL_SEED", 0x5eed);
    let mut draw = Draw(seed);
    for example in wanted() {
        let mut whole = works(&example);
        let mut tally = Tally::default();
        while tally.kills < wanted_kills {
            assert!(tally.jobs < wanted_kills * 4 + 8, "too many jobs end before their kill");
            tally.jobs += 1;
            let kills = KILLS_A_JOB.min(wanted_kills - tally.kills);
            let killed = tally.kills;
            killed_job(&example, kills, whole, &mut draw, &mut tally);
            if tally.kills == killed {
                // The machine is less busy than it was: a job takes less time than that.
                whole = whole.mul_f64(0.8);
            }
        }
        println!(
            "{}: {} kills of {} jobs (seed {seed}), all succeeded; {} steps and {} encodes were \
             recorded before a kill and not repeated, {} attempts were cut off and made again",
            example.workflow, tally.kills, tally.jobs, tally.kept, tally.encodes, tally.cut
        );
    }
}

/// What was seen over all jobs of a workflow.
#[derive(Default)]
struct Tally {
    jobs: u64,
    kills: u64,
    kept: usize,
    encodes: usize,
    cut: usize,
}

/// One job, killed up to so many times and then let be.
fn killed_job(example: &Example, kills: u64, whole: Duration, draw: &mut Draw, tally: &mut Tally) {
    let site = Site::new();
    let mut seen = Seen::default();
    for _ in 0..kills {
        let mut running = Running::of(site.command(example));
        let moment = whole.mul_f64(draw.share());
        if running.ends_within(moment) {
            break;
        }
        let said = running.last_words();
        site.settles();
        tally.kills += 1;
        let journal = Journal::read(&site.state());
        told_is_recorded(&said, &journal);
        seen.check(&journal, &site.encodes);
        seen.keep(&journal, &site.encodes);
        tally.cut += journal.open.len();
    }
    let result = site.finish(example).json();
    assert_eq!(result["status"], "succeeded", "{example:?}: {result}");
    site.is_deserted();
    site.is_tidy();
    let journal = Journal::read(&site.state());
    assert!(journal.jobs.values().all(|status| status == "succeeded"), "{:?}", journal.jobs);
    seen.check(&journal, &site.encodes);
    tally.kept += seen.done.len();
    tally.encodes += seen.encodes_kept;
    has_its_files(&site, example, &result);
}

/// What the command has told as done is on record.
fn told_is_recorded(said: &str, journal: &Journal) {
    let told = said.lines().filter_map(|line| {
        let (step, words) = line.strip_prefix("  ")?.split_once(' ')?;
        words.trim_start().starts_with("done in ").then_some(step)
    });
    for step in told {
        let is_done = journal.done.iter().any(|place| place.step == step);
        assert!(is_done, "`{step}` was told as done and is not on record: {said}");
    }
}

fn has_its_files(site: &Site, example: &Example, result: &Value) {
    for (place, file) in result["files"].as_object().into_iter().flatten() {
        let path = site.path.join(file.as_str().unwrap());
        let is_full = std::fs::metadata(&path).is_ok_and(|about| about.len() > 0);
        assert!(is_full, "{example:?}: `{place}` is missing or empty");
    }
}

/// What was recorded at the kills so far.
#[derive(Default)]
struct Seen {
    done: BTreeSet<Place>,
    /// Length of the ledger when each place was first seen done.
    lines: Vec<(Place, usize)>,
    encodes_kept: usize,
}

impl Seen {
    /// What has its result keeps it, and nothing was encoded for it since.
    fn check(&self, journal: &Journal, encodes: &Encodes) {
        assert!(self.done.is_subset(&journal.done), "a result is lost: {:?}", self.done);
        let made = encodes.read();
        for (place, lines) in &self.lines {
            let again = made[*lines..].iter().find(|encode| encode.place(journal) == Some(place));
            assert_eq!(again, None, "{place:?} had its result, and was encoded again");
        }
    }

    fn keep(&mut self, journal: &Journal, encodes: &Encodes) {
        let made = encodes.read();
        for place in journal.done.difference(&self.done) {
            self.lines.push((place.clone(), made.len()));
            self.encodes_kept +=
                made.iter().filter(|encode| encode.place(journal) == Some(place)).count();
        }
        self.done.extend(journal.done.iter().cloned());
    }
}

/// A directory in which a job runs, with its data in `state`.
struct Site {
    _dir: tempfile::TempDir,
    path: PathBuf,
    encodes: Encodes,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        let encodes = Encodes::new(&path, path.join("state/work"));
        Self { _dir: dir, path, encodes }
    }

    fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    fn command(&self, example: &Example) -> std::process::Command {
        let args = example.args("out", &["--data-dir", "state", "--progress", "lines"]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = callsheet(&self.path, &args);
        command.env("PATH", self.encodes.path());
        command
    }

    /// Runs the job to its end.
    fn finish(&self, example: &Example) -> Finished {
        Running::of(self.command(example)).finish().has_ended_with(0)
    }

    /// Whoever worked for an engine that is gone is gone too, or at the latest when the next one
    /// starts: a program that is just being shut in may lose its parent before it is tied to it.
    fn settles(&self) -> bool {
        let state = self.state();
        (0..100).any(|_| {
            !state.is_dir() || workers(&state).is_empty() || {
                std::thread::sleep(Duration::from_millis(10));
                false
            }
        })
    }

    /// Nobody works for the job any more.
    fn is_deserted(&self) {
        assert!(self.settles(), "processes outlived the job: {:?}", workers(&self.state()));
    }

    /// No file is left of work that is over.
    fn is_tidy(&self) {
        for place in ["work", "artifacts/tmp"] {
            let mut left = files(&self.state().join(place));
            // Empty, and swept away by the next one to open the store.
            left.retain(|path| path.file_name().is_none_or(|name| name != "lock"));
            assert_eq!(left, Vec::<PathBuf>::new(), "in {place}");
        }
    }
}

/// The checks above notice what they are there for.
#[test]
fn a_repeated_encode_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let encodes = Encodes::new(dir.path(), dir.path().join("work"));
    let place = Place { job: "J".into(), step: "burn".into(), item: 0 };
    let mut journal = Journal::default();
    for fence in [3, 4] {
        journal.attempts.insert(("J".into(), fence), place.clone());
    }
    journal.done.insert(place);
    let note = |fence: u64| {
        let to = dir.path().join(format!("work/J/{fence}"));
        std::fs::create_dir_all(&to).unwrap();
        let args = ["-v", "error", "-f", "lavfi", "-i", "color=size=16x16:duration=0.1"];
        let shut_in = ["--ro-bind", "/", "/", "--dev", "/dev", "--bind"];
        let mut command = std::process::Command::new(noted(&["ffmpeg"])[0]);
        if noted(&["ffmpeg"]) == ["bwrap"] {
            command.args(shut_in).args([&to, &to]).arg("ffmpeg");
        }
        command.args(args).arg(to.join("out.mp4")).env("PATH", encodes.path());
        assert!(command.status().unwrap().success());
    };
    note(3);
    let mut seen = Seen::default();
    seen.keep(&journal, &encodes);
    assert_eq!(seen.encodes_kept, 1);
    seen.check(&journal, &encodes);
    note(4);
    let check = std::panic::AssertUnwindSafe(|| seen.check(&journal, &encodes));
    assert!(std::panic::catch_unwind(check).is_err(), "an encode for a finished step passed");
    assert!(Path::new(dir.path()).is_dir());
}
