//! The tip: the last record that was acknowledged, noted outside sled.
//!
//! When sled opens a file it takes the first damaged entry in the tail of its log for the point
//! where the power was cut, and silently drops all that follows. A torn tail is indeed harmless:
//! nothing in it was acknowledged. A damaged one is not, and only a note outside the tree can tell
//! the two apart. The note is written after each sync and never synced itself: so it is never ahead
//! of what is durable, and after the death of the process alone it is exact.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use callsheet_engine::JobId;

const VERSION: u8 = 1;
const LENGTH: usize = 32;
const CHECKSUM_AT: usize = 4;
const JOB_AT: usize = 8;
const SEQUENCE_AT: usize = 24;

/// The last record of an acknowledged batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) job: JobId,
    pub(super) sequence: u64,
}

/// The file that names the tip.
#[derive(Debug)]
pub(super) struct TipFile {
    file: File,
}

impl TipFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Ok(Self { file: options.open(path)? })
    }

    /// The tip, if one was noted. A note that is no note is none: it was not synced.
    pub(super) fn read(&self) -> io::Result<Option<Tip>> {
        let mut note = [0; LENGTH];
        match self.file.read_exact_at(&mut note, 0) {
            Ok(()) => Ok(decode(&note)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes a tip over the one before: one small write into one sector.
    pub(super) fn write(&self, tip: Tip) -> io::Result<()> {
        self.file.write_all_at(&encode(tip), 0)
    }
}

fn encode(tip: Tip) -> [u8; LENGTH] {
    let mut note = [0; LENGTH];
    note[0] = VERSION;
    note[JOB_AT..SEQUENCE_AT].copy_from_slice(tip.job.as_bytes());
    note[SEQUENCE_AT..].copy_from_slice(&tip.sequence.to_le_bytes());
    let checksum = crc32c::crc32c(&note[JOB_AT..]);
    note[CHECKSUM_AT..JOB_AT].copy_from_slice(&checksum.to_le_bytes());
    debug_assert_eq!(decode(&note), Some(tip), "what is written can be read");
    note
}

fn decode(note: &[u8; LENGTH]) -> Option<Tip> {
    let checksum = u32::from_le_bytes(*note[CHECKSUM_AT..].first_chunk()?);
    if note[0] != VERSION || checksum != crc32c::crc32c(&note[JOB_AT..]) {
        return None;
    }
    let job = JobId::from_bytes(*note[JOB_AT..].first_chunk()?);
    Some(Tip { job, sequence: u64::from_le_bytes(*note[SEQUENCE_AT..].first_chunk()?) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tip(n: u8) -> Tip {
        Tip { job: JobId::from_bytes([n; 16]), sequence: u64::from(n) << 32 }
    }

    #[test]
    fn the_last_note_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tip");
        let file = TipFile::open(&path).unwrap();
        assert_eq!(file.read().unwrap(), None);
        for n in [1, 2, 3] {
            file.write(tip(n)).unwrap();
        }
        drop(file);
        assert_eq!(TipFile::open(&path).unwrap().read().unwrap(), Some(tip(3)));
    }

    #[test]
    fn what_is_torn_is_no_note() {
        let whole = encode(tip(5));
        for at in (0..LENGTH).filter(|at| !(1..CHECKSUM_AT).contains(at)) {
            let mut torn = whole;
            torn[at] ^= 0x10;
            assert_eq!(decode(&torn), None, "byte {at}");
        }
        assert_eq!(decode(&[0; LENGTH]), None);
    }
}
