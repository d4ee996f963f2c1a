//! The life of one job over a store: decide, commit, again, with bodies that are words in a script.

use std::sync::Arc;

use callsheet_engine::definition::parse;
use callsheet_engine::{
    Decision, Ending, Failure, Input, JobId, JobState, Outcome, Phase, Plan, Submission, Timestamp,
    Token, decide, fold, submit,
};
use callsheet_storage::{Commit, Created, JobHead, JobStatus, NewJob, Record, Store};
use serde_json::json;

use super::scripts::{Script, Turn};

/// A wait longer than this is a sleep.
const SLEEP_MS: u64 = 60_000;
/// Turns after which a job that does not end is said to hang.
const MAX_TURNS: usize = 200;

/// A job under an owner's epoch.
pub struct Life {
    pub state: JobState,
    head: JobHead,
    epoch: u64,
    sequence: u64,
    now: Timestamp,
}

/// The plan of a workflow written in YAML.
pub fn plan(yaml: &str) -> Arc<Plan> {
    let workflow = parse(yaml).unwrap_or_else(|problems| panic!("{problems:?}"));
    Arc::new(Plan::recompile(workflow).unwrap_or_else(|problems| panic!("{problems:?}")))
}

/// The state that a journal folds to, under the definition that the store keeps.
pub async fn folded(store: &impl Store, head: &JobHead, records: &[Record]) -> JobState {
    let definition = store.definition(head.workflow.digest.clone()).await.unwrap().unwrap();
    let plan = Arc::new(Plan::recompile(definition).unwrap());
    fold(head.id, plan, records.iter().flat_map(|record| &record.events)).unwrap()
}

/// Whether a head can stand over this state.
pub fn agrees(status: JobStatus, phase: &Phase) -> bool {
    match (status, phase) {
        (JobStatus::Running | JobStatus::Sleeping { .. }, Phase::Running)
        | (JobStatus::Stopping, Phase::Stopping(_)) => true,
        (status, Phase::Ended { ending, .. }) => status == ended(ending),
        _ => false,
    }
}

impl Life {
    /// Submits the job of a script and takes it over.
    pub async fn begin(store: &impl Store, script: &Script) -> Self {
        let plan = plan(script.workflow);
        let definition = plan.workflow().clone();
        let (id, now) = (script.id, script.submitted_at);
        let (input, labels) = (script.input.clone(), script.labels.clone());
        let (state, event) =
            submit(Submission { id, plan, input, labels, options: Default::default() }, now)
                .unwrap();
        let head = head_of(&state, now);
        let idempotency = script.key.clone();
        let job = NewJob { head, events: vec![event], definition, idempotency };
        assert_eq!(store.create(job).await, Ok(Created::New));
        Self::resume(store, id, now).await
    }

    /// Takes a job over and begins what its journal has open anew.
    pub async fn resume(store: &impl Store, id: JobId, now: Timestamp) -> Self {
        let claim = store.claim(id).await.unwrap();
        let state = folded(store, &claim.head, &claim.records).await;
        let sequence = claim.records.len() as u64;
        let mut life = Self { state, head: claim.head, epoch: claim.epoch, sequence, now };
        life.turn(store, Input::Resume).await;
        life
    }

    /// A new owner after a restart, if the job has not ended.
    pub async fn take_over(&mut self, store: &impl Store) {
        if !self.state.has_ended() {
            *self = Self::resume(store, self.state.id, self.now).await;
        }
    }

    /// Plays the turns of a script.
    pub async fn play(&mut self, store: &impl Store, turns: &[Turn]) {
        for turn in turns {
            match turn {
                Turn::Ends(name, outcome) => {
                    let token = self.open_at(name);
                    let outcome = outcome.clone();
                    self.turn(store, Input::StepEnded { token, outcome }).await;
                }
                Turn::Passes(span) => {
                    self.now = self.now + *span;
                    self.turn(store, Input::TimerFired).await;
                }
                Turn::Cancels(reason) => {
                    let reason = reason.map(str::to_owned);
                    self.turn(store, Input::Cancel { reason }).await;
                }
                Turn::Dies => self.take_over(store).await,
            }
        }
    }

    /// Lets every open attempt succeed and every wait pass, until the job has ended. With the
    /// number of bodies that ran.
    pub async fn run_to_end(&mut self, store: &impl Store) -> usize {
        let mut bodies = 0;
        for _ in 0..MAX_TURNS {
            if self.state.has_ended() {
                return bodies;
            }
            let open = self.state.open_tokens().next();
            match (open, self.state.next_wake()) {
                (Some(token), _) => {
                    bodies += 1;
                    let outcome = Outcome::Succeeded(json!({ "file": "after" }));
                    self.turn(store, Input::StepEnded { token, outcome }).await;
                }
                (None, Some(due)) => {
                    self.now = self.now.max(due);
                    self.turn(store, Input::TimerFired).await;
                }
                (None, None) => panic!("job {} waits for nothing", self.state.id),
            }
        }
        panic!("job {} does not end", self.state.id)
    }

    async fn turn(&mut self, store: &impl Store, input: Input) {
        let Decision { events, .. } = decide(&mut self.state, input, self.now);
        if events.is_empty() {
            return;
        }
        let next =
            JobHead { submitted_at: self.head.submitted_at, ..head_of(&self.state, self.now) };
        let head = (next.status != self.head.status).then_some(next);
        let (job, epoch, sequence) = (self.state.id, self.epoch, self.sequence);
        let commit = Commit { job, epoch, sequence, events, head: head.clone() };
        assert_eq!(store.commit(commit).await, Ok(()), "job {job}, record {sequence}");
        self.sequence += 1;
        self.head = head.unwrap_or_else(|| self.head.clone());
    }

    fn open_at(&self, name: &str) -> Token {
        let is_named = |token: &Token| {
            let (step, item) = self.state.open_attempt(*token).unwrap();
            let step = self.state.plan.step(step);
            match step.for_each {
                Some(_) => format!("{}[{}]", step.id, item.0) == name,
                None => step.id == name,
            }
        };
        let open = self.state.open_tokens().find(is_named);
        open.unwrap_or_else(|| panic!("job {}: no attempt is open at {name}", self.state.id))
    }
}

fn head_of(state: &JobState, now: Timestamp) -> JobHead {
    let plan = &state.plan;
    JobHead {
        id: state.id,
        workflow: callsheet_engine::WorkflowRef {
            name: plan.workflow().name.clone(),
            digest: plan.digest().to_owned(),
        },
        status: status_of(state, now),
        submitted_at: now,
        changed_at: now,
        labels: state.labels.clone(),
    }
}

fn status_of(state: &JobState, now: Timestamp) -> JobStatus {
    match &state.phase {
        Phase::Running => match state.next_wake() {
            Some(until) if state.only_waits() && until.since(now).0 > SLEEP_MS => {
                JobStatus::Sleeping { until }
            }
            _ => JobStatus::Running,
        },
        Phase::Stopping(_) => JobStatus::Stopping,
        Phase::Ended { ending, .. } => ended(ending),
    }
}

fn ended(ending: &Ending) -> JobStatus {
    match ending {
        Ending::Succeeded(_) => JobStatus::Succeeded,
        Ending::Failed(_) => JobStatus::Failed,
        Ending::Cancelled => JobStatus::Cancelled,
    }
}

/// A failure that another try may mend.
pub fn transient() -> Failure {
    Failure::retryable("test.busy", "the other side was busy").with_hint("wait a moment")
}

/// A failure that no other try mends.
pub fn lasting() -> Failure {
    Failure::fatal("test.wrong", "the film has no sound")
}
