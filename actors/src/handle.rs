//! A handle to one job: look at it, wait for it, follow it, cancel it.

use std::collections::VecDeque;
use std::time::Duration;

use callsheet_engine::definition::nearest;
use callsheet_engine::limits::{MAX_DATA_NESTING_DEPTH, MAX_OUTPUT_BYTES};
use callsheet_engine::{HeldDoubt, JobId, JobState, Resolution, Timestamp};
use callsheet_storage::{CommitNotice, JobHead, Record};
use futures::Stream;
use futures::stream;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::size::measure;
use crate::tree::{CancelAnswer, JobMsg};

/// A job that only waits for a person sleeps until the end of the calendar, 9999-12-31, for store
/// and scheduler. Lists show it as held.
pub const HELD_UNTIL: Timestamp = Timestamp(253_402_300_799_999);

/// A handle to one job. Cheap to clone.
#[derive(Clone)]
pub struct JobHandle {
    engine: Engine,
    id: JobId,
}

/// What is recorded of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// What lists show of it.
    pub head: JobHead,
    /// The fold of its journal.
    pub state: JobState,
    /// Records in its journal.
    pub records: u64,
    /// How far it has come, 0 to 100: its steps by their weights, and of those that run what they
    /// say of themselves. 100 means that it has succeeded.
    pub progress: f64,
}

impl JobHandle {
    pub(crate) fn new(engine: Engine, id: JobId) -> Self {
        Self { engine, id }
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What is recorded of the job.
    ///
    /// # Errors
    /// [`EngineError::UnknownJob`], [`EngineError::Damaged`], [`EngineError::Store`].
    pub async fn view(&self) -> Result<JobView, EngineError> {
        self.engine.core().job_view(self.id).await
    }

    /// What lists show of the job: quicker than all that is recorded.
    ///
    /// # Errors
    /// [`EngineError::UnknownJob`], [`EngineError::Store`].
    pub async fn head(&self) -> Result<JobHead, EngineError> {
        self.engine.core().job_head(self.id).await
    }

    /// Waits until the job has ended.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub async fn wait(&self) -> Result<JobView, EngineError> {
        self.engine.core().job_end(self.id).await
    }

    /// Waits until the job has ended or the time is up, whichever is first.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub async fn wait_for(&self, time: Duration) -> Result<JobView, EngineError> {
        match tokio::time::timeout(time, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => self.view().await,
        }
    }

    /// Cancels the job. Answers once that is on stable storage: no step starts after it. The job's
    /// work is then stopped, child processes and all; [`wait`](Self::wait) tells when it is gone.
    ///
    /// # Errors
    /// As [`view`](Self::view); [`EngineError::ShuttingDown`]; [`EngineError::Full`] when there is
    /// no room to record it: then nothing is promised, and it can be asked for again.
    pub async fn cancel(&self, reason: Option<String>) -> Result<CancelAnswer, EngineError> {
        self.engine.core().cancel_job(self.id, reason).await
    }

    /// Decides about a step that is held because nobody knew whether its deed was done. Answers
    /// once that is on stable storage. `item` may be left out while one item of the step is held.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel); [`EngineError::UnknownStep`]; [`EngineError::NotHeld`], also
    /// when somebody else was quicker; [`EngineError::ResultInvalid`].
    pub async fn resolve(
        &self,
        step: &str,
        item: Option<u32>,
        resolution: Resolution,
    ) -> Result<(), EngineError> {
        check_result(&resolution)?;
        if self.engine.is_draining() {
            return Err(EngineError::ShuttingDown);
        }
        let doubt = held_doubt(&self.view().await?.state, step, item)?;
        let message = |reply| JobMsg::Resolve(doubt, resolution.clone(), reply);
        let was_held = self.engine.core().ask_job(self.id, message).await?;
        let why = "somebody has decided about it just now";
        match was_held {
            true => Ok(()),
            false => Err(EngineError::NotHeld { step: step.into(), why: why.into() }),
        }
    }

    /// The records of the job's journal from a sequence number on.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    pub async fn records(&self, from: u64) -> Result<Vec<Record>, EngineError> {
        self.engine.core().job_head(self.id).await?;
        Ok(self.engine.core().store.journal(self.id, from).await?)
    }

    /// The committed records of the job from a sequence number on, those to come included. Ends
    /// when the job has ended and the last record was handed over. Nothing is lost, however slowly
    /// it is read: what is missed live is read from the journal.
    pub fn events(
        &self,
        from: u64,
    ) -> impl Stream<Item = Result<Record, EngineError>> + Send + 'static {
        let follower = Follower {
            notices: self.engine.core().store.subscribe(),
            job: self.clone(),
            next: from,
            ready: VecDeque::new(),
            over: false,
        };
        stream::unfold(follower, |mut follower| async move {
            let item = follower.next_record().await?;
            Some((item, follower))
        })
    }
}

/// A person's result is bounded like one of a body.
fn check_result(resolution: &Resolution) -> Result<(), EngineError> {
    let Resolution::Succeeded(output) = resolution else { return Ok(()) };
    match measure(output) {
        Ok(bytes) if bytes > MAX_OUTPUT_BYTES => Err(EngineError::ResultInvalid(format!(
            "it has {bytes} bytes, more than {MAX_OUTPUT_BYTES}"
        ))),
        Ok(_) => Ok(()),
        Err(_) => Err(EngineError::ResultInvalid(format!(
            "it nests deeper than {MAX_DATA_NESTING_DEPTH}"
        ))),
    }
}

/// The doubt that is meant.
fn held_doubt(state: &JobState, step: &str, item: Option<u32>) -> Result<HeldDoubt, EngineError> {
    let index = state.plan.index_of(step).ok_or_else(|| {
        let ids = state.plan.steps().iter().map(|step| step.id.as_str());
        EngineError::UnknownStep {
            step: step.to_owned(),
            nearest: nearest(step, ids).map(str::to_owned),
        }
    })?;
    let held: Vec<_> = state.held().filter(|doubt| doubt.step == index).collect();
    let why = match (item, held.as_slice()) {
        (None, [only]) => return Ok(*only),
        (Some(item), held) if let Some(doubt) = held.iter().find(|doubt| doubt.item.0 == item) => {
            return Ok(*doubt);
        }
        (None, []) => "none of its doubts waits for a person".to_owned(),
        (Some(item), _) => format!("its item {item} waits for no person"),
        (None, [first, ..]) => {
            format!("{} of its items are; say which, such as {}", held.len(), first.item.0)
        }
    };
    Err(EngineError::NotHeld { step: step.to_owned(), why })
}

/// Where a reader of a job's events stands.
struct Follower {
    job: JobHandle,
    notices: Receiver<CommitNotice>,
    next: u64,
    ready: VecDeque<Record>,
    over: bool,
}

impl Follower {
    async fn next_record(&mut self) -> Option<Result<Record, EngineError>> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                self.next = record.sequence + 1;
                return Some(Ok(record));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.refill().await {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    async fn refill(&mut self) -> Result<(), EngineError> {
        // The head is read first: a job that has ended by then has its last record in the journal.
        let ended = self.job.engine.core().job_head(self.job.id).await?.status.has_ended();
        self.ready = self.job.records(self.next).await?.into();
        self.over = ended;
        if !ended && self.ready.is_empty() {
            next_notice(&mut self.notices, self.job.id).await?;
        }
        Ok(())
    }
}

/// Waits until something of this job was committed, or something was missed.
async fn next_notice(notices: &mut Receiver<CommitNotice>, job: JobId) -> Result<(), EngineError> {
    loop {
        match notices.recv().await {
            Ok(notice) if notice.job != job => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return Ok(()),
            Err(RecvError::Closed) => return Err(EngineError::ShuttingDown),
        }
    }
}
