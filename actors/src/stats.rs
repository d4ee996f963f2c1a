//! Counters since the engine was opened.

use std::sync::atomic::{AtomicU64, Ordering};

use callsheet_storage::StoreStats;

/// Figures since the engine was opened, for a metrics page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Jobs accepted.
    pub jobs_submitted: u64,
    /// Jobs that ended with an output.
    pub jobs_succeeded: u64,
    /// Jobs that ended with a failure.
    pub jobs_failed: u64,
    /// Jobs that were cancelled.
    pub jobs_cancelled: u64,
    /// Attempts whose body was started.
    pub attempts_started: u64,
    /// Attempts that succeeded.
    pub attempts_succeeded: u64,
    /// Attempts that failed.
    pub attempts_failed: u64,
    /// Attempts whose body did not return when it was stopped.
    pub attempts_abandoned: u64,
    /// Times that a job's actor died and was started again.
    pub actor_restarts: u64,
    /// Records made durable.
    pub commits: u64,
    /// Jobs that have an actor now.
    pub jobs_active: u64,
    /// Attempts that are open now.
    pub attempts_open: u64,
    /// What writing has cost the store.
    pub store: StoreStats,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) jobs_submitted: Counter,
    pub(crate) jobs_succeeded: Counter,
    pub(crate) jobs_failed: Counter,
    pub(crate) jobs_cancelled: Counter,
    pub(crate) attempts_started: Counter,
    pub(crate) attempts_succeeded: Counter,
    pub(crate) attempts_failed: Counter,
    pub(crate) attempts_abandoned: Counter,
    pub(crate) actor_restarts: Counter,
    pub(crate) commits: Counter,
    pub(crate) jobs_active: Counter,
    pub(crate) attempts_open: Counter,
}

/// One figure.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self, store: StoreStats) -> Stats {
        Stats {
            jobs_submitted: self.jobs_submitted.get(),
            jobs_succeeded: self.jobs_succeeded.get(),
            jobs_failed: self.jobs_failed.get(),
            jobs_cancelled: self.jobs_cancelled.get(),
            attempts_started: self.attempts_started.get(),
            attempts_succeeded: self.attempts_succeeded.get(),
            attempts_failed: self.attempts_failed.get(),
            attempts_abandoned: self.attempts_abandoned.get(),
            actor_restarts: self.actor_restarts.get(),
            commits: self.commits.get(),
            jobs_active: self.jobs_active.get(),
            attempts_open: self.attempts_open.get(),
            store,
        }
    }
}
