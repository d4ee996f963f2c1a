//! Where to measure: a directory of its own on a real disk, and what is known about that disk.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cli::error::{CliError, Result};

/// File systems without a disk under them.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// Waits for stable storage of which the median is taken.
const SYNCS: usize = 64;

/// A directory of its own, removed when this is dropped.
pub(crate) struct Place {
    dir: PathBuf,
    /// The directory that was made for it, if one had to be.
    made: Option<PathBuf>,
    /// Name of the file system.
    pub(crate) file_system: String,
    /// The median of one append of 4 KiB with its fdatasync.
    pub(crate) sync: Duration,
}

impl Place {
    /// A fresh directory in the one that was asked for, or in a temporary one that is on a disk.
    ///
    /// # Errors
    /// When it cannot be written to, or lies in memory, where fdatasync means nothing.
    pub(crate) fn find(asked: Option<&Path>) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let (parent, made) = match asked {
            Some(dir) => (dir.to_owned(), make(dir)?),
            None => (usual(&mounts), None),
        };
        let of = |what: &str, path: &Path, error| CliError::file(what, path, &error);
        let parent = parent.canonicalize().map_err(|error| of("use", &parent, error))?;
        let dir = parent.join(format!("callsheet-bench-{}", std::process::id()));
        // From here on, what was made is removed again, also when this fails.
        let mut place =
            Self { dir, made, file_system: file_system(&mounts, &parent), sync: Duration::ZERO };
        if IN_MEMORY.contains(&place.file_system.as_str()) {
            return Err(in_memory(&parent, &place.file_system));
        }
        fs::create_dir(&place.dir).map_err(|error| of("make", &place.dir, error))?;
        place.sync = sync_time(&place.dir).map_err(|error| of("write in", &place.dir, error))?;
        Ok(place)
    }

    /// A directory or file of this name in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory that it was made in.
    pub(crate) fn parent(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nothing in it is worth a complaint.
        let _ = fs::remove_dir_all(&self.dir);
        if let Some(made) = &self.made {
            let _ = fs::remove_dir(made);
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parent, sync) = (self.parent().display(), self.sync.as_secs_f64() * 1e3);
        write!(f, "{parent} ({}, one fdatasync {sync:.2} ms)", self.file_system)
    }
}

/// Makes the directory if it is not there; answers with it if it was made.
fn make(dir: &Path) -> Result<Option<PathBuf>> {
    if dir.is_dir() {
        return Ok(None);
    }
    fs::create_dir_all(dir).map_err(|error| CliError::file("make", dir, &error))?;
    Ok(Some(dir.to_owned()))
}

/// The temporary directory, or the next best one when that lies in memory, as it often does.
fn usual(mounts: &str) -> PathBuf {
    let usual = std::env::temp_dir();
    let on_disk = |dir: &PathBuf| {
        let known = dir.canonicalize().map(|dir| file_system(mounts, &dir));
        known.is_ok_and(|name| !IN_MEMORY.contains(&name.as_str()))
    };
    let others = [PathBuf::from("/var/tmp"), PathBuf::from(".")];
    std::iter::once(usual.clone()).chain(others).find(on_disk).unwrap_or(usual)
}

/// The type of the file system that a path is on, by the kernel's table of mounts.
fn file_system(mounts: &str, path: &Path) -> String {
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let point = mount.split(' ').nth(4).unwrap_or_default().replace("\\040", " ");
        let kind = kind.split(' ').next().unwrap_or_default();
        // The longest one holds the path; of equals the later is mounted over the earlier.
        if path.starts_with(&point) && point.len() >= best.0 {
            best = (point.len(), kind);
        }
    }
    best.1.to_owned()
}

fn in_memory(dir: &Path, file_system: &str) -> CliError {
    let dir = dir.display();
    CliError::failed(format!(
        "`{dir}` lies in memory ({file_system}): its fdatasync does nothing, so no figure from it \
         would mean anything"
    ))
    .hint("name a directory on a disk: --data DIR")
}

fn sync_time(dir: &Path) -> std::io::Result<Duration> {
    let path = dir.join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let since = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(since.elapsed());
    }
    fs::remove_file(path)?;
    times.sort();
    Ok(times[times.len() / 2])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
25 22 0:22 / /dev/shm rw shared:3 - tmpfs tmpfs rw
31 22 0:30 / /mnt/my\\040disk rw - xfs /dev/vdb rw
32 22 0:31 / /mnt/over rw - ext4 /dev/vdc rw
33 22 0:32 / /mnt/over rw - tmpfs tmpfs rw";

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let table = [
            ("/var/tmp", "ext4"),
            ("/dev/shm/x", "tmpfs"),
            ("/dev/shmx", "ext4"),
            ("/mnt/my disk/a", "xfs"),
            ("/mnt/over", "tmpfs"),
        ];
        for (path, name) in table {
            assert_eq!(file_system(MOUNTS, Path::new(path)), name, "{path}");
        }
        assert_eq!(file_system("", Path::new("/")), "unknown");
    }

    #[test]
    fn nothing_is_left_of_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().join("fresh");
        let place = Place::find(Some(&asked)).unwrap();
        assert!(place.sync > Duration::ZERO);
        fs::write(place.join("file"), "x").unwrap();
        assert!(place.to_string().contains(&place.file_system));
        drop(place);
        assert!(!asked.exists(), "what was made for it is gone too");
        assert!(dir.path().exists());
    }

    #[test]
    fn memory_is_refused() {
        let error = in_memory(Path::new("/dev/shm"), "tmpfs").to_string();
        assert!(error.contains("`/dev/shm` lies in memory (tmpfs)"), "{error}");
        assert!(error.contains("hint: name a directory on a disk"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Place::find(Some(file.path())).err().unwrap().to_string();
        assert!(error.contains("cannot make"), "{error}");
    }
}
