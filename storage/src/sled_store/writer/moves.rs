//! Jobs that leave the log: those that ended or sleep, and those that lag behind.

use callsheet_engine::JobId;

use super::{Batch, Writer};
use crate::sled_store::history::{self, AtRest, Run};
use crate::sled_store::keys;
use crate::sled_store::log::Place;
use crate::sled_store::log::index::Moving;
use crate::sled_store::medium::Medium;
use crate::store::JobStatus;

impl<M: Medium> Writer<M> {
    /// Moves all that have to, in the same batch as the log.
    pub(super) fn move_out(&mut self, batch: &mut Batch) -> Result<(), String> {
        let mut jobs = std::mem::take(&mut batch.must_move);
        if self.is_too_large() {
            jobs.extend(self.batches.oldest_jobs(self.limits.spills));
        }
        // A job may be there more than once, for each of its records.
        jobs.sort_unstable();
        jobs.dedup();
        for job in jobs {
            if let Some(moving) = self.reader.shared.index.moving(job) {
                self.move_job(batch, job, moving)?;
            }
        }
        Ok(())
    }

    fn is_too_large(&self) -> bool {
        let (jobs, bytes) = self.reader.shared.index.size();
        let limits = &self.limits;
        self.batches.records() > limits.records || bytes > limits.bytes || jobs > limits.jobs
    }

    fn move_job(&mut self, batch: &mut Batch, job: JobId, moving: Moving) -> Result<(), String> {
        let Moving { place, head, stored, owner, contents, batches } = moving;
        let mut run = Run { first: stored, contents };
        let old_key = place.prefix().map(|prefix| keys::head(prefix, job));
        let old = match &old_key {
            Some(key) => self.reader.value(key)?,
            None => None,
        };
        let mut is_sound = old.is_some() == old_key.is_some();
        if let (Some(key), Some(value)) = (&old_key, &old) {
            match history::decode(key, value) {
                Ok(at_rest) => run = join(at_rest.tail, run),
                Err(_) => is_sound = false,
            }
        }
        if is_sound {
            let new_key = keys::head(place_of(head.status) as u8, job);
            let at_rest = AtRest { head: head.content, records: Some(run.end()), owner, tail: run };
            put_job(
                batch,
                job,
                &new_key,
                at_rest,
                old.clone().filter(|_| Some(&new_key) == old_key.as_ref()),
            );
            if let Some(old_key) = old_key.filter(|old_key| *old_key != new_key) {
                batch.put(old_key, None, old);
            }
        } else {
            // Its own value is damaged, which quarantines it. What can be kept is.
            tracing::error!(%job, "the job's own value is damaged; it is left as it is");
            put_runs(batch, job, &run);
        }
        for number in batches {
            self.batches.moved(number);
        }
        self.packer.moved(job);
        batch.moved.push((job, owner));
        Ok(())
    }
}

/// One value if all fits into it; else the records go before it, into runs.
fn put_job(
    batch: &mut Batch,
    job: JobId,
    key: &[u8],
    mut at_rest: AtRest,
    before: Option<sled::IVec>,
) {
    let whole = history::encode(key, &at_rest);
    let value = whole.unwrap_or_else(|| {
        let run = std::mem::take(&mut at_rest.tail);
        put_runs(batch, job, &run);
        history::encode(key, &at_rest).expect("a head fits, or lies in a file of its own")
    });
    batch.put(key.to_vec(), Some(value), before);
}

fn put_runs(batch: &mut Batch, job: JobId, run: &Run) {
    for (key, value) in history::encode_runs(job, run) {
        batch.put(key, Some(value), None);
    }
}

/// The records that lay beside the head, and those that come after them.
fn join(tail: Run, mut run: Run) -> Run {
    if tail.contents.is_empty() {
        return run;
    }
    assert_eq!(tail.end(), run.first, "records have no gaps");
    let mut contents = tail.contents;
    contents.append(&mut run.contents);
    Run { first: tail.first, contents }
}

fn place_of(status: JobStatus) -> Place {
    match status {
        JobStatus::Sleeping { .. } => Place::Asleep,
        JobStatus::Running | JobStatus::Stopping => Place::Awake,
        JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled => Place::Ended,
    }
}
