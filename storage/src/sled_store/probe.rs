//! What the project's benches see of the codec. It is no part of the library's promise.

use std::path::Path;

use callsheet_engine::{Event, JobId};

use super::codec::Codec;
use super::keys;
use super::log::Place;
use super::log::pack::Packer;
use super::log::unpack::{Assembly, Entry};
use crate::artifacts::ArtifactStore;

/// A key and its value.
pub type Stored = (Vec<u8>, Vec<u8>);

/// Packs and unpacks batches of the log as the store does, without a disk.
pub struct Probe {
    codec: Codec,
    packer: Packer,
}

impl Probe {
    /// One whose large values would lie in this directory.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(dir: &Path) -> Result<Self, String> {
        let values = ArtifactStore::open(dir).map_err(|error| error.to_string())?;
        Ok(Self { codec: Codec::new(values), packer: Packer::new() })
    }

    /// One record for each of so many jobs: the keys and values of the batch.
    ///
    /// # Errors
    /// When a record has no encoding.
    pub fn pack(&mut self, records: &[Vec<Event>]) -> Result<Vec<Stored>, String> {
        for (job, events) in (0_u128..).zip(records) {
            let encoded = Codec::encode_record(events);
            let encoded = encoded.and_then(|encoded| self.codec.settle(encoded));
            let content = encoded.map_err(|error| error.to_string())?;
            let job = JobId::from_bytes(job.to_be_bytes());
            self.packer.record(job, 1, Place::Log, None, &content);
        }
        Ok(self.packer.seal(0, 0))
    }

    /// The records of a batch.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn unpack(&self, values: &[Stored]) -> Result<Vec<Vec<Event>>, String> {
        let number = values.first().and_then(|(key, _)| keys::part_of(key));
        let (number, _) = number.ok_or("the batch has no first part")?;
        let mut assembly = Assembly::begin(number);
        for (key, value) in values {
            assembly.add(key, value)?;
        }
        let records = assembly.finish()?.entries.into_iter().filter_map(|entry| match entry {
            Entry::Record { record, .. } => Some(self.codec.record(&record)),
            Entry::Moved(_) => None,
        });
        records.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{Timestamp, Token};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_benches_measure_is_the_real_thing() {
        let dir = tempfile::tempdir().unwrap();
        let mut probe = Probe::new(dir.path()).unwrap();
        let event = |n: u64| Event::StepSucceeded {
            token: Token(n),
            output: json!("x".repeat(98)),
            cached: false,
            at: Timestamp(5),
        };
        let records: Vec<_> = (0..100).map(|n| vec![event(n)]).collect();
        let values = probe.pack(&records).unwrap();
        assert!(values.iter().all(|(_, value)| value.len() <= crate::limits::MAX_VALUE_BYTES));
        assert_eq!(probe.unpack(&values), Ok(records));
        assert!(probe.unpack(&values[..0]).unwrap_err().contains("no first part"));
        let mut cut = values;
        cut[0].1.pop();
        assert!(probe.unpack(&cut).is_err());
    }
}
