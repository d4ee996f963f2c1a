//! What the journal says about a job: the result of folding its events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::failure::Failure;
use crate::ids::{ItemIndex, JobId, StepIndex, Token};
use crate::plan::{Plan, PlannedStep};
use crate::time::Timestamp;

/// The recorded state of one job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobState {
    /// Which job.
    pub id: JobId,
    /// The graph that it runs, frozen at submit.
    pub plan: Arc<Plan>,
    /// Its input, checked.
    pub input: Arc<Value>,
    /// The submitter's own marks.
    pub labels: BTreeMap<String, String>,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// Where it stands as a whole.
    pub phase: Phase,
    /// Where each step stands, in the plan's order.
    pub steps: Vec<StepState>,
    /// Steps whose needs have settled and that have not been looked at yet.
    pub(crate) ready: BTreeSet<StepIndex>,
    /// Steps with items that have not started, though some have.
    pub(crate) hungry: BTreeSet<StepIndex>,
    /// Waits for a next attempt, soonest first.
    pub(crate) waits: BTreeSet<(Timestamp, StepIndex, ItemIndex)>,
    /// Attempts that are open, by fence.
    pub(crate) open: BTreeMap<Token, (StepIndex, ItemIndex)>,
    /// Steps that have not settled.
    pub(crate) unsettled: usize,
    /// The next attempt's fence.
    pub(crate) next_token: u64,
    /// Live, not recorded: the process is about to stop, so nothing starts any more.
    pub(crate) draining: bool,
}

/// Where a job stands as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Steps run, wait or are to come.
    Running,
    /// No attempt starts any more; the open ones are being stopped.
    Stopping(StopCause),
    /// Over, for ever.
    Ended {
        /// How.
        ending: Ending,
        /// When.
        at: Timestamp,
    },
}

/// Why a job is being stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum StopCause {
    /// Somebody asked for it.
    Cancel,
    /// A step failed for good.
    Failure(Failure),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With this output.
    Succeeded(Arc<Value>),
    /// With this failure.
    Failed(Failure),
    /// Cancelled.
    Cancelled,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
    /// Needs that have not settled.
    pub(crate) unmet: u32,
    /// Whether a step that it needs was skipped.
    pub(crate) after_skip: bool,
    /// Attempts made so far, over all items.
    pub attempts: u32,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it settled.
    pub ended_at: Option<Timestamp>,
    /// The status itself.
    pub status: StepStatus,
}

/// Status of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum StepStatus {
    /// Its needs have not all settled, or it has not been looked at.
    Pending,
    /// Some of its items are to start, running or waiting.
    Active(Active),
    /// All items succeeded (or failed and may be missing).
    Succeeded(Arc<Value>),
    /// It did not have to run.
    Skipped,
    /// It failed; when the workflow goes on all the same, its output is `null`.
    Failed(Failure),
    /// Stopped with its job.
    Cancelled,
}

/// The items of a step at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// The values of `for_each`; `None` for a step without it.
    pub(crate) values: Option<Vec<Value>>,
    /// Where each item stands.
    pub items: Vec<Item>,
    /// The first item that has never started.
    pub(crate) next: usize,
    /// Items that are running or wait for a next attempt.
    pub(crate) busy: usize,
    /// Items that have settled.
    pub(crate) settled: usize,
}

/// One item of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Attempts made so far.
    pub attempts: u32,
    /// Attempts made with the present candidate.
    pub(crate) tries: u32,
    /// Deaths of the process or the actor since an attempt last ended by itself.
    pub(crate) deaths: u32,
    /// The kind in use: 0 for the step's own, n for the n-th fallback.
    pub candidate: u32,
    /// The status itself.
    pub status: ItemStatus,
}

/// Status of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemStatus {
    /// To be started.
    Queued,
    /// An attempt is open.
    Running {
        /// Its fence.
        token: Token,
        /// When it began.
        since: Timestamp,
    },
    /// The last attempt failed; the next is due.
    Waiting {
        /// When.
        due: Timestamp,
    },
    /// It has its result.
    Succeeded(Value),
    /// It failed for good.
    Failed(Failure),
    /// Stopped with its job.
    Cancelled,
}

impl StepState {
    pub(crate) fn new(planned: &PlannedStep) -> Self {
        Self {
            unmet: u32::try_from(planned.needs.len()).unwrap_or(u32::MAX),
            after_skip: false,
            attempts: 0,
            started_at: None,
            ended_at: None,
            status: StepStatus::Pending,
        }
    }
}

impl Item {
    pub(crate) fn new() -> Self {
        Self { attempts: 0, tries: 0, deaths: 0, candidate: 0, status: ItemStatus::Queued }
    }
}

impl Active {
    pub(crate) fn single() -> Self {
        Self { values: None, items: vec![Item::new()], next: 0, busy: 0, settled: 0 }
    }

    pub(crate) fn fan_out(values: Vec<Value>) -> Self {
        let items = values.iter().map(|_| Item::new()).collect();
        Self { values: Some(values), items, next: 0, busy: 0, settled: 0 }
    }

    /// How many items there are, and how many of them have settled.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (self.settled, self.items.len())
    }
}

impl JobState {
    /// Whether the job is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether nothing can happen before a wait is over: such a job needs no actor.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        self.phase == Phase::Running && self.open.is_empty() && !self.waits.is_empty()
    }

    /// When the next wait is over.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.waits.first().map(|(due, _, _)| *due)
    }

    /// Fences of the attempts that are open.
    pub fn open_tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.open.keys().copied()
    }

    /// The step and item that an open attempt is at.
    #[must_use]
    pub fn open_attempt(&self, token: Token) -> Option<(StepIndex, ItemIndex)> {
        self.open.get(&token).copied()
    }

    /// What expressions see of a step: its output once it has settled, `null` when it was skipped
    /// or failed and the workflow went on.
    #[must_use]
    pub fn output_of(&self, id: &str) -> Option<&Value> {
        let index = self.plan.index_of(id)?;
        match &self.steps[index.at()].status {
            StepStatus::Succeeded(output) => Some(output),
            StepStatus::Skipped | StepStatus::Failed(_) => Some(&Value::Null),
            StepStatus::Pending | StepStatus::Active(_) | StepStatus::Cancelled => None,
        }
    }
}
