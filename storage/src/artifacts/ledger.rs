//! What one opened store knows of its contents beside their files: who uses them now, and how many
//! bytes there are and are on their way in.

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
    /// The bytes of all contents, and the room that is taken for more.
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

    /// Takes room for so many bytes, if there is; so much was taken for them before.
    fn take(&self, bytes: u64, before: u64) -> bool {
        let most = self.most();
        let taken = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            let sum = used.saturating_sub(before).checked_add(bytes);
            sum.filter(|sum| *sum <= most || bytes <= before)
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

/// Room under the bound that is taken for a content on its way in, so that those which come at once
/// do not all count on the same. What is not spent is given back when this goes.
#[derive(Debug)]
pub struct Reservation {
    ledger: Arc<Ledger>,
    bytes: AtomicU64,
}

impl Reservation {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, bytes: AtomicU64::new(0) }
    }

    /// How much is taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Takes so much more; false when that is not there.
    #[must_use]
    pub fn grow(&self, bytes: u64) -> bool {
        let grows = self.ledger.take(bytes, 0);
        if grows {
            self.bytes.fetch_add(bytes, Ordering::SeqCst);
        }
        grows
    }

    /// Makes a content of so many bytes of it, with more room if that is needed and there.
    pub(super) fn spend(&self, bytes: u64) -> bool {
        let before = self.bytes.swap(0, Ordering::SeqCst);
        let is_spent = self.ledger.take(bytes, before);
        if !is_spent {
            self.bytes.fetch_add(before, Ordering::SeqCst);
        }
        is_spent
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ledger.give_back(self.bytes());
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
        let take = |bytes| ledger.take(bytes, 0);
        assert!(take(6) && !take(5) && take(4));
        assert!(take(0), "nothing needs no room");
        ledger.give_back(4);
        assert_eq!(ledger.used(), 6);
        ledger.set_most(3);
        assert!(take(0) && !take(1), "beyond a bound that was lowered");
        assert!(!take(u64::MAX), "no overflow");
    }

    #[test]
    fn room_that_is_taken_ahead_is_spent_or_given_back() {
        let ledger = Arc::new(Ledger::default());
        ledger.set_most(10);
        let [one, two] = [Reservation::new(ledger.clone()), Reservation::new(ledger.clone())];
        assert!(one.grow(4) && one.grow(3) && !two.grow(4) && two.grow(2));
        assert_eq!((one.bytes(), two.bytes(), ledger.used()), (7, 2, 9));
        // One byte less than was foreseen; the other needs two more than are left.
        assert!(one.spend(6) && one.bytes() == 0);
        assert!(!two.spend(5) && two.bytes() == 2);
        assert!(two.spend(4));
        drop((one, two));
        assert_eq!(ledger.used(), 10);
        let third = Reservation::new(ledger.clone());
        assert!(third.spend(0) && !third.grow(1));
        ledger.set_most(12);
        assert!(third.grow(2));
        drop(third);
        assert_eq!(ledger.used(), 10);
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
