//! The process groups of one attempt.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    running: BTreeSet<i32>,
    stopped: bool,
}

/// A process group that belongs to an attempt until this guard is dropped.
#[must_use = "the process is forgotten when the guard is dropped"]
pub struct Adopted {
    children: Children,
    pid: i32,
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
        groups.running.insert(pid);
        if groups.stopped {
            signal(pid, Signal::KILL);
        }
        drop(groups);
        Adopted { children: self.clone(), pid }
    }

    /// Tells every group to end, and kills what has not ended after the grace.
    pub(crate) async fn stop(&self) {
        if self.signal_all(Signal::TERM) == 0 {
            return;
        }
        let looks = TERM_GRACE_MS / LOOK_EVERY.as_millis() as u64;
        for _ in 0..looks {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.lock().running.iter().all(|pid| !alive(*pid)) {
                return;
            }
        }
        self.signal_all(Signal::KILL);
    }

    /// Kills every group now; for when there is no time to wait.
    pub(crate) fn kill(&self) {
        self.signal_all(Signal::KILL);
    }

    fn signal_all(&self, what: Signal) -> usize {
        let mut groups = self.lock();
        groups.stopped = true;
        for pid in &groups.running {
            signal(*pid, what);
        }
        groups.running.len()
    }
}

fn signal(pid: i32, what: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // The group may have ended by itself; then there is nobody left to signal.
        let _ = kill_process_group(pid, what);
    }
}

fn alive(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process_group(pid).is_ok())
}
