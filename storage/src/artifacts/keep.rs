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

use crate::limits::{KEEP_STEP, KEEP_STEP_SHARE};

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
    /// Until so long after now, or a little longer; none is for ever, and so is a time that no
    /// calendar reaches.
    #[must_use]
    pub fn lasting(time: Option<Duration>) -> Self {
        let until = time.and_then(|time| end_of(SystemTime::now(), time));
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

/// The end of a time, rounded up to a step: what a job uses again and again is then prolonged,
/// which is a sync of the disk, once a step and not at each use.
fn end_of(now: SystemTime, time: Duration) -> Option<SystemTime> {
    let end = now.checked_add(time)?;
    let step = (time / KEEP_STEP_SHARE).min(KEEP_STEP).as_nanos();
    let since = end.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
    let late = since.checked_rem(step).filter(|over| *over > 0).map_or(0, |over| step - over);
    // Less than the longest step.
    end.checked_add(Duration::from_nanos(u64::try_from(late).ok()?))
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
    fn ends_fall_on_steps_and_never_before_their_time() {
        let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let end = |now, time| end_of(at(now), Duration::from_millis(time)).unwrap();
        let day = 24 * 3_600_000;
        // A minute for what is kept for days: at most one sync a minute.
        assert_eq!(end(1, 7 * day), at(7 * day + 60_000));
        assert_eq!(end(60_000, 7 * day), at(7 * day + 60_000));
        assert_eq!(end(60_001, 7 * day), at(7 * day + 120_000));
        // A part of what is shorter, and nothing of what is nothing.
        assert_eq!(end(1, 6_400), at(6_500));
        assert_eq!(end(7, 0), at(7));
        for now in (0..2_000_000).step_by(7_919) {
            for time in [0, 1, 63, 64, 1_000, 100_000, 3_600_000, day] {
                let (end, least) = (end(now, time), at(now + time));
                let step = Duration::from_millis(time / 64 + 1).min(Duration::from_secs(60));
                assert!(least <= end && end < least + step, "{now} {time}");
            }
        }
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
