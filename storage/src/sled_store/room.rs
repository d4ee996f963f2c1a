//! Free space: looked at before every batch, so that a full disk is an answer and not a failure.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::limits::{
    BALLAST_BYTES, BALLAST_SHARE, MIN_ROOM_FOR_COMMITS_BYTES, MIN_ROOM_FOR_JOBS_BYTES,
    ROOM_CHECK_MS, ROOM_FOR_COMMITS_BYTES, ROOM_FOR_COMMITS_SHARE, ROOM_FOR_JOBS_BYTES,
    ROOM_FOR_JOBS_SHARE,
};

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// For new jobs too.
    Plenty,
    /// For commits of running jobs only.
    Scarce,
    /// For nothing.
    Full,
}

/// Watches the file system that a directory is in.
#[derive(Debug)]
pub(super) struct RoomWatch {
    dir: PathBuf,
    last: Option<(Instant, Room)>,
}

impl RoomWatch {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), last: None }
    }

    /// How much room there is, or was a moment ago.
    pub(super) fn look(&mut self) -> Room {
        let now = Instant::now();
        if let Some((when, room)) = self.last
            && now.duration_since(when) < Duration::from_millis(ROOM_CHECK_MS)
        {
            return room;
        }
        let room = match space(&self.dir) {
            Ok(space) => judge(space),
            Err(error) => {
                // Not knowing is no reason to refuse work; a full disk will speak for itself.
                tracing::warn!(%error, dir = %self.dir.display(), "cannot see the free space");
                Room::Plenty
            }
        };
        self.last = Some((now, room));
        room
    }
}

/// A file system's size and what of it is free, in bytes.
#[derive(Clone, Copy, Debug)]
struct Space {
    total: u64,
    free: u64,
}

fn space(dir: &Path) -> io::Result<Space> {
    let known = rustix::fs::statvfs(dir)?;
    Ok(Space {
        total: known.f_blocks.saturating_mul(known.f_frsize),
        free: known.f_bavail.saturating_mul(known.f_frsize),
    })
}

fn judge(space: Space) -> Room {
    let Space { total, free } = space;
    let for_jobs =
        (total / ROOM_FOR_JOBS_SHARE).clamp(MIN_ROOM_FOR_JOBS_BYTES, ROOM_FOR_JOBS_BYTES);
    let for_commits =
        (total / ROOM_FOR_COMMITS_SHARE).clamp(MIN_ROOM_FOR_COMMITS_BYTES, ROOM_FOR_COMMITS_BYTES);
    assert!(for_commits <= for_jobs, "commits are refused last");
    match free {
        _ if free < for_commits => Room::Full,
        _ if free < for_jobs => Room::Scarce,
        _ => Room::Plenty,
    }
}

/// A file whose only use is to be removed: its room lets a store open on a full disk.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
}

impl Ballast {
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join("ballast") }
    }

    /// Throws it off if the disk is so full that opening could fail. Whether it did.
    pub(super) fn drop_if_needed(&self) -> io::Result<bool> {
        let free = space(self.dir())?.free;
        if free >= BALLAST_BYTES || !self.path.exists() {
            return Ok(false);
        }
        fs::remove_file(&self.path)?;
        tracing::warn!(free, "the disk is full: the ballast file was removed to open the store");
        Ok(true)
    }

    /// Takes it on if it is missing and there is plenty of room.
    pub(super) fn restore(&self) -> io::Result<bool> {
        let space = space(self.dir())?;
        let size = BALLAST_BYTES.min(space.total / BALLAST_SHARE);
        let left = Space { free: space.free.saturating_sub(size), ..space };
        if self.path.exists() || judge(left) != Room::Plenty {
            return Ok(false);
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&self.path)?;
        // Written, not only reserved: every file system knows how.
        let chunk = vec![0; 64 * 1024];
        for _ in 0..size / chunk.len() as u64 {
            file.write_all(&chunk)?;
        }
        file.sync_all()?;
        Ok(true)
    }

    fn dir(&self) -> &Path {
        self.path.parent().expect("the ballast was joined to a directory")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const GIB: u64 = 1024 * MIB;

    #[test]
    fn room_is_judged_by_size_and_share() {
        let cases = [
            (1000 * GIB, 300 * MIB, Room::Plenty),
            (1000 * GIB, 255 * MIB, Room::Scarce),
            (1000 * GIB, 63 * MIB, Room::Full),
            (1000 * GIB, 0, Room::Full),
            (800 * MIB, 101 * MIB, Room::Plenty),
            (800 * MIB, 99 * MIB, Room::Scarce),
            (800 * MIB, 49 * MIB, Room::Full),
            (16 * MIB, 5 * MIB, Room::Plenty),
            (16 * MIB, 3 * MIB, Room::Scarce),
            (16 * MIB, MIB, Room::Full),
        ];
        for (total, free, expected) in cases {
            assert_eq!(judge(Space { total, free }), expected, "{free} of {total}");
        }
    }

    #[test]
    fn the_ballast_comes_once_and_stays_while_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::in_dir(dir.path());
        assert!(ballast.restore().unwrap());
        assert!(fs::metadata(&ballast.path).unwrap().len() > 0);
        assert!(!ballast.restore().unwrap());
        assert!(!ballast.drop_if_needed().unwrap());
        assert!(ballast.path.exists());
    }

    #[test]
    fn what_cannot_be_seen_is_not_refused() {
        let mut watch = RoomWatch::new(Path::new("/nowhere/at/all"));
        assert_eq!(watch.look(), Room::Plenty);
        let dir = tempfile::tempdir().unwrap();
        let mut watch = RoomWatch::new(dir.path());
        let first = watch.look();
        assert_eq!(watch.look(), first);
    }
}
