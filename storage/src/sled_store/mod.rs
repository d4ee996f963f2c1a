//! The store on disk: one sled tree, one writer, group commit, a packed log. See
//! `docs/storage.md`.

mod accept;
mod cache;
mod codec;
mod envelope;
mod format_1;
mod handover;
mod history;
mod keys;
mod lists;
mod lock;
mod log;
mod medium;
mod open;
pub mod probe;
mod queue;
mod read;
mod room;
mod shared;
mod tip;
mod view;
mod wire;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use callsheet_engine::definition::Workflow;
use callsheet_engine::{JobId, Timestamp};
use futures::FutureExt;
use futures::future::ready;
use tokio::sync::{Semaphore, broadcast, oneshot};

use crate::artifacts::Digest;
use crate::check;
use crate::error::StoreError;
use crate::limits::{MAX_QUEUE_COUNT, RELEASE_WAIT_MS};
use crate::store::{
    Claim, Commit, CommitNotice, Created, JobHead, KeyTarget, ListQuery, NewJob, Page, Record,
    Store, StoreFuture, StoreStats, StoredKey,
};
use handover::Handover;
pub(crate) use lock::DirLock;
use log::LogLimits;
use medium::SledMedium;
use open::Opened;
pub(crate) use open::{COMPACTING, OLD_STORE, RESTORING, STORE, TIP, VALUES, make_data_dir};
use queue::Queue;
use read::Reader;
use room::RoomWatch;
use shared::Shared;
use view::View;
use writer::{Admission, Reply, Request, Writer};

/// An epoch is the number of the opening, and a counter in these lower bits.
const EPOCH_COUNTER_BITS: u32 = 32;

/// Jobs on disk, in one data directory that one process uses at a time.
///
/// An answer of `Ok` to `create` or `commit` comes after fdatasync. A future that is dropped takes
/// nothing back: what was handed over is written. After a failure of the disk the store takes
/// nothing any more and [`health`](Store::health) says why; the process should end, and the next
/// one finds out what was written.
///
/// Its futures need a tokio runtime. Dropping the store without [`close`](Store::close) also
/// finishes what was accepted, in the background.
pub struct SledStore {
    shared: Arc<Shared>,
    reader: Reader,
    queue: Arc<Queue<Request>>,
    handover: Handover,
    /// Places for jobs to accept or to hand over that wait for the writer.
    places: Arc<Semaphore>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
    /// Digests of definitions that are surely kept.
    definitions: Mutex<HashSet<String>>,
    /// How often the store was opened: the upper half of its epochs.
    boot: u32,
}

impl SledStore {
    /// Opens a data directory; makes one where there is none. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Open`] when another process uses it, when it is damaged or of a newer format,
    /// or when the operating system refuses.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::over(open::open(dir)?, LogLimits::default())
    }

    /// Opens a data directory whose lock is held already. Blocks.
    pub(crate) fn open_under(dir: &Path, lock: DirLock) -> Result<Self, StoreError> {
        Self::over(open::open_under(dir, lock, 0)?, LogLimits::default())
    }

    /// Makes a store in an empty directory, all of whose epochs come after this one. Blocks.
    pub(crate) fn create_after(dir: &Path, epoch: u64) -> Result<Self, StoreError> {
        let Ok(boot) = u32::try_from(epoch >> EPOCH_COUNTER_BITS) else {
            return Err(StoreError::Refused(format!("there are no epochs after {epoch}")));
        };
        Self::over(open::open_under(dir, DirLock::take(dir)?, boot)?, LogLimits::default())
    }

    fn over(opened: Opened, limits: LogLimits) -> Result<Self, StoreError> {
        let Opened { layout, lock, db, db_file, tip, codec, boot, index, batches } = opened;
        let room = RoomWatch::new(&layout.dir);
        let medium = SledMedium::new(db.clone(), db_file, tip, room);
        let shared = Arc::new(Shared::new(View::new(db), index));
        let queue = Arc::new(Queue::new());
        let reader = Reader::new(Arc::clone(&shared), codec.clone());
        let mut writer = Writer::new(medium, reader.clone(), batches, limits);
        let (ending, requests) = (Arc::clone(&shared), Arc::clone(&queue));
        let run = move || {
            writer.run(&requests);
            let medium = writer.into_medium();
            // Nobody can write any more: let go of everything, the directory's lock last.
            drop(ending.view.close());
            medium.close();
            let wait = Duration::from_millis(RELEASE_WAIT_MS);
            if !matches!(lock::wait_until_free(&layout.db_file(), wait), Ok(true)) {
                tracing::warn!("sled still holds its file after it was closed");
            }
            drop(lock);
        };
        let started = thread::Builder::new().name("callsheet-store".to_owned()).spawn(run);
        let writer = started
            .map_err(|error| StoreError::Open(format!("cannot start the writer: {error}")))?;
        Ok(Self {
            reader,
            handover: Handover::new(Arc::clone(&queue), codec, Arc::clone(&shared)),
            shared,
            queue,
            places: Arc::new(Semaphore::new(MAX_QUEUE_COUNT)),
            writer: Arc::new(Mutex::new(Some(writer))),
            definitions: Mutex::default(),
            boot,
        })
    }

    /// Hands a request to the writer, when there is a place for it, and waits for its answer.
    /// `unanswered` says what it means that the store has failed meanwhile.
    async fn ask<T>(
        &self,
        request: impl FnOnce(Reply<T>, Admission) -> Request,
        unanswered: fn(String) -> StoreError,
    ) -> Result<T, StoreError> {
        self.shared.health()?;
        // The semaphore is never closed.
        let admission = Arc::clone(&self.places).acquire_owned().await.ok();
        let (reply, answer) = oneshot::channel();
        let handed_over = self.queue.push(request(reply, admission));
        handed_over.map_err(|_| self.shared.stopped())?;
        answer.await.unwrap_or_else(|_| Err(unanswered(self.shared.why())))
    }

    /// Hands a commit over, before anything is waited for, and gives the receiver of its answer.
    fn hand_over(
        &self,
        commit: Commit,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        self.shared.health()?;
        check::commit(&commit)?;
        let (reply, answer) = oneshot::channel();
        self.handover.commit(commit, reply)?;
        Ok(answer)
    }

    async fn claim_job(&self, job: JobId) -> Result<Claim, StoreError> {
        self.shared.health()?;
        if let Some(claim) = self.reader.claim_now(job) {
            return claim;
        }
        let request = |reply, admission| Request::Claim(job, reply, admission);
        let grant = self.ask(request, StoreError::Stopped).await?;
        let reader = self.reader.clone();
        blocking(move || reader.claim(job, grant)).await
    }

    async fn close_store(&self) -> Result<(), StoreError> {
        self.shared.close();
        self.queue.close();
        if let Some(why) = self.shared.failure() {
            // Its thread may wait for ever for sled; the process should end.
            return Err(StoreError::Stopped(why.to_owned()));
        }
        let writer = Arc::clone(&self.writer);
        // Whoever closes it a second time waits for the first.
        let ended = blocking(move || Ok(locked(&writer).take().map(JoinHandle::join))).await?;
        match (ended, self.shared.failure()) {
            (Some(Err(_)), _) => Err(StoreError::Stopped("its writer panicked".to_owned())),
            (_, Some(why)) => Err(StoreError::Stopped(why.to_owned())),
            (Some(Ok(())) | None, None) => Ok(()),
        }
    }

    fn read<'a, T: Send + 'static>(
        &self,
        read: impl FnOnce(Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'a, T> {
        let reader = self.reader.clone();
        blocking(move || read(reader)).boxed()
    }

    /// Whether what is in memory may still be read: a closed store answers nothing.
    fn is_readable(&self) -> bool {
        self.shared.health().is_ok()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Store for SledStore {
    fn create(&self, job: NewJob) -> StoreFuture<'_, Created> {
        self.create_job(job).boxed()
    }

    fn create_both(&self, first: NewJob, second: NewJob) -> StoreFuture<'_, Created> {
        self.create_jobs(first, second).boxed()
    }

    fn claim(&self, job: JobId) -> StoreFuture<'_, Claim> {
        self.claim_job(job).boxed()
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, ()> {
        match self.hand_over(commit) {
            Ok(answer) => {
                let unanswered = |_| Err(StoreError::OutcomeUnknown(self.shared.why()));
                answer.map(move |answered| answered.unwrap_or_else(unanswered)).boxed()
            }
            Err(refusal) => ready(Err(refusal)).boxed(),
        }
    }

    fn journal(&self, job: JobId, from: u64) -> StoreFuture<'_, Vec<Record>> {
        if self.is_readable()
            && let Some(found) = self.reader.journal_now(job, from)
        {
            return ready(found).boxed();
        }
        self.read(move |reader| reader.journal(job, from))
    }

    fn head(&self, job: JobId) -> StoreFuture<'_, Option<JobHead>> {
        if self.is_readable()
            && let Some(found) = self.reader.head_now(job)
        {
            return ready(found.map(Some)).boxed();
        }
        self.read(move |reader| reader.head(job))
    }

    fn list(&self, query: ListQuery) -> StoreFuture<'_, Page> {
        self.read(move |reader| reader.list(&query))
    }

    fn awake(&self, after: Option<JobId>, limit: usize) -> StoreFuture<'_, Vec<JobId>> {
        self.read(move |reader| reader.awake(after, limit))
    }

    fn asleep(
        &self,
        after: Option<(Timestamp, JobId)>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<(Timestamp, JobId)>> {
        self.read(move |reader| reader.asleep(after, limit))
    }

    fn definition(&self, digest: String) -> StoreFuture<'_, Option<Workflow>> {
        self.read(move |reader| reader.definition(&digest))
    }

    fn key(&self, key: String) -> StoreFuture<'_, Option<KeyTarget>> {
        self.read(move |reader| reader.key(&key))
    }

    fn ids(&self, after: Option<JobId>) -> StoreFuture<'_, Vec<JobId>> {
        self.read(move |reader| reader.ids(after))
    }

    fn keys(&self, after: Option<Digest>) -> StoreFuture<'_, Vec<StoredKey>> {
        self.read(move |reader| reader.keys(after))
    }

    fn epoch_bound(&self) -> u64 {
        u64::from(self.boot) << EPOCH_COUNTER_BITS | u64::from(u32::MAX)
    }

    fn subscribe(&self) -> broadcast::Receiver<CommitNotice> {
        self.shared.notices.subscribe()
    }

    fn health(&self) -> Result<(), StoreError> {
        self.shared.health()
    }

    fn stats(&self) -> StoreStats {
        self.shared.stats()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.close_store().boxed()
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("health", &self.health()).finish_non_exhaustive()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(StoreError::Unreadable(format!("the read did not finish: {error}"))),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole at any instant, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
