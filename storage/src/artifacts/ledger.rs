//! What one opened store knows of its contents beside their files: who uses them now, and how many
//! bytes there are.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Digest;
use crate::limits::ARTIFACT_LOCKS_COUNT;

/// The locks, the uses and the count of one store.
#[derive(Debug)]
pub(super) struct Ledger {
    /// What is done about a content is done under the lock of its first byte: it is put, prolonged
    /// and removed by one at a time.
    shards: Vec<Mutex<Uses>>,
    used: AtomicU64,
    /// The most bytes that there may be.
    most: AtomicU64,
}

/// How often contents are in use.
pub(super) type Uses = HashMap<Digest, u32>;

impl Default for Ledger {
    fn default() -> Self {
        let shards = (0..ARTIFACT_LOCKS_COUNT).map(|_| Mutex::default()).collect();
        Self { shards, used: AtomicU64::new(0), most: AtomicU64::new(u64::MAX) }
    }
}

impl Ledger {
    /// Keeps everybody else from a content.
    pub(super) fn lock(&self, digest: &Digest) -> MutexGuard<'_, Uses> {
        let shard = usize::from(digest.as_bytes()[0]) % ARTIFACT_LOCKS_COUNT;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    pub(super) fn set_used(&self, bytes: u64) {
        self.used.store(bytes, Ordering::SeqCst);
    }

    pub(super) fn most(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }

    pub(super) fn set_most(&self, bytes: u64) {
        self.most.store(bytes, Ordering::SeqCst);
    }

    /// Takes room for so many bytes, if there is.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let most = self.most();
        let taken = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= most || bytes == 0)
        });
        taken.is_ok()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let given = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        debug_assert!(given.is_ok(), "there is always a difference");
    }

    /// Every content that is in use at some instant of this call.
    pub(super) fn in_use(&self) -> HashSet<Digest> {
        let lock = |shard: &Mutex<Uses>| {
            let uses = shard.lock().unwrap_or_else(PoisonError::into_inner);
            uses.keys().copied().collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(lock).collect()
    }
}

/// Contents that somebody uses: none of them is swept away while this lives.
#[derive(Debug)]
pub struct Hold {
    ledger: Arc<Ledger>,
    held: Mutex<HashSet<Digest>>,
}

impl Hold {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, held: Mutex::default() }
    }

    /// Takes a content into use. The caller has its lock.
    pub(super) fn add(&self, digest: &Digest, uses: &mut Uses) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.insert(*digest) {
            *uses.entry(*digest).or_insert(0) += 1;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let held = std::mem::take(self.held.get_mut().unwrap_or_else(PoisonError::into_inner));
        for digest in held {
            let mut uses = self.ledger.lock(&digest);
            if let Some(count) = uses.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    uses.remove(&digest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_once_and_given_back() {
        let ledger = Ledger::default();
        ledger.set_most(10);
        assert!(ledger.take(6) && !ledger.take(5) && ledger.take(4));
        assert!(ledger.take(0), "nothing needs no room");
        ledger.give_back(4);
        assert_eq!(ledger.used(), 6);
        ledger.set_most(3);
        assert!(ledger.take(0) && !ledger.take(1), "beyond a bound that was lowered");
        assert!(!ledger.take(u64::MAX), "no overflow");
    }

    #[test]
    fn a_content_is_in_use_until_its_last_hold_is_gone() {
        let (ledger, digest) = (Arc::new(Ledger::default()), Digest::of(b"x"));
        let holds = [Hold::new(ledger.clone()), Hold::new(ledger.clone())];
        for hold in &holds {
            for _ in 0..2 {
                hold.add(&digest, &mut ledger.lock(&digest));
            }
        }
        for hold in holds {
            assert_eq!(ledger.in_use(), HashSet::from([digest]));
            drop(hold);
        }
        assert!(ledger.in_use().is_empty());
    }
}
