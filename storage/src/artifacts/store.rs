//! The artifact store on local disk: a file under its hash, whole or not there at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callsheet_engine::mutated;

use super::Digest;
use super::checked::Checked;
use super::hashing::{Hashed, Hashing};
use super::keep::Keep;
use super::ledger::{Hold, Ledger, Reservation};
use super::staging::{Staging, make_dir};
use crate::limits::COPY_CHUNK_BYTES;

/// What can go wrong with stored files.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such content.
    #[error("artifact `{0}` is not stored")]
    Missing(Digest),
    /// The file's content is not what its name says.
    #[error("artifact `{digest}` is damaged: `{}` holds `{found}`", path.display())]
    Damaged {
        /// What was asked for.
        digest: Digest,
        /// What the file holds.
        found: Digest,
        /// The file.
        path: PathBuf,
    },
    /// There is no room for it.
    #[error("no room for an artifact in `{}`", path.display())]
    Full {
        /// Where.
        path: PathBuf,
    },
    /// All contents together would have more bytes than they may.
    #[error("{size} bytes more do not fit: {used} of {most} bytes are in use")]
    Quota {
        /// The bytes that were to be stored.
        size: u64,
        /// The bytes of all contents.
        used: u64,
        /// The most that they may have.
        most: u64,
    },
    /// Only regular files can be stored.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// What it is instead is for the reader to see.
        path: PathBuf,
    },
    /// The range is not inside the content.
    #[error("range {start}..{end} is not inside artifact `{digest}` of {size} bytes")]
    BadRange {
        /// Whose range.
        digest: Digest,
        /// Its first byte.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// The content's length.
        size: u64,
    },
    /// The operating system refused.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

/// Files stored once under the BLAKE3 hash of their content. Cheap to clone.
///
/// What is put is kept for ever, unless the handle was got from [`under`](Self::under).
///
/// All methods block; call them where blocking is allowed. Any number of stores, in any number of
/// processes, may work on the same directory at once.
#[derive(Clone, Debug)]
pub struct ArtifactStore {
    root: PathBuf,
    pub(super) staging: Arc<Staging>,
    pub(super) ledger: Arc<Ledger>,
    checked: Arc<Checked>,
    pub(super) terms: Terms,
}

/// On what terms contents are put and prolonged.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// How long they are kept from then on; none for ever.
    pub keep_for: Option<Duration>,
    /// Whose they are in use by.
    pub hold: Option<Arc<Hold>>,
}

impl Terms {
    pub(super) fn keep(&self) -> Keep {
        Keep::lasting(self.keep_for)
    }
}

impl ArtifactStore {
    /// Opens the store in a directory, which is made if it is not there, and removes what dead
    /// writers left behind.
    ///
    /// # Errors
    /// When the directory cannot be made or written to.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ArtifactError> {
        let root = root.into();
        let opened = || -> io::Result<Staging> {
            if let Some(parent) = root.parent() {
                fs::create_dir_all(parent)?;
            }
            if make_dir(&root)? {
                sync_parent(&root)?;
            }
            Staging::open(&root.join("tmp"))
        };
        let staging = opened().map_err(|source| io_error("open", &root, source))?;
        let (ledger, checked, terms) = (Arc::default(), Arc::default(), Terms::default());
        Ok(Self { root, staging: Arc::new(staging), ledger, checked, terms })
    }

    /// The same store on other terms.
    #[must_use]
    pub fn under(&self, terms: Terms) -> Self {
        Self { terms, ..self.clone() }
    }

    /// Where the store is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Stores these bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, ArtifactError> {
        self.put_reader(bytes).map(|(digest, _)| digest)
    }

    /// Stores all that a reader gives; answers with its digest and length.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn put_reader(&self, from: impl Read) -> Result<(Digest, u64), ArtifactError> {
        self.put_reader_into(&self.reservation(), from)
    }

    /// The same, into room that was taken for it.
    ///
    /// # Errors
    /// As [`put_reader`](Self::put_reader).
    pub fn put_reader_into(
        &self,
        room: &Reservation,
        mut from: impl Read,
    ) -> Result<(Digest, u64), ArtifactError> {
        let mut temp = self.new_temp()?;
        let hashed = copy_hashing(&mut from, &mut temp.file);
        let (digest, size) = hashed.map_err(|source| io_error("write", &temp.path, source))?;
        self.settle(&temp.file, &temp.path, (&digest, size), room)?;
        temp.kept = true;
        Ok((digest, size))
    }

    /// Takes a file over: afterwards it is in the store and no longer where it was. It is moved
    /// where that is possible, and copied from another file system.
    ///
    /// # Errors
    /// When it is no regular file, or cannot be read, moved or written; it is then still there.
    pub fn put_file(&self, path: &Path) -> Result<(Digest, u64), ArtifactError> {
        self.take_over(path, None)
    }

    /// As [`put_file`](Self::put_file), for a file that was hashed while it was written: it is not
    /// read again. Whoever wrote it answers for its being what was hashed.
    ///
    /// # Errors
    /// As [`put_file`](Self::put_file).
    pub fn put_hashed(&self, path: &Path, hashed: Hashed) -> Result<(Digest, u64), ArtifactError> {
        self.take_over(path, Some(hashed))
    }

    fn take_over(
        &self,
        path: &Path,
        hashed: Option<Hashed>,
    ) -> Result<(Digest, u64), ArtifactError> {
        let known = fs::symlink_metadata(path).map_err(|e| io_error("read", path, e))?;
        if !known.is_file() {
            return Err(ArtifactError::NotAFile { path: path.to_owned() });
        }
        let temp_path = self.staging.next_path();
        // A file with a second name could be changed through it after it was hashed.
        let moved = known.nlink() == 1 && fs::rename(path, &temp_path).is_ok();
        if moved {
            // One of another size was written to since.
            let hashed = hashed.filter(|hashed| hashed.size() == known.len());
            let stored = self.adopt(&temp_path, hashed);
            if stored.is_err() {
                // Nothing of the caller's may be lost by a failure of ours.
                let _ = fs::rename(&temp_path, path);
            }
            return stored;
        }
        let source = File::open(path).map_err(|e| io_error("read", path, e))?;
        let stored = self.put_reader(source)?;
        fs::remove_file(path).map_err(|e| io_error("remove", path, e))?;
        Ok(stored)
    }

    /// Where a content is, or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        debug_assert_eq!(name.len(), 64, "a digest is 64 digits");
        // 256 directories keep each of them short.
        self.root.join(&name[..2]).join(name)
    }

    /// Whether a content is stored.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// The length of a content in bytes.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn size(&self, digest: &Digest) -> Result<u64, ArtifactError> {
        let path = self.path(digest);
        let known = fs::metadata(&path).map_err(|e| read_error(digest, &path, e))?;
        Ok(known.len())
    }

    /// Reads a content through and checks that it is what its name says; answers with its path.
    ///
    /// # Errors
    /// When it is not stored, cannot be read, or is damaged.
    pub fn verify(&self, digest: &Digest) -> Result<PathBuf, ArtifactError> {
        let path = self.path(digest);
        let mut file = File::open(&path).map_err(|e| read_error(digest, &path, e))?;
        let hashed = copy_hashing(&mut file, &mut io::sink());
        let (found, _) = hashed.map_err(|e| read_error(digest, &path, e))?;
        held(digest, found, &path).map(|()| path)
    }

    /// As [`verify`](Self::verify), but what this process has read through in the last minutes, or
    /// has put there, is not read again while nobody touches it.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn checked(&self, digest: &Digest) -> Result<PathBuf, ArtifactError> {
        let path = self.path(digest);
        let known = || fs::metadata(&path).map_err(|e| read_error(digest, &path, e));
        let before = known()?;
        if self.checked.is_fresh(digest, &before) {
            return Ok(path);
        }
        self.verify(digest)?;
        // As it was before it was read: what changes meanwhile is read again.
        self.checked.note(*digest, &before);
        Ok(path)
    }

    /// A content's bytes, checked.
    ///
    /// # Errors
    /// When it is not stored, cannot be read, or is damaged.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, ArtifactError> {
        let path = self.path(digest);
        let bytes = fs::read(&path).map_err(|e| read_error(digest, &path, e))?;
        let found = Digest::of(&bytes);
        held(digest, found, &path).map(|()| bytes)
    }

    /// A content's file, positioned at the start of a range, and the range's length. The content is
    /// not checked: a part of it has no hash of its own.
    ///
    /// # Errors
    /// When it is not stored or the range is not inside it.
    pub fn open_range(
        &self,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<(File, u64), ArtifactError> {
        let path = self.path(digest);
        let mut file = File::open(&path).map_err(|e| read_error(digest, &path, e))?;
        let size = file.metadata().map_err(|e| read_error(digest, &path, e))?.len();
        let Range { start, end } = range;
        if start > end || end > size {
            return Err(ArtifactError::BadRange { digest: *digest, start, end, size });
        }
        let at = file.seek(SeekFrom::Start(start)).map_err(|e| read_error(digest, &path, e))?;
        assert_eq!(at, start, "a seek ends where it was asked to");
        Ok((file, end - start))
    }

    fn new_temp(&self) -> Result<Temp, ArtifactError> {
        let path = self.staging.next_path();
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match opened {
            Ok(file) => Ok(Temp { file, path, kept: false }),
            Err(source) => Err(io_error("create", &path, source)),
        }
    }

    /// Stores a file that has been moved to the staging directory.
    fn adopt(
        &self,
        temp_path: &Path,
        hashed: Option<Hashed>,
    ) -> Result<(Digest, u64), ArtifactError> {
        let mut file = File::open(temp_path).map_err(|e| io_error("read", temp_path, e))?;
        let (digest, size) = match hashed {
            Some(hashed) => (hashed.digest(), hashed.size()),
            None => copy_hashing(&mut file, &mut io::sink())
                .map_err(|e| io_error("read", temp_path, e))?,
        };
        self.settle(&file, temp_path, (&digest, size), &self.reservation())?;
        Ok((digest, size))
    }

    /// Makes a whole file durable and gives it its name. Writers of the same content may race: each
    /// renames a whole file over another one that is the same, and so mends a damaged one.
    fn settle(
        &self,
        file: &File,
        temp: &Path,
        (digest, size): (&Digest, u64),
        room: &Reservation,
    ) -> Result<(), ArtifactError> {
        let sync = || if mutated("artifact-fsync") { Ok(()) } else { file.sync_all() };
        let durable = self.terms.keep().write(file).and_then(|()| sync());
        durable.map_err(|e| io_error("sync", temp, e))?;
        fail::fail_point!("artifact.written");
        let path = self.path(digest);
        let shard = path.parent().expect("an artifact's path has the root above it");
        self.place((file, temp), (digest, size), &path, room)?;
        sync_dir(shard).map_err(|e| io_error("store", &path, e))?;
        fail::fail_point!("artifact.stored");
        if let Ok(known) = file.metadata() {
            self.checked.note(*digest, &known);
        }
        debug_assert!(self.terms.hold.is_none() || self.contains(digest), "it is there");
        Ok(())
    }

    /// Renames a file to its name, once there is room for it, and takes it into use.
    fn place(
        &self,
        (file, temp): (&File, &Path),
        (digest, size): (&Digest, u64),
        path: &Path,
        room: &Reservation,
    ) -> Result<(), ArtifactError> {
        let mut uses = self.ledger.lock(digest);
        let before = fs::symlink_metadata(path).ok();
        let freed = before.as_ref().map_or(0, fs::Metadata::len);
        let more = size.saturating_sub(freed);
        if !room.spend(more) {
            let (used, most) = (self.ledger.used(), self.ledger.most());
            return Err(ArtifactError::Quota { size, used, most });
        }
        let placed = || -> io::Result<()> {
            if let Some(before) = &before {
                // Whoever was promised more still has it.
                if Keep::read(before)?.prolong(file)? {
                    file.sync_all()?;
                }
            }
            let shard = path.parent().expect("an artifact's path has the root above it");
            if make_dir(shard)? {
                sync_dir(&self.root)?;
            }
            fs::rename(temp, path)
        };
        if let Err(error) = placed() {
            self.ledger.give_back(more);
            return Err(io_error("store", path, error));
        }
        self.ledger.give_back(freed.saturating_sub(size));
        if let Some(hold) = &self.terms.hold {
            hold.add(digest, &mut uses);
        }
        drop(uses);
        fail::fail_point!("artifact.renamed");
        Ok(())
    }
}

/// A file that goes away unless it is kept.
struct Temp {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes the entry of a file or directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) | None => sync_dir(Path::new(".")),
    }
}

fn copy_hashing(from: &mut impl Read, to: &mut impl Write) -> io::Result<(Digest, u64)> {
    let mut hashing = Hashing::default();
    let mut chunk = vec![0; COPY_CHUNK_BYTES];
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hashing.update(&chunk[..count]);
        to.write_all(&chunk[..count])?;
    }
    let hashed = hashing.finish();
    Ok((hashed.digest(), hashed.size()))
}

/// Whether what was found under a name is what belongs there.
fn held(digest: &Digest, found: Digest, path: &Path) -> Result<(), ArtifactError> {
    if found == *digest || mutated("artifact-check") {
        return Ok(());
    }
    Err(ArtifactError::Damaged { digest: *digest, found, path: path.to_owned() })
}

fn read_error(digest: &Digest, path: &Path, source: io::Error) -> ArtifactError {
    match source.kind() {
        io::ErrorKind::NotFound => ArtifactError::Missing(*digest),
        _ => io_error("read", path, source),
    }
}

pub(super) fn io_error(what: &'static str, path: &Path, source: io::Error) -> ArtifactError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ArtifactError::Full { path },
        _ => ArtifactError::Io { what, path, source },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    pub(in crate::artifacts) fn new_store() -> (tempfile::TempDir, ArtifactStore) {
        let root = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(root.path().join("artifacts")).unwrap();
        (root, store)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_put_is_there_whole_and_read_only() {
        let (_root, store) = new_store();
        for size in [0, 1, COPY_CHUNK_BYTES - 1, COPY_CHUNK_BYTES, 3 * COPY_CHUNK_BYTES + 7] {
            let bytes = vec![7; size];
            let digest = store.put_bytes(&bytes).unwrap();
            assert_eq!(digest, Digest::of(&bytes));
            assert_eq!(store.size(&digest).unwrap(), size as u64);
            assert_eq!(fs::read(store.verify(&digest).unwrap()).unwrap(), bytes);
            assert_eq!(store.read(&digest).unwrap(), bytes);
            assert_eq!(mode(&store.path(&digest)), 0o400);
            assert_eq!(mode(store.path(&digest).parent().unwrap()), 0o700);
        }
        assert_eq!(mode(store.root()), 0o700);
    }

    #[test]
    fn the_same_content_is_stored_once() {
        let (_root, store) = new_store();
        let first = store.put_bytes(b"same").unwrap();
        let second = store.put_reader(&b"same"[..]).unwrap();
        assert_eq!((first, 4), second);
        assert_eq!(fs::read_dir(store.path(&first).parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn many_writers_of_one_content_race_safely() {
        let (_root, store) = new_store();
        let bytes = vec![3; 100_000];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let digest = store.put_bytes(&bytes).unwrap();
                        store.verify(&digest).unwrap();
                    }
                });
            }
        });
        let staging = fs::read_dir(store.root().join("tmp")).unwrap();
        let dir = staging.map(|e| e.unwrap().path()).find(|path| path.is_dir()).unwrap();
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "only the lock is left");
    }

    #[test]
    fn a_file_is_taken_over() {
        let (root, store) = new_store();
        let path = root.path().join("video.mp4");
        fs::write(&path, "moving pictures").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let (digest, size) = store.put_file(&path).unwrap();
        assert_eq!(size, 15);
        assert!(!path.exists());
        assert_eq!(fs::metadata(store.verify(&digest).unwrap()).unwrap().ino(), inode, "moved");
    }

    #[test]
    fn a_file_that_was_hashed_while_it_was_written_is_not_read_again() {
        let (root, store) = new_store();
        let path = root.path().join("file");
        let mut hashing = Hashing::default();
        hashing.update(b"con");
        hashing.update(b"tent");
        // Of the same length, and not what was hashed: had it been read, it would be seen.
        fs::write(&path, "CONTENT").unwrap();
        let (digest, size) = store.put_hashed(&path, hashing.finish()).unwrap();
        assert_eq!((digest, size), (Digest::of(b"content"), 7));
        assert!(store.verify(&digest).is_err());
        fs::write(&path, "longer").unwrap();
        let (digest, _) = store.put_hashed(&path, hashing.finish()).unwrap();
        assert_eq!(digest, Digest::of(b"longer"), "what was written to since is read");
    }

    #[test]
    fn a_file_with_two_names_is_copied() {
        let (root, store) = new_store();
        let (one, two) = (root.path().join("one"), root.path().join("two"));
        fs::write(&one, "shared").unwrap();
        fs::hard_link(&one, &two).unwrap();
        let (digest, _) = store.put_file(&one).unwrap();
        fs::write(&two, "changed").unwrap();
        assert!(store.verify(&digest).is_ok(), "the second name does not reach the store");
    }

    #[test]
    fn only_regular_files_are_taken() {
        let (root, store) = new_store();
        let (secret, link) = (root.path().join("secret"), root.path().join("link"));
        fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        for path in [link.as_path(), root.path()] {
            let refused = store.put_file(path);
            assert!(matches!(refused, Err(ArtifactError::NotAFile { .. })), "{refused:?}");
        }
        let missing = store.put_file(&root.path().join("none"));
        assert!(matches!(missing, Err(ArtifactError::Io { .. })), "{missing:?}");
    }

    #[test]
    fn a_failed_take_over_gives_the_file_back() {
        let (root, store) = new_store();
        let path = root.path().join("file");
        fs::write(&path, "content").unwrap();
        let shard = store.path(&Digest::of(b"content"));
        // A plain file where the shard's directory should be.
        fs::write(shard.parent().unwrap(), "in the way").unwrap();
        assert!(store.put_file(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"content");
    }

    #[test]
    fn what_was_checked_is_read_again_when_it_was_touched() {
        let (_root, store) = new_store();
        let digest = store.put_bytes(b"original").unwrap();
        let path = store.checked(&digest).unwrap();
        assert!(store.checked.is_fresh(&digest, &fs::metadata(&path).unwrap()), "it was just put");
        // Clocks of file systems tick every few milliseconds.
        std::thread::sleep(Duration::from_millis(50));
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&path, "orizinal").unwrap();
        assert!(matches!(store.checked(&digest), Err(ArtifactError::Damaged { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(store.checked(&digest), Err(ArtifactError::Missing(_))));
        fs::write(&path, "original").unwrap();
        assert_eq!(store.checked(&digest).unwrap(), path);
        assert!(store.checked.is_fresh(&digest, &fs::metadata(&path).unwrap()), "it was read");
    }

    #[test]
    fn damage_is_seen_and_mended_by_the_next_put() {
        let (_root, store) = new_store();
        let digest = store.put_bytes(b"original").unwrap();
        let path = store.path(&digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "orizinal").unwrap();
        let seen = store.verify(&digest);
        assert!(matches!(&seen, Err(ArtifactError::Damaged { .. })), "{seen:?}");
        assert!(matches!(store.read(&digest), Err(ArtifactError::Damaged { .. })));
        store.put_bytes(b"original").unwrap();
        assert!(store.verify(&digest).is_ok());
    }

    #[test]
    fn ranges_are_inside_or_refused() {
        let (_root, store) = new_store();
        let digest = store.put_bytes(b"0123456789").unwrap();
        for (range, expected) in [(0..10, "0123456789"), (3..5, "34"), (10..10, ""), (0..0, "")] {
            let (file, length) = store.open_range(&digest, range).unwrap();
            let mut text = String::new();
            file.take(length).read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
        #[allow(clippy::reversed_empty_ranges)]
        for range in [0..11, 11..12, 5..4] {
            let refused = store.open_range(&digest, range);
            assert!(matches!(refused, Err(ArtifactError::BadRange { .. })));
        }
    }

    #[test]
    fn what_is_missing_is_said_to_be() {
        let (_root, store) = new_store();
        let digest = Digest::of(b"never stored");
        assert!(!store.contains(&digest));
        assert!(matches!(store.size(&digest), Err(ArtifactError::Missing(_))));
        assert!(matches!(store.verify(&digest), Err(ArtifactError::Missing(_))));
        assert!(matches!(store.open_range(&digest, 0..0), Err(ArtifactError::Missing(_))));
    }

    #[test]
    fn a_reader_that_fails_leaves_nothing() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken pipe of a test"))
            }
        }
        let (_root, store) = new_store();
        let failed = store.put_reader(b"some".chain(Broken));
        assert!(matches!(failed, Err(ArtifactError::Io { .. })));
        let files = walk(store.root());
        assert!(files.iter().all(|path| path.ends_with("lock")), "{files:?}");
    }

    fn walk(dir: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
        }
        files
    }
}
