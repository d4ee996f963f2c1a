//! What all actors of one engine share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use callsheet_engine::definition::Catalog;
use callsheet_storage::{Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::cancels::Cancels;
use crate::context::Shared;
use crate::error::EngineError;
use crate::kin::Living;
use crate::mailbox::{Gone, Mailbox, Roster};
use crate::plans::Plans;
use crate::stats::Counters;
use crate::step::AnyStep;
use crate::tree::{JobsMsg, Nursery};
use crate::waiters::Waiters;

pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) steps: HashMap<String, Arc<dyn AnyStep>>,
    pub(crate) catalog: Catalog,
    pub(crate) plans: Plans,
    pub(crate) shared: Arc<Shared>,
    /// The actors' own runtime; bodies run on `shared.runtime`.
    pub(crate) control: Handle,
    pub(crate) bodies: Arc<Semaphore>,
    /// When the engine was opened.
    pub(crate) opened: Instant,
    /// The place for the one job that is tried.
    pub(crate) trials: Arc<Semaphore>,
    /// Jobs that wait for it.
    pub(crate) aside: Arc<AtomicUsize>,
    /// Jobs that may run at once.
    pub(crate) max_active_jobs: usize,
    pub(crate) counters: Counters,
    pub(crate) roster: Roster,
    pub(crate) nursery: Nursery,
    pub(crate) waiters: Waiters,
    pub(crate) cancels: Cancels,
    pub(crate) living: Living,
    /// How many jobs have an actor.
    pub(crate) active: watch::Sender<usize>,
    /// Why the engine has died, once it has.
    pub(crate) failed: watch::Sender<Option<EngineError>>,
    draining: AtomicBool,
    /// Whether the store was closed in order, which is no failure.
    closed: AtomicBool,
    jobs: Mutex<Option<Mailbox<JobsMsg>>>,
}

/// The parts of a [`Core`] that differ from engine to engine.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) steps: HashMap<String, Arc<dyn AnyStep>>,
    pub(crate) catalog: Catalog,
    pub(crate) shared: Shared,
    pub(crate) control: Handle,
    pub(crate) max_active_jobs: usize,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, steps, catalog, shared, control, max_active_jobs } = parts;
        Self {
            store,
            steps,
            catalog,
            shared: Arc::new(shared),
            control,
            plans: Plans::default(),
            bodies: Arc::new(Semaphore::new(crate::limits::MAX_RUNNING_BODIES_COUNT)),
            opened: Instant::now(),
            trials: Arc::new(Semaphore::new(1)),
            aside: Arc::default(),
            max_active_jobs,
            counters: Counters::default(),
            roster: Roster::default(),
            nursery: Nursery::default(),
            waiters: Waiters::default(),
            cancels: Cancels::default(),
            living: Living::default(),
            active: watch::Sender::new(0),
            failed: watch::Sender::new(None),
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            jobs: Mutex::new(None),
        }
    }

    /// The jobs supervisor of the moment: it is another one after the tree was restarted.
    pub(crate) fn tell_jobs(&self, message: JobsMsg) -> Result<(), Gone> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        jobs.ok_or(Gone)?.send(message)
    }

    pub(crate) fn set_jobs(&self, jobs: Option<Mailbox<JobsMsg>>) {
        *self.jobs.lock().unwrap_or_else(PoisonError::into_inner) = jobs;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Notes an error of the store; a fatal one is told to whoever waits for the engine's end.
    pub(crate) fn note(&self, error: &StoreError) {
        if error.is_fatal() {
            self.fail(EngineError::Store(error.clone()));
        }
    }

    /// Tells whoever waits for the engine's end that it has come. The first reason stays.
    pub(crate) fn fail(&self, reason: EngineError) {
        tracing::error!(error = %reason, "the engine has failed");
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(reason);
            first
        });
        self.waiters.close();
    }

    /// The answer to a submit that finds no room for files.
    pub(crate) fn no_room_for_files(&self) -> EngineError {
        let files = &self.shared.files.artifacts;
        EngineError::Quota { used: files.used_bytes(), most: files.max_bytes().unwrap_or(u64::MAX) }
    }

    /// Whether the engine still works.
    pub(crate) fn health(&self) -> Result<(), EngineError> {
        self.store.health()?;
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }
}
