//! One engine a data directory: an OS lock that dies with its process.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::limits::LOCK_WAIT_MS;

const RETRY: Duration = Duration::from_millis(10);

/// The lock of a data directory, held until its last copy is dropped.
#[derive(Clone, Debug)]
pub(crate) struct DirLock {
    _file: Arc<File>,
}

impl DirLock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        let failed = |what: &str, error: io::Error| {
            StoreError::Open(format!("cannot {what} `{}`: {error}", path.display()))
        };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|error| failed("open", error))?;
        let wait = Duration::from_millis(LOCK_WAIT_MS);
        if !try_for(&file, wait).map_err(|error| failed("lock", error))? {
            return Err(in_use(dir, &mut file));
        }
        // The file is never removed: whoever opened it before would lock a file without a name.
        write_pid(&mut file).map_err(|error| failed("write", error))?;
        Ok(Self { _file: Arc::new(file) })
    }
}

/// Waits until nobody holds a file's lock any more, for a while. Whether that came true.
pub(super) fn wait_until_free(path: &Path, wait: Duration) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => try_for(&file, wait),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Tries to lock for a while: a process that is being forked holds a copy of every open file, and
/// so its lock, until it becomes another program.
fn try_for(file: &File, wait: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if start.elapsed() >= wait => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(RETRY),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn in_use(dir: &Path, file: &mut File) -> StoreError {
    let mut pid = String::new();
    let holder = match file.take(20).read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
        Ok(_) | Err(_) => "another process".to_owned(),
    };
    StoreError::Open(format!(
        "`{}` is in use by {holder}\nhint: stop it, or use another data directory",
        dir.display()
    ))
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        let refused = DirLock::take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&dir.path().display().to_string()), "{refused}");
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(refused.contains("hint:"), "{refused}");
        drop(first);
        assert!(DirLock::take(dir.path()).is_ok());
    }

    #[test]
    fn a_lock_that_is_soon_free_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        let release = std::thread::spawn(move || {
            std::thread::sleep(RETRY * 3);
            drop(first);
        });
        assert!(DirLock::take(dir.path()).is_ok());
        release.join().unwrap();
    }

    #[test]
    fn no_file_is_a_free_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(wait_until_free(&dir.path().join("db"), Duration::ZERO).unwrap());
    }
}
