//! The store on disk: one sled tree, one writer, group commit. See `docs/storage.md`.

mod cache;
mod codec;
mod envelope;
mod keys;
mod lock;
mod medium;
mod open;
mod read;
mod room;
mod shared;
mod tip;
mod view;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use callsheet_engine::JobId;
use callsheet_engine::definition::Workflow;
use futures::FutureExt;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::artifacts::Digest;
use crate::check;
use crate::error::StoreError;
use crate::limits::{MAX_KNOWN_DEFINITIONS_COUNT, MAX_QUEUE_COUNT, RELEASE_WAIT_MS};
use crate::store::{
    Claim, Commit, CommitNotice, Created, JobHead, ListQuery, NewJob, Page, Record, Store,
    StoreFuture, StoreStats, StoredKey,
};
use codec::{Codec, Encoded, HeadBody, KeyBody, RecordBody, Stored};
pub(crate) use lock::DirLock;
use medium::SledMedium;
use open::Opened;
pub(crate) use open::{COMPACTING, OLD_STORE, RESTORING, STORE, TIP, VALUES, make_data_dir};
use read::Reader;
use room::RoomWatch;
use shared::Shared;
use view::View;
use writer::{CommitValues, KeyValues, NewValues, Reply, Request, Writer};

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
    queue: Mutex<Option<mpsc::Sender<Request>>>,
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
        Self::over(open::open(dir)?)
    }

    /// Opens a data directory whose lock is held already. Blocks.
    pub(crate) fn open_under(dir: &Path, lock: DirLock) -> Result<Self, StoreError> {
        Self::over(open::open_under(dir, lock, 0)?)
    }

    /// Makes a store in an empty directory, all of whose epochs come after this one. Blocks.
    pub(crate) fn create_after(dir: &Path, epoch: u64) -> Result<Self, StoreError> {
        let Ok(boot) = u32::try_from(epoch >> EPOCH_COUNTER_BITS) else {
            return Err(StoreError::Refused(format!("there are no epochs after {epoch}")));
        };
        Self::over(open::open_under(dir, DirLock::take(dir)?, boot)?)
    }

    fn over(opened: Opened) -> Result<Self, StoreError> {
        let Opened { layout, lock, db, db_file, tip, codec, boot } = opened;
        let room = RoomWatch::new(&layout.dir);
        let medium = SledMedium::new(db.clone(), db_file, tip, room);
        let shared = Arc::new(Shared::new(View::new(db)));
        let (queue, requests) = mpsc::channel(MAX_QUEUE_COUNT);
        let writer = Writer::new(medium, Arc::clone(&shared), codec.clone(), boot);
        let ending = Arc::clone(&shared);
        let run = move || {
            let medium = writer.run(requests);
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
            reader: Reader::new(Arc::clone(&shared), codec),
            shared,
            queue: Mutex::new(Some(queue)),
            writer: Arc::new(Mutex::new(Some(writer))),
            definitions: Mutex::default(),
            boot,
        })
    }

    /// Accepts a job of another store, with the digest of the key that it was accepted under there
    /// and the request.
    pub(crate) async fn create_imported(
        &self,
        job: NewJob,
        key: Option<(Digest, String)>,
    ) -> Result<Created, StoreError> {
        check::new_job(&job)?;
        self.create_checked(job, key).await
    }

    /// Hands a request to the writer and waits for its answer. `unanswered` says what it means
    /// that the store has failed meanwhile.
    async fn ask<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
        unanswered: fn(String) -> StoreError,
    ) -> Result<T, StoreError> {
        self.shared.health()?;
        let queue = locked(&self.queue).clone().ok_or_else(check::closed)?;
        let (reply, answer) = oneshot::channel();
        let sent = queue.send(request(reply)).await;
        drop(queue);
        let why = || self.shared.failure().unwrap_or("the writer has ended").to_owned();
        sent.map_err(|_| StoreError::Stopped(why()))?;
        answer.await.unwrap_or_else(|_| Err(unanswered(why())))
    }

    async fn create_job(&self, mut job: NewJob) -> Result<Created, StoreError> {
        check::new_job(&job)?;
        let asked = job.idempotency.take();
        let key = asked.map(|asked| (Digest::of(asked.key.as_bytes()), asked.request));
        self.create_checked(job, key).await
    }

    async fn create_checked(
        &self,
        job: NewJob,
        key: Option<(Digest, String)>,
    ) -> Result<Created, StoreError> {
        let digest = job.head.workflow.digest.clone();
        let is_known = locked(&self.definitions).contains(&digest);
        let reader = self.reader.clone();
        let values = blocking(move || encode_job(&reader, job, key, is_known)).await?;
        let request = |reply| Request::Create(Box::new(values), reply);
        let created = self.ask(request, StoreError::OutcomeUnknown).await?;
        if created == Created::New {
            let mut known = locked(&self.definitions);
            if known.len() >= MAX_KNOWN_DEFINITIONS_COUNT {
                known.clear();
            }
            known.insert(digest);
        }
        Ok(created)
    }

    async fn commit_record(&self, mut commit: Commit) -> Result<(), StoreError> {
        check::commit(&commit)?;
        let key = keys::record(commit.job, commit.sequence);
        let body = RecordBody { events: std::mem::take(&mut commit.events) };
        let record = self.encode(key, body).await?;
        let head = match commit.head.take() {
            Some(head) => {
                let (prefix, key) = head_place(&head);
                Some((prefix, self.encode(key, HeadBody::new(head)).await?))
            }
            None => None,
        };
        let values = Box::new(CommitValues { commit, record, head });
        self.ask(|reply| Request::Commit(values, reply), StoreError::OutcomeUnknown).await
    }

    /// Encodes in place what is small, and where blocking is allowed what is not.
    async fn encode<T>(&self, key: Vec<u8>, content: T) -> Result<Vec<u8>, StoreError>
    where
        T: Stored + Send + 'static,
    {
        match Codec::encode(&key, &content)? {
            Encoded::Value(value) => Ok(value),
            Encoded::TooLarge(body) => {
                let codec = self.reader.codec().clone();
                blocking(move || codec.put_elsewhere(T::KIND, &key, &body)).await
            }
        }
    }

    async fn claim_job(&self, job: JobId) -> Result<Claim, StoreError> {
        let grant = self.ask(|reply| Request::Claim(job, reply), StoreError::Stopped).await?;
        let reader = self.reader.clone();
        blocking(move || reader.claim(job, grant)).await
    }

    async fn close_store(&self) -> Result<(), StoreError> {
        self.shared.close();
        let queue = locked(&self.queue).take();
        if let Some(queue) = queue {
            // An error means that the writer has ended already.
            let _ = queue.send(Request::Close).await;
        }
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
}

impl Store for SledStore {
    fn create(&self, job: NewJob) -> StoreFuture<'_, Created> {
        self.create_job(job).boxed()
    }

    fn claim(&self, job: JobId) -> StoreFuture<'_, Claim> {
        self.claim_job(job).boxed()
    }

    fn commit(&self, commit: Commit) -> StoreFuture<'_, ()> {
        self.commit_record(commit).boxed()
    }

    fn journal(&self, job: JobId, from: u64) -> StoreFuture<'_, Vec<Record>> {
        self.read(move |reader| reader.journal(job, from))
    }

    fn head(&self, job: JobId) -> StoreFuture<'_, Option<JobHead>> {
        self.read(move |reader| reader.head(job))
    }

    fn list(&self, query: ListQuery) -> StoreFuture<'_, Page> {
        self.read(move |reader| reader.list(&query))
    }

    fn live(&self) -> StoreFuture<'_, Vec<JobHead>> {
        self.read(|reader| reader.live())
    }

    fn definition(&self, digest: String) -> StoreFuture<'_, Option<Workflow>> {
        self.read(move |reader| reader.definition(&digest))
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

/// Encodes a job to accept. Blocks.
fn encode_job(
    reader: &Reader,
    job: NewJob,
    key: Option<(Digest, String)>,
    is_known: bool,
) -> Result<NewValues, StoreError> {
    let NewJob { head, events, definition, .. } = job;
    let codec = reader.codec();
    let id = head.id;
    let definition_key = keys::definition(&head.workflow.digest);
    let definition = match is_known || reader.has(&definition_key)? {
        true => None,
        false => {
            Some((definition_key.clone(), codec.encode_blocking(&definition_key, &definition)?))
        }
    };
    let record = codec.encode_blocking(&keys::record(id, 0), &RecordBody { events })?;
    let (head_prefix, head_key) = head_place(&head);
    let head = codec.encode_blocking(&head_key, &HeadBody::new(head))?;
    let idempotency = match key {
        Some((digest, request)) => {
            let key = keys::idempotency_at(digest);
            let body = KeyBody { job: id, request };
            let value = codec.encode_blocking(&key, &body)?;
            Some(KeyValues { key, value, request: body.request })
        }
        None => None,
    };
    Ok(NewValues { job: id, head_prefix, head, record, definition, idempotency })
}

/// The prefix and key of a head: live jobs lie apart, so that recovery reads no others.
fn head_place(head: &JobHead) -> (u8, Vec<u8>) {
    let prefix = if head.status.has_ended() { keys::ENDED } else { keys::LIVE };
    (prefix, keys::head(prefix, head.id))
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
