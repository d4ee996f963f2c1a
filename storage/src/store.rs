//! The `Store` trait: what the engine asks of durable truth, and nothing more.
//!
//! The trait is blind to layout, so an embedded store and an SQL database serve alike. What every
//! implementation must keep is written here and checked by [`conformance`](crate::conformance).

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use callsheet_engine::definition::Workflow;
use callsheet_engine::{Event, JobId, Timestamp, WorkflowRef};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::artifacts::Digest;
use crate::error::StoreError;

/// What a store's verbs answer with.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Durable truth about jobs.
///
/// An answer of `Ok` to [`create`](Store::create) or [`commit`](Store::commit) means that the
/// record is on stable storage: it survives the death of the process and the loss of power.
pub trait Store: Send + Sync + 'static {
    /// Accepts a job: its first record, its head, its frozen definition and its idempotency key, in
    /// one atomic step. Many callers with the same key get one job.
    fn create(&self, job: NewJob) -> StoreFuture<'_, Created>;

    /// Accepts two jobs in one atomic step: after a crash either both are there or none. The answer
    /// speaks of the first, and when that was accepted before, nothing of the second is kept. Only
    /// the first may have an idempotency key.
    ///
    /// A store that accepts one job at a time may leave this as it is.
    fn create_both(&self, first: NewJob, second: NewJob) -> StoreFuture<'_, Created> {
        drop((first, second));
        Box::pin(ready(Err(StoreError::Refused("this store accepts one job at a time".to_owned()))))
    }

    /// Takes a job over: every earlier owner's epoch is stale from now on. Answers with the
    /// journal.
    fn claim(&self, job: JobId) -> StoreFuture<'_, Claim>;

    /// Appends one record to a job's journal if the epoch is the job's latest and the sequence
    /// number is the next; otherwise nothing is written. The record whose head says that the job
    /// has ended ends the ownership too.
    ///
    /// The record is handed over before this returns, not when the future is first polled. So an
    /// owner may have several commits of a job under way, and they are judged in the order of the
    /// calls: when one is refused or lost, those after it are refused too, and none of them is ever
    /// written without it. They should stay few, since each is kept in memory until it is durable.
    fn commit(&self, commit: Commit) -> StoreFuture<'_, ()>;

    /// The records of a job from a sequence number on, in order.
    fn journal(&self, job: JobId, from: u64) -> StoreFuture<'_, Vec<Record>>;

    /// A job's head.
    fn head(&self, job: JobId) -> StoreFuture<'_, Option<JobHead>>;

    /// Heads that match a query, newest first, a page at a time.
    fn list(&self, query: ListQuery) -> StoreFuture<'_, Page>;

    /// Jobs that are awake, running or stopping, with ids greater than one, in the order of their
    /// ids: what recovery starts from, a page at a time. A page holds at least one job, at most
    /// [`MAX_PAGE_COUNT`](crate::limits::MAX_PAGE_COUNT), unless there are no more. A job that
    /// wakes or ends meanwhile may be in it or not.
    fn awake(&self, after: Option<JobId>, limit: usize) -> StoreFuture<'_, Vec<JobId>>;

    /// Jobs that are asleep and when they wake, the soonest first and those of one instant in the
    /// order of their ids, after one of them if it is given: what a scheduler reads, a page at a
    /// time. A page holds at least one job unless there are no more.
    fn asleep(
        &self,
        after: Option<(Timestamp, JobId)>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<(Timestamp, JobId)>>;

    /// The definition kept under a digest.
    fn definition(&self, digest: String) -> StoreFuture<'_, Option<Workflow>>;

    /// What an idempotency key stands for, if a job was accepted under it.
    fn key(&self, key: String) -> StoreFuture<'_, Option<KeyTarget>>;

    /// Ids of jobs after this one, the lowest first, and damaged jobs too: what a backup or a
    /// verification starts from. At most [`MAX_PAGE_COUNT`](crate::limits::MAX_PAGE_COUNT) at a
    /// time; none are left when the answer is empty.
    ///
    /// This and [`keys`](Store::keys) are for backups. A store that is not asked for any, such as
    /// one that makes trouble in a test, may leave both as they are.
    fn ids(&self, after: Option<JobId>) -> StoreFuture<'_, Vec<JobId>> {
        let _ = after;
        Box::pin(ready(Err(no_backup())))
    }

    /// Idempotency keys after this one, in the order of their digests, and damaged ones too. As
    /// many at a time as there are [`ids`](Store::ids).
    fn keys(&self, after: Option<Digest>) -> StoreFuture<'_, Vec<StoredKey>> {
        let _ = after;
        Box::pin(ready(Err(no_backup())))
    }

    /// No epoch that the store has given out is higher, nor will one be while it is open.
    fn epoch_bound(&self) -> u64 {
        u64::MAX
    }

    /// Notices of commits from now on, sent after each is durable. A slow receiver is told that it
    /// lagged and reads the journal again; nothing is lost that way.
    fn subscribe(&self) -> broadcast::Receiver<CommitNotice>;

    /// Whether the store still works. After it has failed it keeps answering with that failure.
    ///
    /// # Errors
    /// The failure that stopped the store.
    fn health(&self) -> Result<(), StoreError>;

    /// What writing has cost since the store was opened; nothing for a store that does not count.
    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    /// Finishes what was accepted, refuses what comes later, and lets go of files and locks.
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// A job to accept.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// What lists will show of it; its id is the job's.
    pub head: JobHead,
    /// The events of its first record, which gets sequence number 0.
    pub events: Vec<Event>,
    /// The definition to keep under `head.workflow.digest`, if it is not kept yet.
    pub definition: Arc<Workflow>,
    /// The submitter's key, if it gave one.
    pub idempotency: Option<Idempotency>,
}

/// A submitter's promise that equal keys mean the same job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The key, 1 to 255 bytes.
    pub key: String,
    /// Hash of what was asked for: the same key with another one is refused.
    pub request: String,
}

/// An idempotency key as stores keep it: nobody has to be able to read it, only to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// BLAKE3 of the key.
    pub digest: Digest,
    /// What it stands for, or what is wrong with it.
    pub target: Result<KeyTarget, String>,
}

/// What an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTarget {
    /// The job that was accepted under it.
    pub job: JobId,
    /// Hash of what was asked for.
    pub request: String,
}

/// The answer to [`Store::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The job is new and durable.
    New,
    /// A job with the same key and the same request was accepted before.
    Existing(JobId),
    /// A job with the same key and another request was accepted before.
    Conflict(JobId),
}

/// The answer to [`Store::claim`].
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The new owner's epoch, higher than every earlier one of this job, also across restarts.
    pub epoch: u64,
    /// The job's head.
    pub head: JobHead,
    /// The whole journal; the next sequence number is its length.
    pub records: Vec<Record>,
}

/// One record to append.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Which job.
    pub job: JobId,
    /// The owner's epoch.
    pub epoch: u64,
    /// The record's place: the number of records before it.
    pub sequence: u64,
    /// What happened; never empty.
    pub events: Vec<Event>,
    /// The new head, when the status changed.
    pub head: Option<JobHead>,
}

/// One record of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place, from 0.
    pub sequence: u64,
    /// What happened.
    pub events: Vec<Event>,
}

/// What writing has cost. Counts, not times: equal work gives equal figures on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Group commits: each is one wait for stable storage.
    pub flushes: u64,
    /// Records of journals that they made durable.
    pub records: u64,
    /// Keys that were written or removed for them.
    pub keys: u64,
    /// Bytes of the keys and values handed to the disk, before what the store adds of its own.
    pub bytes: u64,
}

/// A record of this job became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitNotice {
    /// Which job.
    pub job: JobId,
    /// The record's place.
    pub sequence: u64,
}

/// What lists show of a job. Rewritten only when the status changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobHead {
    /// Which job.
    pub id: JobId,
    /// What it runs.
    pub workflow: WorkflowRef,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When the status last changed.
    pub changed_at: Timestamp,
    /// The submitter's own marks.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Recorded status of a job as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It has, or is about to have, an actor.
    Running,
    /// Nothing can happen before this instant; it has no actor.
    Sleeping {
        /// When it wakes.
        until: Timestamp,
    },
    /// It is being stopped.
    Stopping,
    /// It ended with an output.
    Succeeded,
    /// It ended with a failure.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobStatus {
    /// Whether the job is over.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The status as one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping { .. } => "sleeping",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Which heads to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListQuery {
    /// Only this status, as [`JobStatus::as_str`] names it.
    pub status: Option<String>,
    /// Only this workflow.
    pub workflow: Option<String>,
    /// Only jobs older than this one: the last of the page before.
    pub before: Option<JobId>,
    /// Heads in the page; at least 1, at most [`MAX_PAGE_COUNT`](crate::limits::MAX_PAGE_COUNT).
    pub limit: usize,
}

/// A page of heads, newest first. It may hold fewer than asked for, even none, and have a `next`
/// all the same: a filter that matches little ends a page after a bounded search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The heads.
    pub heads: Vec<JobHead>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<JobId>,
}

fn no_backup() -> StoreError {
    StoreError::Refused("this store does not list what it holds".to_owned())
}
