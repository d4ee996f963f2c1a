//! Reads back what [`pack`](super::pack) wrote.

use callsheet_engine::JobId;

use super::Place;
use super::pack::{MOVED, PREFACE_BYTES, RECORD, RECORD_AND_HEAD};
use crate::limits::{MAX_ENTRIES_BYTES, MAX_VALUE_BYTES};
use crate::sled_store::codec::Content;
use crate::sled_store::envelope::{Body, Kind, unseal};
use crate::sled_store::keys;
use crate::sled_store::wire::Scanner;

/// What an entry of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A record was appended to a job.
    Record {
        job: JobId,
        sequence: u64,
        /// Where the job's own value lay at that time.
        place: Place,
        /// The new head, if it changed.
        head: Option<Content>,
        record: Content,
    },
    /// All of a job's records up to here have moved to keys of its own.
    Moved(JobId),
}

/// A batch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchRead {
    pub(crate) number: u64,
    /// The lowest batch that was needed when this one was written.
    pub(crate) lowest: u64,
    pub(crate) parts: u16,
    pub(crate) entries: Vec<Entry>,
}

/// Puts the parts of a batch together as they come, in the order of their keys.
#[derive(Debug)]
pub(crate) struct Assembly {
    number: u64,
    parts: u16,
    stream: Vec<u8>,
}

impl Assembly {
    /// Begins with a batch's first part.
    pub(crate) fn begin(number: u64) -> Self {
        Self { number, parts: 0, stream: Vec::with_capacity(MAX_VALUE_BYTES) }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Adds the next part. The error says what is wrong with it.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let expected = keys::log(self.number, self.parts);
        if key != expected {
            return Err(format!("part {} of batch {} is missing", self.parts, self.number));
        }
        let wrong = |why: String| format!("part {} of batch {}: {why}", self.parts, self.number);
        match unseal(Kind::Log, key, value).map_err(|error| wrong(error.to_string()))? {
            Body::Here(bytes) => self.stream.extend_from_slice(bytes),
            Body::Elsewhere(..) | Body::Packed(_) => return Err(wrong("its form".to_owned())),
        }
        self.parts = self.parts.checked_add(1).ok_or_else(|| wrong("it is one too many".into()))?;
        Ok(())
    }

    /// The batch, whose parts must all be there.
    pub(crate) fn finish(self) -> Result<BatchRead, String> {
        let Self { number, parts, stream } = self;
        let wrong = |why: &str| format!("batch {number}: {why}");
        let (preface, body) =
            stream.split_first_chunk::<PREFACE_BYTES>().ok_or_else(|| wrong("it is cut off"))?;
        let [is_packed, p0, p1, l0, l1, l2, l3, lowest @ ..] = *preface;
        let expected = u16::from_le_bytes([p0, p1]);
        if expected != parts {
            return Err(wrong(&format!("it has {parts} of its {expected} parts")));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let bytes = match is_packed {
            0 => body.to_vec(),
            _ if length > MAX_ENTRIES_BYTES => return Err(wrong("its length makes no sense")),
            _ => {
                let mut bytes = vec![0; length];
                let found = lz4_flex::block::decompress_into(body, &mut bytes);
                let found = found.map_err(|_| wrong("it cannot be unpacked"))?;
                bytes.truncate(found);
                bytes
            }
        };
        if bytes.len() != length {
            return Err(wrong(&format!("it has {} bytes, not {length}", bytes.len())));
        }
        let entries = entries(&bytes).ok_or_else(|| wrong("its entries make no sense"))?;
        Ok(BatchRead { number, lowest: u64::from_le_bytes(lowest), parts, entries })
    }
}

fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut scanner = Scanner::new(bytes);
    let mut found = Vec::new();
    while !scanner.is_empty() {
        found.push(entry(&mut scanner)?);
    }
    Some(found)
}

fn entry(scanner: &mut Scanner<'_>) -> Option<Entry> {
    let tag = scanner.byte()?;
    match tag {
        MOVED => scanner.job().map(Entry::Moved),
        RECORD | RECORD_AND_HEAD => {
            let place = Place::of(scanner.byte()?)?;
            let job = scanner.job()?;
            let sequence = scanner.number()?;
            let head = match tag {
                RECORD => None,
                _ => Some(Content::new(scanner.sized()?)),
            };
            let record = Content::new(scanner.sized()?);
            Some(Entry::Record { job, sequence, place, head, record })
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::pack::Packer;
    use super::*;
    use crate::sled_store::envelope::seal;

    fn read(values: &[(Vec<u8>, Vec<u8>)]) -> Result<BatchRead, String> {
        let (number, _) = keys::part_of(&values[0].0).unwrap();
        let mut assembly = Assembly::begin(number);
        for (key, value) in values {
            assembly.add(key, value)?;
        }
        assembly.finish()
    }

    fn put(packer: &mut Packer, entry: &Entry) {
        match entry {
            Entry::Moved(job) => packer.moved(*job),
            Entry::Record { job, sequence, place, head, record } => {
                packer.record(*job, *sequence, *place, head.as_ref(), record);
            }
        }
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        // Noise cannot be packed, repetitions can. A strategy for each byte would take minutes.
        let content = |size: usize| {
            let bytes = (any::<u64>(), any::<bool>(), 0..size);
            bytes.prop_map(|(seed, is_noise, size)| {
                let mut bytes = vec![seed as u8; size];
                if is_noise {
                    let mut hasher = blake3::Hasher::new();
                    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
                }
                Content::new(&bytes)
            })
        };
        let place = prop_oneof![
            Just(Place::Log),
            Just(Place::Awake),
            Just(Place::Asleep),
            Just(Place::Ended)
        ];
        let id = any::<[u8; 16]>().prop_map(JobId::from_bytes);
        let head = prop::option::of(content(300));
        let record = (id.clone(), any::<u64>(), place, head, content(4_000)).prop_map(
            |(job, sequence, place, head, record)| Entry::Record {
                job,
                sequence,
                place,
                head,
                record,
            },
        );
        prop_oneof![8 => record, 1 => id.prop_map(Entry::Moved)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_batch_comes_back(
            batches in prop::collection::vec(prop::collection::vec(any_entry(), 0..40), 1..4),
            first in 0..u64::MAX - 9,
        ) {
            let mut packer = Packer::new();
            for (entries, number) in batches.into_iter().zip(first..) {
                entries.iter().for_each(|entry| put(&mut packer, entry));
                let values = packer.seal(number, first);
                prop_assert!(values.iter().all(|(_, value)| value.len() <= MAX_VALUE_BYTES));
                let parts = u16::try_from(values.len()).unwrap();
                let expected = BatchRead { number, lowest: first, parts, entries };
                prop_assert_eq!(read(&values), Ok(expected));
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let key = keys::log(5, 0);
            let _ = read(&[(key.clone(), seal(Kind::Log, &key, Body::Here(&bytes)))]);
            let _ = entries(&bytes);
        }
    }

    fn large() -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut packer = Packer::new();
        for n in 0..200_u64 {
            let noise = blake3::hash(&n.to_le_bytes());
            let record = Content::new(&[&noise.as_bytes()[..]; 2].concat());
            let job = JobId::from_bytes(*noise.as_bytes().first_chunk().unwrap());
            packer.record(job, n, Place::Log, None, &record);
        }
        packer.seal(7, 3)
    }

    #[test]
    fn what_is_missing_is_named() {
        let whole = large();
        assert!(whole.len() >= 3, "{} parts", whole.len());
        assert_eq!(read(&whole).unwrap().entries.len(), 200);
        let without_last = read(&whole[..whole.len() - 1]).unwrap_err();
        assert!(without_last.starts_with("batch 7: it has "), "{without_last}");
        let without_second = [&whole[..1], &whole[2..]].concat();
        assert_eq!(read(&without_second).unwrap_err(), "part 1 of batch 7 is missing");
        for (at, (key, value)) in whole.iter().enumerate() {
            let mut flipped = value.clone();
            flipped[value.len() / 2] ^= 1;
            let mut values = whole.clone();
            values[at] = (key.clone(), flipped);
            let why = read(&values).unwrap_err();
            assert_eq!(why, format!("part {at} of batch 7: its checksum is wrong"));
        }
    }

    #[test]
    fn repeated_records_take_little_room() {
        let mut packer = Packer::new();
        for n in 0..256_u64 {
            let job = JobId::from_bytes(
                *blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap(),
            );
            packer.record(job, 5, Place::Log, None, &Content::new(&[b'x'; 235]));
        }
        let plain = packer.bytes();
        let packed: usize = packer.seal(1, 1).iter().map(|(_, value)| value.len()).sum();
        assert!(packed * 5 < plain, "{packed} of {plain}");
    }
}
