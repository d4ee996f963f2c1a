//! What a step's body sees of the engine.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use callsheet_engine::{
    ItemIndex, JobId, JobOptions, JobState, Plan, StartStep, StepIndex, Timestamp, Token, Work,
    idempotency_key,
};
use callsheet_storage::{Artifact, ArtifactError, ArtifactStore, Digest, Hashed, Hold};
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::core::Core;
use crate::error::EngineError;
use crate::files::Files;
use crate::gauges::{Gauges, SharedGauge};
use crate::handle::JobView;
use crate::kin::Kin;
use crate::process::{Adopted, Children, Command};
use crate::provided::Provided;
use crate::step::{StepError, StepResult, artifact_fault};

/// A body's view of its attempt: who it is, whether it should stop, and what it may use. Cheap to
/// clone.
#[derive(Clone)]
pub struct StepContext(pub(crate) Arc<Attempt>);

/// Everything that belongs to one attempt and must be gone when it ends. What a quick step never
/// asks for is made when it is asked for.
pub(crate) struct Attempt {
    pub(crate) job: JobId,
    plan: Arc<Plan>,
    pub(crate) step: StepIndex,
    pub(crate) item: ItemIndex,
    pub(crate) number: u32,
    pub(crate) token: Token,
    pub(crate) deadline: Instant,
    pub(crate) shared: Arc<Shared>,
    gauge: SharedGauge,
    /// What its item counts for in the job's progress.
    share: f64,
    /// What the job uses of files is in use while this lives.
    hold: Arc<Hold>,
    pub(crate) options: JobOptions,
    last_sign: AtomicI64,
    /// Whether the body has begun, or was kept from it: the first one wins.
    begun: OnceLock<bool>,
    ended: AtomicBool,
    key: OnceLock<String>,
    cancel: OnceLock<CancellationToken>,
    children: OnceLock<Children>,
    tasks: OnceLock<TaskTracker>,
    work_dir: OnceLock<Result<PathBuf, String>>,
}

impl Attempt {
    pub(crate) fn step_id(&self) -> &str {
        &self.plan.step(self.step).id
    }

    pub(crate) fn cancel(&self) -> &CancellationToken {
        self.cancel.get_or_init(CancellationToken::new)
    }

    pub(crate) fn children(&self) -> &Children {
        self.children.get_or_init(|| Children::new(&self.shared.work_root))
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        self.tasks.get_or_init(TaskTracker::new)
    }

    /// The work directory, if the body has asked for one and got it.
    pub(crate) fn made_work_dir(&self) -> Option<&Path> {
        self.work_dir.get()?.as_deref().ok()
    }

    /// Whether the body leaves something behind that has to be seen off.
    pub(crate) fn has_remains(&self) -> bool {
        self.tasks.get().is_some_and(|tasks| !tasks.is_empty()) || self.made_work_dir().is_some()
    }

    /// Whether the body, which asks once, may begin.
    pub(crate) fn may_begin(&self) -> bool {
        *self.begun.get_or_init(|| true)
    }

    /// Keeps the body from beginning, if it is still on its way to a thread; answers whether it
    /// never did and never will.
    pub(crate) fn hold_back(&self) -> bool {
        !*self.begun.get_or_init(|| false)
    }

    /// Whether the body has come to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether the body has ended, or was told to.
    fn is_over(&self) -> bool {
        self.has_ended() || self.cancel.get().is_some_and(CancellationToken::is_cancelled)
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// The store of files, as this attempt's job uses it.
    pub(crate) fn files(&self) -> ArtifactStore {
        let files = &self.shared.files;
        files.artifacts.under(files.terms(self.options, Some(self.hold.clone())))
    }

    fn make_work_dir(&self) -> Result<PathBuf, String> {
        let of_job = self.shared.work_root.join(self.job.to_string());
        let path = of_job.join(self.token.0.to_string());
        let made = std::fs::create_dir_all(&path);
        made.map_err(|error| format!("`{}`: {error}", path.display()))?;
        Ok(path)
    }
}

/// A note on how far an attempt has come. Not recorded: it is for those who watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which job.
    pub job: JobId,
    /// Position of the step in the workflow.
    pub step: StepIndex,
    /// The step's id.
    pub step_id: String,
    /// Which item.
    pub item: ItemIndex,
    /// Number of the attempt.
    pub attempt: u32,
    /// How far the attempt is, 0 to 100.
    pub percent: f64,
    /// How far the job is, 0 to 100: its steps by their weights. Never goes back while the job
    /// is at work; one that has slept counts from what is recorded again.
    pub overall: f64,
    /// What is being done.
    pub message: String,
}

impl StepContext {
    pub(crate) fn new(
        state: &JobState,
        (gauge, hold): (SharedGauge, Arc<Hold>),
        start: &StartStep,
        shared: Arc<Shared>,
    ) -> Self {
        // A probe does nothing of the step's work.
        let share = if start.work == Work::Run { state.share(start.step) } else { 0.0 };
        Self(Arc::new(Attempt {
            job: state.id,
            plan: state.plan.clone(),
            step: start.step,
            item: start.item,
            number: start.attempt,
            token: start.token,
            deadline: Instant::now() + Duration::from(start.timeout),
            shared,
            gauge,
            share,
            hold,
            options: state.options,
            last_sign: AtomicI64::new(clock::now().0),
            begun: OnceLock::new(),
            ended: AtomicBool::new(false),
            key: OnceLock::new(),
            cancel: OnceLock::new(),
            children: OnceLock::new(),
            tasks: OnceLock::new(),
            work_dir: OnceLock::new(),
        }))
    }

    /// The job that the attempt belongs to.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.0.job
    }

    /// The step's id in the workflow.
    #[must_use]
    pub fn step(&self) -> &str {
        self.0.step_id()
    }

    /// The item of a `for_each`; 0 for a step without one.
    #[must_use]
    pub fn item(&self) -> ItemIndex {
        self.0.item
    }

    /// Number of the attempt at this item, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.number
    }

    /// The same over all attempts at this step and item: hand it to receivers that can refuse to do
    /// a thing twice.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        let attempt = &self.0;
        attempt.key.get_or_init(|| idempotency_key(attempt.job, attempt.step_id(), attempt.item))
    }

    /// When the attempt's time is up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// Resolves when the attempt is to stop. A body that awaits needs no look at it: its future is
    /// dropped. Blocking work looks at it now and then.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        self.0.cancel()
    }

    /// Tells those who watch how far the attempt has come, 0 to 100. Also a sign of life.
    pub fn progress(&self, percent: f64, message: impl Into<String>) {
        self.heartbeat();
        let attempt = &self.0;
        if attempt.is_over() {
            return; // Blocking work that is left behind has no say any more.
        }
        // What is no number is no progress.
        let percent = percent.clamp(0.0, 100.0).max(0.0);
        let overall = attempt.gauge.note((attempt.step, attempt.item), attempt.share, percent);
        // Nobody may be watching; that is no error.
        let _ = attempt.shared.progress.send(Progress {
            job: attempt.job,
            step: attempt.step,
            step_id: attempt.step_id().to_owned(),
            item: attempt.item,
            attempt: attempt.number,
            percent,
            overall,
            message: message.into(),
        });
    }

    /// A sign of life without a figure.
    pub fn heartbeat(&self) {
        self.0.last_sign.store(clock::now().0, Ordering::Relaxed);
    }

    /// When the attempt last gave a sign of life.
    #[must_use]
    pub fn last_sign(&self) -> Timestamp {
        Timestamp(self.0.last_sign.load(Ordering::Relaxed))
    }

    /// A private directory for temporary files, made at the first call and removed when the attempt
    /// ends, however it ends.
    ///
    /// # Errors
    /// `step.work_dir` when it cannot be made.
    pub fn work_dir(&self) -> StepResult<&Path> {
        let attempt = &self.0;
        attempt.work_dir.get_or_init(|| attempt.make_work_dir()).as_deref().map_err(|error| {
            let said = format!("cannot make the work directory {error}");
            StepError::retryable("step.work_dir", said)
        })
    }

    /// Runs blocking work on a thread of its own, away from the async threads. The attempt is not
    /// over before it returns.
    ///
    /// # Errors
    /// What the work answers; `step.panic` when it panics.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> StepResult<T> + Send + 'static,
    ) -> StepResult<T> {
        match self.0.tasks().spawn_blocking_on(work, &self.0.shared.runtime).await {
            Ok(result) => result,
            Err(error) => Err(StepError::retryable("step.panic", error.to_string())),
        }
    }

    /// Stores a file as an artifact. The file is moved out of the work directory when it can be.
    ///
    /// # Errors
    /// `artifact.*` when it cannot be stored.
    pub async fn put_file(
        &self,
        file: impl Into<PathBuf>,
        name: impl Into<String>,
        media_type: impl Into<String>,
    ) -> StepResult<Artifact> {
        let (file, name, media_type) = (file.into(), name.into(), media_type.into());
        let put = self.put(move |store| store.put_file(&file)).await;
        put.map(|(artifact, size)| Artifact { artifact, name, media_type, size })
    }

    /// As [`put_file`](Self::put_file), for a file that was hashed while it was written.
    ///
    /// # Errors
    /// As [`put_file`](Self::put_file).
    pub async fn put_hashed(
        &self,
        (file, hashed): (impl Into<PathBuf>, Hashed),
        name: impl Into<String>,
        media_type: impl Into<String>,
    ) -> StepResult<Artifact> {
        let (file, name, media_type) = (file.into(), name.into(), media_type.into());
        let put = self.put(move |store| store.put_hashed(&file, hashed)).await;
        put.map(|(artifact, size)| Artifact { artifact, name, media_type, size })
    }

    /// Stores bytes as an artifact.
    ///
    /// # Errors
    /// `artifact.*` when they cannot be stored.
    pub async fn put_bytes(
        &self,
        bytes: impl Into<Vec<u8>>,
        name: impl Into<String>,
        media_type: impl Into<String>,
    ) -> StepResult<Artifact> {
        let (bytes, name, media_type) = (bytes.into(), name.into(), media_type.into());
        let put = self.put(move |store| store.put_reader(&bytes[..])).await;
        put.map(|(artifact, size)| Artifact { artifact, name, media_type, size })
    }

    /// Stores something; when it does not fit under the bound, once more after room was made.
    async fn put<F>(&self, put: F) -> StepResult<(Digest, u64)>
    where
        F: Fn(&ArtifactStore) -> Result<(Digest, u64), ArtifactError> + Send + Sync + 'static,
    {
        let put = Arc::new(put);
        let again = put.clone();
        let store = self.0.files();
        let first = self.blocking(move || Ok(put(&store))).await?;
        let Err(ArtifactError::Quota { size, .. }) = first else {
            return first.map_err(artifact_fault);
        };
        if !self.0.shared.files.make_room(size).await {
            return first.map_err(artifact_fault);
        }
        let store = self.0.files();
        self.blocking(move || again(&store).map_err(artifact_fault)).await
    }

    /// The path of an artifact's content, its hash checked within the last ten minutes, or again if
    /// somebody has touched it. Read it; never write it.
    ///
    /// # Errors
    /// `artifact.*` when it is missing or damaged.
    pub async fn open(&self, artifact: &Artifact) -> StepResult<PathBuf> {
        let (store, digest) = (self.0.files(), artifact.artifact);
        let files = self.0.shared.files.clone();
        self.blocking(move || {
            let opened = store.prolong(&digest).and_then(|_| store.checked(&digest));
            if let Err(ArtifactError::Damaged { .. }) = &opened {
                // Whoever asks for it again must get a new one.
                files.distrust(&digest);
            }
            opened.map_err(artifact_fault)
        })
        .await
    }

    /// The job that this one follows, as it ended; see
    /// [`Submit::followed_by`](crate::Submit::followed_by). Waits for its end if it has not come
    /// yet.
    ///
    /// # Errors
    /// `job.unknown` when this job follows none, or when that is gone; what the store says.
    pub async fn followed(&self) -> StepResult<JobView> {
        let Some(core) = self.0.shared.core() else { return std::future::pending().await };
        let own = core.job_head(self.0.job).await.map_err(|error| job_fault(&error))?;
        let Some(other) = Kin::of(&own.labels).follows else {
            let message = "this job follows no other";
            return Err(StepError::fatal("job.unknown", message)
                .with_hint("submit it to follow one: `Submit::followed_by`, `Engine::follow`"));
        };
        match core.job_end(other).await {
            Ok(view) => Ok(view),
            // The attempt is given back.
            Err(EngineError::ShuttingDown) => std::future::pending().await,
            Err(error) => Err(job_fault(&error)),
        }
    }

    /// What the program gave to all steps with
    /// [`EngineBuilder::provide`](crate::EngineBuilder::provide).
    #[must_use]
    pub fn provided<T: std::any::Any>(&self) -> Option<&T> {
        self.0.shared.provided.get()
    }

    /// A child process of this attempt: in a process group of its own, ended with the attempt.
    #[must_use]
    pub fn command(&self, program: impl Into<std::ffi::OsString>) -> Command {
        Command::new(self.clone(), program.into())
    }

    /// Prepares a standard command, made by a library, to be a child of this attempt: a process
    /// group of its own, death with the engine. After it is spawned hand it to
    /// [`adopt`](Self::adopt) at once.
    pub fn prepare(&self, command: &mut std::process::Command) {
        self.0.children().prepare(command);
    }

    /// Makes a spawned process group part of the attempt: when the attempt is stopped it gets TERM
    /// and, after a grace, KILL. Whoever spawned it waits for it and then drops the guard.
    pub fn adopt(&self, pid: u32) -> Adopted {
        self.0.children().adopt(pid)
    }
}

/// What it means for the attempt that another job cannot be looked at.
fn job_fault(error: &EngineError) -> StepError {
    let said = error.to_string();
    match error {
        EngineError::UnknownJob(_) | EngineError::Damaged { .. } => {
            StepError::fatal(error.code(), said)
        }
        _ => StepError::retryable(error.code(), said),
    }
}

/// What all attempts of an engine share.
pub(crate) struct Shared {
    pub(crate) runtime: Handle,
    pub(crate) files: Arc<Files>,
    pub(crate) work_root: PathBuf,
    pub(crate) provided: Provided,
    pub(crate) progress: broadcast::Sender<Progress>,
    pub(crate) gauges: Arc<Gauges>,
    /// The engine itself, for steps that deal with jobs; weak, since it holds this.
    pub(crate) core: OnceLock<Weak<Core>>,
}

impl Shared {
    /// The engine, unless it is just ending.
    pub(crate) fn core(&self) -> Option<Arc<Core>> {
        self.core.get()?.upgrade()
    }
}
