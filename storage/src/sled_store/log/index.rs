//! What is known in memory: the jobs with records in the log, and who owns a job.
//!
//! The writer appends here while it gathers a batch, and readers look at the same time. They see a
//! record once its batch is durable: what is younger than [`Index::durable`] is passed over. So
//! publishing a batch is one number. Nobody holds the lock for longer than one job takes.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use callsheet_engine::JobId;

use super::Place;
use crate::check;
use crate::error::StoreError;
use crate::sled_store::codec::Content;
use crate::store::JobStatus;

/// A head, with the one part of it that the store itself goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: JobStatus,
    pub(crate) content: Content,
}

/// An ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) epoch: u64,
    /// Records in the journal at that moment. Nobody else can append to it from now on.
    pub(crate) records: u64,
}

/// The durable part of a job in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) head: Head,
    /// Records that lie under keys of the job's own, before those here.
    pub(crate) stored: u64,
    pub(crate) contents: Vec<Content>,
}

/// A record to append.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) job: JobId,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) head: Option<Head>,
    pub(crate) record: Content,
}

/// What came of a record that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) place: Place,
    /// The status before.
    pub(crate) before: JobStatus,
    /// Whether the job has to move now: it ended, sleeps, or has very much in the log; and is not
    /// on the list yet.
    pub(crate) must_move: bool,
}

/// Why a record was not appended.
#[derive(Debug, PartialEq)]
pub(crate) enum Unappended {
    /// Nothing of the job is in memory; whether it is there, and whose it is, its own keys say.
    Unknown,
    /// It has an owner and this is its next record, but its head has to be brought in first.
    AtRest,
    Refused(StoreError),
}

/// A job that comes back from keys of its own.
#[derive(Debug)]
pub(crate) struct Returning {
    pub(crate) place: Place,
    pub(crate) head: Head,
    pub(crate) records: u64,
    /// Its owner's epoch; 0 for none.
    pub(crate) owner: u64,
}

/// All that the log holds of a job that moves.
#[derive(Debug)]
pub(crate) struct Moving {
    pub(crate) place: Place,
    pub(crate) head: Head,
    pub(crate) stored: u64,
    pub(crate) owner: u64,
    pub(crate) contents: Vec<Content>,
    /// The batch of each.
    pub(crate) batches: Vec<u64>,
}

/// Jobs in memory, for the writer and for readers.
#[derive(Debug)]
pub(crate) struct Index {
    inner: Mutex<Inner>,
    /// The last batch that is durable.
    durable: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    jobs: HashMap<JobId, Job, ById>,
    /// Those with records in the log, by age.
    live: BTreeSet<JobId>,
    /// Bytes of all records in the log.
    bytes: usize,
    /// The last epoch that was given.
    epoch: u64,
}

#[derive(Debug, Default)]
struct Job {
    /// Its owner's epoch; 0 for none.
    owner: u64,
    /// The place of its next record.
    next: u64,
    live: Option<Box<Live>>,
}

#[derive(Debug)]
struct Live {
    place: Place,
    stored: u64,
    head: Head,
    /// The batch of the head, 0 for one that came from elsewhere, and the head before it.
    head_since: u64,
    head_before: Option<Head>,
    records: Vec<(u64, Content)>,
    bytes: usize,
    /// Whether it is on the list of those that move.
    must_move: bool,
}

impl Index {
    /// An empty index; epochs begin after the given one.
    pub(crate) fn new(epoch: u64) -> Self {
        let jobs = HashMap::with_hasher(ById::new());
        let inner = Inner { jobs, live: BTreeSet::new(), bytes: 0, epoch };
        Self { inner: Mutex::new(inner), durable: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of the writer is fatal for the store; readers may still see what was there.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    // ---- for readers ------------------------------------------------------------------------

    /// The durable part of a job, its records from a place on.
    pub(crate) fn look(&self, job: JobId, from: u64) -> Option<Seen> {
        let inner = self.lock();
        inner.jobs.get(&job)?.live.as_ref()?.seen(self.durable(), from)
    }

    /// A job's durable head, if the job has records in the log.
    pub(crate) fn head(&self, job: JobId) -> Option<Head> {
        let inner = self.lock();
        inner.jobs.get(&job)?.live.as_ref()?.visible_head(self.durable()).cloned()
    }

    /// Some jobs older than one, newest first, and where older ones begin.
    pub(crate) fn older(
        &self,
        before: Option<JobId>,
        limit: usize,
    ) -> (Vec<(JobId, Head)>, Option<JobId>) {
        let inner = self.lock();
        let durable = self.durable();
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for (job, looked_at) in inner.live.range((Bound::Unbounded, end)).rev().zip(1..) {
            if let Some(head) = inner.visible_head(*job, durable) {
                found.push((*job, head.clone()));
            }
            if looked_at == limit {
                return (found, Some(*job));
            }
        }
        (found, None)
    }

    /// Some jobs newer than one, oldest first, each with whether it is awake, and where newer ones
    /// begin.
    pub(crate) fn newer(
        &self,
        after: Option<JobId>,
        limit: usize,
    ) -> (Vec<(JobId, bool)>, Option<JobId>) {
        let inner = self.lock();
        let durable = self.durable();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for (job, looked_at) in inner.live.range((start, Bound::Unbounded)).zip(1..) {
            if let Some(head) = inner.visible_head(*job, durable) {
                found.push((*job, is_awake(head.status)));
            }
            if looked_at == limit {
                return (found, Some(*job));
            }
        }
        (found, None)
    }

    /// Takes a job over at once, if all that is known of it is durable and in memory.
    pub(crate) fn claim_now(&self, job: JobId) -> Option<(Grant, Seen)> {
        let mut inner = self.lock();
        let live = inner.jobs.get(&job)?.live.as_ref()?;
        let seen = live.seen(self.durable(), 0)?;
        let is_whole = seen.contents.len() == live.records.len() && seen.stored == 0;
        let grant = is_whole.then(|| inner.grant(job))?;
        Some((grant?, seen))
    }

    // ---- for the writer ---------------------------------------------------------------------

    /// Appends a record to a job, in this batch.
    pub(crate) fn append(
        &self,
        append: &Append,
        batch: u64,
        limit: usize,
        has_room: bool,
    ) -> Result<Appended, Unappended> {
        let &Append { job, epoch, sequence, ref head, ref record } = append;
        let mut inner = self.lock();
        let known = inner.jobs.get_mut(&job).ok_or(Unappended::Unknown)?;
        check::ownership(job, epoch, sequence, known.owner, known.next)
            .map_err(Unappended::Refused)?;
        if !has_room {
            return Err(Unappended::Refused(StoreError::Full));
        }
        let live = known.live.as_mut().ok_or(Unappended::AtRest)?;
        known.next += 1;
        let bytes = record.bytes().len();
        let before = live.head.status;
        live.records.push((batch, record.clone()));
        live.bytes += bytes;
        let mut settles = live.bytes > limit;
        if let Some(head) = head {
            settles |= !is_awake(head.status);
            if head.status.has_ended() {
                known.owner = 0;
            }
            live.change_head(head.clone(), batch, self.durable());
        }
        let must_move = settles && !live.must_move;
        live.must_move |= settles;
        let place = live.place;
        inner.bytes += bytes;
        Ok(Appended { place, before, must_move })
    }

    /// A new job, in this batch. Whether it has to move at once: it may be accepted as ended.
    pub(crate) fn create(&self, job: JobId, head: Head, record: Content, batch: u64) -> bool {
        let must_move = !is_awake(head.status);
        let bytes = record.bytes().len();
        let live = Live {
            place: Place::Log,
            stored: 0,
            head,
            head_since: batch,
            head_before: None,
            records: vec![(batch, record)],
            bytes,
            must_move,
        };
        let mut inner = self.lock();
        let job_before =
            inner.jobs.insert(job, Job { owner: 0, next: 1, live: Some(Box::new(live)) });
        assert!(job_before.is_none(), "a known job was answered before");
        inner.live.insert(job);
        inner.bytes += bytes;
        must_move
    }

    /// Whether the job is in memory, and its first record, if that is in the log.
    pub(crate) fn first_record(&self, job: JobId) -> Option<Option<Content>> {
        let inner = self.lock();
        let live = inner.jobs.get(&job)?.live.as_ref();
        let first = live.filter(|live| live.stored == 0).and_then(|live| live.records.first());
        Some(first.map(|(_, content)| content.clone()))
    }

    /// A job at rest is in memory again, with its head and without its records.
    pub(crate) fn bring_back(&self, job: JobId, returning: Returning) {
        let Returning { place, head, records, owner } = returning;
        let mut inner = self.lock();
        let known = inner.jobs.entry(job).or_insert(Job { owner, next: records, live: None });
        assert!(known.live.is_none() && known.next == records, "it was at rest");
        known.live = Some(Box::new(Live {
            place,
            stored: records,
            head,
            head_since: 0,
            head_before: None,
            records: Vec::new(),
            bytes: 0,
            must_move: false,
        }));
        inner.live.insert(job);
    }

    /// A job that was brought back in vain is at rest again.
    pub(crate) fn forget_idle(&self, job: JobId) {
        let mut inner = self.lock();
        let Some(known) = inner.jobs.get_mut(&job) else { return };
        if known.live.as_ref().is_some_and(|live| live.records.is_empty()) {
            known.live = None;
            inner.live.remove(&job);
        }
    }

    /// Whether an epoch was given since the store was opened.
    pub(crate) fn is_of_this_opening(&self, epoch: u64) -> bool {
        epoch != 0 && epoch >> 32 == self.lock().epoch >> 32
    }

    /// Takes over a job that is in memory.
    pub(crate) fn claim(&self, job: JobId) -> Option<Grant> {
        self.lock().grant(job)
    }

    /// Takes over a job at rest, which has so many records.
    pub(crate) fn adopt(&self, job: JobId, records: u64) -> Grant {
        let mut inner = self.lock();
        inner.jobs.entry(job).or_insert(Job { owner: 0, next: records, live: None });
        inner.grant(job).expect("it was just put there")
    }

    /// What the log holds of a job, to be moved in this batch.
    pub(crate) fn moving(&self, job: JobId) -> Option<Moving> {
        let inner = self.lock();
        let known = inner.jobs.get(&job)?;
        let live = known.live.as_ref()?;
        Some(Moving {
            place: live.place,
            head: live.head.clone(),
            stored: live.stored,
            owner: known.owner,
            contents: live.records.iter().map(|(_, content)| content.clone()).collect(),
            batches: live.records.iter().map(|(batch, _)| *batch).collect(),
        })
    }

    /// A batch is durable, and these jobs have moved, each under the owner that its value names.
    pub(crate) fn publish(&self, batch: u64, moved: &[(JobId, u64)]) {
        let before = self.durable.swap(batch, Ordering::AcqRel);
        assert!(before < batch, "batches become durable in order");
        let mut gone = Vec::with_capacity(moved.len());
        for (job, owner) in moved {
            let mut inner = self.lock();
            let Some(known) = inner.jobs.get_mut(job) else { continue };
            let live = known.live.take();
            // Whoever took it over meanwhile is named nowhere else.
            if known.owner == *owner {
                inner.jobs.remove(job);
            }
            inner.live.remove(job);
            inner.bytes -= live.as_ref().map_or(0, |live| live.bytes);
            gone.push(live);
        }
        drop(gone); // outside the lock: it may be long
    }

    /// Jobs in the log, and bytes of their records.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.live.len(), inner.bytes)
    }

    /// What was found in the log when the store was opened; all of it is durable.
    pub(crate) fn found(&self, job: JobId, returning: Returning, records: Vec<(u64, Content)>) {
        let bytes = records.iter().map(|(_, content)| content.bytes().len()).sum();
        let (stored, next) = (returning.records, returning.records + records.len() as u64);
        self.bring_back(job, returning);
        let mut inner = self.lock();
        let known = inner.jobs.get_mut(&job).expect("it was just put there");
        known.next = next;
        let live = known.live.as_mut().expect("it was just put there");
        assert_eq!(live.stored, stored, "the others lie under its own keys");
        let last = records.last().map_or(0, |(batch, _)| *batch);
        (live.records, live.bytes) = (records, bytes);
        inner.bytes += bytes;
        self.durable.fetch_max(last, Ordering::AcqRel);
    }

    /// Epochs begin after this one, as if the store had been opened again.
    #[cfg(test)]
    pub(crate) fn skip_to(&self, epoch: u64) {
        self.lock().epoch = epoch;
    }

    /// The log ends with this batch.
    pub(crate) fn found_end(&self, batch: u64) {
        self.durable.fetch_max(batch, Ordering::AcqRel);
    }
}

impl Inner {
    fn visible_head(&self, job: JobId, durable: u64) -> Option<&Head> {
        self.jobs.get(&job)?.live.as_ref()?.visible_head(durable)
    }

    fn grant(&mut self, job: JobId) -> Option<Grant> {
        let known = self.jobs.get_mut(&job)?;
        self.epoch += 1;
        let epoch = self.epoch;
        assert_ne!(epoch & u64::from(u32::MAX), 0, "the next opening's epochs are not ours");
        assert!(known.owner < epoch, "epochs grow");
        known.owner = epoch;
        Some(Grant { epoch, records: known.next })
    }
}

impl Live {
    fn visible_head(&self, durable: u64) -> Option<&Head> {
        if self.head_since <= durable { Some(&self.head) } else { self.head_before.as_ref() }
    }

    fn seen(&self, durable: u64, from: u64) -> Option<Seen> {
        let head = self.visible_head(durable)?.clone();
        let end = self.records.partition_point(|(batch, _)| *batch <= durable);
        let start = usize::try_from(from.saturating_sub(self.stored)).unwrap_or(usize::MAX);
        let records = &self.records[start.min(end)..end];
        let contents = records.iter().map(|(_, content)| content.clone()).collect();
        Some(Seen { head, stored: self.stored, contents })
    }

    fn change_head(&mut self, head: Head, batch: u64, durable: u64) {
        let before = std::mem::replace(&mut self.head, head);
        if self.head_since <= durable {
            self.head_before = Some(before);
        }
        self.head_since = batch;
    }
}

fn is_awake(status: JobStatus) -> bool {
    matches!(status, JobStatus::Running | JobStatus::Stopping)
}

/// Hashes ids, which are mostly random themselves, by one multiplication. The seeds keep whoever
/// chooses ids from choosing those that collide.
#[derive(Clone, Debug)]
struct ById {
    seeds: [u64; 2],
}

impl ById {
    fn new() -> Self {
        Self { seeds: [(); 2].map(|()| RandomState::new().hash_one(0_u8)) }
    }
}

impl BuildHasher for ById {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { seeds: self.seeds, hash: 0 }
    }
}

#[derive(Debug)]
struct IdHasher {
    seeds: [u64; 2],
    hash: u64,
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        debug_assert!(rest.is_empty(), "ids have sixteen bytes");
        for (word, seed) in words.iter().zip(self.seeds.iter().cycle()) {
            let mixed = u128::from(u64::from_le_bytes(*word) ^ seed ^ self.hash);
            let product = mixed * u128::from(self.seeds[1] | 1);
            self.hash = (product >> 64) as u64 ^ product as u64;
        }
    }

    fn write_usize(&mut self, _: usize) {
        // The length of an id says nothing.
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
