//! What was found in files, by their content: several steps open the same file, and starting
//! ffprobe takes longer than most of them need for a short one.

use std::collections::{HashMap, VecDeque};
use std::sync::{LazyLock, Mutex, PoisonError};

use callsheet_storage::Digest;

use super::Facts;
use crate::limits::MAX_KNOWN_FILES_COUNT;

/// The files that this process has looked into. What is in a file follows from its content, so it
/// does not matter which engine asks.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Known {
    facts: HashMap<Digest, Facts>,
    /// The oldest first.
    order: VecDeque<Digest>,
}

/// What was found in a file of this content, if that is still known.
pub(super) fn recall(digest: &Digest) -> Option<Facts> {
    known(|known| known.facts.get(digest).cloned())
}

/// Keeps what was found in a file of this content; the oldest makes room.
pub(super) fn keep(digest: Digest, facts: &Facts) {
    known(|known| known.keep(digest, facts.clone()));
}

/// What a panic of another thread left behind is whole: every change is one insertion.
fn known<T>(what: impl FnOnce(&mut Known) -> T) -> T {
    what(&mut KNOWN.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Known {
    fn keep(&mut self, digest: Digest, facts: Facts) {
        if self.facts.insert(digest, facts).is_none() {
            self.order.push_back(digest);
        }
        if self.order.len() > MAX_KNOWN_FILES_COUNT
            && let Some(oldest) = self.order.pop_front()
        {
            self.facts.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut known = Known::default();
        let digest = |n: usize| Digest::of(&n.to_le_bytes());
        let facts = |size| Facts { size, ..Facts::default() };
        for n in 0..=MAX_KNOWN_FILES_COUNT {
            known.keep(digest(n), facts(n as u64));
            known.keep(digest(n), facts(n as u64));
        }
        assert_eq!(known.facts.len(), MAX_KNOWN_FILES_COUNT);
        assert_eq!(known.order.len(), MAX_KNOWN_FILES_COUNT);
        assert!(!known.facts.contains_key(&digest(0)));
        assert_eq!(known.facts[&digest(1)].size, 1);
    }
}
