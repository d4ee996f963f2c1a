//! Where files wait until they are whole: a directory for each opened store, in the same file
//! system as the files that are done.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

const LOCK: &str = "lock";

/// A directory of temporary files. Its lock says that its owner lives.
#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Staging {
    /// Removes the directories of owners that are dead and makes a new one.
    pub(super) fn open(parent: &Path) -> io::Result<Self> {
        make_dir(parent)?;
        // One at a time, so that nobody sweeps away a directory that is not yet locked.
        let turn = lock_file(&parent.join(LOCK))?;
        turn.lock()?;
        sweep(parent)?;
        let dir = parent.join(Uuid::now_v7().to_string());
        make_dir(&dir)?;
        let lock = lock_file(&dir.join(LOCK))?;
        lock.lock()?;
        Ok(Self { dir, next: AtomicU64::new(0), _lock: lock })
    }

    /// A name that no other file here has.
    pub(super) fn next_path(&self) -> PathBuf {
        self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays behind is swept away by the next one to open.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Makes a directory that only its owner may enter, if there is none.
pub(crate) fn make_dir(path: &Path) -> io::Result<bool> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        if path.is_dir() && is_abandoned(&path)? {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn is_abandoned(dir: &Path) -> io::Result<bool> {
    match lock_file(&dir.join(LOCK))?.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn strays_go_and_the_living_stay() {
        let root = tempfile::tempdir().unwrap();
        let parent = root.path().join("tmp");
        let living = Staging::open(&parent).unwrap();
        let kept = living.next_path();
        fs::write(&kept, "half").unwrap();
        let dead = parent.join("dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("0"), "half").unwrap();

        let second = Staging::open(&parent).unwrap();
        assert!(kept.exists(), "the files of a living store stay");
        assert!(!dead.exists(), "the files of a dead one go");
        drop(second);
        drop(living);
        assert!(!kept.exists(), "a store takes its temporary files with it");
    }
}
