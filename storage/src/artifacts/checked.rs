//! Contents that were read through a while ago and have not been touched since: to hash a film
//! again in each step that opens it takes longer than what many a step does with it.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Digest;
use crate::limits::{CHECK_AGAIN, MAX_CHECKED_COUNT};

/// What was found whole, and when.
#[derive(Debug, Default)]
pub(super) struct Checked(Mutex<HashMap<Digest, (Mark, Instant)>>);

/// What of a file changes whenever somebody writes to it, replaces it or changes its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Mark {
    fn of(known: &Metadata) -> Self {
        Self {
            device: known.dev(),
            inode: known.ino(),
            size: known.size(),
            changed: (known.ctime(), known.ctime_nsec()),
        }
    }
}

impl Checked {
    /// Notes that this file was read through and is what its name says.
    pub(super) fn note(&self, digest: Digest, known: &Metadata) {
        let mut checked = self.lock();
        if checked.len() >= MAX_CHECKED_COUNT {
            checked.clear();
        }
        checked.insert(digest, (Mark::of(known), Instant::now()));
    }

    /// Whether it was, not long ago, and is untouched.
    pub(super) fn is_fresh(&self, digest: &Digest, known: &Metadata) -> bool {
        let checked = self.lock();
        let found = checked.get(digest);
        found.is_some_and(|(mark, at)| *mark == Mark::of(known) && at.elapsed() < CHECK_AGAIN)
    }

    /// What a panic of another thread left behind is whole: every change is one insertion.
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, (Mark, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
