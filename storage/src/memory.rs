//! A store without durability, for tests and for embedding where losing all jobs with the process
//! is fine. It is also the model of what the others must do.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsheet_engine::definition::Workflow;
use callsheet_engine::{Event, JobId, Timestamp};
use futures::FutureExt;
use futures::future::ready;
use tokio::sync::broadcast;

use crate::artifacts::Digest;
use crate::check;
use crate::error::StoreError;
use crate::limits::{MAX_NOTICES_COUNT, MAX_PAGE_COUNT};
use crate::store::{
    Claim, Commit, CommitNotice, Created, Idempotency, JobHead, JobStatus, KeyTarget, ListQuery,
    NewJob, Page, Record, Store, StoreFuture, StoredKey,
};

/// Jobs in memory only.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    notices: broadcast::Sender<CommitNotice>,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: BTreeMap<JobId, Job>,
    keys: HashMap<String, (String, JobId)>,
    definitions: HashMap<String, Arc<Workflow>>,
    epoch: u64,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    head: JobHead,
    records: Vec<Vec<Event>>,
    /// The latest owner's; none before the first claim and after the job's end.
    epoch: Option<u64>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let (notices, _) = broadcast::channel(MAX_NOTICES_COUNT);
        Self { inner: Mutex::default(), notices }
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        // Every change below is made at once, so a panic elsewhere leaves nothing half done.
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.closed { Err(check::closed()) } else { Ok(inner) }
    }

    fn notify(&self, job: JobId, sequence: u64) {
        // Nobody listening is no failure.
        let _ = self.notices.send(CommitNotice { job, sequence });
    }

    fn create_now(&self, new: NewJob, second: Option<NewJob>) -> Result<Created, StoreError> {
        check::new_job(&new)?;
        second.iter().try_for_each(|second| check::second_job(&new, second))?;
        let mut inner = self.open()?;
        if let Some(answer) = inner.already(&new) {
            return Ok(answer);
        }
        if let Some(second) = &second
            && inner.already(second).is_some()
        {
            return Err(check::second_is_known(second.head.id));
        }
        let jobs: Vec<_> = [new].into_iter().chain(second).map(|job| inner.insert(job)).collect();
        drop(inner);
        jobs.into_iter().for_each(|job| self.notify(job, 0));
        Ok(Created::New)
    }

    fn claim_now(&self, id: JobId) -> Result<Claim, StoreError> {
        let mut inner = self.open()?;
        let epoch = inner.epoch + 1;
        let job = inner.job_mut(id)?;
        debug_assert!(job.epoch.is_none_or(|before| before < epoch), "epochs grow");
        job.epoch = Some(epoch);
        let claim = Claim { epoch, head: job.head.clone(), records: job.records_from(0) };
        inner.epoch = epoch;
        Ok(claim)
    }

    fn commit_now(&self, commit: Commit) -> Result<(), StoreError> {
        check::commit(&commit)?;
        let mut inner = self.open()?;
        let job = inner.job_mut(commit.job)?;
        let sequence = commit.sequence;
        let (owner, next) = (job.epoch.unwrap_or(0), job.records.len() as u64);
        check::ownership(commit.job, commit.epoch, sequence, owner, next)?;
        job.records.push(commit.events);
        assert_eq!(job.records.len() as u64, sequence + 1, "records have no gaps");
        if let Some(head) = commit.head {
            if head.status.has_ended() {
                job.epoch = None;
            }
            job.head = head;
        }
        drop(inner);
        self.notify(commit.job, sequence);
        Ok(())
    }

    fn list_now(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let inner = self.open()?;
        let limit = query.limit.clamp(1, MAX_PAGE_COUNT);
        let older = match query.before {
            Some(before) => inner.jobs.range(..before),
            None => inner.jobs.range(..),
        };
        let mut matching = older.rev().map(|(_, job)| &job.head).filter(|head| query.matches(head));
        let heads: Vec<_> = matching.by_ref().take(limit).cloned().collect();
        let next = matching.next().and(heads.last()).map(|head| head.id);
        Ok(Page { heads, next })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    fn insert(&mut self, new: NewJob) -> JobId {
        let NewJob { head, events, definition, idempotency } = new;
        let id = head.id;
        self.definitions.entry(head.workflow.digest.clone()).or_insert(definition);
        if let Some(Idempotency { key, request }) = idempotency {
            let before = self.keys.insert(key, (request, id));
            debug_assert!(before.is_none(), "a known key was answered before");
        }
        let job = Job { head, records: vec![events], epoch: None };
        let before = self.jobs.insert(id, job);
        assert!(before.is_none(), "a known job was answered before");
        id
    }

    fn job(&self, id: JobId) -> Result<&Job, StoreError> {
        self.jobs.get(&id).ok_or(StoreError::UnknownJob(id))
    }

    fn job_mut(&mut self, id: JobId) -> Result<&mut Job, StoreError> {
        self.jobs.get_mut(&id).ok_or(StoreError::UnknownJob(id))
    }

    fn awake(&self, after: Option<JobId>, limit: usize) -> Vec<JobId> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let is_awake = |status| matches!(status, JobStatus::Running | JobStatus::Stopping);
        let newer = self.jobs.range((start, Bound::Unbounded));
        let awake = newer.filter(|(_, job)| is_awake(job.head.status)).map(|(id, _)| *id);
        awake.take(limit.clamp(1, MAX_PAGE_COUNT)).collect()
    }

    fn asleep(&self, after: Option<(Timestamp, JobId)>, limit: usize) -> Vec<(Timestamp, JobId)> {
        let timers = self.jobs.iter().filter_map(|(id, job)| match job.head.status {
            JobStatus::Sleeping { until } => Some((until, *id)),
            _ => None,
        });
        let later = timers.filter(|timer| after.is_none_or(|after| *timer > after));
        let mut found: Vec<_> = later.collect();
        found.sort_unstable();
        found.truncate(limit.clamp(1, MAX_PAGE_COUNT));
        found
    }

    /// The answer to a job whose key or id is known.
    fn already(&self, new: &NewJob) -> Option<Created> {
        if let Some(asked) = &new.idempotency
            && let Some((request, id)) = self.keys.get(&asked.key)
        {
            return Some(check::repeated(*id, *request == asked.request));
        }
        let job = self.jobs.get(&new.head.id)?;
        Some(check::repeated(new.head.id, job.records[0] == new.events))
    }
}

impl Job {
    fn records_from(&self, from: u64) -> Vec<Record> {
        let all = self.records.iter().zip(0_u64..);
        let wanted = all.skip_while(|(_, sequence)| *sequence < from);
        wanted.map(|(events, sequence)| Record { sequence, events: events.clone() }).collect()
    }
}

impl Store for MemoryStore {
    fn create(&self, job: NewJob) -> StoreFuture<'_, Created> {
        ready(self.create_now(job, None)).boxed()
    }

    fn create_both(&self, first: NewJob, second: NewJob) -> StoreFuture<'_, Created> {
        ready(self.create_now(first, Some(second))).boxed()
    }

    fn claim(&self, job: JobId) -> StoreFuture<'_, Claim> {
        ready(self.claim_now(job)).boxed()
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, ()> {
        ready(self.commit_now(commit)).boxed()
    }

    fn journal(&self, job: JobId, from: u64) -> StoreFuture<'_, Vec<Record>> {
        let read = self.open().and_then(|inner| Ok(inner.job(job)?.records_from(from)));
        ready(read).boxed()
    }

    fn head(&self, job: JobId) -> StoreFuture<'_, Option<JobHead>> {
        let read = self.open().map(|inner| inner.jobs.get(&job).map(|job| job.head.clone()));
        ready(read).boxed()
    }

    fn list(&self, query: ListQuery) -> StoreFuture<'_, Page> {
        ready(self.list_now(&query)).boxed()
    }

    fn awake(&self, after: Option<JobId>, limit: usize) -> StoreFuture<'_, Vec<JobId>> {
        ready(self.open().map(|inner| inner.awake(after, limit))).boxed()
    }

    fn asleep(
        &self,
        after: Option<(Timestamp, JobId)>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<(Timestamp, JobId)>> {
        ready(self.open().map(|inner| inner.asleep(after, limit))).boxed()
    }

    fn definition(&self, digest: String) -> StoreFuture<'_, Option<Workflow>> {
        let read = self
            .open()
            .map(|inner| inner.definitions.get(&digest).map(|kept| Workflow::clone(kept)));
        ready(read).boxed()
    }

    fn key(&self, key: String) -> StoreFuture<'_, Option<KeyTarget>> {
        let target =
            |(request, job): &(String, JobId)| KeyTarget { job: *job, request: request.clone() };
        ready(self.open().map(|inner| inner.keys.get(&key).map(target))).boxed()
    }

    fn ids(&self, after: Option<JobId>) -> StoreFuture<'_, Vec<JobId>> {
        let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let page = |inner: &Inner| {
            inner.jobs.range(from).map(|(id, _)| *id).take(MAX_PAGE_COUNT).collect()
        };
        ready(self.open().map(|inner| page(&inner))).boxed()
    }

    fn keys(&self, after: Option<Digest>) -> StoreFuture<'_, Vec<StoredKey>> {
        let page = |inner: &Inner| {
            let mut keys: Vec<_> = inner.keys.iter().map(stored_key).collect();
            keys.retain(|key| Some(key.digest) > after);
            keys.sort_by_key(|key| key.digest);
            keys.truncate(MAX_PAGE_COUNT);
            keys
        };
        ready(self.open().map(|inner| page(&inner))).boxed()
    }

    fn epoch_bound(&self) -> u64 {
        // Its epochs end with the process, and so does every claim on them.
        u64::from(u32::MAX)
    }

    fn subscribe(&self) -> broadcast::Receiver<CommitNotice> {
        self.notices.subscribe()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.open().map(drop)
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.closed = true;
        ready(Ok(())).boxed()
    }
}

fn stored_key((key, (request, job)): (&String, &(String, JobId))) -> StoredKey {
    let target = KeyTarget { job: *job, request: request.clone() };
    StoredKey { digest: Digest::of(key.as_bytes()), target: Ok(target) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // What it promises is checked by the conformance suite; here only what is its own.
    #[test]
    fn it_works_without_a_runtime() {
        let store = MemoryStore::default();
        assert_eq!(store.health(), Ok(()));
        assert_eq!(store.awake(None, 9).now_or_never(), Some(Ok(Vec::new())));
        assert_eq!(store.close().now_or_never(), Some(Ok(())));
        assert!(store.health().unwrap_err().is_fatal());
    }
}
