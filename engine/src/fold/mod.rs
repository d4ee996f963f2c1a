//! The fold: one total function from state and event to state.
//!
//! The live state and the state read back after a crash go through the same function, so they
//! cannot differ. An event that the state does not allow is a typed error: a damaged or foreign
//! journal is noticed at its first wrong record. Nothing here trusts a journal: every step, item,
//! fence and candidate that an event names is looked up before it is used.
//!
//! The fold checks what is true of every journal, not what today's policy would have decided: how
//! often to retry or how many to run at once may change between versions, and old journals stay
//! readable.

mod attempts;
mod doubt;
mod ending;
mod sleep;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::Event;
use crate::ids::{JobId, StepIndex};
use crate::plan::Plan;
use crate::progress::Tally;
use crate::state::{JobState, Phase, StepState};
use attempts::Start;

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
        let Event::JobSubmitted { workflow, input, labels, options, at } = first else {
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
            options: *options,
            submitted_at: *at,
            phase: Phase::Running,
            ready,
            hungry: BTreeSet::new(),
            waits: BTreeSet::new(),
            doubts: BTreeSet::new(),
            held: BTreeSet::new(),
            open: BTreeMap::new(),
            unsettled: steps.len(),
            tally: Tally::new(&plan),
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
            Event::SleepBegan { step, due, at } => self.begin_sleep(*step, *due, *at),
            Event::SleepEnded { step, at } => self.end_sleep(*step, *at),
            Event::StepStarted { step, item, attempt, token, candidate, at } => {
                let (attempt, candidate) = (*attempt, *candidate);
                self.start(*step, *item, &Start { attempt, candidate, token: *token, at: *at })
            }
            Event::StepSucceeded { token, output, cached, at } => {
                self.succeed(*token, output, *cached, *at)
            }
            Event::AttemptFailed { token, retry_at, candidate, .. } => {
                self.wait(*token, *retry_at, *candidate)
            }
            Event::AttemptInterrupted { token, cause, .. } => self.interrupt(*token, *cause),
            Event::StepInDoubt { .. }
            | Event::ProbeStarted { .. }
            | Event::ProbeFailed { .. }
            | Event::StepHeld { .. }
            | Event::DoubtResolved { .. } => self.follow_doubt(event),
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

    /// Refuses what may only happen while the job is not being stopped.
    fn must_run(&self, event: &'static str) -> Folded {
        match self.phase {
            Phase::Running => Ok(()),
            _ => illegal(event, "the job is being stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::event::WorkflowRef;
    use crate::testing::{World, play};
    use crate::time::Timestamp;

    const YAML: &str = "{ name: one, steps: [{ id: a, uses: k }] }";

    #[test]
    fn a_journal_begins_with_its_submission_and_has_only_one() {
        let world = World::new(YAML);
        let (id, plan) = (world.state.id, world.state.plan.clone());
        let why = |events: &[Event]| fold(id, plan.clone(), events).map_err(|it| it.why);
        let submitted = world.journal[0].clone();
        let cancel = Event::CancelRequested { reason: None, at: Timestamp(1) };
        assert_eq!(why(&[]), Err("the journal is empty".to_owned()));
        assert_eq!(
            why(std::slice::from_ref(&cancel)),
            Err("a journal begins with `JobSubmitted`".to_owned())
        );
        assert_eq!(
            why(&[submitted.clone(), submitted.clone()]),
            Err("the job was submitted before".to_owned())
        );
        assert_eq!(why(std::slice::from_ref(&submitted)), Ok(world.state.clone()));
    }

    #[test]
    fn a_journal_of_another_definition_is_refused() {
        let plan = World::new(YAML).state.plan;
        let workflow = WorkflowRef { name: "one".to_owned(), digest: "00".to_owned() };
        let (input, labels) = (Value::Null, BTreeMap::new());
        let event = Event::JobSubmitted {
            workflow,
            input,
            labels,
            options: Default::default(),
            at: Timestamp(1),
        };
        let error = fold(JobId(Uuid::nil()), plan, [&event]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the journal is damaged: `JobSubmitted` cannot follow: \
             the definition at hand has another digest"
        );
    }

    #[test]
    fn nothing_follows_the_end() {
        let mut world = play(YAML, "start > start a\n a ok 1 > ok a; succeeded null");
        for event in world.journal.clone() {
            let error = world.state.apply(&event).unwrap_err();
            assert_eq!((error.event, error.why.as_str()), (event.kind(), "the job has ended"));
        }
    }

    #[test]
    fn the_state_survives_its_journal_as_json() {
        let yaml = "
name: rich
steps:
  - { id: a, uses: k, for_each: [1, 2], retry: { jitter: 0 }, fallback: [{ uses: other }] }
  - { id: b, uses: k, if: 'false' }
  - { id: c, uses: k, with: { x: '{{ steps.a }}' }, on_error: continue }
output: '{{ steps.a }}'";
        let world = play(
            yaml,
            r#"
            start         > expand a 2; start a[0]; start a[1]; skip b
            a[0] fail     > retry a[0] in 1s
            crash         > died a[1]; start a[1]#2
            a[1] fatal    > retry a[1] by other in 0s; start a[1]#3 by other
            a[1] released > given back a[1]
            +1s           > start a[1]#4 by other; start a[0]#2
            a[1] ok 1     > ok a[1]
            a[0] ok 0     > ok a[0]; start c {"x":[0,1]}
            c fatal       > fail c test.fatal; succeeded [0,1]
            "#,
        );
        let text = serde_json::to_string(&world.journal).unwrap();
        let read: Vec<Event> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, world.journal);
        let state = fold(world.state.id, world.state.plan.clone(), &read).unwrap();
        assert_eq!(state, world.state);
        assert_eq!(state.output_of("a"), Some(&json!([0, 1])));
    }
}
