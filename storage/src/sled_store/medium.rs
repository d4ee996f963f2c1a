//! What the writer writes to, and the one function that makes a batch durable.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use callsheet_engine::mutated;
use sled::Db;

use super::room::{Room, RoomWatch};
use super::tip::TipFile;

/// New values by key; `None` removes the key.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a medium answers with; the error is for people.
pub(super) type Answer<T> = Result<T, String>;

/// What the writer writes to. The real one is sled; the tests have one that keeps count.
pub(super) trait Medium {
    /// Makes all changes at once, or none after a crash.
    fn apply(&mut self, changes: Changes) -> Answer<()>;
    /// Hands what was applied to the operating system.
    fn flush(&mut self) -> Answer<()>;
    /// Waits until what was handed over is on stable storage.
    fn sync(&mut self) -> Answer<()>;
    /// Notes, outside the tree, which batch the tree must hold from now on.
    fn note_tip(&mut self, batch: u64) -> Answer<()>;
    /// How much room there is.
    fn room(&mut self) -> Room;
}

/// Makes a batch durable: the one place where the order of these deeds is decided. An error means
/// that nothing is known about the batch any more; none of this is ever tried again.
pub(super) fn make_durable(medium: &mut impl Medium, changes: Changes, batch: u64) -> Answer<()> {
    assert!(!changes.is_empty(), "a batch without changes needs no disk");
    medium.apply(changes)?;
    fail::fail_point!("storage.commit.applied");
    // sled's flush ends in `sync_file_range`, which a power cut does not respect.
    medium.flush()?;
    fail::fail_point!("storage.commit.flushed");
    medium.sync()?;
    fail::fail_point!("storage.commit.synced");
    medium.note_tip(batch)
}

/// A sled tree, and our own handle of the file it lies in.
pub(super) struct SledMedium {
    db: Db,
    /// A handle of its own has its own memory of failed writes: whatever sled's threads did with
    /// the errors they were told of, we are told too.
    file: File,
    tip: TipFile,
    room: RoomWatch,
}

impl SledMedium {
    pub(super) fn new(db: Db, file: File, tip: TipFile, room: RoomWatch) -> Self {
        Self { db, file, tip, room }
    }

    /// Lets go of the tree; the last one to do so ends sled's threads.
    pub(super) fn close(self) {
        let Self { db, file, tip, room } = self;
        drop((file, tip, room));
        // sled unwraps its last sync.
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::error!("sled panicked while it was closed");
        }
    }
}

impl Medium for SledMedium {
    fn apply(&mut self, changes: Changes) -> Answer<()> {
        let mut batch = sled::Batch::default();
        for (key, change) in changes {
            match change {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(|error| format!("apply: {error}"))
    }

    fn flush(&mut self) -> Answer<()> {
        self.db.flush().map(drop).map_err(|error| format!("flush: {error}"))
    }

    fn sync(&mut self) -> Answer<()> {
        let synced = if mutated("fsync") { Ok(()) } else { self.file.sync_data() };
        synced.map_err(|error| format!("fdatasync: {error}"))
    }

    fn note_tip(&mut self, batch: u64) -> Answer<()> {
        self.tip.write(batch).map_err(|error| format!("tip: {error}"))
    }

    fn room(&mut self) -> Room {
        self.room.look()
    }
}

/// Opens our own handle of the file that sled keeps everything in.
pub(super) fn open_db_file(store: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).open(store.join("db"))
}
