//! Packs what a batch appends into values of at most 4 KiB.
//!
//! The entries of a batch stand one after the other, are packed with LZ4 as a whole where that
//! helps, and are cut into parts. An entry is a tag byte, the job's id and, if it is a record: its
//! place in the journal, the new head if it changed, and the record itself.

use callsheet_engine::JobId;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use super::Place;
use crate::limits::{MAX_VALUE_BYTES, MIN_PACKED_BYTES};
use crate::sled_store::codec::Content;
use crate::sled_store::envelope::{Body, HEADER_BYTES, Kind, seal};
use crate::sled_store::keys;
use crate::sled_store::wire::{put_number, put_sized};

/// The tag of a job that has moved: nothing of it before this entry is needed any more.
pub(super) const MOVED: u8 = 0;
/// The tag of a record without a head. The place of the job's own value is added to it.
pub(super) const RECORD: u8 = 1;
/// The tag of a record with a head.
pub(super) const RECORD_AND_HEAD: u8 = 2;

/// Bytes before the entries: whether they are packed, the number of parts, their length, and the
/// lowest batch that is needed.
pub(super) const PREFACE_BYTES: usize = 1 + 2 + 4 + 8;

/// Bytes of a part that are the batch's.
pub(super) const PART_BYTES: usize = MAX_VALUE_BYTES - HEADER_BYTES;

/// What one batch appends to the log. Used again and again, so that it allocates once.
pub(crate) struct Packer {
    entries: Vec<u8>,
    stream: Vec<u8>,
    table: CompressTable,
}

impl Packer {
    pub(crate) fn new() -> Self {
        let table = CompressTable::default();
        Self { entries: Vec::new(), stream: Vec::new(), table }
    }

    /// Bytes of what was appended.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.len()
    }

    /// A record, the new head if it changed, and where the job's own value lies.
    pub(crate) fn record(
        &mut self,
        job: JobId,
        sequence: u64,
        place: Place,
        head: Option<&Content>,
        record: &Content,
    ) {
        self.entries.push(if head.is_some() { RECORD_AND_HEAD } else { RECORD });
        self.entries.push(place as u8);
        self.entries.extend_from_slice(job.as_bytes());
        put_number(&mut self.entries, sequence);
        if let Some(head) = head {
            put_sized(&mut self.entries, head.bytes());
        }
        put_sized(&mut self.entries, record.bytes());
    }

    /// The job has moved to keys of its own.
    pub(crate) fn moved(&mut self, job: JobId) {
        self.entries.push(MOVED);
        self.entries.extend_from_slice(job.as_bytes());
    }

    /// The keys and values of the batch; from then on the packer is empty again.
    pub(crate) fn seal(&mut self, batch: u64, lowest: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        assert!(lowest <= batch, "a batch needs itself");
        let is_packed = self.pack();
        let parts = self.stream.len().div_ceil(PART_BYTES);
        let count = u16::try_from(parts).expect("a batch is bounded, well below 65,535 parts");
        let length = u32::try_from(self.entries.len()).expect("a batch is bounded to some MiB");
        self.stream[0] = u8::from(is_packed);
        self.stream[1..3].copy_from_slice(&count.to_le_bytes());
        self.stream[3..7].copy_from_slice(&length.to_le_bytes());
        self.stream[7..PREFACE_BYTES].copy_from_slice(&lowest.to_le_bytes());
        let values = self.stream.chunks(PART_BYTES).zip(0_u16..).map(|(bytes, part)| {
            let key = keys::log(batch, part);
            let value = seal(Kind::Log, &key, Body::Here(bytes));
            (key, value)
        });
        let values = values.collect();
        self.entries.clear();
        values
    }

    /// Fills the stream: a preface, still empty, and the entries. Whether they were packed.
    fn pack(&mut self) -> bool {
        self.stream.clear();
        self.stream.resize(PREFACE_BYTES, 0);
        if self.entries.len() >= MIN_PACKED_BYTES {
            self.stream.resize(PREFACE_BYTES + get_maximum_output_size(self.entries.len()), 0);
            let room = &mut self.stream[PREFACE_BYTES..];
            // An error means that it does not fit, which cannot be; then it is not packed.
            let packed = compress_into_with_table(&self.entries, room, &mut self.table);
            if let Ok(size) = packed
                && size < self.entries.len()
            {
                self.stream.truncate(PREFACE_BYTES + size);
                return true;
            }
            self.stream.truncate(PREFACE_BYTES);
        }
        self.stream.extend_from_slice(&self.entries);
        false
    }
}
