//! How an engine is put together and opened.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callsheet_engine::Plan;
use callsheet_engine::definition::{Catalog, Effect, Problem, Problems};
use callsheet_storage::{ArtifactStore, MemoryStore, SledStore, Store};
use ractor::Actor;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;

use crate::child::RunWorkflow;
use crate::context::{Shared, StepContext};
use crate::core::{Core, Parts};
use crate::engine::{Engine, Inner, Runtimes};
use crate::error::EngineError;
use crate::files::{self, Files, Keeping};
use crate::limits::{
    DRAIN_GRACE, MAX_ACTIVE_JOBS_COUNT, MAX_BLOCKING_THREADS_COUNT, PROGRESS_BACKLOG_COUNT,
};
use crate::process::end_strays;
use crate::provided::Provided;
use crate::scratch::Scratch;
use crate::step::{AnyStep, FnStep, Step, StepResult};
use crate::tree::{Root, watch};

/// Threads of the actors' runtime: their handlers are short.
const CONTROL_THREADS_COUNT: usize = 2;

/// An engine to be opened.
#[must_use = "an engine does nothing before it is opened"]
pub struct EngineBuilder {
    place: Option<Place>,
    steps: Vec<Arc<dyn AnyStep>>,
    workflows: Vec<String>,
    provided: Provided,
    drain_grace: Duration,
    max_active_jobs: usize,
    keeping: Keeping,
}

enum Place {
    Directory(PathBuf),
    Memory,
    Given(Arc<dyn Store>),
}

impl EngineBuilder {
    pub(crate) fn new() -> Self {
        Self {
            place: None,
            steps: vec![Arc::new(RunWorkflow)],
            workflows: Vec::new(),
            provided: Provided::default(),
            drain_grace: DRAIN_GRACE,
            max_active_jobs: MAX_ACTIVE_JOBS_COUNT,
            keeping: Keeping::default(),
        }
    }

    /// Keeps everything under this directory: the store, the artifacts, the work directories. One
    /// engine at a time can have it open.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::Directory(directory.into()));
        self
    }

    /// Keeps everything in memory and in a temporary directory: nothing survives the engine.
    pub fn in_memory(mut self) -> Self {
        self.place = Some(Place::Memory);
        self
    }

    /// Keeps jobs in a store of the caller's own, and files in a temporary directory that goes with
    /// the engine: for stores that this crate does not know, and for tests.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.place = Some(Place::Given(store));
        self
    }

    /// Registers a step kind.
    pub fn step(mut self, step: impl Step) -> Self {
        self.steps.push(Arc::new(step));
        self
    }

    /// Registers an async function as a step kind.
    pub fn step_fn<F, I, O, Fut>(self, kind: impl Into<String>, body: F) -> Self
    where
        F: Fn(I, StepContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = StepResult<O>> + Send + 'static,
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + Send + 'static,
    {
        self.step(FnStep { kind: kind.into(), body, input: PhantomData })
    }

    /// Registers a workflow from YAML or JSON.
    pub fn workflow(mut self, text: impl Into<String>) -> Self {
        self.workflows.push(text.into());
        self
    }

    /// Gives a value to all steps, which find it by its type with [`StepContext::provided`]: a
    /// pool of connections, the program's own settings. The last one of a type counts.
    pub fn provide<T: std::any::Any + Send + Sync>(mut self, value: T) -> Self {
        self.provided.put(value);
        self
    }

    /// The time that an orderly shutdown gives to attempts that are running; 30 seconds unless set.
    pub fn drain_grace(mut self, time: Duration) -> Self {
        self.drain_grace = time;
        self
    }

    /// Jobs of one lane that are at work at once, from 1 to
    /// [`MAX_ACTIVE_JOBS_COUNT`](crate::limits::MAX_ACTIVE_JOBS_COUNT), which it is unless set.
    /// The others wait their turn in the store, first come first served. Jobs that belong to nobody
    /// are one lane, followers one, and children one for each level: so all together may be
    /// [`LANES_COUNT`](crate::limits::LANES_COUNT) times as many.
    pub fn max_active_jobs(mut self, count: usize) -> Self {
        self.max_active_jobs = count.clamp(1, MAX_ACTIVE_JOBS_COUNT);
        self
    }

    /// How long files are kept, how many bytes they may have, and whether results are kept for
    /// steps with the same input.
    pub fn keeping(mut self, keeping: Keeping) -> Self {
        self.keeping = keeping;
        self
    }

    /// Opens the engine. Every job that has not ended goes on.
    ///
    /// # Errors
    /// [`EngineError::Setup`] when no place or two step kinds of one name were given,
    /// [`EngineError::Refused`] with every problem of the workflows, [`EngineError::Store`] when
    /// the data directory cannot be opened or another engine has it.
    pub async fn open(self) -> Result<Engine, EngineError> {
        let (steps, catalog) = index(self.steps)?;
        let plans = load_all(&self.workflows, &catalog)?;
        let place = self.place.ok_or_else(no_place)?;
        let opened = tokio::task::spawn_blocking(move || open_place(place)).await;
        let place = opened.map_err(|error| EngineError::Setup(error.to_string()))??;
        let runtimes = Runtimes {
            control: Some(runtime("callsheet-control", CONTROL_THREADS_COUNT)?),
            bodies: Some(runtime("callsheet-steps", body_threads())?),
            scratch: place.scratch,
        };
        let handle = |runtime: &Option<Runtime>| runtime.as_ref().map(|it| it.handle().clone());
        let (Some(control), Some(bodies)) = (handle(&runtimes.control), handle(&runtimes.bodies))
        else {
            return Err(EngineError::Setup("the runtimes did not start".into()));
        };
        let (store, keeping, runtime) = (place.store.clone(), self.keeping, control.clone());
        let counted = move || Files::new(place.artifacts, store, keeping, runtime);
        let files = tokio::task::spawn_blocking(counted).await;
        let files = files.map_err(|error| EngineError::Setup(error.to_string()))??;
        let files = Arc::new(files);
        let shared = Shared {
            runtime: bodies,
            files: files.clone(),
            work_root: place.work_root,
            provided: self.provided,
            progress: broadcast::Sender::new(PROGRESS_BACKLOG_COUNT),
            gauges: Arc::default(),
            core: OnceLock::new(),
        };
        let core = Core::new(Parts {
            store: place.store,
            steps,
            catalog,
            shared,
            control: control.clone(),
            max_active_jobs: self.max_active_jobs,
        });
        plans.into_iter().for_each(|plan| core.plans.register(plan));
        let core = Arc::new(core);
        // Nobody has set it before.
        let _ = core.shared.core.set(Arc::downgrade(&core));
        control.spawn(watch(core.clone()));
        control.spawn(files::watch(files));
        let root = control
            .spawn(grow(core.clone()))
            .await
            .map_err(|error| EngineError::Setup(error.to_string()))??;
        Ok(Engine::new(Inner { core, root, drain_grace: self.drain_grace, runtimes }))
    }
}

async fn grow(core: Arc<Core>) -> Result<ractor::ActorRef<crate::tree::RootMsg>, EngineError> {
    let enrolled = core.roster.enroll("root", "root".into());
    let (root, _) = Actor::spawn(None, Root, (core, enrolled))
        .await
        .map_err(|error| EngineError::Setup(format!("the actors did not start: {error}")))?;
    Ok(root)
}

fn no_place() -> EngineError {
    EngineError::Setup(
        "say where to keep jobs: `data_dir(path)`, or `in_memory()` for tests".into(),
    )
}

/// A body that blocks its thread must leave threads for others: more of them than cores.
fn body_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    (2 * cores).max(8)
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, EngineError> {
    Builder::new_multi_thread()
        .thread_name(name)
        .worker_threads(threads)
        .max_blocking_threads(MAX_BLOCKING_THREADS_COUNT)
        .enable_all()
        .build()
        .map_err(|error| EngineError::Setup(format!("cannot start `{name}` threads: {error}")))
}

type Steps = HashMap<String, Arc<dyn AnyStep>>;

fn index(steps: Vec<Arc<dyn AnyStep>>) -> Result<(Steps, Catalog), EngineError> {
    let (mut table, mut catalog) = (Steps::new(), Catalog::default());
    for step in steps {
        let info = step.info();
        let name = info.name.clone();
        if catalog.insert(info).is_some() {
            let message = format!("the step kind `{name}` is registered twice");
            return Err(EngineError::Setup(message));
        }
        if catalog.get(&name).is_some_and(|it| it.cache.is_some() && it.effect == Effect::Once) {
            let message = format!("the step kind `{name}` is done once, and keeps its results");
            return Err(EngineError::Setup(message));
        }
        table.insert(name, step);
    }
    Ok((table, catalog))
}

/// Every problem of every workflow, not only the first one's.
fn load_all(texts: &[String], catalog: &Catalog) -> Result<Vec<Arc<Plan>>, EngineError> {
    let mut plans = Vec::new();
    let mut problems: Vec<Problem> = Vec::new();
    for text in texts {
        match Plan::load(text, catalog) {
            Ok(plan) => plans.push(Arc::new(plan)),
            Err(found) => problems.extend(found.0),
        }
    }
    Problems(problems).into_result()?;
    Ok(plans)
}

struct Opened {
    store: Arc<dyn Store>,
    artifacts: ArtifactStore,
    work_root: PathBuf,
    scratch: Option<Scratch>,
}

fn open_place(place: Place) -> Result<Opened, EngineError> {
    let io = |error: std::io::Error| EngineError::Setup(error.to_string());
    match place {
        Place::Directory(directory) => {
            let store = Arc::new(SledStore::open(&directory)?);
            let directory = directory.canonicalize().map_err(io)?;
            let work_root = directory.join("work");
            clean_work_root(&work_root).map_err(io)?;
            let artifacts = ArtifactStore::open(directory.join("artifacts"))?;
            Ok(Opened { store, artifacts, work_root, scratch: None })
        }
        Place::Memory => open_place(Place::Given(Arc::new(MemoryStore::default()))),
        Place::Given(store) => {
            let scratch = Scratch::new().map_err(io)?;
            let artifacts = ArtifactStore::open(scratch.path().join("artifacts"))?;
            let work_root = scratch.path().join("work");
            Ok(Opened { store, artifacts, work_root, scratch: Some(scratch) })
        }
    }
}

/// Ends what an engine that was killed has left running, and removes its temporary files. The store
/// is open by now, so no other engine can be at work here.
fn clean_work_root(work_root: &Path) -> std::io::Result<()> {
    let ended = end_strays(work_root);
    if ended > 0 {
        tracing::warn!(ended, "ended processes that a killed engine had left behind");
    }
    match std::fs::remove_dir_all(work_root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(work_root),
    }
}
