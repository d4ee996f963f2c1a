//! The order of the writer's deeds, its refusals, and what it writes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use callsheet_engine::{Event, Timestamp};

use super::super::codec::{Codec, Content, Encoded, KeyBody};
use super::super::log::index::Index;
use super::super::log::unpack::{Assembly, Entry};
use super::super::medium::Answer;
use super::super::shared::Shared;
use super::super::view::View;
use super::*;
use crate::artifacts::ArtifactStore;
use crate::store::{JobHead, JobStatus};

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
    written: Arc<Mutex<Vec<Written>>>,
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
    fn apply(&mut self, changes: Changes) -> Answer<()> {
        let mut written = Written::default();
        for (key, change) in changes {
            written.count(&key, change.as_deref());
            match change {
                Some(value) => self.db.insert(key, value).unwrap(),
                None => self.db.remove(key).unwrap(),
            };
        }
        self.step("apply")?;
        self.steps.lock().unwrap().push(format!("records: {}", written.records()));
        self.written.lock().unwrap().push(written);
        Ok(())
    }

    fn flush(&mut self) -> Answer<()> {
        self.step("flush")
    }

    fn sync(&mut self) -> Answer<()> {
        self.step("sync")
    }

    fn note_tip(&mut self, _: u64) -> Answer<()> {
        self.step("tip")
    }

    fn room(&mut self) -> Room {
        self.room
    }
}

/// What one batch wrote.
#[derive(Default)]
struct Written {
    /// New and removed values, by the first byte of their keys.
    put: BTreeMap<u8, usize>,
    removed: BTreeMap<u8, usize>,
    bytes: usize,
    log: Option<Assembly>,
}

impl Written {
    fn count(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            *self.removed.entry(key[0]).or_default() += 1;
            return;
        };
        *self.put.entry(key[0]).or_default() += 1;
        self.bytes += key.len() + value.len();
        if let Some((number, _)) = keys::part_of(key) {
            // Parts come in the order of their keys.
            self.log.get_or_insert_with(|| Assembly::begin(number)).add(key, value).unwrap();
        }
    }

    /// Records in the log, which is taken away.
    fn records(&mut self) -> usize {
        let log = self.log.take().expect("every batch is in the log").finish().unwrap();
        let is_record = |entry: &&Entry| matches!(entry, Entry::Record { .. });
        log.entries.iter().filter(is_record).count()
    }
}

struct World {
    _root: tempfile::TempDir,
    codec: Codec,
    shared: Arc<Shared>,
    steps: Arc<Mutex<Vec<String>>>,
    written: Arc<Mutex<Vec<Written>>>,
    writer: Writer<Double>,
    queue: Arc<Queue<Request>>,
}

type Waiting<T> = oneshot::Receiver<Result<T, StoreError>>;

impl World {
    fn new() -> Self {
        Self::with_limits(LogLimits::default())
    }

    fn with_limits(limits: LogLimits) -> Self {
        let root = tempfile::tempdir().unwrap();
        let codec = Codec::new(ArtifactStore::open(root.path()).unwrap());
        let db = sled::Config::new().temporary(true).open().unwrap();
        let shared = Arc::new(Shared::new(View::new(db.clone()), Index::new(EPOCH)));
        let steps = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::<Mutex<Vec<Written>>>::default();
        let double = Double {
            db,
            steps: Arc::clone(&steps),
            written: Arc::clone(&written),
            observe: Box::new(String::new),
            fault: None,
            room: Room::Plenty,
        };
        let reader = Reader::new(Arc::clone(&shared), codec.clone());
        let writer = Writer::new(double, reader, Batches::default(), limits);
        Self { _root: root, codec, shared, steps, written, writer, queue: Arc::new(Queue::new()) }
    }

    fn double(&mut self) -> &mut Double {
        &mut self.writer.medium
    }

    /// Serves all that was asked, on this thread.
    fn serve(&mut self) {
        let queue = std::mem::replace(&mut self.queue, Arc::new(Queue::new()));
        queue.close();
        self.writer.run(&queue);
    }

    fn journal(&self, n: u8) -> Vec<u64> {
        let records = self.writer.reader.journal(id(n), 0);
        records.unwrap_or_default().iter().map(|record| record.sequence).collect()
    }

    fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Waiting<T> {
        let (reply, answer) = oneshot::channel();
        assert!(self.queue.push(request(reply)).is_ok(), "the queue is open");
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
            let value = codec.encode_value(&key, &body).unwrap();
            KeyValues { key, value, request: body.request }
        });
        let head = head(n, JobStatus::Running);
        let values = NewValues {
            job,
            head,
            record: record(0),
            definition: None,
            idempotency,
            admission: None,
            second: None,
        };
        self.ask(|reply| Request::Create(Box::new(values), reply))
    }

    fn claim(&self, n: u8) -> Waiting<Grant> {
        self.ask(|reply| Request::Claim(id(n), reply, None))
    }

    fn commit(&self, n: u8, epoch: u64, sequence: u64) -> Waiting<()> {
        self.commit_with(n, epoch, sequence, None)
    }

    fn commit_with(
        &self,
        n: u8,
        epoch: u64,
        sequence: u64,
        status: Option<JobStatus>,
    ) -> Waiting<()> {
        let head = status.map(|status| head(n, status));
        let append = Append { job: id(n), epoch, sequence, head, record: record(sequence) };
        self.ask(|reply| Request::Commit(append, reply))
    }

    fn steps(&self) -> Vec<String> {
        std::mem::take(&mut *self.steps.lock().unwrap())
    }
}

const EPOCH: u64 = 1 << 32;

fn id(n: u8) -> JobId {
    JobId::from_bytes([n; 16])
}

fn head(n: u8, status: JobStatus) -> Head {
    let head = JobHead {
        id: id(n),
        workflow: callsheet_engine::WorkflowRef { name: "w".into(), digest: "d".into() },
        status,
        submitted_at: Timestamp(0),
        changed_at: Timestamp(0),
        labels: Default::default(),
    };
    Head { status, content: ready(Codec::encode_head(&head)) }
}

fn record(sequence: u64) -> Content {
    let at = Timestamp(i64::try_from(sequence).unwrap());
    ready(Codec::encode_record(&[Event::JobCancelled { at }]))
}

fn ready(encoded: Result<Encoded, StoreError>) -> Content {
    match encoded.unwrap() {
        Encoded::Ready(content) => content,
        Encoded::TooLarge(_) => panic!("it is small"),
    }
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
    let answer = Arc::new(Mutex::new(world.commit(1, EPOCH + 2, 1)));
    let notices = Mutex::new(world.shared.notices.subscribe());
    let (reader, waiting) = (world.writer.reader.clone(), Arc::clone(&answer));
    world.double().observe = Box::new(move || {
        let answered = !waiting.lock().unwrap().is_empty();
        let told = !notices.lock().unwrap().is_empty();
        let shown = reader.journal(id(1), 0).unwrap().len() > 1;
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
    assert_eq!(world.journal(1), [0, 1]);
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
            assert!(world.journal(1).is_empty(), "nobody is shown");
        }
    }
}

#[test]
fn what_waits_behind_a_failure_is_not_written() {
    let mut world = World::new();
    world.double().fault = Some(("sync", Fault::Error));
    let whole_batch = (0..=255).cycle().take(MAX_BATCH_COUNT);
    let waiting: Vec<_> = whole_batch.map(|n| world.create(n)).collect();
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
    for ((room, job, record), epoch) in cases.into_iter().zip(EPOCH + 2..) {
        world.double().room = room;
        let claimed = world.claim(1);
        let (created, committed) = (world.create(2), world.commit(1, epoch, next));
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
    // More than one batch of them is in the queue.
    let many = (2..=255).cycle().take(2 * MAX_BATCH_COUNT);
    let behind: Vec<_> = many.map(|n| world.create(n)).collect();
    let held = Arc::clone(&world.queue);
    world.serve();
    assert_eq!(before.blocking_recv().unwrap(), Ok(Created::New));
    assert!(behind.into_iter().all(|answer| answer.blocking_recv().unwrap().is_ok()));
    let late = Request::Claim(id(1), oneshot::channel().0, None);
    assert!(held.push(late).is_err(), "and nothing gets in");
}

#[test]
fn a_caller_that_went_away_takes_nothing_back() {
    let mut world = World::new();
    drop(world.create(1));
    world.serve();
    assert_eq!(world.journal(1), [0]);
}

/// Plays jobs of twelve records side by side, each round in one batch.
fn play(world: &mut World, jobs: u8, last: JobStatus) {
    for n in 1..=jobs {
        drop((world.create(n), world.claim(n)));
    }
    world.serve();
    for sequence in 1..=11 {
        for n in 1..=jobs {
            let status = (sequence == 11).then_some(last);
            drop(world.commit_with(n, EPOCH + u64::from(n), sequence, status));
        }
        world.serve();
    }
}

// What a step costs on the disk. When one of these figures has to grow, it is a decision.
#[test]
fn twelve_batches_are_twelve_flushes_and_few_keys() {
    let mut world = World::new();
    play(&mut world, 64, JobStatus::Succeeded);
    let steps = world.steps();
    for step in ["apply", "flush", "sync", "tip"] {
        let times = steps.iter().filter(|it| *it == step).count();
        assert_eq!(times, 12, "{step}: one for each batch");
    }
    let written = world.written.lock().unwrap();
    let put = |prefix: u8| written.iter().filter_map(|it| it.put.get(&prefix)).sum::<usize>();
    assert_eq!(put(b'L'), 12, "one part for the 64 records of a batch");
    assert_eq!(put(b'H'), 64, "one value for a job that has ended");
    for (batch, at) in written.iter().zip(1..) {
        let expected: &[u8] = if at == 12 { b"HL" } else { b"L" };
        assert_eq!(batch.put.keys().copied().collect::<Vec<_>>(), expected, "batch {at}");
    }
    let bytes: usize = written.iter().map(|it| it.bytes).sum();
    assert!(bytes < 64 * 12 * 45, "{bytes} bytes for {} records", 64 * 12);
}

#[test]
fn the_log_is_cut_once_nobody_needs_it() {
    let mut world = World::new();
    play(&mut world, 5, JobStatus::Succeeded);
    // The last batch moved all five, and so cut off all before it.
    let removed = world.written.lock().unwrap().last().unwrap().removed.clone();
    assert_eq!(removed, BTreeMap::from([(b'L', 11)]));
    assert_eq!(world.shared.index.size(), (0, 0), "nothing is left in memory");
    assert_eq!(world.journal(3), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_sleeping_job_costs_no_memory_and_its_owner_goes_on() {
    let mut world = World::new();
    play(&mut world, 5, JobStatus::Sleeping { until: Timestamp(7) });
    assert_eq!(world.shared.index.size(), (0, 0));
    let put = world.written.lock().unwrap().last().unwrap().put.clone();
    assert_eq!(put, BTreeMap::from([(b'L', 1), (b'S', 5), (b'T', 5)]));

    let zombie = world.commit(3, EPOCH + 2, 12);
    let owner = world.commit_with(3, EPOCH + 3, 12, Some(JobStatus::Running));
    world.serve();
    assert!(matches!(zombie.blocking_recv().unwrap(), Err(StoreError::StaleEpoch { .. })));
    assert_eq!(owner.blocking_recv().unwrap(), Ok(()));
    let removed = world.written.lock().unwrap().last().unwrap().removed.clone();
    assert_eq!(removed, BTreeMap::from([(b'L', 1), (b'T', 1)]), "its timer");
    assert_eq!(world.journal(3), (0..13).collect::<Vec<_>>());

    let ended = world.commit_with(3, EPOCH + 3, 13, Some(JobStatus::Failed));
    world.serve();
    assert_eq!(ended.blocking_recv().unwrap(), Ok(()));
    let written = world.written.lock().unwrap();
    let last = written.last().unwrap();
    assert_eq!(last.put, BTreeMap::from([(b'H', 1), (b'L', 1)]));
    assert_eq!(last.removed.get(&b'S'), Some(&1), "it lies in one place");
    drop(written);
    assert_eq!(world.journal(3), (0..14).collect::<Vec<_>>());
}

#[test]
fn an_owner_of_an_earlier_opening_is_nobody() {
    let mut world = World::new();
    play(&mut world, 1, JobStatus::Sleeping { until: Timestamp(7) });
    world.shared.index.skip_to(2 * EPOCH);
    let late = world.commit(1, EPOCH + 1, 12);
    world.serve();
    assert!(matches!(late.blocking_recv().unwrap(), Err(StoreError::StaleEpoch { .. })));
}

#[test]
fn jobs_that_lag_are_moved_and_the_log_stays_small() {
    let limits = LogLimits { records: 40, spills: 4, ..LogLimits::default() };
    let mut world = World::with_limits(limits);
    for n in 1..=20 {
        drop((world.create(n), world.claim(n)));
        world.serve();
    }
    // One job goes on, the others stand still.
    for sequence in 1..=100 {
        drop(world.commit(20, EPOCH + 20, sequence));
        world.serve();
        assert!(world.writer.batches.records() <= limits.records);
    }
    let (jobs, _) = world.shared.index.size();
    assert!(jobs < 20, "{jobs} jobs are in memory");
    for n in 1..20 {
        assert_eq!(world.journal(n), [0]);
        let next = world.commit(n, EPOCH + u64::from(n), 1);
        world.serve();
        assert_eq!(next.blocking_recv().unwrap(), Ok(()), "its owner goes on");
        assert_eq!(world.journal(n), [0, 1]);
    }
    assert_eq!(world.journal(20), (0..101).collect::<Vec<_>>());
}

#[test]
fn a_job_with_very_much_in_the_log_moves_before_the_others() {
    let limits = LogLimits { job_bytes: 500, ..LogLimits::default() };
    let mut world = World::with_limits(limits);
    for n in 1..=2 {
        drop((world.create(n), world.claim(n)));
    }
    for sequence in 1..=300 {
        drop(world.commit(1, EPOCH + 1, sequence));
        if sequence % 3 == 0 {
            world.serve();
        }
    }
    let (jobs, bytes) = world.shared.index.size();
    assert!(jobs <= 2 && bytes < 1_000, "{jobs} jobs, {bytes} bytes");
    assert_eq!(world.journal(1), (0..301).collect::<Vec<_>>());
    assert_eq!(world.journal(2), [0]);
}

#[test]
fn a_job_that_sleeps_and_wakes_in_one_batch_lies_in_one_place() {
    let mut world = World::new();
    drop((world.create(1), world.claim(1)));
    let asleep = JobStatus::Sleeping { until: Timestamp(7) };
    drop(world.commit_with(1, EPOCH + 1, 1, Some(asleep)));
    drop(world.commit_with(1, EPOCH + 1, 2, Some(JobStatus::Running)));
    world.serve();
    let reader = &world.writer.reader;
    assert_eq!(reader.asleep(None, 9), Ok(Vec::new()));
    assert_eq!(reader.awake(None, 9), Ok(vec![id(1)]));
    assert_eq!(world.journal(1), [0, 1, 2]);
}
