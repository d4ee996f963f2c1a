//! Reads the log when the store opens, once, from its oldest batch on.

use std::collections::HashMap;

use callsheet_engine::JobId;

use super::Place;
use super::index::{Head, Index, Returning};
use super::unpack::{Assembly, BatchRead, Entry};
use super::watermark::Batches;
use crate::sled_store::codec::{Codec, Content};
use crate::sled_store::keys;
use crate::store::JobStatus;

/// Puts together what the log says. Errors say what is wrong with it, for people.
pub(crate) struct Rebuild {
    batches: Batches,
    jobs: HashMap<JobId, Found>,
    under_way: Option<Assembly>,
    /// The first batch, and what the last one says that it should be.
    first: Option<u64>,
    lowest: u64,
}

struct Found {
    place: Place,
    stored: u64,
    head: Option<Content>,
    records: Vec<(u64, Content)>,
}

impl Rebuild {
    pub(crate) fn new() -> Self {
        let (batches, jobs) = (Batches::default(), HashMap::new());
        Self { batches, jobs, under_way: None, first: None, lowest: 0 }
    }

    /// Takes the next key of the log and its value.
    pub(crate) fn part(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let (number, _) = keys::part_of(key).ok_or("a key of the log makes no sense")?;
        if self.under_way.as_ref().is_some_and(|assembly| assembly.number() != number) {
            self.finish_batch()?;
        }
        let assembly = self.under_way.get_or_insert_with(|| Assembly::begin(number));
        assembly.add(key, value)
    }

    /// What the whole log says. `at_rest` reads the head under a job's own key.
    pub(crate) fn finish(
        mut self,
        codec: &Codec,
        index: &Index,
        at_rest: impl Fn(JobId, u8) -> Option<Content>,
    ) -> Result<Batches, String> {
        self.finish_batch()?;
        if let Some(first) = self.first
            && first > self.lowest
        {
            return Err(format!("batch {} of the log is missing", self.lowest));
        }
        for (job, found) in self.jobs {
            let Found { place, stored, head, records } = found;
            if (place == Place::Log) != (stored == 0) {
                return Err(format!("the first records of job `{job}` are missing in the log"));
            }
            let head = head.or_else(|| at_rest(job, place.prefix()?));
            let returning =
                Returning { place, head: head_of(codec, job, head), records: stored, owner: 0 };
            index.found(job, returning, records);
        }
        index.found_end(self.batches.last().unwrap_or(0));
        Ok(self.batches)
    }

    fn finish_batch(&mut self) -> Result<(), String> {
        let Some(assembly) = self.under_way.take() else { return Ok(()) };
        let BatchRead { number, lowest, parts, entries } = assembly.finish()?;
        match self.batches.last() {
            Some(last) if last + 1 != number => {
                return Err(format!("batch {} of the log is missing", last + 1));
            }
            Some(_) => {}
            None => self.first = Some(number),
        }
        self.lowest = lowest;
        self.batches.begin(number);
        self.batches.end(parts.into());
        entries.into_iter().try_for_each(|entry| self.entry(number, entry))
    }

    fn entry(&mut self, batch: u64, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Moved(job) => {
                // Its records may have been cut off with their batches, in this very batch.
                for (batch, _) in self.jobs.remove(&job).into_iter().flat_map(|it| it.records) {
                    self.batches.moved(batch);
                }
            }
            Entry::Record { job, sequence, place, head, record } => {
                let found = self.jobs.entry(job).or_insert_with(|| Found {
                    place,
                    stored: sequence,
                    head: None,
                    records: Vec::new(),
                });
                let expected = found.stored + found.records.len() as u64;
                if sequence != expected {
                    return Err(format!("record {expected} of job `{job}` is missing in the log"));
                }
                found.records.push((batch, record));
                found.head = head.or(found.head.take());
                self.batches.record(job);
            }
        }
        Ok(())
    }
}

/// A head that cannot be read quarantines its job, and is found out when it is read.
fn head_of(codec: &Codec, job: JobId, content: Option<Content>) -> Head {
    let content = content.unwrap_or_else(|| Content::new(&[]));
    let status = codec.head(job, &content).map_or(JobStatus::Running, |head| head.status);
    Head { status, content }
}
