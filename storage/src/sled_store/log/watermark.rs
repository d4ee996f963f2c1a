//! Which batches of the log are still needed.
//!
//! A batch is needed while a record in it has not moved, and while an older one is: the log is cut
//! at one end only, so that a batch that is missing in the middle is seen to be.

use std::collections::VecDeque;

use callsheet_engine::{JobId, mutated};

/// The batches that lie in the log, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    batches: VecDeque<Batch>,
    /// Records that have not moved.
    records: usize,
}

#[derive(Debug)]
struct Batch {
    number: u64,
    parts: u16,
    /// The job of each of its records.
    jobs: Vec<JobId>,
    /// Its records that have not moved.
    needed: usize,
}

impl Batch {
    fn is_needed(&self) -> bool {
        self.needed > 0 && !mutated("watermark")
    }
}

impl Batches {
    /// A new batch, the one after the last.
    pub(crate) fn begin(&mut self, number: u64) {
        let last = self.batches.back().map(|batch| batch.number);
        assert!(last.is_none_or(|last| last + 1 == number), "batches follow one another");
        self.batches.push_back(Batch { number, parts: 0, jobs: Vec::new(), needed: 0 });
    }

    /// The last batch holds a record of this job.
    pub(crate) fn record(&mut self, job: JobId) {
        let last = self.batches.back_mut().expect("a batch was begun");
        last.jobs.push(job);
        last.needed += 1;
        self.records += 1;
    }

    /// The last batch has so many parts.
    pub(crate) fn end(&mut self, parts: usize) {
        let last = self.batches.back_mut().expect("a batch was begun");
        last.parts = u16::try_from(parts).expect("the packer numbers them by 16 bits");
    }

    /// A record in this batch has moved.
    pub(crate) fn moved(&mut self, number: u64) {
        let first = self.lowest().expect("the batch is there");
        let at = usize::try_from(number - first).expect("batches fit into memory");
        let batch = &mut self.batches[at];
        assert!(batch.number == number && batch.needed > 0, "a record moves once");
        batch.needed -= 1;
        self.records -= 1;
    }

    /// Forgets the oldest batches that nobody needs, never the last one; answers with their keys'
    /// numbers.
    pub(crate) fn cut(&mut self) -> Vec<(u64, u16)> {
        let mut parts = Vec::new();
        while self.batches.len() > 1
            && let Some(batch) = self.batches.pop_front_if(|batch| !batch.is_needed())
        {
            parts.extend((0..batch.parts).map(|part| (batch.number, part)));
        }
        parts
    }

    /// The oldest batch that is needed.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.batches.front().map(|batch| batch.number)
    }

    /// The last batch.
    pub(crate) fn last(&self) -> Option<u64> {
        self.batches.back().map(|batch| batch.number)
    }

    /// Records that have not moved.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// The jobs with records in the oldest batches, those of a whole batch or none.
    pub(crate) fn oldest_jobs(&self, at_most: usize) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for batch in &self.batches {
            if !jobs.is_empty() && jobs.len() + batch.jobs.len() > at_most {
                break;
            }
            jobs.extend_from_slice(&batch.jobs);
        }
        jobs
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id(n: u8) -> JobId {
        JobId::from_bytes([n; 16])
    }

    fn batches(jobs: &[&[u8]]) -> Batches {
        let mut batches = Batches::default();
        for (jobs, number) in jobs.iter().zip(5..) {
            batches.begin(number);
            jobs.iter().for_each(|n| batches.record(id(*n)));
            batches.end(2);
        }
        batches
    }

    #[test]
    fn the_log_is_cut_at_its_old_end_only() {
        let mut batches = batches(&[&[1, 2], &[1], &[3]]);
        assert_eq!((batches.lowest(), batches.last(), batches.records()), (Some(5), Some(7), 4));
        batches.moved(6);
        assert_eq!(batches.cut(), [], "an older one is needed");
        batches.moved(5);
        assert_eq!(batches.cut(), []);
        batches.moved(5);
        assert_eq!(batches.cut(), [(5, 0), (5, 1), (6, 0), (6, 1)]);
        assert_eq!((batches.lowest(), batches.records()), (Some(7), 1));
        batches.moved(7);
        assert_eq!(batches.cut(), [], "the last one says how far the log goes");
        batches.begin(8);
        batches.end(1);
        assert_eq!(batches.cut(), [(7, 0), (7, 1)]);
    }

    #[test]
    fn those_who_lag_are_those_of_the_oldest_batches() {
        let batches = batches(&[&[1, 2], &[1], &[3]]);
        assert_eq!(batches.oldest_jobs(0), [id(1), id(2)], "at least one batch");
        assert_eq!(batches.oldest_jobs(3), [id(1), id(2), id(1)]);
        assert_eq!(batches.oldest_jobs(9).len(), 4);
    }

    #[test]
    #[should_panic(expected = "batches follow one another")]
    fn a_gap_in_the_log_is_never_written() {
        let mut batches = batches(&[&[1]]);
        batches.begin(7);
    }
}
