//! Contents whose time is over are removed; whoever uses one keeps it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::SystemTime;

use super::keep::Keep;
use super::store::{ArtifactError, ArtifactStore, io_error};
use super::{Digest, Hold, Reservation};

/// A content whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl ArtifactStore {
    /// Counts what there is, so that [`used_bytes`](Self::used_bytes) and the bound are right. To
    /// be called before anybody else has the store.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn count(&self) -> Result<u64, ArtifactError> {
        let mut sum = 0;
        self.walk(|_, known| {
            sum += known.len();
            Ok(())
        })?;
        self.ledger.set_used(sum);
        Ok(sum)
    }

    /// The bytes of all contents, as far as they were put through this store or counted by it, and
    /// of the room that is taken for more.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.ledger.used()
    }

    /// The most bytes that the contents may have together; none when there is no bound.
    #[must_use]
    pub fn max_bytes(&self) -> Option<u64> {
        Some(self.ledger.most()).filter(|most| *most != u64::MAX)
    }

    /// Bounds the bytes of all contents together. What is there stays, whatever the bound is.
    pub fn set_max_bytes(&self, bytes: Option<u64>) {
        self.ledger.set_most(bytes.unwrap_or(u64::MAX));
    }

    /// Room for a content to come; none is taken yet.
    #[must_use]
    pub fn reservation(&self) -> Reservation {
        Reservation::new(self.ledger.clone())
    }

    /// A new hold: contents that are put or prolonged under it are in use while it lives.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold::new(self.ledger.clone())
    }

    /// Every content that a hold uses.
    #[must_use]
    pub fn in_use(&self) -> HashSet<Digest> {
        self.ledger.in_use()
    }

    /// Takes a content that is there into use, and prolongs its time, under the terms of this
    /// handle. False when it is not stored.
    ///
    /// # Errors
    /// When its file refuses.
    pub fn prolong(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        let path = self.path(digest);
        let failed = |error| io_error("prolong", &path, error);
        let mut uses = self.ledger.lock(digest);
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(failed)?,
        };
        if let Some(hold) = &self.terms.hold {
            hold.add(digest, &mut uses);
        }
        let longer = self.terms.keep().prolong(&file).map_err(failed)?;
        drop(uses);
        if longer {
            // What rests on it is recorded next: it must not outlive this.
            file.sync_all().map_err(failed)?;
        }
        Ok(true)
    }

    /// The contents whose time was over at an instant, whether they are in use or not.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn due(&self, at: SystemTime) -> Result<Vec<Due>, ArtifactError> {
        let mut found = Vec::new();
        self.walk(|digest, known| {
            if Keep::read(known)?.is_over(at) {
                found.push(Due { digest, size: known.len() });
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Removes a content, unless it is in use or was prolonged beyond this instant. Answers with
    /// the bytes that became free.
    ///
    /// # Errors
    /// When its file refuses.
    pub fn remove(&self, digest: &Digest, at: SystemTime) -> Result<Option<u64>, ArtifactError> {
        let (path, out) = (self.path(digest), self.staging.next_path());
        let failed = |error| io_error("remove", &path, error);
        let size = {
            let uses = self.ledger.lock(digest);
            let known = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                known => known.map_err(failed)?,
            };
            if uses.contains_key(digest) || !Keep::read(&known).map_err(failed)?.is_over(at) {
                return Ok(None);
            }
            // Out of the way first: the removal of a large file takes its time, the lock must not.
            fs::rename(&path, &out).map_err(failed)?;
            self.ledger.give_back(known.len());
            known.len()
        };
        fs::remove_file(&out).map_err(failed)?;
        Ok(Some(size))
    }

    /// Looks at the file of every content.
    fn walk(
        &self,
        mut look: impl FnMut(Digest, &fs::Metadata) -> io::Result<()>,
    ) -> Result<(), ArtifactError> {
        for shard in 0..=u8::MAX {
            let dir = self.root().join(format!("{shard:02x}"));
            let mut walk_shard = || -> io::Result<()> {
                for entry in fs::read_dir(&dir)? {
                    let entry = entry?;
                    let name = entry.file_name();
                    let Some(digest) = name.to_str().and_then(|name| name.parse().ok()) else {
                        continue; // Nothing of ours.
                    };
                    match entry.metadata() {
                        Ok(known) => look(digest, &known)?,
                        // Removed a moment ago.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            };
            match walk_shard() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                walked => walked.map_err(|error| io_error("read", &dir, error))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::super::Terms;
    use super::super::store::tests::new_store;
    use super::*;

    fn lasting(seconds: u64) -> Terms {
        Terms { keep_for: Some(Duration::from_secs(seconds)), hold: None }
    }

    fn later(seconds: u64) -> SystemTime {
        SystemTime::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn what_has_no_end_stays_and_what_has_one_goes_at_it() {
        let (_root, store) = new_store();
        let forever = store.put_bytes(b"for ever").unwrap();
        let hour = store.under(lasting(3_600)).put_bytes(b"an hour").unwrap();
        assert_eq!(store.due(later(3_500)).unwrap(), []);
        let at = later(3_700);
        assert_eq!(store.due(at).unwrap(), [Due { digest: hour, size: 7 }]);
        assert_eq!(store.remove(&hour, later(3_500)).unwrap(), None, "too early");
        assert_eq!(store.remove(&forever, at).unwrap(), None);
        assert_eq!(store.remove(&hour, at).unwrap(), Some(7));
        assert!(store.contains(&forever) && !store.contains(&hour));
        assert_eq!(store.remove(&hour, at).unwrap(), None, "it is gone");
    }

    #[test]
    fn a_content_put_again_keeps_the_longest_of_its_times() {
        let (_root, store) = new_store();
        let table = [
            (lasting(10), lasting(1_000), later(500)),
            (lasting(1_000), lasting(10), later(500)),
            (lasting(10), Terms::default(), later(9_000)),
            (Terms::default(), lasting(10), later(9_000)),
        ];
        for (n, (first, second, at)) in table.into_iter().enumerate() {
            let bytes = vec![u8::try_from(n).unwrap(); 5];
            let digest = store.under(first).put_bytes(&bytes).unwrap();
            store.under(second).put_bytes(&bytes).unwrap();
            assert_eq!(store.remove(&digest, at).unwrap(), None, "{n}");
        }
    }

    #[test]
    fn what_is_prolonged_or_in_use_is_not_removed() {
        let (_root, store) = new_store();
        let digest = store.under(lasting(0)).put_bytes(b"x").unwrap();
        assert!(store.under(lasting(1_000)).prolong(&digest).unwrap());
        assert_eq!(store.remove(&digest, later(500)).unwrap(), None);
        let hold = Arc::new(store.hold());
        let held = store.under(Terms { hold: Some(hold.clone()), ..lasting(0) });
        assert!(held.prolong(&digest).unwrap());
        assert_eq!(store.remove(&digest, later(2_000)).unwrap(), None);
        drop((held, hold));
        assert_eq!(store.remove(&digest, later(2_000)).unwrap(), Some(1));
        assert!(!store.prolong(&digest).unwrap(), "what is gone is not prolonged");
    }

    #[test]
    fn the_count_is_right_over_puts_removals_and_a_second_opening() {
        let (_root, store) = new_store();
        let terms = store.under(lasting(0));
        let digests: Vec<_> =
            [3_usize, 5, 7].map(|n| terms.put_bytes(&vec![1; n]).unwrap()).to_vec();
        terms.put_bytes(&[1; 5]).unwrap();
        assert_eq!(store.used_bytes(), 15, "the same content counts once");
        store.remove(&digests[1], later(10)).unwrap();
        assert_eq!(store.used_bytes(), 10);
        // A damaged file counts as long as it is, and as long as it was once it is mended.
        let path = store.path(&digests[2]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "longer than it was").unwrap();
        store.count().unwrap();
        assert_eq!(store.used_bytes(), 3 + 18);
        terms.put_bytes(&[1; 7]).unwrap();
        assert_eq!(store.used_bytes(), 10);
        let again = ArtifactStore::open(store.root()).unwrap();
        assert_eq!(again.count().unwrap(), 10);
        assert_eq!(again.used_bytes(), 10);
    }

    #[test]
    fn beyond_the_bound_nothing_new_is_put_and_nothing_is_lost() {
        let (root, store) = new_store();
        store.set_max_bytes(Some(10));
        let kept = store.put_bytes(b"123456").unwrap();
        let refused = store.put_bytes(b"abcde");
        let Err(ArtifactError::Quota { size: 5, used: 6, most: 10 }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(store.put_bytes(b"123456").unwrap(), kept, "what is there needs no room");
        let file = root.path().join("file");
        fs::write(&file, "abcde").unwrap();
        assert!(matches!(store.put_file(&file), Err(ArtifactError::Quota { .. })));
        assert_eq!(fs::read(&file).unwrap(), b"abcde", "the caller has it back");
        assert_eq!(store.used_bytes(), 6);
        store.put_bytes(b"abcd").unwrap();
        assert_eq!(store.used_bytes(), 10);
    }

    #[test]
    fn room_that_was_taken_is_used_once_and_no_other_has_it() {
        let (_root, store) = new_store();
        store.set_max_bytes(Some(10));
        let room = store.reservation();
        assert!(room.grow(6));
        let refused = store.put_bytes(b"abcde");
        let Err(ArtifactError::Quota { size: 5, used: 6, most: 10 }) = refused else {
            panic!("{refused:?}")
        };
        store.put_reader_into(&room, &b"123456"[..]).unwrap();
        store.put_bytes(b"abcd").unwrap();
        assert_eq!((room.bytes(), store.used_bytes()), (0, 10));
        // A content that was there needs none of it.
        store.set_max_bytes(Some(14));
        assert!(room.grow(4));
        store.put_reader_into(&room, &b"abcd"[..]).unwrap();
        drop(room);
        assert_eq!(store.used_bytes(), store.count().unwrap());
    }

    #[test]
    fn uses_puts_and_removals_race_safely() {
        let (_root, store) = new_store();
        let digest = store.under(lasting(0)).put_bytes(b"wanted").unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    store.remove(&digest, later(60)).unwrap();
                }
            });
            let users: Vec<_> = (0..3)
                .map(|n| {
                    let store = &store;
                    scope.spawn(move || {
                        for round in 0..200 {
                            let hold = Some(Arc::new(store.hold()));
                            let mine = store.under(Terms { hold, ..lasting(0) });
                            if (round + n) % 2 == 0 || !mine.prolong(&digest).unwrap() {
                                mine.put_bytes(b"wanted").unwrap();
                            }
                            // In use from here on: it is there whatever others do.
                            std::thread::yield_now();
                            assert_eq!(store.read(&digest).unwrap(), b"wanted");
                        }
                    })
                })
                .collect();
            let ended: Vec<_> = users.into_iter().map(|user| user.join()).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(ended.into_iter().all(|end| end.is_ok()));
        });
        let counted = store.used_bytes();
        assert_eq!(store.count().unwrap(), counted);
    }
}
