//! Counters since the engine was opened.

use std::sync::atomic::{AtomicU64, Ordering};

use callsheet_storage::StoreStats;

use crate::files::Swept;

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
    /// Files, and results that are kept.
    pub files: FileStats,
}

/// Figures of files since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStats {
    /// Bytes of all files.
    pub bytes: u64,
    /// The most that they may have; 0 when there is no bound.
    pub max_bytes: u64,
    /// Files that sweeps removed.
    pub swept: u64,
    /// Their bytes.
    pub swept_bytes: u64,
    /// Sweeps that were made.
    pub sweeps: u64,
    /// Attempts whose result was kept from before.
    pub cache_hits: u64,
    /// Attempts that ran because no result was kept.
    pub cache_misses: u64,
    /// Attempts that took the result of another that was under way.
    pub cache_joined: u64,
    /// Results that were kept.
    pub cache_stored: u64,
    /// Results that sweeps forgot.
    pub cache_forgotten: u64,
    /// Results that the last sweep left.
    pub cache_results: u64,
    /// Bytes that those and the ones kept since hold; a file that several name may count twice.
    pub cache_bytes: u64,
}

/// The counters behind [`FileStats`].
#[derive(Debug, Default)]
pub(crate) struct FileCounters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) joined: Counter,
    pub(crate) stored: Counter,
    pub(crate) result_bytes: AtomicU64,
    results: AtomicU64,
    sweeps: Counter,
    swept: Counter,
    swept_bytes: Counter,
    forgotten: Counter,
}

impl FileCounters {
    pub(crate) fn swept(&self, swept: Swept) {
        self.sweeps.up();
        self.swept.add(swept.files);
        self.swept_bytes.add(swept.bytes);
        self.forgotten.add(swept.results);
    }

    /// What a sweep has found of kept results.
    pub(crate) fn results(&self, count: u64, bytes: u64) {
        self.results.store(count, Ordering::Relaxed);
        self.result_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, bytes: u64, max_bytes: Option<u64>) -> FileStats {
        FileStats {
            bytes,
            max_bytes: max_bytes.unwrap_or(0),
            swept: self.swept.get(),
            swept_bytes: self.swept_bytes.get(),
            sweeps: self.sweeps.get(),
            cache_hits: self.hits.get(),
            cache_misses: self.misses.get(),
            cache_joined: self.joined.get(),
            cache_stored: self.stored.get(),
            cache_forgotten: self.forgotten.get(),
            cache_results: self.results.load(Ordering::Relaxed),
            cache_bytes: self.result_bytes.load(Ordering::Relaxed),
        }
    }
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

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self, store: StoreStats, files: FileStats) -> Stats {
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
            files,
        }
    }
}
