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
            self.shared.count_batch(batch.notices.len(), batch.changes.len(), batch.bytes);
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
        assert_ne!(self.epoch & u64::from(u32::MAX), 0, "the next opening's epochs are not ours");
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use callsheet_engine::{Event, Timestamp};

    use super::super::codec::{HeadBody, RecordBody};
    use super::super::medium::Answer;
    use super::super::view::View;
    use super::*;
    use crate::artifacts::ArtifactStore;
    use crate::store::{Commit, JobHead, JobStatus};

    /// What happens at a step of the double.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        Error,
        Panic,
    }

    /// A medium that keeps its log, looks around at every step, and fails on demand.
    struct Double {
        db: sled::Db,
        steps: Arc<Mutex<Vec<String>>>,
        observe: Box<dyn FnMut() -> String + Send>,
        fault: Option<(&'static str, Fault)>,
        room: Room,
    }

    impl Double {
        fn step(&mut self, name: &'static str) -> Answer<()> {
            let seen = (self.observe)();
            self.steps.lock().unwrap().push(format!("{name}{seen}"));
            match self.fault {
                Some((at, Fault::Error)) if at == name => Err(format!("{name} failed")),
                Some((at, Fault::Panic)) if at == name => panic!("{name} panicked in a test"),
                _ => Ok(()),
            }
        }
    }

    impl Medium for Double {
        fn get(&self, key: &[u8]) -> Answer<Option<IVec>> {
            Ok(self.db.get(key).unwrap())
        }

        fn last_sequence(&self, job: JobId) -> Answer<Option<u64>> {
            let last = self.db.range(keys::records(job, 0)).next_back();
            Ok(last.and_then(|entry| keys::sequence_of(&entry.unwrap().0)))
        }

        fn apply(&mut self, changes: &Changes) -> Answer<()> {
            for (key, change) in changes {
                match change {
                    Some(value) => self.db.insert(key, value.as_slice()).unwrap(),
                    None => self.db.remove(key).unwrap(),
                };
            }
            let records = changes.keys().filter(|key| keys::sequence_of(key).is_some()).count();
            self.step("apply")?;
            self.steps.lock().unwrap().push(format!("records: {records}"));
            Ok(())
        }

        fn flush(&mut self) -> Answer<()> {
            self.step("flush")
        }

        fn sync(&mut self) -> Answer<()> {
            self.step("sync")
        }

        fn note_tip(&mut self, _: Tip) -> Answer<()> {
            self.step("tip")
        }

        fn room(&mut self) -> Room {
            self.room
        }
    }

    struct World {
        _root: tempfile::TempDir,
        codec: Codec,
        shared: Arc<Shared>,
        steps: Arc<Mutex<Vec<String>>>,
        double: Option<Double>,
        queue: mpsc::Sender<Request>,
        requests: Option<mpsc::Receiver<Request>>,
    }

    type Waiting<T> = oneshot::Receiver<Result<T, StoreError>>;

    impl World {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let codec = Codec::new(ArtifactStore::open(root.path()).unwrap());
            let db = sled::Config::new().temporary(true).open().unwrap();
            let shared = Arc::new(Shared::new(View::new(db.clone())));
            let steps = Arc::<Mutex<Vec<String>>>::default();
            let (queue, requests) = mpsc::channel(4_096);
            let double = Double {
                db,
                steps: Arc::clone(&steps),
                observe: Box::new(String::new),
                fault: None,
                room: Room::Plenty,
            };
            let (double, requests) = (Some(double), Some(requests));
            Self { _root: root, codec, shared, steps, double, queue, requests }
        }

        fn double(&mut self) -> &mut Double {
            self.double.as_mut().unwrap()
        }

        /// Serves all that was asked, on this thread, and keeps the writer's medium.
        fn serve(&mut self) {
            let (queue, next) = mpsc::channel(4_096);
            drop(std::mem::replace(&mut self.queue, queue));
            let requests = self.requests.replace(next).unwrap();
            let double = self.double.take().unwrap();
            let writer = Writer::new(double, Arc::clone(&self.shared), self.codec.clone(), 1);
            self.double = Some(writer.run(requests));
        }

        fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Waiting<T> {
            let (reply, answer) = oneshot::channel();
            assert!(self.queue.try_send(request(reply)).is_ok(), "the queue has room");
            answer
        }

        fn create(&self, n: u8) -> Waiting<Created> {
            self.create_with(n, None)
        }

        fn create_with(&self, n: u8, key: Option<(&str, &str)>) -> Waiting<Created> {
            let (job, codec) = (id(n), &self.codec);
            let idempotency = key.map(|(key, request)| {
                let key = keys::idempotency(key);
                let body = KeyBody { job, request: request.to_owned() };
                let value = codec.encode_blocking(&key, &body).unwrap();
                KeyValues { key, value, request: body.request }
            });
            let head = keys::head(keys::LIVE, job);
            let values = NewValues {
                job,
                head_prefix: keys::LIVE,
                head: codec.encode_blocking(&head, &HeadBody::new(head_of(n))).unwrap(),
                record: record(codec, n, 0),
                definition: None,
                idempotency,
            };
            self.ask(|reply| Request::Create(Box::new(values), reply))
        }

        fn claim(&self, n: u8) -> Waiting<Grant> {
            self.ask(|reply| Request::Claim(id(n), reply))
        }

        fn commit(&self, n: u8, epoch: u64, sequence: u64) -> Waiting<()> {
            let commit = Commit { job: id(n), epoch, sequence, events: Vec::new(), head: None };
            let values =
                CommitValues { commit, record: record(&self.codec, n, sequence), head: None };
            self.ask(|reply| Request::Commit(Box::new(values), reply))
        }

        fn steps(&self) -> Vec<String> {
            std::mem::take(&mut *self.steps.lock().unwrap())
        }
    }

    const EPOCH: u64 = 1 << 32;

    fn id(n: u8) -> JobId {
        JobId::from_bytes([n; 16])
    }

    fn head_of(n: u8) -> JobHead {
        JobHead {
            id: id(n),
            workflow: callsheet_engine::WorkflowRef { name: "w".into(), digest: "d".into() },
            status: JobStatus::Running,
            submitted_at: Timestamp(0),
            changed_at: Timestamp(0),
            labels: Default::default(),
        }
    }

    fn record(codec: &Codec, n: u8, sequence: u64) -> Vec<u8> {
        let at = Timestamp(i64::try_from(sequence).unwrap());
        let body = RecordBody { events: vec![Event::JobCancelled { at }] };
        codec.encode_blocking(&keys::record(id(n), sequence), &body).unwrap()
    }

    // The order on which everything rests. Each step notes whether the caller has been answered,
    // a subscriber told, and a reader shown the record; before the end of the sync none may be.
    #[test]
    fn nobody_hears_of_a_commit_before_it_is_durable() {
        let mut world = World::new();
        let created = world.create(1);
        let claimed = world.claim(1);
        world.serve();
        assert_eq!(created.blocking_recv().unwrap(), Ok(Created::New));
        assert_eq!(claimed.blocking_recv().unwrap(), Ok(Grant { epoch: EPOCH + 1, records: 1 }));
        world.steps();

        let again = world.claim(1);
        let answer = Arc::new(Mutex::new(world.commit(1, EPOCH + 1, 1)));
        let notices = Mutex::new(world.shared.notices.subscribe());
        let (shared, waiting) = (Arc::clone(&world.shared), Arc::clone(&answer));
        world.double().observe = Box::new(move || {
            let answered = !waiting.lock().unwrap().is_empty();
            let told = !notices.lock().unwrap().is_empty();
            let key = keys::record(id(1), 1);
            let shown = shared.view.read(|durable| durable.get(&key)).unwrap().is_some();
            format!(": answered {answered}, told {told}, shown {shown}")
        });
        let mut notices = world.shared.notices.subscribe();
        world.serve();
        let nobody = |step: &str| format!("{step}: answered false, told false, shown false");
        let mut expected = vec![nobody("apply"), "records: 1".to_owned()];
        expected.extend(["flush", "sync", "tip"].map(nobody));
        assert_eq!(world.steps(), expected, "applied, flushed, synced, and only then answered");
        assert_eq!(answer.lock().unwrap().try_recv().unwrap(), Ok(()));
        drop(again);
        assert_eq!(notices.try_recv().unwrap(), CommitNotice { job: id(1), sequence: 1 });
        let key = keys::record(id(1), 1);
        assert!(world.shared.view.read(|durable| durable.get(&key)).unwrap().is_some());
    }

    #[test]
    fn a_failure_is_final_and_nothing_is_tried_again() {
        for at in ["apply", "flush", "sync", "tip"] {
            for fault in [Fault::Error, Fault::Panic] {
                let mut world = World::new();
                let mut notices = world.shared.notices.subscribe();
                world.double().fault = Some((at, fault));
                let waiting = (world.create(1), world.create(2), world.claim(9));
                world.serve();
                // A dropped reply is what the caller turns into "outcome unknown".
                assert!(waiting.0.blocking_recv().is_err(), "{at} {fault:?}");
                assert!(waiting.1.blocking_recv().is_err(), "{at} {fault:?}");
                assert!(waiting.2.blocking_recv().is_err(), "{at} {fault:?}");
                let steps = world.steps();
                let times = steps.iter().filter(|step| *step == at).count();
                assert_eq!(times, 1, "{at} is not tried again: {steps:?}");
                assert_eq!(steps.iter().rfind(|step| !step.starts_with("records")).unwrap(), at);
                let health = world.shared.health().unwrap_err();
                assert!(matches!(health, StoreError::Stopped(_)), "{health}");
                assert_eq!(world.shared.health(), Err(health), "it stays so");
                assert!(notices.try_recv().is_err(), "nobody is told");
                let hidden = world.shared.view.read(|d| d.get(&keys::record(id(1), 0)));
                assert_eq!(hidden.unwrap(), None, "nobody is shown");
            }
        }
    }

    #[test]
    fn what_waits_behind_a_failure_is_not_written() {
        let mut world = World::new();
        world.double().fault = Some(("sync", Fault::Error));
        let waiting: Vec<_> = (0..=255).map(|n| world.create(n)).collect();
        let behind = world.create_with(7, Some(("late", "")));
        world.serve();
        assert!(waiting.into_iter().all(|answer| answer.blocking_recv().is_err()));
        assert!(behind.blocking_recv().is_err());
        let late = world.double().db.get(keys::idempotency("late")).unwrap();
        assert_eq!(late, None, "the second batch never began");
    }

    #[test]
    fn a_refused_commit_spoils_nothing() {
        let mut world = World::new();
        let mut answers = Vec::new();
        for n in 1..=4 {
            drop((world.create(n), world.claim(n)));
        }
        // All in one batch: epochs are given in the order of the claims.
        answers.push(world.commit(1, EPOCH + 1, 1));
        answers.push(world.commit(2, EPOCH + 9, 1));
        answers.push(world.commit(3, EPOCH + 3, 2));
        answers.push(world.commit(8, EPOCH, 1));
        answers.push(world.commit(4, EPOCH + 4, 1));
        answers.push(world.commit(4, EPOCH + 4, 2));
        world.serve();
        let answers: Vec<_> = answers.into_iter().map(|it| it.blocking_recv().unwrap()).collect();
        let expected = [
            Ok(()),
            Err(StoreError::StaleEpoch { job: id(2), epoch: EPOCH + 9 }),
            Err(StoreError::WrongSequence { job: id(3), expected: 1, got: 2 }),
            Err(StoreError::UnknownJob(id(8))),
            Ok(()),
            Ok(()),
        ];
        assert_eq!(answers, expected);
        assert_eq!(world.steps(), ["apply", "records: 7", "flush", "sync", "tip"]);
    }

    #[test]
    fn an_owner_in_the_same_batch_makes_the_one_before_stale() {
        let mut world = World::new();
        drop(world.create(1));
        let first = world.claim(1);
        let before = world.commit(1, EPOCH + 1, 1);
        let second = world.claim(1);
        let zombie = world.commit(1, EPOCH + 1, 2);
        let owner = world.commit(1, EPOCH + 2, 2);
        world.serve();
        assert_eq!(first.blocking_recv().unwrap().unwrap().records, 1);
        assert_eq!(before.blocking_recv().unwrap(), Ok(()));
        let grant = Grant { epoch: EPOCH + 2, records: 2 };
        assert_eq!(second.blocking_recv().unwrap(), Ok(grant), "it sees what was before it");
        assert!(matches!(zombie.blocking_recv().unwrap(), Err(StoreError::StaleEpoch { .. })));
        assert_eq!(owner.blocking_recv().unwrap(), Ok(()));
    }

    #[test]
    fn one_key_in_one_batch_is_one_job() {
        let mut world = World::new();
        let first = world.create_with(1, Some(("key", "request")));
        let same = world.create_with(2, Some(("key", "request")));
        let other = world.create_with(3, Some(("key", "other")));
        let twice = world.create(1);
        world.serve();
        assert_eq!(first.blocking_recv().unwrap(), Ok(Created::New));
        assert_eq!(same.blocking_recv().unwrap(), Ok(Created::Existing(id(1))));
        assert_eq!(other.blocking_recv().unwrap(), Ok(Created::Conflict(id(1))));
        assert_eq!(twice.blocking_recv().unwrap(), Ok(Created::Existing(id(1))));
        assert_eq!(world.steps()[1], "records: 1");
    }

    #[test]
    fn batches_are_bounded_and_refusals_need_no_disk() {
        let mut world = World::new();
        drop((world.create(1), world.claim(1)));
        let total = 2 * MAX_BATCH_COUNT as u64 + 10;
        for sequence in 1..=total {
            drop(world.commit(1, EPOCH + 1, sequence));
        }
        world.serve();
        let records: Vec<_> =
            world.steps().into_iter().filter(|step| step.starts_with("records")).collect();
        // The claim takes a place in its batch too.
        let expected = [MAX_BATCH_COUNT - 1, MAX_BATCH_COUNT, 12].map(|n| format!("records: {n}"));
        assert_eq!(records, expected);

        drop((world.commit(1, 3, 1), world.commit(9, 3, 1), world.claim(9)));
        world.serve();
        assert_eq!(world.steps(), Vec::<String>::new());
    }

    #[test]
    fn little_room_refuses_jobs_and_no_room_commits_too() {
        let mut world = World::new();
        drop((world.create(1), world.claim(1)));
        world.serve();
        let cases = [
            (Room::Scarce, Err(StoreError::Full), Ok(())),
            (Room::Full, Err(StoreError::Full), Err(StoreError::Full)),
            (Room::Plenty, Ok(Created::New), Ok(())),
        ];
        let mut next = 1;
        for (room, job, record) in cases {
            world.double().room = room;
            let claimed = world.claim(1);
            // A writer starts its epochs anew: this one's first.
            let (created, committed) = (world.create(2), world.commit(1, EPOCH + 1, next));
            world.serve();
            assert!(claimed.blocking_recv().unwrap().is_ok(), "claims need no room");
            assert_eq!(created.blocking_recv().unwrap(), job, "{room:?}");
            next += u64::from(record.is_ok());
            assert_eq!(committed.blocking_recv().unwrap(), record, "{room:?}");
        }
        assert_eq!(world.shared.health(), Ok(()), "a full disk is no failure");
    }

    #[test]
    fn close_serves_what_is_in_the_queue_and_ends() {
        let mut world = World::new();
        let before = world.create(1);
        assert!(world.queue.try_send(Request::Close).is_ok());
        // More than one batch of them was in the queue before the writer came to the close.
        let behind: Vec<_> = (2..=255).chain(2..=255).map(|n| world.create(n)).collect();
        // The queue stays open: a caller that never comes back must not keep the writer alive.
        let held = world.queue.clone();
        world.serve();
        assert_eq!(before.blocking_recv().unwrap(), Ok(Created::New));
        assert!(behind.into_iter().all(|answer| answer.blocking_recv().unwrap().is_ok()));
        assert!(held.is_closed());
    }

    #[test]
    fn a_caller_that_went_away_takes_nothing_back() {
        let mut world = World::new();
        drop(world.create(1));
        world.serve();
        let key = keys::record(id(1), 0);
        assert!(world.shared.view.read(|durable| durable.get(&key)).unwrap().is_some());
    }
}
