//! One turn of a decision: records events, collects deeds, and moves the graph on.

use serde_json::Value;

use super::{Action, Decision, StartStep};
use crate::event::Event;
use crate::expression::{JobFacts, Scope};
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::limits::{MAX_FAN_OUT_ITEMS, MAX_OPEN_ATTEMPTS_COUNT};
use crate::state::{Active, ItemStatus, JobState, Phase, StepStatus, StopCause};
use crate::time::Timestamp;

pub(super) struct Turn<'s> {
    pub(super) state: &'s mut JobState,
    pub(super) now: Timestamp,
    was_running: bool,
    decision: Decision,
}

impl<'s> Turn<'s> {
    pub(super) fn new(state: &'s mut JobState, now: Timestamp) -> Self {
        let was_running = state.phase == Phase::Running;
        Self { state, now, was_running, decision: Decision::default() }
    }

    /// Records an event: the state follows at once.
    pub(super) fn record(&mut self, event: Event) {
        self.state.apply(&event).expect("a decision records only what the state allows");
        self.decision.events.push(event);
    }

    /// The decision; what a job being stopped still has open is told to stop.
    pub(super) fn into_decision(mut self) -> Decision {
        if self.was_running && matches!(self.state.phase, Phase::Stopping(_)) {
            // What was to start in this very turn is told to stop as well: its deed comes first.
            let stops = self.state.open_tokens().map(Action::StopStep);
            self.decision.actions.extend(stops);
        }
        self.decision
    }

    /// Starts all that can start, then ends the job if nothing is left.
    pub(super) fn advance(&mut self) {
        while self.state.phase == Phase::Running && self.advance_one() {}
        self.finish();
    }

    /// Moves one thing on; false when nothing can move.
    fn advance_one(&mut self) -> bool {
        if self.state.draining {
            return false;
        }
        let full = self.state.open.len() >= MAX_OPEN_ATTEMPTS_COUNT;
        if let Some((due, step, item)) = self.state.waits.first().copied()
            && due <= self.now
            && !full
        {
            self.start_item(step, item);
            return true;
        }
        if let Some((step, item)) = self.next_queued()
            && !full
        {
            self.start_item(step, item);
            return true;
        }
        match self.state.ready.first().copied() {
            Some(step) => self.look_at(step, full),
            None => false,
        }
    }

    /// The first queued item whose step has room for one more.
    fn next_queued(&self) -> Option<(StepIndex, ItemIndex)> {
        self.state.hungry.iter().find_map(|step| {
            let StepStatus::Active(active) = &self.state.steps[step.at()].status else {
                return None;
            };
            let room = active.busy < self.state.plan.step(*step).concurrency as usize;
            let item = u32::try_from(active.next).ok()?;
            room.then_some((*step, ItemIndex(item)))
        })
    }

    /// Decides on a step whose needs have settled; false when it has to wait for room.
    fn look_at(&mut self, step: StepIndex, full: bool) -> bool {
        let plan = self.state.plan.clone();
        let planned = plan.step(step);
        let skip = match &planned.condition {
            None => Ok(self.state.steps[step.at()].after_skip),
            Some(condition) => condition.is_true(&self.scope(None)).map(|holds| !holds),
        };
        match skip {
            Ok(true) => self.record(Event::StepSkipped { step, at: self.now }),
            Err(error) => self.fail_step(step, error.into()),
            Ok(false) => match &planned.for_each {
                Some(list) => match self.expand(list) {
                    Ok(items) => self.record(Event::StepExpanded { step, items, at: self.now }),
                    Err(failure) => self.fail_step(step, failure),
                },
                None if full => return false,
                None => self.start_item(step, ItemIndex::ONLY),
            },
        }
        true
    }

    fn expand(&self, list: &crate::expression::Template) -> Result<Vec<Value>, Failure> {
        match list.render(&self.scope(None))? {
            Value::Array(items) if items.len() <= MAX_FAN_OUT_ITEMS => Ok(items),
            Value::Array(items) => Err(Failure::fatal(
                "limit.fan_out",
                format!("`for_each` gave {} items", items.len()),
            )
            .with_hint(format!("at most {MAX_FAN_OUT_ITEMS} items; split the list over jobs"))),
            other => Err(Failure::fatal(
                "expression.type",
                format!("`for_each` gave {}, not a list", type_name(&other)),
            )),
        }
    }

    fn fail_step(&mut self, step: StepIndex, failure: Failure) {
        self.record(Event::StepFailed { step, failure, at: self.now });
    }

    /// Records the start of an item's next attempt, or its failure when its input cannot be made.
    fn start_item(&mut self, step: StepIndex, item: ItemIndex) {
        let plan = self.state.plan.clone();
        let (value, attempts, candidate) = match &self.state.steps[step.at()].status {
            StepStatus::Active(active) => {
                let record = &active.items[item.at()];
                (value_of(active, item), record.attempts, record.candidate)
            }
            _ => (None, 0, 0),
        };
        let chosen = &plan.step(step).candidates[candidate as usize];
        let rendered = chosen.with.render(&self.scope(value.map(|value| (value, item))));
        let input = match rendered {
            Ok(input) => input,
            Err(error) if self.state.ready.contains(&step) => {
                return self.fail_step(step, error.into());
            }
            Err(error) => {
                let failure = error.into();
                return self.record(Event::ItemFailed { step, item, failure, at: self.now });
            }
        };
        let (token, attempt) = (Token(self.state.next_token), attempts + 1);
        self.record(Event::StepStarted { step, item, attempt, token, candidate, at: self.now });
        self.decision.actions.push(Action::StartStep(StartStep {
            token,
            step,
            item,
            attempt,
            uses: chosen.uses.clone(),
            input,
            timeout: plan.step(step).timeout,
        }));
    }

    /// Ends the job when nothing of it is left to run or to stop.
    pub(super) fn finish(&mut self) {
        let at = self.now;
        match &self.state.phase {
            Phase::Running if self.state.unsettled == 0 => {
                let event = match self.state.plan.output().render(&self.scope(None)) {
                    Ok(output) => Event::JobSucceeded { output, at },
                    Err(error) => Event::JobFailed { failure: error.into(), at },
                };
                self.record(event);
            }
            Phase::Stopping(cause) if self.state.open.is_empty() => {
                let event = match cause {
                    StopCause::Cancel => Event::JobCancelled { at },
                    StopCause::Failure(failure) => {
                        Event::JobFailed { failure: failure.clone(), at }
                    }
                };
                self.record(event);
            }
            _ => {}
        }
    }

    fn scope<'a>(&'a self, item: Option<(&'a Value, ItemIndex)>) -> Scope<'a> {
        Scope {
            input: &self.state.input,
            steps: Box::new(|id| self.state.output_of(id)),
            item,
            job: JobFacts { id: self.state.id, submitted_at: self.state.submitted_at },
        }
    }
}

fn value_of(active: &Active, item: ItemIndex) -> Option<&Value> {
    debug_assert!(!matches!(active.items[item.at()].status, ItemStatus::Succeeded(_)));
    active.values.as_ref().and_then(|values| values.get(item.at()))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
