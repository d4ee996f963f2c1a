//! What the writer and its callers both see.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::broadcast;

use super::view::View;
use crate::check;
use crate::error::StoreError;
use crate::limits::{MAX_BATCH_MS, MAX_NOTICES_COUNT};
use crate::store::CommitNotice;

/// The readers' view, the notices, and how the store is doing.
pub(super) struct Shared {
    pub(super) view: View,
    pub(super) notices: broadcast::Sender<CommitNotice>,
    failure: OnceLock<String>,
    closed: AtomicBool,
    opened: Instant,
    /// When the batch under way began, in milliseconds after `opened` and one; 0 for none.
    batch_since: AtomicU64,
}

impl Shared {
    pub(super) fn new(view: View) -> Self {
        let (notices, _) = broadcast::channel(MAX_NOTICES_COUNT);
        Self {
            view,
            notices,
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

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        Shared::new(View::new(sled::Config::new().temporary(true).open().unwrap()))
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
