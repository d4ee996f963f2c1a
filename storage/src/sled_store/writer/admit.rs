//! What is taken into a batch, and what is refused. A refusal spoils nothing.

use callsheet_engine::{JobId, Timestamp, mutated};
use sled::IVec;

use super::{Answer, Batch, NewValues, Request, Writer};
use crate::check;
use crate::error::StoreError;
use crate::sled_store::codec::{Content, KeyBody};
use crate::sled_store::envelope::{Body, Kind, seal};
use crate::sled_store::keys;
use crate::sled_store::log::Place;
use crate::sled_store::log::index::{Append, Grant, Head, Returning, Unappended};
use crate::sled_store::medium::Medium;
use crate::sled_store::room::Room;
use crate::store::{CommitNotice, Created, JobStatus};

impl<M: Medium> Writer<M> {
    pub(super) fn take(&mut self, batch: &mut Batch, request: Request) {
        batch.requests += 1;
        // Every answer waits: one that tells of a record in the batch must, and the others lose
        // nothing.
        let answer = match request {
            Request::Create(job, reply) => Answer::Created(reply, self.create(batch, *job)),
            Request::Commit(append, reply) => Answer::Committed(reply, self.commit(batch, append)),
            Request::Claim(job, reply, admission) => {
                drop(admission);
                Answer::Claimed(reply, self.claim(job))
            }
        };
        batch.answers.push(answer);
    }

    fn create(&mut self, batch: &mut Batch, mut new: NewValues) -> Result<Created, StoreError> {
        drop(new.admission.take()); // whoever waits for a place in the queue gets this one
        if let Some(asked) = &new.idempotency
            && let Some(known) = self.key_of(batch, &asked.key)?
        {
            return Ok(check::repeated(known.job, known.request == asked.request));
        }
        if let Some(first) = self.first_record(new.job)? {
            // Equal events have equal bytes, large ones by their digest.
            return Ok(check::repeated(new.job, first == new.record));
        }
        let second = new.second.take();
        if let Some(second) = &second
            && self.first_record(second.job)?.is_some()
        {
            return Err(check::second_is_known(second.job));
        }
        if self.room(batch) != Room::Plenty {
            return Err(StoreError::Full);
        }
        // All that can fail comes before the first is in the batch.
        let all = [Some(new), second.map(|second| *second)].into_iter().flatten();
        let all = all.map(|new| Ok((self.definition_before(&new)?, new)));
        let all: Vec<_> = all.collect::<Result<_, StoreError>>()?;
        for (before, new) in all {
            self.put_new(batch, before, new);
        }
        Ok(Created::New)
    }

    /// The definition that a job brings, as it is kept: another job may have brought it since the
    /// caller looked.
    fn definition_before(&self, new: &NewValues) -> Result<Option<IVec>, StoreError> {
        let Some((key, _)) = &new.definition else { return Ok(None) };
        self.reader.value(key).map_err(StoreError::Unreadable)
    }

    fn first_record(&self, job: JobId) -> Result<Option<Content>, StoreError> {
        match self.reader.shared.index.first_record(job) {
            Some(Some(first)) => Ok(Some(first)),
            _ => self.reader.first_content(job),
        }
    }

    /// Takes a job into the batch that is in no other.
    fn put_new(&mut self, batch: &mut Batch, before: Option<IVec>, new: NewValues) {
        let NewValues { job, head, record, definition, idempotency, .. } = new;
        if let Some((key, value)) = definition {
            batch.put(key, Some(value), before);
        }
        let number = self.begin(batch);
        if let Some(asked) = idempotency {
            batch.put(asked.key, Some(asked.value), None);
        }
        self.packer.record(job, 0, Place::Log, Some(&head.content), &record);
        self.batches.record(job);
        change_timer(batch, job, None, Some(head.status));
        if self.reader.shared.index.create(job, head, record, number) {
            batch.must_move.push(job);
        }
        batch.notices.push(CommitNotice { job, sequence: 0 });
    }

    /// What an idempotency key stands for, in this batch or before.
    fn key_of(&self, batch: &Batch, key: &[u8]) -> Result<Option<KeyBody>, StoreError> {
        let value = match batch.changes.get(key) {
            Some(change) => change.as_deref().map(IVec::from),
            None => self.reader.value(key).map_err(StoreError::Unreadable)?,
        };
        let Some(value) = value else { return Ok(None) };
        let decoded = self.reader.codec().decode_value(key, &value);
        decoded.map(Some).map_err(|why| {
            StoreError::Unreadable(format!("the record of this idempotency key: {why}"))
        })
    }

    fn commit(&mut self, batch: &mut Batch, append: Append) -> Result<(), StoreError> {
        let (job, sequence) = (append.job, append.sequence);
        let has_room = self.room(batch) != Room::Full;
        // A batch that takes nothing has no number, and the next one gets it.
        let number = batch.number.unwrap_or_else(|| self.next_number());
        let limit = self.limits.job_bytes;
        let put =
            |writer: &Self| writer.reader.shared.index.append(&append, number, limit, has_room);
        let mut appended = put(self);
        if let Err(reason @ (Unappended::Unknown | Unappended::AtRest)) = &appended {
            let is_owned = *reason == Unappended::AtRest;
            self.bring_back(&append, is_owned)?;
            appended = put(self);
        }
        let appended = appended.map_err(|refusal| {
            self.reader.shared.index.forget_idle(job);
            match refusal {
                Unappended::Refused(error) => error,
                Unappended::Unknown | Unappended::AtRest => StoreError::UnknownJob(job),
            }
        })?;
        assert_eq!(self.begin(batch), number, "it goes into this batch");
        let head = append.head.as_ref().map(|head| &head.content);
        self.packer.record(job, sequence, appended.place, head, &append.record);
        self.batches.record(job);
        if let Some(head) = append.head {
            change_timer(batch, job, Some(appended.before), Some(head.status));
        }
        if appended.must_move {
            batch.must_move.push(job);
        }
        batch.notices.push(CommitNotice { job, sequence });
        Ok(())
    }

    /// Brings a job at rest back into memory, for its owner's next commit.
    fn bring_back(&self, append: &Append, is_owned: bool) -> Result<(), StoreError> {
        let job = append.job;
        let at_rest = self.reader.at_rest(job)?.ok_or(StoreError::UnknownJob(job))?;
        let (place, at_rest) = at_rest;
        // Whoever owned it when it moved owns it still; an epoch of an earlier opening is nobody's.
        let owner = at_rest.owner;
        let index = &self.reader.shared.index;
        let is_owner = is_owned || (index.is_of_this_opening(owner) && owner == append.epoch);
        if !is_owner && !mutated("epoch-check") {
            return Err(StoreError::StaleEpoch { job, epoch: append.epoch });
        }
        let records = match at_rest.records {
            Some(records) => records,
            None => self.reader.count_records(job)?,
        };
        let status = self.reader.decode_head(job, &at_rest.head)?.status;
        let head = Head { status, content: at_rest.head };
        let returning = Returning { place, head, records, owner };
        self.reader.shared.index.bring_back(job, returning);
        Ok(())
    }

    fn claim(&self, job: JobId) -> Result<Grant, StoreError> {
        if let Some(grant) = self.reader.shared.index.claim(job) {
            return Ok(grant);
        }
        let records = match self.reader.at_rest(job)? {
            Some((_, at_rest)) => at_rest.records,
            None => None,
        };
        let records = match records {
            Some(records) => records,
            None => self.reader.count_records(job)?,
        };
        if records == 0 {
            let is_known = self.reader.own_value(job)?.is_some();
            let why = "its journal is missing".to_owned();
            let lost = StoreError::Damaged { job, why };
            return Err(if is_known { lost } else { StoreError::UnknownJob(job) });
        }
        Ok(self.reader.shared.index.adopt(job, records))
    }

    fn next_number(&self) -> u64 {
        self.batches.last().map_or(1, |last| last + 1)
    }
}

/// A timer stands in the tree as long as its job sleeps.
fn change_timer(
    batch: &mut Batch,
    job: JobId,
    before: Option<JobStatus>,
    after: Option<JobStatus>,
) {
    let time = |status: Option<JobStatus>| -> Option<Timestamp> {
        match status {
            Some(JobStatus::Sleeping { until }) => Some(until),
            _ => None,
        }
    };
    let (before, after) = (time(before), time(after));
    if before == after {
        return;
    }
    if let Some(wake) = before {
        let key = keys::timer(wake, job);
        let value = timer_value(&key);
        batch.put(key, None, Some(value.into()));
    }
    if let Some(wake) = after {
        let key = keys::timer(wake, job);
        let value = timer_value(&key);
        batch.put(key, Some(value), None);
    }
}

/// A timer is all in its key.
pub(in crate::sled_store) fn timer_value(key: &[u8]) -> Vec<u8> {
    seal(Kind::Timer, key, Body::Here(&[]))
}
