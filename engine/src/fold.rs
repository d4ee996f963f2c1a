//! The fold: one total function from state and event to state.
//!
//! The live state and the state read back after a crash go through the same function, so they
//! cannot differ. An event that the state does not allow is a typed error: a damaged or foreign
//! journal is noticed at its first wrong record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::definition::OnError;
use crate::event::{Event, Interruption};
use crate::failure::Failure;
use crate::ids::{ItemIndex, JobId, StepIndex, Token};
use crate::plan::Plan;
use crate::state::{
    Active, Ending, Item, ItemStatus, JobState, Phase, StepState, StepStatus, StopCause,
};
use crate::time::Timestamp;

/// The journal says something that cannot follow what it said before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is damaged: `{event}` cannot follow: {why}")]
pub struct IllegalEvent {
    /// The kind of the event.
    pub event: &'static str,
    /// Why it is illegal here.
    pub why: String,
}

type Folded = Result<(), IllegalEvent>;

fn illegal<T>(event: &'static str, why: impl Into<String>) -> Result<T, IllegalEvent> {
    Err(IllegalEvent { event, why: why.into() })
}

/// The state of a job after its whole journal.
///
/// # Errors
/// [`IllegalEvent`] when the events are not the journal of a job that runs `plan`.
pub fn fold<'e>(
    id: JobId,
    plan: Arc<Plan>,
    events: impl IntoIterator<Item = &'e Event>,
) -> Result<JobState, IllegalEvent> {
    let mut events = events.into_iter();
    let Some(first) = events.next() else {
        return illegal("nothing", "the journal is empty");
    };
    let mut state = JobState::begin(id, plan, first)?;
    for event in events {
        state.apply(event)?;
    }
    Ok(state)
}

impl JobState {
    /// The state after the first event of a journal.
    pub(crate) fn begin(id: JobId, plan: Arc<Plan>, first: &Event) -> Result<Self, IllegalEvent> {
        let Event::JobSubmitted { workflow, input, labels, at } = first else {
            return illegal(first.kind(), "a journal begins with `JobSubmitted`");
        };
        if workflow.digest != plan.digest() {
            return illegal(first.kind(), "the definition at hand has another digest");
        }
        let steps: Vec<StepState> = plan.steps().iter().map(StepState::new).collect();
        let ready = (0u32..)
            .zip(&steps)
            .filter(|(_, step)| step.unmet == 0)
            .map(|(index, _)| StepIndex(index))
            .collect();
        Ok(Self {
            id,
            input: Arc::new(input.clone()),
            labels: labels.clone(),
            submitted_at: *at,
            phase: Phase::Running,
            ready,
            hungry: BTreeSet::new(),
            waits: BTreeSet::new(),
            open: BTreeMap::new(),
            unsettled: steps.len(),
            next_token: 1,
            draining: false,
            steps,
            plan,
        })
    }

    /// Advances the state by one event.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the event cannot follow; the state must then be thrown away.
    pub fn apply(&mut self, event: &Event) -> Folded {
        if self.has_ended() {
            return illegal(event.kind(), "the job has ended");
        }
        match event {
            Event::JobSubmitted { .. } => illegal(event.kind(), "the job was submitted before"),
            Event::StepSkipped { step, at } => self.skip(*step, *at),
            Event::StepExpanded { step, items, at } => self.expand(*step, items, *at),
            Event::StepStarted { step, item, attempt, token, candidate, at } => {
                self.start(*step, *item, (*attempt, *candidate), *token, *at)
            }
            Event::StepSucceeded { token, output, at } => self.succeed(*token, output, *at),
            Event::AttemptFailed { token, retry_at, candidate, .. } => {
                self.wait(*token, *retry_at, *candidate)
            }
            Event::AttemptInterrupted { token, cause, .. } => self.interrupt(*token, *cause),
            Event::ItemFailed { step, item, failure, at } => {
                self.fail_item(*step, *item, failure, *at)
            }
            Event::StepFailed { step, failure, at } => self.fail_step(*step, failure, *at),
            Event::AttemptCancelled { token, at } => self.cancel_attempt(*token, *at),
            Event::CancelRequested { .. } => self.request_cancel(),
            Event::JobSucceeded { output, at } => self.end_well(output, *at),
            Event::JobFailed { failure, at } => self.end_badly(failure, *at),
            Event::JobCancelled { at } => self.end_cancelled(*at),
        }
    }

    fn skip(&mut self, step: StepIndex, at: Timestamp) -> Folded {
        self.take_ready("StepSkipped", step)?;
        self.settle(step, StepStatus::Skipped, at);
        Ok(())
    }

    fn expand(&mut self, step: StepIndex, items: &[Value], at: Timestamp) -> Folded {
        self.take_ready("StepExpanded", step)?;
        if items.is_empty() {
            self.settle(step, StepStatus::Succeeded(Arc::new(Value::Array(vec![]))), at);
            return Ok(());
        }
        self.steps[step.at()].status = StepStatus::Active(Active::fan_out(items.to_vec()));
        self.hungry.insert(step);
        Ok(())
    }

    fn start(
        &mut self,
        step: StepIndex,
        item: ItemIndex,
        (attempt, candidate): (u32, u32),
        token: Token,
        at: Timestamp,
    ) -> Folded {
        const EVENT: &str = "StepStarted";
        if token.0 < self.next_token {
            return illegal(EVENT, format!("fence {} was used before", token.0));
        }
        if self.phase != Phase::Running {
            return illegal(EVENT, "the job is being stopped");
        }
        if self.ready.contains(&step) {
            if self.plan.step(step).for_each.is_some() {
                return illegal(EVENT, "the step was not expanded");
            }
            self.ready.remove(&step);
            self.steps[step.at()].status = StepStatus::Active(Active::single());
            self.hungry.insert(step);
        }
        let due = self.mark_running(step, item, (attempt, candidate), token, at)?;
        if let Some(due) = due {
            self.waits.remove(&(due, step, item));
        }
        self.open.insert(token, (step, item));
        self.next_token = token.0 + 1;
        Ok(())
    }

    /// Turns an item to running; answers when it had been due, if it waited.
    fn mark_running(
        &mut self,
        step: StepIndex,
        item: ItemIndex,
        (attempt, candidate): (u32, u32),
        token: Token,
        at: Timestamp,
    ) -> Result<Option<Timestamp>, IllegalEvent> {
        const EVENT: &str = "StepStarted";
        let record = &mut self.steps[step.at()];
        let StepStatus::Active(active) = &mut record.status else {
            return illegal(EVENT, "the step is not at work");
        };
        let Some(slot) = active.items.get_mut(item.at()) else {
            return illegal(EVENT, format!("the step has no item {}", item.0));
        };
        if attempt != slot.attempts + 1 {
            return illegal(EVENT, format!("attempt {attempt} follows {}", slot.attempts));
        }
        let due = match slot.status {
            ItemStatus::Queued if item.at() == active.next => {
                active.next += 1;
                active.busy += 1;
                None
            }
            ItemStatus::Waiting { due } => Some(due),
            _ => return illegal(EVENT, "the item is not to be started"),
        };
        slot.attempts = attempt;
        slot.tries += 1;
        slot.candidate = candidate;
        slot.status = ItemStatus::Running { token, since: at };
        record.attempts += 1;
        record.started_at.get_or_insert(at);
        if active.next == active.items.len() {
            self.hungry.remove(&step);
        }
        Ok(due)
    }

    fn succeed(&mut self, token: Token, output: &Value, at: Timestamp) -> Folded {
        let (step, item) = self.close_running("StepSucceeded", token)?;
        self.item_mut(step, item).status = ItemStatus::Succeeded(output.clone());
        self.settle_item(step, at);
        Ok(())
    }

    fn wait(&mut self, token: Token, due: Timestamp, candidate: u32) -> Folded {
        let (step, item) = self.close_running("AttemptFailed", token)?;
        let slot = self.item_mut(step, item);
        if slot.candidate != candidate {
            slot.tries = 0;
        }
        slot.deaths = 0;
        slot.candidate = candidate;
        slot.status = ItemStatus::Waiting { due };
        self.waits.insert((due, step, item));
        Ok(())
    }

    /// An interrupted attempt is due again at once; it does not count against the retry policy.
    fn interrupt(&mut self, token: Token, cause: Interruption) -> Folded {
        let (step, item) = self.close_running("AttemptInterrupted", token)?;
        let slot = self.item_mut(step, item);
        slot.tries -= 1;
        if cause == Interruption::Death {
            slot.deaths += 1;
        }
        let due = Timestamp(0);
        slot.status = ItemStatus::Waiting { due };
        self.waits.insert((due, step, item));
        Ok(())
    }

    fn fail_item(
        &mut self,
        step: StepIndex,
        item: ItemIndex,
        failure: &Failure,
        at: Timestamp,
    ) -> Folded {
        const EVENT: &str = "ItemFailed";
        let StepStatus::Active(active) = &mut self.steps[step.at()].status else {
            return illegal(EVENT, "the step is not at work");
        };
        let Some(slot) = active.items.get_mut(item.at()) else {
            return illegal(EVENT, format!("the step has no item {}", item.0));
        };
        match slot.status {
            ItemStatus::Running { token, .. } => {
                self.open.remove(&token);
            }
            ItemStatus::Waiting { due } => {
                self.waits.remove(&(due, step, item));
            }
            ItemStatus::Queued if item.at() == active.next => {
                active.next += 1;
                active.busy += 1;
            }
            _ => return illegal(EVENT, "the item has settled or is out of turn"),
        }
        slot.status = ItemStatus::Failed(failure.clone());
        if active.next == active.items.len() {
            self.hungry.remove(&step);
        }
        if self.plan.step(step).on_error == OnError::Fail {
            self.settle(step, StepStatus::Failed(failure.clone()), at);
            self.begin_stopping(failure);
        } else {
            self.settle_item(step, at);
        }
        Ok(())
    }

    fn fail_step(&mut self, step: StepIndex, failure: &Failure, at: Timestamp) -> Folded {
        self.take_ready("StepFailed", step)?;
        self.settle(step, StepStatus::Failed(failure.clone()), at);
        if self.plan.step(step).on_error == OnError::Fail {
            self.begin_stopping(failure);
        }
        Ok(())
    }

    fn begin_stopping(&mut self, failure: &Failure) {
        if self.phase == Phase::Running {
            self.phase = Phase::Stopping(StopCause::Failure(failure.clone()));
        }
    }

    fn cancel_attempt(&mut self, token: Token, at: Timestamp) -> Folded {
        const EVENT: &str = "AttemptCancelled";
        if !matches!(self.phase, Phase::Stopping(_)) {
            return illegal(EVENT, "the job is not being stopped");
        }
        let (step, item) = self.close(EVENT, token)?;
        if matches!(self.steps[step.at()].status, StepStatus::Active(_)) {
            self.item_mut(step, item).status = ItemStatus::Cancelled;
            self.settle_item(step, at);
        }
        Ok(())
    }

    fn request_cancel(&mut self) -> Folded {
        match self.phase {
            Phase::Running | Phase::Stopping(StopCause::Failure(_)) => {
                self.phase = Phase::Stopping(StopCause::Cancel);
                Ok(())
            }
            _ => illegal("CancelRequested", "the job was cancelled before"),
        }
    }

    fn end_well(&mut self, output: &Value, at: Timestamp) -> Folded {
        if self.phase != Phase::Running || self.unsettled > 0 {
            return illegal("JobSucceeded", format!("{} steps have not settled", self.unsettled));
        }
        self.end(Ending::Succeeded(Arc::new(output.clone())), at);
        Ok(())
    }

    fn end_badly(&mut self, failure: &Failure, at: Timestamp) -> Folded {
        if !self.open.is_empty() {
            return illegal("JobFailed", "attempts are open");
        }
        self.end(Ending::Failed(failure.clone()), at);
        Ok(())
    }

    fn end_cancelled(&mut self, at: Timestamp) -> Folded {
        if self.phase != Phase::Stopping(StopCause::Cancel) || !self.open.is_empty() {
            return illegal("JobCancelled", "no cancel was asked for, or attempts are open");
        }
        self.end(Ending::Cancelled, at);
        Ok(())
    }

    fn end(&mut self, ending: Ending, at: Timestamp) {
        for step in &mut self.steps {
            if matches!(step.status, StepStatus::Pending | StepStatus::Active(_)) {
                step.status = StepStatus::Cancelled;
            }
        }
        self.ready.clear();
        self.hungry.clear();
        self.waits.clear();
        self.phase = Phase::Ended { ending, at };
    }

    fn take_ready(&mut self, event: &'static str, step: StepIndex) -> Folded {
        if self.phase == Phase::Running && self.ready.remove(&step) {
            return Ok(());
        }
        illegal(event, "the step's needs have not settled, or it was decided on before")
    }

    /// Takes an attempt off the list of open ones.
    fn close(
        &mut self,
        event: &'static str,
        token: Token,
    ) -> Result<(StepIndex, ItemIndex), IllegalEvent> {
        match self.open.remove(&token) {
            Some(place) => Ok(place),
            None => illegal(event, format!("fence {} is not open", token.0)),
        }
    }

    /// The same, for what may only happen while the job is not being stopped.
    fn close_running(
        &mut self,
        event: &'static str,
        token: Token,
    ) -> Result<(StepIndex, ItemIndex), IllegalEvent> {
        if self.phase != Phase::Running {
            return illegal(event, "the job is being stopped");
        }
        self.close(event, token)
    }

    fn item_mut(&mut self, step: StepIndex, item: ItemIndex) -> &mut Item {
        match &mut self.steps[step.at()].status {
            StepStatus::Active(active) => &mut active.items[item.at()],
            other => unreachable!("an open attempt's step is at work, not {other:?}"),
        }
    }

    /// Counts one more settled item; settles the step when it was the last.
    fn settle_item(&mut self, step: StepIndex, at: Timestamp) {
        let StepStatus::Active(active) = &mut self.steps[step.at()].status else {
            return;
        };
        active.busy -= 1;
        active.settled += 1;
        if active.settled < active.items.len() {
            return;
        }
        let status = conclude(active);
        self.settle(step, status, at);
    }

    fn settle(&mut self, step: StepIndex, status: StepStatus, at: Timestamp) {
        let skipped = status == StepStatus::Skipped;
        let record = &mut self.steps[step.at()];
        record.status = status;
        record.ended_at = Some(at);
        self.hungry.remove(&step);
        self.unsettled -= 1;
        for dependent in &self.plan.step(step).dependents {
            let record = &mut self.steps[dependent.at()];
            record.after_skip |= skipped;
            record.unmet -= 1;
            if record.unmet == 0 {
                self.ready.insert(*dependent);
            }
        }
    }
}

/// What a step is once all of its items have settled.
fn conclude(active: &mut Active) -> StepStatus {
    if active.items.iter().any(|item| item.status == ItemStatus::Cancelled) {
        return StepStatus::Cancelled;
    }
    let fan_out = active.values.is_some();
    let mut outputs = Vec::with_capacity(active.items.len());
    for item in std::mem::take(&mut active.items) {
        match item.status {
            ItemStatus::Succeeded(output) => outputs.push(output),
            ItemStatus::Failed(failure) if !fan_out => return StepStatus::Failed(failure),
            _ => outputs.push(Value::Null),
        }
    }
    let output = if fan_out { Value::Array(outputs) } else { outputs.swap_remove(0) };
    StepStatus::Succeeded(Arc::new(output))
}
