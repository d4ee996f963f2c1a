//! The tip: the last batch that was acknowledged, noted outside sled.
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

/// Format 1 named the last record of the batch.
const NAMES_A_RECORD: u8 = 1;
/// Format 2 names the batch, in the last eight bytes.
const NAMES_A_BATCH: u8 = 2;

const LENGTH: usize = 32;
const CHECKSUM_AT: usize = 4;
const JOB_AT: usize = 8;
const NUMBER_AT: usize = 24;

/// What the tree must hold from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tip {
    /// This record, under a key of its own.
    Record { job: JobId, sequence: u64 },
    /// This batch of the log.
    Batch(u64),
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

    /// Notes a batch over the tip before: one small write into one sector.
    pub(super) fn write(&self, batch: u64) -> io::Result<()> {
        self.file.write_all_at(&encode(Tip::Batch(batch)), 0)
    }
}

fn encode(tip: Tip) -> [u8; LENGTH] {
    let mut note = [0; LENGTH];
    let number = match tip {
        Tip::Record { job, sequence } => {
            note[0] = NAMES_A_RECORD;
            note[JOB_AT..NUMBER_AT].copy_from_slice(job.as_bytes());
            sequence
        }
        Tip::Batch(number) => {
            note[0] = NAMES_A_BATCH;
            number
        }
    };
    note[NUMBER_AT..].copy_from_slice(&number.to_le_bytes());
    let checksum = checksum(&note);
    note[CHECKSUM_AT..JOB_AT].copy_from_slice(&checksum.to_le_bytes());
    debug_assert_eq!(decode(&note), Some(tip), "what is written can be read");
    note
}

fn decode(note: &[u8; LENGTH]) -> Option<Tip> {
    let stored = u32::from_le_bytes(*note[CHECKSUM_AT..].first_chunk()?);
    if stored != checksum(note) {
        return None;
    }
    let number = u64::from_le_bytes(*note[NUMBER_AT..].first_chunk()?);
    match note[0] {
        NAMES_A_RECORD => {
            let job = JobId::from_bytes(*note[JOB_AT..].first_chunk()?);
            Some(Tip::Record { job, sequence: number })
        }
        NAMES_A_BATCH => Some(Tip::Batch(number)),
        _ => None,
    }
}

/// The checksum of a note. In format 1 it did not cover the version.
fn checksum(note: &[u8; LENGTH]) -> u32 {
    let version: &[u8] = if note[0] == NAMES_A_RECORD { &[] } else { &note[..1] };
    crc32c::crc32c_append(crc32c::crc32c(version), &note[JOB_AT..])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(n: u8) -> Tip {
        Tip::Record { job: JobId::from_bytes([n; 16]), sequence: u64::from(n) << 32 }
    }

    #[test]
    fn the_last_note_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tip");
        let file = TipFile::open(&path).unwrap();
        assert_eq!(file.read().unwrap(), None);
        for batch in [1, 2, 3] {
            file.write(batch).unwrap();
        }
        drop(file);
        assert_eq!(TipFile::open(&path).unwrap().read().unwrap(), Some(Tip::Batch(3)));
    }

    #[test]
    fn a_note_of_format_1_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tip");
        std::fs::write(&path, encode(record(5))).unwrap();
        assert_eq!(TipFile::open(&path).unwrap().read().unwrap(), Some(record(5)));
    }

    #[test]
    fn what_is_torn_is_no_note() {
        for whole in [encode(record(5)), encode(Tip::Batch(5))] {
            for at in (0..LENGTH).filter(|at| !(1..CHECKSUM_AT).contains(at)) {
                let mut torn = whole;
                torn[at] ^= 0x10;
                assert_eq!(decode(&torn), None, "byte {at}");
            }
        }
        assert_eq!(decode(&[0; LENGTH]), None);
    }
}
