//! Starts the victim, kills it, and holds what it finds against what was promised.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{ledger, victim};

/// Jobs that the victim submits in a round.
const JOBS_A_ROUND: u32 = 5;

/// When the victim dies.
#[derive(Clone, Copy)]
pub enum Kill<'a> {
    /// So many milliseconds after it began to open the store.
    After(u64),
    /// At the n-th passing of a named point.
    At { point: &'a str, passing: u64 },
    /// Not at all.
    Never,
}

/// Everything that is known from outside.
pub struct World {
    dir: tempfile::TempDir,
    accepted: HashSet<String>,
    cancelled: HashSet<String>,
    /// Results seen committed: place to attempt and hash of the output, and how many lines the
    /// ledger had when they were first seen.
    committed: HashMap<String, (String, usize)>,
    /// Terminal states seen.
    ended: HashMap<String, String>,
    steps: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        let steps = ["first", "each", "flaky", "big", "child", "last"];
        Self {
            dir: tempfile::tempdir().unwrap(),
            accepted: HashSet::new(),
            cancelled: HashSet::new(),
            committed: HashMap::new(),
            ended: HashMap::new(),
            steps: steps.map(str::to_owned).to_vec(),
        }
    }

    fn ledger(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    /// One life of the victim; true when it was killed before it was done.
    pub fn round(&mut self, kill: Kill<'_>) -> bool {
        self.live(kill, JOBS_A_ROUND)
    }

    /// A life in peace, in which everything ends; then everything is checked once more.
    pub fn finish(&mut self) {
        assert!(!self.live(Kill::Never, 0), "the victim did not end by itself");
        self.live(Kill::Never, 0);
        self.check("the end");
        for job in &self.accepted {
            let status = self.ended.get(job).unwrap_or_else(|| panic!("job {job} did not end"));
            let expected = if self.cancelled.contains(job) { "cancelled" } else { "succeeded" };
            // A cancel whose answer was lost with the process may still have been recorded.
            let lost_answer = status == "cancelled" && expected == "succeeded";
            assert!(status == expected || lost_answer, "job {job} ended {status}, not {expected}");
        }
    }

    /// Accepted jobs, and attempts that were begun a second time.
    pub fn figures(&self) -> (usize, usize) {
        let begun = ledger::read(&self.ledger());
        let places: HashSet<&[String]> = begun.iter().map(|line| &line[1..4]).collect();
        (self.accepted.len(), begun.len() - places.len())
    }

    fn live(&mut self, kill: Kill<'_>, jobs: u32) -> bool {
        let lines_before = ledger::read(&self.ledger()).len();
        let mut child = start(self.dir.path(), kill, jobs);
        let (_until_waited, over) = mpsc::channel();
        let mut over = Some(over);
        let mut done = false;
        for line in follow(&mut child) {
            done |= line == "done";
            if let (Kill::After(millis), "open") = (kill, line.as_str()) {
                over.take().into_iter().for_each(|over| kill_later(child.id(), millis, over));
            }
            self.hear(&line, lines_before);
        }
        let status = child.wait().unwrap();
        let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
        assert!(done || killed, "the victim ended with {status} and was neither done nor killed");
        self.no_orphans();
        killed && !done
    }

    /// Takes a line of the victim in; a result that changes is noticed here.
    fn hear(&mut self, line: &str, lines_before: usize) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["accepted", job] => {
                self.accepted.insert(job.to_owned());
            }
            ["cancelled", job] => {
                self.cancelled.insert(job.to_owned());
            }
            ["committed", job, step, item, attempt, output] => {
                let step = &self.steps[step.parse::<usize>().unwrap()];
                let (place, result) =
                    (format!("{job} {step} {item}"), format!("{attempt} {output}"));
                let known = self.committed.entry(place).or_insert((result.clone(), lines_before));
                assert_eq!(known.0, result, "a committed result changed");
            }
            ["head", job, status @ ("succeeded" | "failed" | "cancelled")] => {
                let known = self.ended.entry(job.to_owned()).or_insert(status.to_owned());
                assert_eq!(known, status, "a terminal state changed");
            }
            _ => {}
        }
    }

    /// No step whose result was seen committed has begun again since, and no attempt has begun
    /// twice: its number is in the journal before its body starts.
    pub fn check(&self, when: &str) {
        let mut begun = HashSet::new();
        for (n, line) in ledger::read(&self.ledger()).iter().enumerate() {
            assert!(begun.insert(line.join(" ")), "{when}: an attempt began twice: {line:?}");
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

    /// The children of a killed engine die with it.
    fn no_orphans(&self) {
        let text = std::fs::read_to_string(self.dir.path().join("pids")).unwrap_or_default();
        for pid in text.lines() {
            let cmdline = PathBuf::from(format!("/proc/{pid}/cmdline"));
            let runs =
                || std::fs::read(&cmdline).is_ok_and(|line| line.starts_with(b"sleep\x000.02"));
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

fn start(dir: &Path, kill: Kill<'_>, jobs: u32) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["victim", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(victim::DIR, dir)
        .env(victim::JOBS, jobs.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    if let Kill::At { point, passing } = kill {
        command.env(victim::POINT, format!("{point}@{passing}"));
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
