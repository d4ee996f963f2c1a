//! A job and its journal, without a store or an actor: every decision is checked on the spot.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use uuid::Uuid;

use super::{check_consistency, plan};
use crate::decide::{Decision, Input, Outcome, Submission, decide, submit};
use crate::event::Event;
use crate::fold::fold;
use crate::ids::{ItemIndex, JobId, StepIndex, Token};
use crate::state::JobState;
use crate::time::{Millis, Timestamp};

/// One job, its journal and its clock.
pub(crate) struct World {
    pub(crate) state: JobState,
    pub(crate) journal: Vec<Event>,
    pub(crate) now: Timestamp,
    /// Where each attempt is or was, and its number, by fence.
    pub(crate) attempts: HashMap<Token, (StepIndex, ItemIndex, u32)>,
}

impl World {
    /// A job of the workflow written in `yaml`, accepted and not begun.
    pub(crate) fn new(yaml: &str) -> Self {
        Self::with_input(yaml, Value::Null)
    }

    pub(crate) fn with_input(yaml: &str, input: Value) -> Self {
        let id = JobId(Uuid::from_u128(7));
        let now = Timestamp(1_000_000);
        let labels = BTreeMap::new();
        let submission =
            Submission { id, plan: plan(yaml), input, labels, options: Default::default() };
        let (state, event) = submit(submission, now).expect("the input fits");
        Self { state, journal: vec![event], now, attempts: HashMap::new() }
    }

    /// Decides and commits. What the journal says, folded anew, must be the live state; and to
    /// decide once more from what was committed before must give the same decision.
    pub(crate) fn decide(&mut self, input: Input) -> Decision {
        let mut again = self.refold();
        let decision = decide(&mut self.state, input.clone(), self.now);
        assert_eq!(decide(&mut again, input, self.now), decision, "decided anew");
        self.journal.extend(decision.events.iter().cloned());
        assert_eq!(self.refold(), self.state, "folded anew");
        check_consistency(&self.state);
        for event in &decision.events {
            if let Event::StepStarted { step, item, attempt: number, token, .. }
            | Event::ProbeStarted { step, item, probe: number, token, .. } = event
            {
                self.attempts.insert(*token, (*step, *item, *number));
            }
        }
        decision
    }

    /// The process dies and the job gets a new owner.
    pub(crate) fn crash(&mut self) -> Decision {
        self.state.draining = false;
        self.state = self.refold();
        self.decide(Input::Resume)
    }

    pub(crate) fn pass(&mut self, span: Millis) -> Decision {
        self.now = self.now + span;
        self.decide(Input::TimerFired)
    }

    /// The open attempt at `name`, such as `a` or `a[2]`, comes to its end.
    pub(crate) fn end(&mut self, name: &str, outcome: Outcome) -> Decision {
        let token = self.open_at(name).unwrap_or_else(|| panic!("no attempt is open at `{name}`"));
        self.decide(Input::StepEnded { token, outcome })
    }

    pub(crate) fn open_at(&self, name: &str) -> Option<Token> {
        self.state.open_tokens().find(|token| self.name(*token) == name)
    }

    /// The fence of the last attempt that was made at `name`, open or not.
    pub(crate) fn last_at(&self, name: &str) -> Option<Token> {
        self.attempts.keys().copied().filter(|token| self.name(*token) == name).max()
    }

    /// Where an attempt is or was.
    pub(crate) fn name(&self, token: Token) -> String {
        let (step, item, _) = self.attempts[&token];
        self.item_name(step, item)
    }

    pub(crate) fn item_name(&self, step: StepIndex, item: ItemIndex) -> String {
        let planned = self.state.plan.step(step);
        match planned.for_each {
            Some(_) => format!("{}[{}]", planned.id, item.0),
            None => planned.id.clone(),
        }
    }

    /// The state that the journal gives; that the process drains is known to it only, not recorded.
    fn refold(&self) -> JobState {
        let mut state = fold(self.state.id, self.state.plan.clone(), &self.journal)
            .unwrap_or_else(|error| panic!("{error}"));
        state.draining = self.state.draining;
        state
    }
}
