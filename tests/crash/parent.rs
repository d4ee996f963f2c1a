//! Lets the victim live, and holds what it finds against what was promised.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::fate::{Act, Fate};
use crate::{ledger, victim};

/// Everything that is known from outside.
pub struct World {
    dir: tempfile::TempDir,
    /// Rounds of jobs that the victim submits in a life.
    rounds: u32,
    accepted: HashSet<String>,
    cancelled: HashSet<String>,
    /// Results seen committed: place to attempt and hash of the output, and how many lines the
    /// ledger had when they were first seen.
    committed: HashMap<String, (String, usize)>,
    /// Terminal states seen.
    ended: HashMap<String, String>,
    /// Jobs that may have failed: one for each panic.
    forgiven: usize,
    heard: Heard,
}

/// What a life has told so far.
#[derive(Default)]
struct Heard {
    /// Everything that it found committed.
    found: HashSet<String>,
    passed: bool,
    done: bool,
    failed: bool,
}

impl World {
    pub fn new(rounds: u32) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            rounds,
            accepted: HashSet::new(),
            cancelled: HashSet::new(),
            committed: HashMap::new(),
            ended: HashMap::new(),
            forgiven: 0,
            heard: Heard::default(),
        }
    }

    fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    /// One life of the victim; true when its fate befell it.
    pub fn life(&mut self, fate: Fate<'_>) -> bool {
        let panics = matches!(fate, Fate::At { act: Act::Panic, .. });
        self.forgiven += usize::from(panics);
        let killed = self.live(fate, self.rounds);
        self.check(&format!("{fate:?}"));
        match fate {
            Fate::At { .. } => self.heard.passed,
            Fate::KilledAfter(_) | Fate::Peace => killed,
        }
    }

    /// A life in peace, in which everything ends; then everything is checked once more.
    pub fn finish(&mut self) {
        assert!(!self.live(Fate::Peace, 0), "the victim did not end by itself");
        self.live(Fate::Peace, 0);
        self.check("the end");
        let mut failed = Vec::new();
        for job in &self.accepted {
            let status = self.ended.get(job).unwrap_or_else(|| panic!("job {job} did not end"));
            // A cancel whose answer was lost with the process may still have been recorded.
            match status.as_str() {
                "cancelled" => {}
                "succeeded" if !self.cancelled.contains(job) => {}
                other => failed.push(format!("{job} {other}")),
            }
        }
        let forgiven = self.forgiven;
        assert!(failed.len() <= forgiven, "{forgiven} panics, and these jobs ended: {failed:?}");
    }

    /// Accepted jobs, those of them that succeeded, and attempts that were begun a second time.
    pub fn figures(&self) -> (usize, usize, usize) {
        let lines = ledger::read(&self.ledger());
        let begun: Vec<_> = lines.iter().filter(|line| line[0] == "begin").collect();
        let places: HashSet<&[String]> = begun.iter().map(|line| &line[1..4]).collect();
        let succeeded = self.ended.values().filter(|status| *status == "succeeded").count();
        (self.accepted.len(), succeeded, begun.len() - places.len())
    }

    /// True when the victim was killed before it was done.
    fn live(&mut self, fate: Fate<'_>, rounds: u32) -> bool {
        let lines_before = ledger::read(&self.ledger()).len();
        let mut child = start(self.dir.path(), fate, rounds);
        let (_until_waited, over) = mpsc::channel();
        let mut over = Some(over);
        self.heard = Heard::default();
        for line in follow(&mut child) {
            if let (Fate::KilledAfter(millis), "open") = (fate, line.as_str()) {
                over.take().into_iter().for_each(|over| kill_later(child.id(), millis, over));
            }
            self.hear(&line, lines_before);
        }
        let status = child.wait().unwrap();
        let killed = status.signal() == Some(9);
        let Heard { done, failed, .. } = self.heard;
        // A panic in the store's writer or among the supervisors ends the engine, and says so.
        let panics = matches!(fate, Fate::At { act: Act::Panic, .. });
        let gave_up = panics && failed && status.code() == Some(3);
        assert!(done || killed || gave_up, "{fate:?}: the victim ended with {status}");
        assert!(!failed || panics, "{fate:?}: the engine failed");
        self.no_orphans();
        killed && !done
    }

    /// Takes a line of the victim in; a result that changes is noticed here.
    fn hear(&mut self, line: &str, lines_before: usize) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["accepted", job] => drop(self.accepted.insert(job.to_owned())),
            ["cancelled", job] => drop(self.cancelled.insert(job.to_owned())),
            ["to-stop", job] => drop(self.heard.found.insert(format!("cancel of {job}"))),
            ["committed", job, step, item, attempt, output] => {
                let place = format!("{job} {step} {item}");
                let result = format!("{attempt} {output}");
                self.heard.found.insert(place.clone());
                let known = self.committed.entry(place).or_insert((result.clone(), lines_before));
                assert_eq!(known.0, result, "a committed result changed");
            }
            ["head", job, status] => {
                self.heard.found.insert(format!("job {job}"));
                if matches!(status, "succeeded" | "failed" | "cancelled") {
                    self.end(job, status);
                }
            }
            ["ended", job, status] => self.end(job, status),
            ["open"] => self.nothing_is_gone(),
            ["again", before, now, is_new] => {
                assert_eq!((before, "false"), (now, is_new), "one key, one job");
            }
            ["left", ..] => panic!("after the end of a cancelled job there were {line}"),
            ["passed"] => self.heard.passed = true,
            ["failed", _] => self.heard.failed = true,
            ["done"] => self.heard.done = true,
            _ => {}
        }
    }

    fn end(&mut self, job: &str, status: &str) {
        let known = self.ended.entry(job.to_owned()).or_insert(status.to_owned());
        assert_eq!(known, status, "the terminal state of job {job} changed");
    }

    /// The victim has told all that it found: everything that was ever acknowledged is in it.
    fn nothing_is_gone(&self) {
        let found = &self.heard.found;
        for job in &self.accepted {
            assert!(found.contains(&format!("job {job}")), "the accepted job {job} is lost");
        }
        for job in &self.cancelled {
            assert!(found.contains(&format!("cancel of {job}")), "the cancel of {job} is lost");
        }
        for place in self.committed.keys() {
            assert!(found.contains(place), "the committed result of `{place}` is lost");
        }
    }

    /// No step whose result was seen committed has begun again since, none has begun after its job
    /// was cancelled, and no attempt has begun twice, for its number is in the journal before its
    /// body starts; but for pure ones, which may run ahead of the disk.
    fn check(&self, when: &str) {
        let mut begun = HashSet::new();
        let mut cancelled = HashSet::new();
        for (n, line) in ledger::read(&self.ledger()).iter().enumerate() {
            if line[0] == "cancelled" {
                cancelled.insert(line[1].clone());
                continue;
            }
            assert!(!cancelled.contains(&line[1]), "{when}: began after the cancel: {line:?}");
            let is_first = begun.insert(line[1..5].join(" "));
            assert!(is_first || line[5] == "pure", "{when}: an attempt began twice: {line:?}");
            let place = line[1..4].join(" ");
            if let Some((result, seen_at)) = self.committed.get(&place) {
                let committed: u32 = result.split(' ').next().unwrap().parse().unwrap();
                let begun: u32 = line[4].parse().unwrap();
                assert!(
                    begun <= committed && n < *seen_at,
                    "{when}: `{place}` has its result from attempt {committed}, and began: {line:?}"
                );
            }
        }
    }

    /// The children of an engine that is gone are gone too.
    fn no_orphans(&self) {
        let text = std::fs::read_to_string(self.dir.path().join("pids")).unwrap_or_default();
        for pid in text.lines() {
            let cmdline = PathBuf::from(format!("/proc/{pid}/cmdline"));
            let ours = [&b"sleep\x000.0213\0"[..], b"sleep\x00613\0"];
            let runs = || std::fs::read(&cmdline).is_ok_and(|line| ours.contains(&&line[..]));
            let gone = (0..500).any(|_| {
                !runs() || {
                    std::thread::sleep(Duration::from_millis(2));
                    false
                }
            });
            assert!(gone, "process {pid} outlived the engine");
        }
    }
}

fn start(dir: &Path, fate: Fate<'_>, rounds: u32) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["victim", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(victim::DIR, dir)
        .env(victim::ROUNDS, rounds.to_string())
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Fate::At { point, passing, act } = fate {
        command.env(victim::POINT, format!("{point}@{passing}@{act}"));
    }
    command.spawn().unwrap()
}

/// Kills a process after a while, unless the round is over by then: its number might be another's.
fn kill_later(pid: u32, millis: u64, over: mpsc::Receiver<()>) {
    std::thread::spawn(move || {
        let waited = over.recv_timeout(Duration::from_millis(millis));
        if waited == Err(mpsc::RecvTimeoutError::Timeout) {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            kill_process(pid, Signal::KILL).unwrap();
        }
    });
}

/// Reads the victim's lines as they come: what it said before it died was said.
fn follow(child: &mut Child) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
