//! How long a content is kept: written on its file itself, so that a million of them need no list.
//!
//! A file that is kept for ever has no bit for its group; with the bit it is kept until its time of
//! modification. Nobody but the owner can enter the directory, so the bit gives nobody anything;
//! and files from before there was an end are kept for ever, as they were promised to be.

use std::cmp::Ordering;
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

/// The mode of a file that is kept for ever.
const FOREVER_MODE: u32 = 0o400;

/// The mode of a file that has an end.
const ENDING_MODE: u32 = 0o440;

/// How long a content is kept when nothing uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until this instant.
    Until(SystemTime),
    /// For ever.
    Forever,
}

impl Keep {
    /// Until so long after now; none is for ever, and so is a time that no calendar reaches.
    #[must_use]
    pub fn lasting(time: Option<Duration>) -> Self {
        let until = time.and_then(|time| SystemTime::now().checked_add(time));
        until.map_or(Self::Forever, Self::Until)
    }

    /// Whether it is over at this instant.
    #[must_use]
    pub fn is_over(self, now: SystemTime) -> bool {
        matches!(self, Self::Until(end) if end < now)
    }

    /// What a file says.
    pub(super) fn read(known: &Metadata) -> io::Result<Self> {
        if known.permissions().mode() & (ENDING_MODE ^ FOREVER_MODE) == 0 {
            return Ok(Self::Forever);
        }
        known.modified().map(Self::Until)
    }

    /// Writes it on a file that is not in its place yet.
    pub(super) fn write(self, file: &File) -> io::Result<()> {
        match self {
            Self::Forever => file.set_permissions(Permissions::from_mode(FOREVER_MODE)),
            Self::Until(end) => {
                file.set_permissions(Permissions::from_mode(ENDING_MODE))?;
                file.set_times(FileTimes::new().set_modified(end))
            }
        }
    }

    /// Prolongs what a file in its place says; one call of the system, so that a crash leaves the
    /// one or the other. False when it says as much already.
    pub(super) fn prolong(self, file: &File) -> io::Result<bool> {
        if self <= Self::read(&file.metadata()?)? {
            return Ok(false);
        }
        match self {
            Self::Forever => file.set_permissions(Permissions::from_mode(FOREVER_MODE))?,
            Self::Until(end) => file.set_times(FileTimes::new().set_modified(end))?,
        }
        Ok(true)
    }
}

impl PartialOrd for Keep {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keep {
    /// The longer is the greater.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Forever, Self::Forever) => Ordering::Equal,
            (Self::Forever, Self::Until(_)) => Ordering::Greater,
            (Self::Until(_), Self::Forever) => Ordering::Less,
            (Self::Until(one), Self::Until(other)) => one.cmp(other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_only_ever_prolonged() {
        let (at, file) = (SystemTime::now(), tempfile::tempfile().unwrap());
        let read = || Keep::read(&file.metadata().unwrap()).unwrap();
        let until = |seconds| Keep::Until(at + Duration::from_secs(seconds));
        until(10).write(&file).unwrap();
        assert_eq!(read(), until(10));
        for (keep, changes, after) in [
            (until(5), false, until(10)),
            (until(10), false, until(10)),
            (until(20), true, until(20)),
            (Keep::Forever, true, Keep::Forever),
            (until(30), false, Keep::Forever),
            (Keep::Forever, false, Keep::Forever),
        ] {
            assert_eq!(keep.prolong(&file).unwrap(), changes, "{keep:?}");
            assert_eq!(read(), after);
        }
        Keep::Forever.write(&file).unwrap();
        assert_eq!(read(), Keep::Forever);
    }

    #[test]
    fn a_time_beyond_the_calendar_is_for_ever() {
        assert_eq!(Keep::lasting(None), Keep::Forever);
        assert_eq!(Keep::lasting(Some(Duration::MAX)), Keep::Forever);
        let now = SystemTime::now();
        assert!(!Keep::Forever.is_over(now + Duration::from_secs(1 << 32)));
        assert!(Keep::Until(now).is_over(now + Duration::from_secs(1)));
        assert!(!Keep::Until(now).is_over(now));
    }
}
