//! A job to submit, and what becomes of it before it is accepted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsheet_engine::{JobId, JobOptions, Millis, Plan, Submission, WorkflowRef, mutated, submit};
use callsheet_storage::{Digest, Idempotency, JobHead, JobStatus, NewJob};
use serde_json::Value;

use crate::clock;
use crate::core::Core;
use crate::error::EngineError;
use crate::files::Keeping;
use crate::handle::JobHandle;
use crate::kin;
use crate::limits::MAX_KEY_BYTES;

/// A job to submit.
#[derive(Clone, Debug)]
pub struct Submit {
    workflow: Choice,
    input: Value,
    labels: BTreeMap<String, String>,
    /// The engine's own labels. They are no part of what was asked for.
    marks: BTreeMap<String, String>,
    idempotency_key: Option<String>,
    follower: Option<Box<Submit>>,
    /// None for what the engine is told.
    retention: Option<Option<Duration>>,
    no_cache: bool,
    /// What else equal requests have in common.
    asked_with: String,
}

#[derive(Clone, Debug)]
enum Choice {
    Named(String),
    Plan(Arc<Plan>),
}

impl Submit {
    /// A job of a registered workflow.
    pub fn named(workflow: impl Into<String>, input: Value) -> Self {
        Self::new(Choice::Named(workflow.into()), input)
    }

    /// A job of a workflow that need not be registered.
    #[must_use]
    pub fn plan(plan: Arc<Plan>, input: Value) -> Self {
        Self::new(Choice::Plan(plan), input)
    }

    fn new(workflow: Choice, input: Value) -> Self {
        Self {
            workflow,
            input,
            labels: BTreeMap::new(),
            marks: BTreeMap::new(),
            idempotency_key: None,
            follower: None,
            retention: None,
            no_cache: false,
            asked_with: String::new(),
        }
    }

    /// The same with a mark of the submitter's own, shown in lists.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// The same with a key: however often it is submitted with this key, it is one job.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The same with a time for which its files are kept after its end, none for ever; what
    /// [`Keeping::retention`](crate::Keeping::retention) says unless set.
    #[must_use]
    pub fn retention(mut self, time: Option<Duration>) -> Self {
        self.retention = Some(time);
        self
    }

    /// The same with every step run, whatever results there are of before.
    #[must_use]
    pub fn no_cache(mut self) -> Self {
        self.no_cache = true;
        self
    }

    /// The same with the options of another job.
    pub(crate) fn options_of(mut self, options: JobOptions) -> Self {
        self.retention = Some(options.retention.map(Duration::from));
        self.no_cache = options.no_cache;
        self
    }

    /// What of its options was asked for, as text. What the engine is told may be another at the
    /// next try, and is no part of it; nothing when there is nothing, as it was before there were
    /// any.
    fn options_asked(&self) -> String {
        let never = Keeping { retention: None, ..Keeping::default() };
        let options = self.options(&never);
        match (self.retention, options.is_default()) {
            (Some(None), _) => format!(" {options:?} for ever"),
            (_, false) => format!(" {options:?}"),
            (_, true) => String::new(),
        }
    }

    /// What is recorded of it with the job.
    fn options(&self, keeping: &Keeping) -> JobOptions {
        let millis = |time: Duration| Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let retention = self.retention.unwrap_or(keeping.retention).map(millis);
        JobOptions { retention, no_cache: self.no_cache }
    }

    /// The same, followed by another job: both are accepted in one step, and the other begins when
    /// this one has ended, however it ended, whatever happens to the process in between. Its steps
    /// find out how by [`StepContext::followed`](crate::StepContext::followed). Until then it
    /// sleeps and costs a row in the store.
    #[must_use]
    pub fn followed_by(mut self, follower: Self) -> Self {
        self.follower = Some(Box::new(follower));
        self
    }

    /// The same with a label of the engine's own.
    pub(crate) fn marked(mut self, name: &str, value: String) -> Self {
        self.marks.insert(name.to_owned(), value);
        self
    }

    /// The job and the one that follows it, if both may be asked for.
    pub(crate) fn parted(mut self) -> Result<(Self, Option<Self>), EngineError> {
        let follower = self.follower.take().map(|follower| *follower);
        for submit in [Some(&self), follower.as_ref()].into_iter().flatten() {
            if let Some(name) = kin::MARKS.iter().find(|name| submit.labels.contains_key(**name)) {
                return Err(EngineError::LabelReserved((*name).to_owned()));
            }
        }
        let refuse = |why: &str| Err(EngineError::Setup(why.to_owned()));
        match &follower {
            Some(follower) if follower.follower.is_some() => {
                refuse("a job that follows another has none after it")
            }
            Some(follower) if follower.idempotency_key.is_some() => {
                refuse("a job that follows another has no idempotency key of its own")
            }
            _ => Ok((self, follower)),
        }
    }
}

/// The answer to a submit.
#[derive(Clone)]
pub struct Submitted {
    /// The job.
    pub job: JobHandle,
    /// False when the same key and request had given the job before.
    pub is_new: bool,
}

impl Core {
    /// Whether jobs are taken at all.
    pub(crate) fn is_open(&self) -> Result<(), EngineError> {
        if self.is_draining() {
            return Err(EngineError::ShuttingDown);
        }
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }

    /// Whether there is room for the files of a job from outside. A child is a part of one that was
    /// taken, and one that was accepted before, under its key, needs no more than it has.
    pub(crate) async fn has_room_for(&self, job: &NewJob) -> Result<(), EngineError> {
        if self.shared.files.has_room_for_job().await {
            return Ok(());
        }
        match &job.idempotency {
            Some(asked) if self.store.key(asked.key.clone()).await?.is_some() => Ok(()),
            _ => Err(self.no_room_for_files()),
        }
    }

    /// Checks a job and makes its first record.
    pub(crate) fn prepare(
        &self,
        id: JobId,
        request: Submit,
        status: JobStatus,
    ) -> Result<NewJob, EngineError> {
        let options = request.options(&self.shared.files.keeping);
        let options_asked = request.options_asked();
        let Submit { workflow, input, labels, marks, idempotency_key, asked_with, .. } = request;
        let plan = self.chosen(workflow)?;
        let key = idempotency_key.filter(|_| !mutated("idempotency-lookup"));
        let asked = || format!("{} {input} {labels:?}{options_asked}{asked_with}", plan.digest());
        let idempotency = key.map(|key| keyed(key, &asked())).transpose()?;
        self.plans.keep(&plan);
        let now = clock::now();
        let labels = labels.into_iter().chain(marks).collect();
        let (state, event) = submit(Submission { id, plan, input, labels, options }, now)?;
        let plan = &state.plan;
        let head = JobHead {
            id,
            workflow: WorkflowRef {
                name: plan.workflow().name.clone(),
                digest: plan.digest().to_owned(),
            },
            status,
            submitted_at: now,
            changed_at: now,
            labels: state.labels.clone(),
        };
        let definition = Arc::clone(plan.workflow());
        Ok(NewJob { head, events: vec![event], definition, idempotency })
    }

    /// The job that follows another, which learns of it.
    pub(crate) fn follower(
        &self,
        job: JobId,
        follower: Submit,
        other: &mut Submit,
    ) -> Result<NewJob, EngineError> {
        let id = kin::new_id(kin::FOLLOWER);
        let status = JobStatus::Sleeping { until: kin::FOLLOWS_UNTIL };
        let plan = self.chosen(follower.workflow.clone())?;
        // Under one key it is one job only if it is followed by the same.
        other.asked_with = format!(" {} {}", plan.digest(), follower.input);
        other.marks.insert(kin::FOLLOWED_BY.to_owned(), id.to_string());
        self.prepare(id, follower.marked(kin::FOLLOWS, job.to_string()), status)
    }

    fn chosen(&self, workflow: Choice) -> Result<Arc<Plan>, EngineError> {
        match workflow {
            Choice::Named(name) => self.plans.named(&name),
            Choice::Plan(plan) => Ok(plan),
        }
    }
}

/// Two submits are the same request when workflow, input and labels are, the options that are asked
/// for, and what follows. `Value` keeps its keys sorted, so equal requests have equal text.
fn keyed(key: String, request: &str) -> Result<Idempotency, EngineError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(EngineError::KeyInvalid(format!(
            "it has {} bytes, not 1 to {MAX_KEY_BYTES}",
            key.len()
        )));
    }
    Ok(Idempotency { key, request: Digest::of(request.as_bytes()).to_string() })
}
