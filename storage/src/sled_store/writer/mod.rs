//! The one writer: an OS thread that takes what waits, checks it, makes it durable as one batch,
//! and only then answers.

mod admit;
mod moves;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use callsheet_engine::{JobId, mutated};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub(super) use admit::timer_value;

use super::keys;
use super::log::LogLimits;
use super::log::index::{Append, Grant, Head};
use super::log::pack::Packer;
use super::log::watermark::Batches;
use super::medium::{Changes, Medium, make_durable};
use super::queue::Queue;
use super::read::Reader;
use super::room::Room;
use super::view::Hidden;
use crate::error::StoreError;
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_COUNT};
use crate::store::{CommitNotice, Created};

/// Where an answer goes. When it is dropped instead, the store has failed.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for. All contents are encoded already.
pub(super) enum Request {
    Create(Box<NewValues>, Reply<Created>),
    Commit(Append, Reply<()>),
    Claim(JobId, Reply<Grant>, Admission),
}

/// A place in the queue, given back when the request is taken.
pub(super) type Admission = Option<OwnedSemaphorePermit>;

/// A job to accept.
pub(super) struct NewValues {
    pub(super) job: JobId,
    pub(super) head: Head,
    pub(super) record: super::codec::Content,
    /// Key and value, unless the definition is known to be kept.
    pub(super) definition: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) idempotency: Option<KeyValues>,
    pub(super) admission: Admission,
    /// Another job to accept in the same batch, if this one is new.
    pub(super) second: Option<Box<NewValues>>,
}

/// An idempotency key, what to keep under it, and what was asked for.
pub(super) struct KeyValues {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) request: String,
}

/// The writer's state. One thread owns it.
pub(super) struct Writer<M> {
    medium: M,
    reader: Reader,
    packer: Packer,
    batches: Batches,
    limits: LogLimits,
}

/// A batch in the making.
#[derive(Default)]
struct Batch {
    /// Its number, once something is to be written.
    number: Option<u64>,
    /// What changes besides the log, and what readers see instead until it is durable.
    changes: Changes,
    hidden: Hidden,
    requests: usize,
    room: Option<Room>,
    /// Jobs that move out of the log with this batch, and those that have, with their owners.
    must_move: Vec<JobId>,
    moved: Vec<(JobId, u64)>,
    answers: Vec<Answer>,
    notices: Vec<CommitNotice>,
}

/// An answer that waits for its batch.
enum Answer {
    Created(Reply<Created>, Result<Created, StoreError>),
    Committed(Reply<()>, Result<(), StoreError>),
    Claimed(Reply<Grant>, Result<Grant, StoreError>),
}

impl<M: Medium> Writer<M> {
    pub(super) fn new(medium: M, reader: Reader, batches: Batches, limits: LogLimits) -> Self {
        Self { medium, reader, packer: Packer::new(), batches, limits }
    }

    /// Gives the medium back.
    pub(super) fn into_medium(self) -> M {
        self.medium
    }

    /// Serves until the queue is closed and empty, or until the store has failed.
    pub(super) fn run(&mut self, queue: &Queue<Request>) {
        let shared = Arc::clone(&self.reader.shared);
        let mut requests = Vec::new();
        loop {
            queue.wait(&mut requests, MAX_BATCH_COUNT);
            if requests.is_empty() {
                return;
            }
            shared.batch_begins();
            let mut batch = Batch::default();
            let turn =
                catch_unwind(AssertUnwindSafe(|| self.turn(&mut requests, queue, &mut batch)));
            shared.batch_ends();
            let failure = match turn {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => why,
                Err(_) => "a panic in the middle of a batch".to_owned(),
            };
            tracing::error!(failure, "the store has failed and takes nothing any more");
            // Before the replies are dropped, with the batch and the queue: they ask for it.
            shared.fail(failure);
            drop((batch, requests));
            queue.abandon();
            return;
        }
    }

    /// One batch: from the first request to the last answer. An error is fatal for the store.
    fn turn(
        &mut self,
        requests: &mut Vec<Request>,
        queue: &Queue<Request>,
        batch: &mut Batch,
    ) -> Result<(), String> {
        // No waiting for more: what is here shares the sync, what comes later the next one.
        while !requests.is_empty() {
            for request in requests.drain(..) {
                fail::fail_point!("storage.commit.queued");
                self.take(batch, request);
            }
            if self.packer.bytes() < MAX_BATCH_BYTES {
                queue.take(requests, MAX_BATCH_COUNT - batch.requests);
            }
        }
        if let Some(number) = batch.number {
            self.write(batch, number)?;
        } else {
            assert!(batch.changes.is_empty(), "every change belongs to a record");
        }
        for answer in batch.answers.drain(..) {
            answer.send();
        }
        fail::fail_point!("storage.commit.acknowledged");
        for notice in batch.notices.drain(..) {
            // Nobody listening is no failure.
            let _ = self.reader.shared.notices.send(notice);
        }
        Ok(())
    }

    /// Writes a batch; it is durable, and readers see it, when this returns.
    fn write(&mut self, batch: &mut Batch, number: u64) -> Result<(), String> {
        self.move_out(batch)?;
        for (old, part) in self.batches.cut() {
            batch.changes.insert(keys::log(old, part), None);
        }
        let lowest = self.batches.lowest().expect("this batch was begun");
        let parts = self.packer.seal(number, lowest);
        self.batches.end(parts.len());
        batch.changes.extend(parts.into_iter().map(|(key, value)| (key, Some(value))));
        let keys = batch.changes.len();
        let sizes = batch.changes.iter();
        let bytes = sizes.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let shared = &self.reader.shared;
        shared.view.hide(std::mem::take(&mut batch.hidden));
        if mutated("handover") {
            // Timers and jobs asleep are the last keys, after those of the log.
            let late = batch.changes.split_off(keys::whole_log().end.as_slice());
            if !late.is_empty() {
                let log = std::mem::replace(&mut batch.changes, late);
                make_durable(&mut self.medium, log, number)?;
            }
        }
        make_durable(&mut self.medium, std::mem::take(&mut batch.changes), number)?;
        // In this order: what has left the index must be seen in the tree.
        shared.view.reveal();
        shared.index.publish(number, &batch.moved);
        shared.count_batch(batch.notices.len(), keys, bytes);
        Ok(())
    }

    /// The number of the batch, into which something is to be written.
    fn begin(&mut self, batch: &mut Batch) -> u64 {
        *batch.number.get_or_insert_with(|| {
            let number = self.batches.last().map_or(1, |last| last + 1);
            self.batches.begin(number);
            number
        })
    }

    fn room(&mut self, batch: &mut Batch) -> Room {
        *batch.room.get_or_insert_with(|| self.medium.room())
    }
}

impl Batch {
    /// Changes a value; readers see the one before until the batch is durable.
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>, before: Option<sled::IVec>) {
        self.hidden.entry(key.clone()).or_insert(before);
        self.changes.insert(key, value);
    }
}

impl Answer {
    fn send(self) {
        // Whoever asked may have gone; what was accepted stays accepted.
        match self {
            Self::Created(reply, answer) => drop(reply.send(answer)),
            Self::Committed(reply, answer) => drop(reply.send(answer)),
            Self::Claimed(reply, answer) => drop(reply.send(answer)),
        }
    }
}
