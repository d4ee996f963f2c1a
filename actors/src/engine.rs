//! The engine's handle: what an embedding service holds.

use std::sync::Arc;
use std::time::Duration;

use callsheet_engine::definition::{Catalog, Problems, Workflow};
use callsheet_engine::{JobId, Plan};
use callsheet_storage::maintenance::{BackupOptions, BackupStream, backup_stream};
use callsheet_storage::{
    ArtifactStore, Created, JobStatus, ListQuery, NewJob, Page, Reservation, Terms,
};
use ractor::ActorRef;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use crate::builder::EngineBuilder;
use crate::context::Progress;
use crate::core::Core;
use crate::error::EngineError;
use crate::files::Swept;
use crate::handle::JobHandle;
use crate::kin::{self, Parent};
use crate::limits::{HEALTH_EVERY, RELEASE_GRACE};
use crate::mailbox::ActorInfo;
use crate::stats::Stats;
use crate::submit::{Submit, Submitted};
use crate::tree::{JobsMsg, RootMsg};

/// A running engine. Cheap to clone; it ends when [`shutdown`](Self::shutdown) is called or the
/// last clone is dropped. Several engines in one process do not know of one another.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) root: ActorRef<RootMsg>,
    pub(crate) drain_grace: Duration,
    #[expect(dead_code, reason = "kept for its drop")]
    pub(crate) runtimes: Runtimes,
}

/// The engine's two runtimes: one for its actors, one for the bodies of steps, so that a body that
/// blocks its thread delays neither a cancel nor another job.
pub(crate) struct Runtimes {
    pub(crate) control: Option<Runtime>,
    pub(crate) bodies: Option<Runtime>,
    /// The temporary directory of an engine in memory.
    #[expect(dead_code, reason = "kept for its drop")]
    pub(crate) scratch: Option<crate::scratch::Scratch>,
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        // An engine may be dropped on an async thread, where waiting for the threads of a runtime
        // is not allowed. The bodies go first, so that the actors can see them off.
        for runtime in [self.bodies.take(), self.control.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Begins to build an engine.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    /// All step kinds that are registered.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.core().catalog
    }

    /// All workflows that are registered, by name.
    #[must_use]
    pub fn workflows(&self) -> Vec<Arc<Plan>> {
        self.core().plans.all()
    }

    /// The registered workflow of this name.
    #[must_use]
    pub fn workflow(&self, name: &str) -> Option<Arc<Plan>> {
        self.core().plans.named(name).ok()
    }

    /// Registers a workflow from YAML or JSON, in the place of any of its name. Jobs that run keep
    /// the definition that they were accepted with.
    ///
    /// # Errors
    /// Every problem of the definition, with line, column and hint.
    pub fn register(&self, text: &str) -> Result<Arc<Plan>, Problems> {
        let plan = self.validate(text)?;
        self.core().plans.register(plan.clone());
        Ok(plan)
    }

    /// Compiles a workflow from YAML or JSON without registering it.
    ///
    /// # Errors
    /// Every problem of the definition, with line, column and hint.
    pub fn validate(&self, text: &str) -> Result<Arc<Plan>, Problems> {
        Plan::load(text, self.catalog()).map(Arc::new)
    }

    /// Compiles a workflow that was built in Rust or read from a request's body.
    ///
    /// # Errors
    /// Every problem of the definition, with its path and a hint.
    pub fn compile(&self, workflow: Workflow) -> Result<Arc<Plan>, Problems> {
        Plan::build(workflow, self.catalog()).map(Arc::new)
    }

    /// Accepts a job. Answers once it is on stable storage: from then on it will end, whatever
    /// happens to the process.
    ///
    /// # Errors
    /// [`EngineError`]: unknown workflow, problems of the input, a key that was used for another
    /// request, a full disk, an engine that is shutting down or whose store has failed.
    pub async fn submit(&self, request: Submit) -> Result<Submitted, EngineError> {
        let core = self.core();
        core.is_open()?;
        let id = kin::new_id(kin::TOP);
        let (mut request, follower) = request.parted()?;
        let second = match follower {
            Some(follower) => Some(core.follower(id, follower, &mut request)?),
            None => None,
        };
        let job = core.prepare(id, request, JobStatus::Running)?;
        core.has_room_for(&job).await?;
        self.accept(job, second).await
    }

    /// Accepts a job that begins when another has ended, or at once if it has ended before. See
    /// [`Submit::followed_by`] for one that is accepted together with the other. As it tells of a
    /// job that was taken, it is taken too where there is no room for the files of new ones.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); [`EngineError::UnknownJob`].
    pub async fn follow(&self, job: JobId, follower: Submit) -> Result<Submitted, EngineError> {
        let core = self.core();
        core.is_open()?;
        core.job_head(job).await?;
        let (follower, third) = follower.parted()?;
        if third.is_some() {
            return Err(EngineError::Setup("a job that follows another has none after it".into()));
        }
        let id = kin::new_id(kin::FOLLOWER);
        let request = follower.marked(kin::FOLLOWS, job.to_string());
        let status = JobStatus::Sleeping { until: kin::FOLLOWS_UNTIL };
        self.accept(core.prepare(id, request, status)?, None).await
    }

    /// Accepts a job in a task of its own: whoever asked may go away in the middle, and a job that
    /// became durable all the same would wait for the next start of the engine.
    async fn accept(&self, job: NewJob, second: Option<NewJob>) -> Result<Submitted, EngineError> {
        let core = Arc::clone(self.core());
        let (control, id) = (core.control.clone(), job.head.id);
        let task = control.spawn(async move { core.accept(job, second).await });
        let created = match task.await {
            Ok(created) => created?,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => return Err(EngineError::ShuttingDown),
        };
        match created {
            Created::New => Ok(Submitted { job: self.job(id), is_new: true }),
            Created::Existing(id) => Ok(Submitted { job: self.job(id), is_new: false }),
            Created::Conflict(job) => Err(EngineError::KeyReused { job }),
        }
    }

    /// A handle to a job, which need not exist: its methods say so.
    #[must_use]
    pub fn job(&self, id: JobId) -> JobHandle {
        JobHandle::new(self.clone(), id)
    }

    /// Jobs that match a query, newest first, a page at a time.
    ///
    /// # Errors
    /// [`EngineError::Store`] when the store has failed.
    pub async fn jobs(&self, query: ListQuery) -> Result<Page, EngineError> {
        Ok(self.core().store.list(query).await?)
    }

    /// The jobs that steps of this one run now, by step and item. Those that have ended are told by
    /// [`JobView::children`](crate::JobView::children).
    #[must_use]
    pub fn children(&self, job: JobId) -> Vec<(Parent, JobId)> {
        let living = self.core().living.children(job).into_iter();
        let mut living: Vec<_> = living.map(|(child, parent)| (parent, child)).collect();
        living.sort_by(|(a, _), (b, _)| (&a.step, a.item).cmp(&(&b.step, b.item)));
        living
    }

    /// Notes on how far attempts have come, from now on. A slow receiver misses some.
    #[must_use]
    pub fn progress(&self) -> broadcast::Receiver<Progress> {
        self.core().shared.progress.subscribe()
    }

    /// How far a job at work has come, 0 to 100, from memory; `None` for one that is at rest. See
    /// [`JobView::progress`](crate::JobView::progress) for any job.
    #[must_use]
    pub fn progress_of(&self, job: JobId) -> Option<f64> {
        self.core().shared.gauges.percent(job)
    }

    /// The files that steps have made.
    #[must_use]
    pub fn artifacts(&self) -> &Arc<ArtifactStore> {
        &self.core().shared.files.artifacts
    }

    /// The same store for files from outside: what is put through it is kept for
    /// [`Keeping::retention`] from then on, and longer once a job is submitted with it.
    #[must_use]
    pub fn incoming(&self) -> ArtifactStore {
        let files = &self.core().shared.files;
        let keep_for = files.keeping.retention.map(|time| time.max(files.keeping.grace));
        files.artifacts.under(Terms { keep_for, hold: None })
    }

    /// Takes room under the bound of all files for one of so many bytes that is on its way in, and
    /// makes it where that can be done.
    ///
    /// # Errors
    /// [`EngineError::Quota`] when there is none.
    pub async fn room_for(&self, bytes: u64) -> Result<Reservation, EngineError> {
        let room = self.artifacts().reservation();
        self.more_room(&room, bytes).await?;
        Ok(room)
    }

    /// Takes so many bytes more of room, for a file that turns out to be larger.
    ///
    /// # Errors
    /// [`EngineError::Quota`] when there is none.
    pub async fn more_room(&self, room: &Reservation, bytes: u64) -> Result<(), EngineError> {
        match self.core().shared.files.grow(room, bytes).await {
            true => Ok(()),
            false => Err(self.core().no_room_for_files()),
        }
    }

    /// Removes the files that nobody needs any more, as is done by itself every hour; see
    /// [`Keeping`].
    ///
    /// # Errors
    /// [`EngineError::Store`] when the store has failed, [`EngineError::Files`] when a directory
    /// cannot be read; it can be asked for again.
    pub async fn sweep(&self) -> Result<Swept, EngineError> {
        self.core().shared.files.sweep().await.map_err(EngineError::from)
    }

    /// Begins a backup of all jobs, and of the files that they name, while the engine goes on:
    /// every job that was accepted before is in it, as it was at one instant. Bring it to a file
    /// with [`save_backup`](callsheet_storage::maintenance::save_backup).
    #[must_use]
    pub fn backup(&self, options: BackupOptions) -> BackupStream {
        backup_stream(Arc::clone(&self.core().store), Arc::clone(self.artifacts()), options)
    }

    /// Whether the engine still works.
    ///
    /// # Errors
    /// What has stopped its store or its actors.
    pub fn health(&self) -> Result<(), EngineError> {
        self.core().health()
    }

    /// Resolves when the store or the root of the actors has died. The process should then end with
    /// a failure: the next start goes on from what is on the disk.
    pub async fn failed(&self) -> EngineError {
        let mut failed = self.core().failed.subscribe();
        loop {
            if let Some(error) = failed.borrow_and_update().clone() {
                return error;
            }
            // A store that hangs answers nobody, so it is also asked; not one that was closed.
            if let Err(error) = self.health()
                && !self.core().is_closed()
            {
                return error;
            }
            // Either a failure was noted, or it is time to ask again.
            let _ = tokio::time::timeout(HEALTH_EVERY, failed.changed()).await;
        }
    }

    /// Whether the engine is shutting down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.core().is_draining()
    }

    /// Figures since the engine was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (core, files) = (self.core(), &self.core().shared.files);
        let (bytes, most) = (files.artifacts.used_bytes(), files.artifacts.max_bytes());
        core.counters.read(core.store.stats(), files.counters.read(bytes, most))
    }

    /// All actors of the engine, oldest first.
    #[must_use]
    pub fn actors(&self) -> Vec<ActorInfo> {
        self.core().roster.list()
    }

    /// Shuts down in order: takes no new jobs, starts no attempts, lets the running ones end for as
    /// long as the drain's grace, gives back the rest, and closes the store. Jobs go on at the next
    /// start.
    pub async fn shutdown(&self) {
        self.core().drain();
        let _ = self.core().tell_jobs(JobsMsg::Drain);
        self.wait_until_idle(self.0.drain_grace).await;
        self.stop_now().await;
    }

    /// Stops at once: every running attempt is stopped and given back, then the store is closed.
    /// Nothing is lost; jobs go on at the next start.
    pub async fn stop_now(&self) {
        self.core().drain();
        let _ = self.core().tell_jobs(JobsMsg::Release);
        self.wait_until_idle(RELEASE_GRACE).await;
        self.core().set_jobs(None);
        self.0.root.kill();
        self.core().waiters.close();
        self.core().close();
        if let Err(error) = self.core().store.close().await {
            tracing::warn!(%error, "the store did not close in order");
        }
    }

    async fn wait_until_idle(&self, time: Duration) {
        let mut active = self.core().active.subscribe();
        // Beyond the time, what is left is given back by the next start.
        let _ = tokio::time::timeout(time, active.wait_for(|count| *count == 0)).await;
    }
}
