//! The process groups of one attempt.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsheet_engine::mutated;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::death_signal::die_with_parent;
use super::strays::MARK;
use crate::limits::TERM_GRACE_MS;

/// How often a dying group is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The process groups that an attempt has running.
#[derive(Clone)]
pub(crate) struct Children(Arc<Inner>);

struct Inner {
    mark: PathBuf,
    groups: Mutex<Groups>,
}

#[derive(Default)]
struct Groups {
    running: BTreeMap<i32, Manner>,
    stopped: bool,
}

/// How a group is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// TERM first, KILL after a grace.
    Polite,
    /// KILL at once.
    AtOnce,
}

/// A process group that belongs to an attempt until this guard is dropped.
#[must_use = "the process is forgotten when the guard is dropped"]
pub struct Adopted {
    children: Children,
    pid: i32,
}

impl Adopted {
    /// The same, for a process that leaves nothing worth tidying up: what it has written is thrown
    /// away with the attempt. When the attempt is stopped it is killed without a grace.
    pub fn disposable(self) -> Self {
        let mut groups = self.children.lock();
        if let Some(manner) = groups.running.get_mut(&self.pid) {
            *manner = Manner::AtOnce;
        }
        if groups.stopped {
            signal(self.pid, Signal::KILL);
        }
        drop(groups);
        self
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        self.children.lock().running.remove(&self.pid);
    }
}

impl Children {
    pub(crate) fn new(mark: &Path) -> Self {
        Self(Arc::new(Inner { mark: mark.to_owned(), groups: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn prepare(&self, command: &mut std::process::Command) {
        command.process_group(0).env(MARK, &self.0.mark);
        die_with_parent(command);
    }

    /// A group that is adopted after the attempt was stopped is killed at once.
    pub(crate) fn adopt(&self, pid: u32) -> Adopted {
        let pid = i32::try_from(pid).unwrap_or(i32::MAX);
        let mut groups = self.lock();
        groups.running.insert(pid, Manner::Polite);
        if groups.stopped {
            signal(pid, Signal::KILL);
        }
        drop(groups);
        Adopted { children: self.clone(), pid }
    }

    /// Whether any group runs.
    pub(crate) fn any(&self) -> bool {
        !self.lock().running.is_empty()
    }

    /// Tells every group to end, and kills what has not ended after the grace.
    pub(crate) async fn stop(&self) {
        if self.begin_stop() == 0 {
            return;
        }
        let looks = TERM_GRACE_MS / LOOK_EVERY.as_millis() as u64;
        for _ in 0..looks {
            tokio::time::sleep(LOOK_EVERY).await;
            if !self.lock().running.keys().any(|pid| alive(*pid)) {
                return;
            }
        }
        self.kill();
    }

    /// Kills every group now; for when there is no time to wait.
    pub(crate) fn kill(&self) {
        let mut groups = self.lock();
        groups.stopped = true;
        groups.running.keys().for_each(|pid| signal(*pid, Signal::KILL));
    }

    /// Gives every group its first signal; answers how many there are.
    fn begin_stop(&self) -> usize {
        let mut groups = self.lock();
        groups.stopped = true;
        for (pid, manner) in &groups.running {
            let first = match manner {
                Manner::Polite => Signal::TERM,
                Manner::AtOnce => Signal::KILL,
            };
            signal(*pid, first);
        }
        groups.running.len()
    }
}

fn signal(pid: i32, what: Signal) {
    if let Some(pid) = Pid::from_raw(pid).filter(|_| !mutated("child-processes")) {
        // The group may have ended by itself; then there is nobody left to signal.
        let _ = kill_process_group(pid, what);
    }
}

fn alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process_group(pid).is_ok())
}
