//! What events say about steps: they are skipped, expanded, settled; and what that means for the
//! steps that need them.

use std::sync::Arc;

use serde_json::Value;

use super::{Folded, illegal};
use crate::definition::OnError;
use crate::failure::Failure;
use crate::ids::StepIndex;
use crate::state::{Active, ItemStatus, JobState, Phase, StepStatus};
use crate::time::Timestamp;

impl JobState {
    pub(super) fn skip(&mut self, step: StepIndex, at: Timestamp) -> Folded {
        self.take_ready("StepSkipped", step)?;
        self.tally.leave(self.plan.step(step).weight);
        self.settle(step, StepStatus::Skipped, at);
        Ok(())
    }

    pub(super) fn expand(&mut self, step: StepIndex, items: &[Value], at: Timestamp) -> Folded {
        const EVENT: &str = "StepExpanded";
        self.take_ready(EVENT, step)?;
        if self.plan.step(step).for_each.is_none() {
            return illegal(EVENT, "the step has no `for_each`");
        }
        if items.is_empty() {
            self.tally.settle(self.plan.step(step).weight);
            self.settle(step, StepStatus::Succeeded(Arc::new(Value::Array(vec![]))), at);
            return Ok(());
        }
        self.steps[step.at()].status = StepStatus::Active(Active::fan_out(items.to_vec()));
        self.note_hunger(step);
        Ok(())
    }

    pub(super) fn fail_step(
        &mut self,
        step: StepIndex,
        failure: &Failure,
        at: Timestamp,
    ) -> Folded {
        self.take_ready("StepFailed", step)?;
        self.tally.settle(self.plan.step(step).weight);
        self.settle(step, StepStatus::Failed(failure.clone()), at);
        if self.plan.step(step).on_error == OnError::Fail {
            self.begin_stopping(failure);
        }
        Ok(())
    }

    pub(super) fn take_ready(&mut self, event: &'static str, step: StepIndex) -> Folded {
        self.must_run(event)?;
        if self.ready.remove(&step) {
            return Ok(());
        }
        illegal(event, "the step's needs have not settled, or it was decided on before")
    }

    /// Keeps the list of steps that could start one more item, so that nobody has to search for
    /// one among thousands that are at their bound.
    pub(super) fn note_hunger(&mut self, step: StepIndex) {
        let concurrency = self.plan.step(step).concurrency as usize;
        match &self.steps[step.at()].status {
            StepStatus::Active(active)
                if active.next < active.items.len() && active.busy < concurrency =>
            {
                self.hungry.insert(step);
            }
            _ => {
                self.hungry.remove(&step);
            }
        }
    }

    /// Counts one more settled item; settles the step when it was the last.
    pub(super) fn settle_item(&mut self, step: StepIndex, at: Timestamp) {
        if self.phase == Phase::Running {
            self.tally.settle(self.share(step));
        }
        let StepStatus::Active(active) = &mut self.steps[step.at()].status else {
            unreachable!("an item of a step at work has just settled");
        };
        assert!(active.busy > 0, "an item that settles was at work");
        active.busy -= 1;
        active.settled += 1;
        if active.settled == active.items.len() {
            let status = conclude(active);
            self.settle(step, status, at);
        } else if self.phase == Phase::Running {
            self.note_hunger(step);
        }
    }

    pub(super) fn settle(&mut self, step: StepIndex, status: StepStatus, at: Timestamp) {
        let skipped = matches!(status, StepStatus::Skipped);
        let record = &mut self.steps[step.at()];
        assert!(record.ended_at.is_none(), "a step settles once");
        record.status = status;
        record.ended_at = Some(at);
        self.hungry.remove(&step);
        self.unsettled -= 1;
        for dependent in &self.plan.step(step).dependents {
            let record = &mut self.steps[dependent.at()];
            assert!(record.unmet > 0, "a step's needs are its dependents' edges, read backwards");
            record.after_skip |= skipped;
            record.unmet -= 1;
            if record.unmet == 0 && self.phase == Phase::Running {
                self.ready.insert(*dependent);
            }
        }
    }
}

/// What a step is once all of its items have settled.
fn conclude(active: &mut Active) -> StepStatus {
    if active.items.iter().any(|item| matches!(item.status, ItemStatus::Cancelled)) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event::Event;
    use crate::ids::{ItemIndex, Token};
    use crate::state::Item;
    use crate::testing::play;
    use serde_json::json;

    const YAML: &str = "
name: steps
steps:
  - { id: a, uses: k }
  - { id: b, uses: k, for_each: [1, 2] }
  - { id: c, uses: k, needs: [a] }";
    const AT: Timestamp = Timestamp(9);

    fn skipped(step: u32) -> Event {
        Event::StepSkipped { step: StepIndex(step), at: AT }
    }

    fn expanded(step: u32) -> Event {
        Event::StepExpanded { step: StepIndex(step), items: vec![json!(1)], at: AT }
    }

    fn failed(step: u32) -> Event {
        let failure = Failure::fatal("x.y", "no");
        Event::StepFailed { step: StepIndex(step), failure, at: AT }
    }

    #[test]
    fn only_a_step_that_is_ready_is_decided_on_and_only_once() {
        const READY: &str = "the step's needs have not settled, or it was decided on before";
        let begun = "start > start a; expand b 2; start b[0]; start b[1]";
        let cancelled = "cancel > cancel; cancelled";
        let stopping = "start > start a; expand b 2; start b[0]; start b[1]
                        a fatal > fail a test.fatal; stop b[0]; stop b[1]";
        for make in [skipped, expanded, failed] {
            let cases = [
                ("", 2, READY),
                ("", 7, READY),
                ("", u32::MAX, READY),
                (begun, 0, READY),
                (begun, 1, READY),
                (stopping, 2, "the job is being stopped"),
                (cancelled, 0, "the job has ended"),
            ];
            for (before, step, why) in cases {
                let mut world = play(YAML, before);
                let event = make(step);
                let error = world.state.apply(&event).expect_err(why);
                assert_eq!((error.event, error.why.as_str()), (event.kind(), why), "{event:?}");
            }
        }
    }

    #[test]
    fn a_step_without_for_each_is_not_expanded() {
        let mut world = play(YAML, "");
        let error = world.state.apply(&expanded(0)).unwrap_err();
        assert_eq!(error.why, "the step has no `for_each`");
        assert_eq!(world.state.apply(&expanded(1)), Ok(()));
    }

    #[test]
    fn a_step_is_what_its_items_are() {
        let ok = |value: i32| ItemStatus::Succeeded(json!(value));
        let failure = Failure::fatal("x.y", "no");
        let bad = || ItemStatus::Failed(failure.clone());
        let done = |value: Value| StepStatus::Succeeded(Arc::new(value));
        let cases = [
            (false, vec![ok(1)], done(json!(1))),
            (false, vec![bad()], StepStatus::Failed(failure.clone())),
            (false, vec![ItemStatus::Cancelled], StepStatus::Cancelled),
            (true, vec![ok(1)], done(json!([1]))),
            (true, vec![ok(1), bad(), ok(3)], done(json!([1, null, 3]))),
            (true, vec![bad(), bad()], done(json!([null, null]))),
            (true, vec![ok(1), ItemStatus::Cancelled], StepStatus::Cancelled),
        ];
        for (fan_out, statuses, expected) in cases {
            let mut active = match fan_out {
                true => Active::fan_out(vec![Value::Null; statuses.len()]),
                false => Active::single(),
            };
            active.items =
                statuses.into_iter().map(|status| Item { status, ..Item::new() }).collect();
            assert_eq!(conclude(&mut active), expected);
        }
    }

    #[test]
    fn steps_know_when_they_began_and_ended() {
        let world = play(
            YAML,
            r"
            start      > start a; expand b 2; start b[0]; start b[1]
            +5s        >
            a ok       > ok a; start c
            +5s        >
            b[0] ok    > ok b[0]
            cancel     > cancel; stop b[1]; stop c
            c ok       > drop c
            +5s        >
            b[1] ok    > drop b[1]; cancelled
            ",
        );
        let begin = 1_000_000;
        let times: Vec<_> = world
            .state
            .steps
            .iter()
            .map(|step| {
                let since_begin = |at: Option<Timestamp>| at.map(|at| at.0 - begin);
                (since_begin(step.started_at), since_begin(step.ended_at), step.attempts)
            })
            .collect();
        let expected =
            [(Some(0), Some(5_000), 1), (Some(0), Some(15_000), 2), (Some(5_000), Some(10_000), 1)];
        assert_eq!(times, expected);
        assert_eq!(world.state.open_attempt(Token(1)), None);
        assert_eq!(world.state.item(StepIndex(0), ItemIndex::ONLY), None);
    }
}
