//! What readers see: only what is durable.
//!
//! sled shows a batch to every reader as soon as it is applied, well before it is synced. So while
//! a batch is on its way, the values it replaces are kept beside the tree and shown instead. A
//! reader never waits for the disk: it holds the lock for a bounded number of keys, and the writer
//! needs it only to hide a batch before applying it and to reveal it once it is durable.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use sled::{Db, IVec};

use super::keys;
use crate::limits::SCAN_CHUNK_COUNT;

/// Values as they were before the batch under way, by key; `None` where there was none.
pub(super) type Hidden = BTreeMap<Vec<u8>, Option<IVec>>;

/// The tree as readers may see it.
pub(super) struct View {
    state: RwLock<State>,
}

struct State {
    /// Gone once the store is closed.
    db: Option<Db>,
    hidden: Hidden,
}

/// Why a read failed.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The store is closed.
    Closed,
    /// sled could not read its file.
    Failed(String),
}

/// The durable state, for the length of one short read.
pub(super) struct Durable<'a> {
    db: &'a Db,
    hidden: &'a Hidden,
}

/// A part of a range.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Keys and values, in the order of keys.
    pub(super) entries: Vec<(Vec<u8>, IVec)>,
    /// What is left of the range; `None` at its end.
    pub(super) rest: Option<Range<Vec<u8>>>,
    /// Whether the tree holds keys here that are not durable yet. The parts of a range are read
    /// one moment after the other: what this one withholds, the next one may show.
    pub(super) withheld: bool,
}

impl View {
    pub(super) fn new(db: Db) -> Self {
        Self { state: RwLock::new(State { db: Some(db), hidden: Hidden::new() }) }
    }

    /// Reads one moment of the durable state. The closure must be short: the writer waits for it.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Durable<'_>) -> sled::Result<T>,
    ) -> Result<T, ReadError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let db = state.db.as_ref().ok_or(ReadError::Closed)?;
        let durable = Durable { db, hidden: &state.hidden };
        // A damaged page makes sled panic as often as return an error.
        match catch_unwind(AssertUnwindSafe(|| read(&durable))) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(ReadError::Failed(error.to_string())),
            Err(_) => Err(ReadError::Failed("sled panicked on a damaged page".to_owned())),
        }
    }

    /// From now on readers see these values, whatever the tree holds.
    pub(super) fn hide(&self, hidden: Hidden) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        assert!(state.hidden.is_empty(), "one batch at a time is on its way");
        state.hidden = hidden;
    }

    /// The batch is durable: readers see what the tree holds.
    pub(super) fn reveal(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut state.hidden);
        drop(state);
        drop(before); // outside the lock: it may be long
    }

    /// Takes the tree away from readers, once those under way are done.
    pub(super) fn close(&self) -> Option<Db> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.db.take()
    }
}

impl Durable<'_> {
    /// The value under a key.
    pub(super) fn get(&self, key: &[u8]) -> sled::Result<Option<IVec>> {
        match self.hidden.get(key) {
            Some(before) => Ok(before.clone()),
            None => self.db.get(key),
        }
    }

    /// The last key of a range.
    pub(super) fn last_key(&self, range: Range<Vec<u8>>) -> sled::Result<Option<Vec<u8>>> {
        if range.is_empty() {
            return Ok(None);
        }
        for entry in self.db.range(range).rev() {
            let (key, _) = entry?;
            // A key that is there and has no value yet; one that is being removed is not needed:
            // what is looked for here is never removed.
            if !matches!(self.hidden.get(&key.to_vec()), Some(None)) {
                return Ok(Some(key.to_vec()));
            }
        }
        Ok(None)
    }

    /// The first part of a range.
    pub(super) fn first(&self, range: Range<Vec<u8>>) -> sled::Result<Chunk> {
        self.chunk(range, false)
    }

    /// The last part of a range; its entries are in the order of keys all the same.
    pub(super) fn last(&self, range: Range<Vec<u8>>) -> sled::Result<Chunk> {
        self.chunk(range, true)
    }

    fn chunk(&self, range: Range<Vec<u8>>, from_end: bool) -> sled::Result<Chunk> {
        if range.is_empty() {
            return Ok(Chunk::default());
        }
        let mut found = BTreeMap::new();
        let mut iter = self.db.range(range.clone());
        while found.len() < SCAN_CHUNK_COUNT {
            let next = if from_end { iter.next_back() } else { iter.next() };
            let Some(entry) = next else { break };
            let (key, value) = entry?;
            assert!(range.contains(&key.to_vec()), "sled keeps to the range");
            found.insert(key.to_vec(), value);
        }
        let (covered, rest) = split(range, &found, from_end);
        let mut withheld = false;
        let bounds = (Bound::Included(&covered.start), Bound::Excluded(&covered.end));
        for (key, before) in self.hidden.range::<Vec<u8>, _>(bounds) {
            match before {
                Some(value) => {
                    found.insert(key.clone(), value.clone());
                }
                None => withheld |= found.remove(key).is_some(),
            }
        }
        Ok(Chunk { entries: found.into_iter().collect(), rest, withheld })
    }
}

/// The part of a range that a full or last chunk has seen, and what is left.
fn split(
    range: Range<Vec<u8>>,
    found: &BTreeMap<Vec<u8>, IVec>,
    from_end: bool,
) -> (Range<Vec<u8>>, Option<Range<Vec<u8>>>) {
    let seen = match (found.len() == SCAN_CHUNK_COUNT, from_end) {
        (false, _) => None,
        (true, true) => found.keys().next().cloned(),
        (true, false) => found.keys().next_back().cloned().map(keys::successor),
    };
    let Range { start, end } = range;
    match seen {
        None => (start..end, None),
        Some(at) if from_end => (at.clone()..end, Some(start..at)),
        Some(at) => (start..at.clone(), Some(at..end)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn db() -> Db {
        sled::Config::new().temporary(true).open().unwrap()
    }

    fn key(n: usize) -> Vec<u8> {
        format!("k{n:06}").into_bytes()
    }

    fn all(view: &View, from_end: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let mut range = Some(b"k".to_vec()..b"l".to_vec());
        while let Some(part) = range {
            let take = |durable: &Durable<'_>| match from_end {
                true => durable.last(part.clone()),
                false => durable.first(part.clone()),
            };
            let chunk = view.read(take).unwrap();
            assert!(chunk.entries.is_sorted_by(|a, b| a.0 < b.0));
            found.extend(chunk.entries.into_iter().map(|(k, v)| (k, v.to_vec())));
            range = chunk.rest;
        }
        found.sort();
        found
    }

    #[test]
    fn scans_see_every_key_once_from_both_ends() {
        for count in [0, 1, SCAN_CHUNK_COUNT - 1, SCAN_CHUNK_COUNT, 3 * SCAN_CHUNK_COUNT + 1] {
            let db = db();
            for n in 0..count {
                db.insert(key(n), "v").unwrap();
            }
            db.insert("j", "before").unwrap();
            db.insert("l", "after").unwrap();
            let view = View::new(db);
            for from_end in [false, true] {
                let found = all(&view, from_end);
                let expected: Vec<_> = (0..count).map(|n| (key(n), b"v".to_vec())).collect();
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_batch_under_way_is_not_seen() {
        let db = db();
        let count = 2 * SCAN_CHUNK_COUNT + 3;
        for n in 0..count {
            db.insert(key(2 * n), "old").unwrap();
        }
        let view = View::new(db.clone());
        let before = all(&view, false);

        let mut hidden = Hidden::new();
        let mut batch = sled::Batch::default();
        for n in 0..2 * count {
            hidden.insert(key(n), db.get(key(n)).unwrap());
            match n % 3 {
                0 => batch.remove(key(n)),
                _ => batch.insert(key(n), "new"),
            }
        }
        view.hide(hidden);
        db.apply_batch(batch).unwrap();
        assert_eq!(all(&view, false), before);
        assert_eq!(all(&view, true), before);
        assert_eq!(view.read(|d| d.get(&key(1))).unwrap(), None);
        assert_eq!(view.read(|d| d.get(&key(2))).unwrap(), Some("old".into()));

        view.reveal();
        assert_ne!(all(&view, false), before);
        assert_eq!(view.read(|d| d.get(&key(1))).unwrap(), Some("new".into()));
        assert_eq!(view.read(|d| d.get(&key(0))).unwrap(), None);
    }

    #[test]
    fn a_closed_view_says_so() {
        let view = View::new(db());
        assert!(view.close().is_some());
        assert!(matches!(view.read(|d| d.get(b"k")), Err(ReadError::Closed)));
        assert!(view.close().is_none());
    }

    #[test]
    fn a_panic_of_sled_is_an_error() {
        let view = View::new(db());
        let failed = view.read(|_| -> sled::Result<()> { panic!("a damaged page of a test") });
        assert!(matches!(failed, Err(ReadError::Failed(_))), "{failed:?}");
        assert!(view.read(|d| d.get(b"k")).is_ok(), "the next read works");
    }
}
