//! A store in memory that does on demand what disks do. Unit tests use it too.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use callsheet_engine::definition::{Step, Workflow};
use callsheet_engine::{Event, JobId, Plan, Timestamp, WorkflowRef};
use callsheet_storage::{
    Claim, Commit, CommitNotice, Created, JobHead, JobStatus, KeyTarget, ListQuery, MemoryStore,
    NewJob, Page, Record, Store, StoreError, StoreFuture,
};
use futures::FutureExt;
use tokio::sync::{Mutex, MutexGuard, broadcast};

/// A [`MemoryStore`] with faults, all of them switched off at first.
#[derive(Debug, Default)]
pub struct Faulty {
    inner: MemoryStore,
    full: AtomicBool,
    damaged: std::sync::Mutex<Option<JobId>>,
    scarce: AtomicBool,
    /// Answers to creates are held back while somebody has this.
    answers: Mutex<()>,
    held: AtomicU32,
    panics: AtomicU32,
    refused: AtomicU64,
    definitions_read: AtomicU64,
}

impl Faulty {
    pub fn new() -> Self {
        Self::default()
    }

    /// The head of this job cannot be read from now on.
    pub fn damage(&self, job: JobId) {
        *self.damaged.lock().unwrap() = Some(job);
    }

    /// From now on there is no room, or there is again.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// From now on there is room for the jobs that there are only, or for others again.
    pub fn set_scarce(&self, scarce: bool) {
        self.scarce.store(scarce, Ordering::SeqCst);
    }

    /// So many of the next commits panic in the caller's hands.
    pub fn panic_at_commits(&self, count: u32) {
        self.panics.store(count, Ordering::SeqCst);
    }

    /// While this is held, jobs are accepted and nobody hears of it.
    pub async fn hold_answers(&self) -> MutexGuard<'_, ()> {
        self.answers.lock().await
    }

    /// Jobs that were accepted without anybody's hearing of it at once.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::SeqCst)
    }

    /// Commits and creates that were refused for want of room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    pub fn definitions_read(&self) -> u64 {
        self.definitions_read.load(Ordering::SeqCst)
    }

    /// Keeps a definition, as the submit of a job does; answers with its digest.
    pub async fn define(&self, definition: Workflow) -> String {
        let plan = Plan::recompile(definition.clone()).unwrap();
        let (name, digest) = (definition.name.clone(), plan.digest().to_owned());
        let at = Timestamp(0);
        let workflow = WorkflowRef { name, digest: digest.clone() };
        let input = serde_json::Value::Null;
        let labels = Default::default();
        let (options, workflow_ref) = (Default::default(), workflow.clone());
        let events =
            vec![Event::JobSubmitted { workflow: workflow_ref, input, labels, options, at }];
        let head = JobHead {
            id: JobId(uuid::Uuid::now_v7()),
            workflow,
            status: JobStatus::Running,
            submitted_at: at,
            changed_at: at,
            labels: Default::default(),
        };
        self.create(NewJob { head, events, definition: definition.into(), idempotency: None })
            .await
            .unwrap();
        digest
    }

    /// A definition of one step of that kind.
    pub fn one_step(name: &str, kind: &str) -> Workflow {
        Workflow::new(name, vec![Step::new("a", kind)])
    }

    fn room(&self) -> Result<(), StoreError> {
        if self.full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Full);
        }
        Ok(())
    }

    fn room_for_jobs(&self) -> Result<(), StoreError> {
        if self.scarce.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Full);
        }
        self.room()
    }

    fn panic_if_told(&self) {
        let left = |left: u32| left.checked_sub(1);
        if self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
            panic!("the store panics on purpose");
        }
    }
}

impl Store for Faulty {
    fn create(&self, job: NewJob) -> StoreFuture<'_, Created> {
        async move {
            self.room_for_jobs()?;
            let created = self.inner.create(job).await;
            if self.answers.try_lock().is_err() {
                self.held.fetch_add(1, Ordering::SeqCst);
                drop(self.answers.lock().await);
            }
            created
        }
        .boxed()
    }

    fn create_both(&self, first: NewJob, second: NewJob) -> StoreFuture<'_, Created> {
        async move {
            self.room_for_jobs()?;
            self.inner.create_both(first, second).await
        }
        .boxed()
    }

    fn claim(&self, job: JobId) -> StoreFuture<'_, Claim> {
        self.inner.claim(job)
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, ()> {
        async move {
            self.panic_if_told();
            self.room()?;
            self.inner.commit(commit).await
        }
        .boxed()
    }

    fn journal(&self, job: JobId, from: u64) -> StoreFuture<'_, Vec<Record>> {
        self.inner.journal(job, from)
    }

    fn head(&self, job: JobId) -> StoreFuture<'_, Option<JobHead>> {
        if *self.damaged.lock().unwrap() == Some(job) {
            let why = "on purpose".to_owned();
            return std::future::ready(Err(StoreError::Damaged { job, why })).boxed();
        }
        self.inner.head(job)
    }

    fn list(&self, query: ListQuery) -> StoreFuture<'_, Page> {
        self.inner.list(query)
    }

    fn awake(&self, after: Option<JobId>, limit: usize) -> StoreFuture<'_, Vec<JobId>> {
        self.inner.awake(after, limit)
    }

    fn asleep(
        &self,
        after: Option<(Timestamp, JobId)>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<(Timestamp, JobId)>> {
        self.inner.asleep(after, limit)
    }

    fn definition(&self, digest: String) -> StoreFuture<'_, Option<Workflow>> {
        self.definitions_read.fetch_add(1, Ordering::SeqCst);
        async move {
            // Others get their turn, as they do while a disk is read.
            tokio::task::yield_now().await;
            self.inner.definition(digest).await
        }
        .boxed()
    }

    fn key(&self, key: String) -> StoreFuture<'_, Option<KeyTarget>> {
        self.inner.key(key)
    }

    fn subscribe(&self) -> broadcast::Receiver<CommitNotice> {
        self.inner.subscribe()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.inner.health()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.inner.close()
    }
}
