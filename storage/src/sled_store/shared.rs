//! What the writer and its callers both see.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::broadcast;

use super::log::index::Index;
use super::view::View;
use crate::check;
use crate::error::StoreError;
use crate::limits::{MAX_BATCH_MS, MAX_NOTICES_COUNT};
use crate::store::{CommitNotice, StoreStats};

/// The readers' view, what is in memory, the notices, and how the store is doing.
pub(super) struct Shared {
    pub(super) view: View,
    pub(super) index: Index,
    pub(super) notices: broadcast::Sender<CommitNotice>,
    figures: Figures,
    failure: OnceLock<String>,
    closed: AtomicBool,
    opened: Instant,
    /// When the batch under way began, in milliseconds after `opened` and one; 0 for none.
    batch_since: AtomicU64,
}

/// The counters behind [`StoreStats`]; the writer alone counts up.
#[derive(Default)]
struct Figures {
    flushes: AtomicU64,
    records: AtomicU64,
    keys: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    pub(super) fn new(view: View, index: Index) -> Self {
        let (notices, _) = broadcast::channel(MAX_NOTICES_COUNT);
        Self {
            view,
            index,
            notices,
            figures: Figures::default(),
            failure: OnceLock::new(),
            closed: AtomicBool::new(false),
            opened: Instant::now(),
            batch_since: AtomicU64::new(0),
        }
    }

    /// Whether the store takes requests.
    pub(super) fn health(&self) -> Result<(), StoreError> {
        let now = self.now();
        let since = self.batch_since.load(Ordering::Acquire);
        if since > 0 && now.saturating_sub(since) > MAX_BATCH_MS {
            // One of sled's own threads has died, or the disk has; either way nobody will answer.
            self.fail(format!("a batch did not reach the disk in {MAX_BATCH_MS} ms"));
        }
        match self.failure.get() {
            Some(why) => Err(StoreError::Stopped(why.clone())),
            None if self.closed.load(Ordering::Acquire) => Err(check::closed()),
            None => Ok(()),
        }
    }

    /// Why the store has failed, if it has.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Why nobody answers.
    pub(super) fn why(&self) -> String {
        self.failure().unwrap_or("the writer has ended").to_owned()
    }

    /// What is answered to a request that nobody takes.
    pub(super) fn stopped(&self) -> StoreError {
        self.health().err().unwrap_or_else(|| StoreError::Stopped(self.why()))
    }

    /// The store has failed, for ever. The first reason stands.
    pub(super) fn fail(&self, why: String) {
        let _ = self.failure.set(why);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn batch_begins(&self) {
        self.batch_since.store(self.now(), Ordering::Release);
    }

    pub(super) fn batch_ends(&self) {
        self.batch_since.store(0, Ordering::Release);
    }

    /// Counts a batch that has become durable: its records, its keys and their bytes.
    pub(super) fn count_batch(&self, records: usize, keys: usize, bytes: usize) {
        let add = |figure: &AtomicU64, more| figure.fetch_add(more as u64, Ordering::Relaxed);
        add(&self.figures.flushes, 1);
        add(&self.figures.records, records);
        add(&self.figures.keys, keys);
        add(&self.figures.bytes, bytes);
    }

    pub(super) fn stats(&self) -> StoreStats {
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        StoreStats {
            flushes: get(&self.figures.flushes),
            records: get(&self.figures.records),
            keys: get(&self.figures.keys),
            bytes: get(&self.figures.bytes),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        let db = sled::Config::new().temporary(true).open().unwrap();
        Shared::new(View::new(db), Index::new(0))
    }

    #[test]
    fn the_first_failure_stands() {
        let shared = shared();
        assert_eq!(shared.health(), Ok(()));
        shared.fail("first".to_owned());
        shared.fail("second".to_owned());
        shared.close();
        assert_eq!(shared.health(), Err(StoreError::Stopped("first".to_owned())));
        assert_eq!(shared.failure(), Some("first"));
    }

    #[test]
    fn batches_add_up() {
        let shared = shared();
        assert_eq!(shared.stats(), StoreStats::default());
        shared.count_batch(2, 4, 300);
        shared.count_batch(1, 1, 50);
        let expected = StoreStats { flushes: 2, records: 3, keys: 5, bytes: 350 };
        assert_eq!(shared.stats(), expected);
    }

    #[test]
    fn a_batch_that_never_ends_is_a_failure() {
        let mut shared = shared();
        shared.batch_begins();
        assert_eq!(shared.health(), Ok(()));
        let long_ago = std::time::Duration::from_millis(MAX_BATCH_MS + 1_000);
        shared.opened = shared.opened.checked_sub(long_ago).unwrap();
        let failed = shared.health().unwrap_err();
        assert!(failed.is_fatal(), "{failed}");
        shared.batch_ends();
        assert_eq!(shared.health(), Err(failed), "and stays one");
    }
}
