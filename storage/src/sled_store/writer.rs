//! The one writer: an OS thread that takes what waits, checks it, makes it durable as one batch,
//! and only then answers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use callsheet_engine::JobId;
use sled::IVec;
use tokio::sync::{mpsc, oneshot};

use super::codec::{Codec, KeyBody};
use super::keys;
use super::medium::{Changes, Medium, make_durable};
use super::room::Room;
use super::shared::Shared;
use super::tip::Tip;
use super::view::Hidden;
use crate::check;
use crate::error::StoreError;
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_COUNT};
use crate::store::{CommitNotice, Created};

/// Where an answer goes. When it is dropped instead, the store has failed.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for. All values are encoded already.
pub(super) enum Request {
    Create(Box<NewValues>, Reply<Created>),
    Commit(Box<CommitValues>, Reply<()>),
    Claim(JobId, Reply<Grant>),
    /// Serve what is in the queue and end.
    Close,
}

/// A job to accept.
pub(super) struct NewValues {
    pub(super) job: JobId,
    /// A job may be accepted as ended, if only in a test.
    pub(super) head_prefix: u8,
    pub(super) head: Vec<u8>,
    pub(super) record: Vec<u8>,
    /// Key and value, unless the definition is known to be kept.
    pub(super) definition: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) idempotency: Option<KeyValues>,
}

/// An idempotency key, what to keep under it, and what was asked for.
pub(super) struct KeyValues {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) request: String,
}

/// A record to append.
pub(super) struct CommitValues {
    /// The commit, without what is encoded below.
    pub(super) commit: crate::store::Commit,
    pub(super) record: Vec<u8>,
    /// The new head's prefix and value.
    pub(super) head: Option<(u8, Vec<u8>)>,
}

/// An ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) epoch: u64,
    /// Records in the journal at that moment. Nobody else can append to it from now on.
    pub(super) records: u64,
}

/// What the writer knows of a job without looking.
#[derive(Clone, Copy, Debug)]
struct Slot {
    owner: Option<u64>,
    next: u64,
}

/// The writer's state. One thread owns it.
pub(super) struct Writer<M> {
    medium: M,
    shared: Arc<Shared>,
    slots: HashMap<JobId, Slot>,
    /// The last epoch that was given.
    epoch: u64,
    closing: bool,
    codec: Codec,
}

/// A batch in the making.
#[derive(Default)]
struct Batch {
    changes: Changes,
    hidden: Hidden,
    bytes: usize,
    requests: usize,
    answers: Vec<Box<dyn FnOnce() + Send>>,
    notices: Vec<CommitNotice>,
}

impl<M: Medium> Writer<M> {
    pub(super) fn new(medium: M, shared: Arc<Shared>, codec: Codec, boot: u32) -> Self {
        assert!(boot > 0, "every opening counts");
        let epoch = u64::from(boot) << 32;
        Self { medium, shared, slots: HashMap::new(), epoch, closing: false, codec }
    }

    /// Serves until nobody can ask any more, or until the store has failed. Gives the medium back.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) -> M {
        while let Some(first) = requests.blocking_recv() {
            self.shared.batch_begins();
            let mut batch = Batch::default();
            let turn =
                catch_unwind(AssertUnwindSafe(|| self.turn(first, &mut requests, &mut batch)));
            self.shared.batch_ends();
            let failure = match turn {
                Ok(Ok(())) => {
                    if self.closing {
                        requests.close(); // nothing gets in, and what is in is served
                    }
                    continue;
                }
                Ok(Err(why)) => why,
                Err(_) => "a panic in the middle of a batch".to_owned(),
            };
            tracing::error!(failure, "the store has failed and takes nothing any more");
            // Before the replies are dropped, with the batch and the queue: they ask for it.
            self.shared.fail(failure);
            break;
        }
        self.medium
    }

    /// One batch: from the first request to the last answer. An error is fatal for the store.
    fn turn(
        &mut self,
        first: Request,
        requests: &mut mpsc::Receiver<Request>,
        batch: &mut Batch,
    ) -> Result<(), String> {
        let mut next = Some(first);
        while let Some(request) = next {
            fail::fail_point!("storage.commit.queued");
            self.take(batch, request);
            let has_room = batch.requests < MAX_BATCH_COUNT && batch.bytes < MAX_BATCH_BYTES;
            // No waiting for more: what is here shares the sync, what comes later the next one.
            next = has_room.then(|| requests.try_recv().ok()).flatten();
        }
        if let Some(last) = batch.notices.last() {
            let tip = Tip { job: last.job, sequence: last.sequence };
            self.shared.view.hide(std::mem::take(&mut batch.hidden));
            make_durable(&mut self.medium, &batch.changes, tip)?;
            self.shared.view.reveal();
        } else {
            assert!(batch.changes.is_empty(), "every change belongs to a record");
        }
        for answer in batch.answers.drain(..) {
            answer();
        }
        fail::fail_point!("storage.commit.acknowledged");
        for notice in batch.notices.drain(..) {
            // Nobody listening is no failure.
            let _ = self.shared.notices.send(notice);
        }
        Ok(())
    }

    fn take(&mut self, batch: &mut Batch, request: Request) {
        batch.requests += 1;
        match request {
            Request::Create(job, reply) => {
                let answer = self.create(batch, *job);
                batch.answer(reply, answer);
            }
            Request::Commit(commit, reply) => {
                let answer = self.commit(batch, *commit);
                batch.answer(reply, answer);
            }
            Request::Claim(job, reply) => {
                let answer = self.claim(batch, job);
                batch.answer(reply, answer);
            }
            Request::Close => self.closing = true,
        }
    }

    fn create(&mut self, batch: &mut Batch, new: NewValues) -> Result<Created, StoreError> {
        let NewValues { job, head_prefix, head, record, definition, idempotency } = new;
        if let Some(asked) = &idempotency
            && let Some(known) = self.look(batch, &asked.key).map_err(StoreError::Unreadable)?
        {
            let decoded = self.codec.decode::<KeyBody>(&asked.key, &known);
            let known = decoded.map_err(|why| {
                StoreError::Unreadable(format!("the record of this idempotency key: {why}"))
            })?;
            return Ok(check::repeated(known.job, known.request == asked.request));
        }
        let record_key = keys::record(job, 0);
        let damaged = |why| StoreError::Damaged { job, why };
        if let Some(known) = self.look(batch, &record_key).map_err(damaged)? {
            // Equal events have equal bytes, large ones by their digest.
            return Ok(check::repeated(job, *known == *record));
        }
        if self.medium.room() != Room::Plenty {
            return Err(StoreError::Full);
        }
        let mut changes = vec![(record_key, record), (keys::head(head_prefix, job), head)];
        changes.extend(definition);
        changes.extend(idempotency.map(|asked| (asked.key, asked.value)));
        let changes = changes.into_iter().map(|(key, value)| (key, Some(value)));
        self.put(batch, changes.collect()).map_err(damaged)?;
        batch.notices.push(CommitNotice { job, sequence: 0 });
        self.slots.insert(job, Slot { owner: None, next: 1 });
        Ok(Created::New)
    }

    fn commit(&mut self, batch: &mut Batch, values: CommitValues) -> Result<(), StoreError> {
        let CommitValues { commit, record, head } = values;
        let job = commit.job;
        let damaged = |why| StoreError::Damaged { job, why };
        let Some(slot) = self.slots.get(&job).copied() else {
            // Nobody owns it: it was not claimed since the store was opened, or it has ended.
            let known = self.is_known(batch, job).map_err(damaged)?;
            let stale = StoreError::StaleEpoch { job, epoch: commit.epoch };
            return Err(if known { stale } else { StoreError::UnknownJob(job) });
        };
        check::ownership(&commit, slot.owner, slot.next)?;
        if self.medium.room() == Room::Full {
            return Err(StoreError::Full);
        }
        let ended = head.as_ref().is_some_and(|(prefix, _)| *prefix == keys::ENDED);
        let mut changes = vec![(keys::record(job, commit.sequence), Some(record))];
        if let Some((prefix, value)) = head {
            // A job has one head; when the job ends it moves, and back if it is ever revived.
            let other = if ended { keys::LIVE } else { keys::ENDED };
            changes.push((keys::head(prefix, job), Some(value)));
            if self.look(batch, &keys::head(other, job)).map_err(damaged)?.is_some() {
                changes.push((keys::head(other, job), None));
            }
        }
        self.put(batch, changes).map_err(damaged)?;
        batch.notices.push(CommitNotice { job, sequence: commit.sequence });
        if ended {
            self.slots.remove(&job);
        } else {
            self.slots.insert(job, Slot { next: slot.next + 1, ..slot });
        }
        Ok(())
    }

    fn claim(&mut self, batch: &Batch, job: JobId) -> Result<Grant, StoreError> {
        let damaged = |why| StoreError::Damaged { job, why };
        let next = match self.slots.get(&job) {
            Some(slot) => slot.next,
            None => self.records_of(batch, job).map_err(damaged)?,
        };
        if next == 0 {
            let known = self.is_known(batch, job).map_err(damaged)?;
            let lost = || damaged("its journal is missing".to_owned());
            return Err(if known { lost() } else { StoreError::UnknownJob(job) });
        }
        self.epoch += 1;
        let grant = Grant { epoch: self.epoch, records: next };
        let before = self.slots.insert(job, Slot { owner: Some(grant.epoch), next });
        let older = before.and_then(|slot| slot.owner);
        assert!(older.is_none_or(|older| older < grant.epoch), "epochs grow");
        Ok(grant)
    }

    /// Records in a job's journal, those in this batch included.
    fn records_of(&self, batch: &Batch, job: JobId) -> Result<u64, String> {
        let here = batch.changes.range(keys::records(job, 0)).next_back();
        let here = here.and_then(|(key, _)| keys::sequence_of(key));
        let last = here.max(self.medium.last_sequence(job)?);
        Ok(last.map_or(0, |sequence| sequence + 1))
    }

    fn is_known(&self, batch: &Batch, job: JobId) -> Result<bool, String> {
        let live = self.look(batch, &keys::head(keys::LIVE, job))?;
        Ok(live.is_some() || self.look(batch, &keys::head(keys::ENDED, job))?.is_some())
    }

    /// The value under a key, as it will be once this batch is applied.
    fn look(&self, batch: &Batch, key: &[u8]) -> Result<Option<IVec>, String> {
        match batch.changes.get(key) {
            Some(change) => Ok(change.as_deref().map(IVec::from)),
            None => self.medium.get(key),
        }
    }

    /// Adds changes to the batch, all or none, with the values that readers see until it is
    /// durable.
    fn put(
        &self,
        batch: &mut Batch,
        changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), String> {
        let mut hidden = Vec::with_capacity(changes.len());
        for (key, _) in &changes {
            if !batch.hidden.contains_key(key) {
                let before = self.medium.get(key)?;
                let is_record = keys::sequence_of(key).is_some();
                assert!(!is_record || before.is_none(), "a record is never written over");
                hidden.push((key.clone(), before));
            }
        }
        batch.hidden.extend(hidden);
        for (key, value) in changes {
            batch.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            batch.changes.insert(key, value);
        }
        assert_eq!(batch.hidden.len(), batch.changes.len(), "every change is hidden");
        Ok(())
    }
}

impl Batch {
    /// Keeps an answer until the batch is durable. One that tells of a record in the batch must
    /// wait, and the others cost nothing by waiting too.
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, StoreError>) {
        // Whoever asked may have gone; what was accepted stays accepted.
        self.answers.push(Box::new(move || drop(reply.send(answer))));
    }
}
