//! What events say about attempts: they start, succeed, fail, are interrupted or stopped.

use serde_json::Value;

use super::{Folded, IllegalEvent, illegal};
use crate::definition::OnError;
use crate::event::Interruption;
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::state::{Active, Item, ItemStatus, JobState, Phase, StepStatus};
use crate::time::Timestamp;

/// What `StepStarted` says beside its place.
pub(super) struct Start {
    pub(super) attempt: u32,
    pub(super) candidate: u32,
    pub(super) token: Token,
    pub(super) at: Timestamp,
}

/// When an interrupted attempt is due again: at once, even when the clock has gone back meanwhile.
const AT_ONCE: Timestamp = Timestamp(0);

impl JobState {
    pub(super) fn start(&mut self, step: StepIndex, item: ItemIndex, start: &Start) -> Folded {
        const EVENT: &str = "StepStarted";
        self.must_run(EVENT)?;
        self.must_be_next(EVENT, start.token)?;
        if self.ready.contains(&step) {
            if self.plan.step(step).for_each.is_some() {
                return illegal(EVENT, "the step was not expanded");
            }
            if self.plan.step(step).timer.is_some() {
                return illegal(EVENT, "the step is a timer");
            }
            self.ready.remove(&step);
            self.steps[step.at()].status = StepStatus::Active(Active::single());
        }
        let before = self.active_mut(EVENT, step)?.start(item, start)?;
        if let ItemStatus::Waiting { due } = before {
            self.waits.remove(&(due, step, item));
        }
        let record = &mut self.steps[step.at()];
        record.attempts += 1;
        record.started_at.get_or_insert(start.at);
        self.open.insert(start.token, (step, item));
        self.next_token += 1;
        self.note_hunger(step);
        Ok(())
    }

    pub(super) fn succeed(
        &mut self,
        token: Token,
        output: &Value,
        cached: bool,
        at: Timestamp,
    ) -> Folded {
        const EVENT: &str = "StepSucceeded";
        let (step, item) = self.close_running(EVENT, token)?;
        self.item_mut(EVENT, step, item)?.status = ItemStatus::Succeeded(output.clone());
        self.steps[step.at()].recalled += u32::from(cached);
        self.settle_item(step, at);
        Ok(())
    }

    pub(super) fn wait(&mut self, token: Token, due: Timestamp, candidate: u32) -> Folded {
        const EVENT: &str = "AttemptFailed";
        let (step, item) = self.close_running(EVENT, token)?;
        let candidates = self.plan.step(step).candidates.len();
        let slot = self.attempted(EVENT, (step, item))?;
        slot.pass_on(EVENT, candidate, candidates)?;
        slot.deaths = 0;
        slot.status = ItemStatus::Waiting { due };
        self.waits.insert((due, step, item));
        Ok(())
    }

    /// An interrupted attempt is due again at once; it does not count against the retry policy.
    pub(super) fn interrupt(&mut self, token: Token, cause: Interruption) -> Folded {
        const EVENT: &str = "AttemptInterrupted";
        let (step, item) = self.close_running(EVENT, token)?;
        if cause == Interruption::NoAnswer {
            return illegal(EVENT, "an attempt without an answer has failed or is in doubt");
        }
        let slot = self.item_mut(EVENT, step, item)?;
        if matches!(slot.status, ItemStatus::InDoubt(_)) {
            return self.interrupt_probe((step, item), cause);
        }
        let candidate = slot.candidate;
        let is_counted =
            cause == Interruption::Death && !self.plan.step(step).only_waits(candidate);
        let slot = self.item_mut(EVENT, step, item)?;
        slot.tries = slot.tries.saturating_sub(1);
        slot.deaths += u32::from(is_counted);
        slot.status = ItemStatus::Waiting { due: AT_ONCE };
        self.waits.insert((AT_ONCE, step, item));
        Ok(())
    }

    pub(super) fn fail_item(
        &mut self,
        step: StepIndex,
        item: ItemIndex,
        failure: &Failure,
        at: Timestamp,
    ) -> Folded {
        const EVENT: &str = "ItemFailed";
        self.must_run(EVENT)?;
        match self.active_mut(EVENT, step)?.fail(item, failure)? {
            ItemStatus::Running { token, .. } => {
                self.open.remove(&token);
            }
            ItemStatus::Waiting { due } => {
                self.waits.remove(&(due, step, item));
            }
            ItemStatus::InDoubt(doubt) => self.forget_stage((step, item), &doubt.stage),
            _ => {}
        }
        if self.plan.step(step).on_error == OnError::Fail {
            self.settle(step, StepStatus::Failed(failure.clone()), at);
            self.begin_stopping(failure);
        } else {
            self.settle_item(step, at);
        }
        Ok(())
    }

    pub(super) fn cancel_attempt(&mut self, token: Token, at: Timestamp) -> Folded {
        const EVENT: &str = "AttemptCancelled";
        if !matches!(self.phase, Phase::Stopping(_)) {
            return illegal(EVENT, "the job is not being stopped");
        }
        let (step, item) = self.close(EVENT, token)?;
        // The step whose failure stops the job has settled; its other attempts settle nothing.
        if let Ok(slot) = self.item_mut(EVENT, step, item) {
            slot.status = ItemStatus::Cancelled;
            self.settle_item(step, at);
        }
        Ok(())
    }

    /// Refuses a fence that is not the next one.
    pub(super) fn must_be_next(&self, event: &'static str, token: Token) -> Folded {
        if token.0 == self.next_token {
            return Ok(());
        }
        let why = format!("fence {} is not the next, {}", token.0, self.next_token);
        illegal(event, why)
    }

    /// The item whose open attempt, not a probe, was just closed.
    pub(super) fn attempted(
        &mut self,
        event: &'static str,
        (step, item): (StepIndex, ItemIndex),
    ) -> Result<&mut Item, IllegalEvent> {
        let slot = self.item_mut(event, step, item)?;
        match slot.status {
            ItemStatus::Running { .. } => Ok(slot),
            _ => illegal(event, "the fence is that of a probe"),
        }
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
    pub(super) fn close_running(
        &mut self,
        event: &'static str,
        token: Token,
    ) -> Result<(StepIndex, ItemIndex), IllegalEvent> {
        self.must_run(event)?;
        self.close(event, token)
    }

    fn active_mut(
        &mut self,
        event: &'static str,
        step: StepIndex,
    ) -> Result<&mut Active, IllegalEvent> {
        match self.steps.get_mut(step.at()).map(|record| &mut record.status) {
            Some(StepStatus::Active(active)) => Ok(active),
            Some(_) => illegal(event, format!("step {} is not at work", step.0)),
            None => illegal(event, format!("the workflow has no step {}", step.0)),
        }
    }

    pub(super) fn item_mut(
        &mut self,
        event: &'static str,
        step: StepIndex,
        item: ItemIndex,
    ) -> Result<&mut Item, IllegalEvent> {
        self.active_mut(event, step)?.item_mut(event, item)
    }
}

impl Active {
    fn item_mut(
        &mut self,
        event: &'static str,
        item: ItemIndex,
    ) -> Result<&mut Item, IllegalEvent> {
        match self.items.get_mut(item.at()) {
            Some(slot) => Ok(slot),
            None => illegal(event, format!("the step has no item {}", item.0)),
        }
    }

    /// Turns an item to running; answers what it was before.
    fn start(&mut self, item: ItemIndex, start: &Start) -> Result<ItemStatus, IllegalEvent> {
        const EVENT: &str = "StepStarted";
        let next = self.next;
        let slot = self.item_mut(EVENT, item)?;
        if start.attempt != slot.attempts + 1 {
            return illegal(EVENT, format!("attempt {} follows {}", start.attempt, slot.attempts));
        }
        if start.candidate != slot.candidate {
            let why = format!("candidate {} starts for {}", start.candidate, slot.candidate);
            return illegal(EVENT, why);
        }
        let queued = match slot.status {
            ItemStatus::Queued if item.at() == next => true,
            ItemStatus::Waiting { .. } => false,
            _ => return illegal(EVENT, "the item is not to be started"),
        };
        slot.attempts = start.attempt;
        slot.tries += 1;
        let running = ItemStatus::Running { token: start.token, since: start.at };
        let before = std::mem::replace(&mut slot.status, running);
        self.take_next(queued);
        Ok(before)
    }

    /// Turns an item to failed; answers what it was before.
    fn fail(&mut self, item: ItemIndex, failure: &Failure) -> Result<ItemStatus, IllegalEvent> {
        const EVENT: &str = "ItemFailed";
        let next = self.next;
        let slot = self.item_mut(EVENT, item)?;
        let queued = match slot.status {
            ItemStatus::Queued if item.at() == next => true,
            ItemStatus::Running { .. } | ItemStatus::Waiting { .. } | ItemStatus::InDoubt(_) => {
                false
            }
            _ => return illegal(EVENT, "the item has settled or is out of turn"),
        };
        let before = std::mem::replace(&mut slot.status, ItemStatus::Failed(failure.clone()));
        self.take_next(queued);
        Ok(before)
    }

    /// Counts the first queued item as one that is at work.
    fn take_next(&mut self, queued: bool) {
        if queued {
            self.next += 1;
            self.busy += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event::Event;
    use crate::testing::play;
    use serde_json::json;

    const YAML: &str = "
name: attempts
steps:
  - id: a
    uses: k
    retry: { jitter: 0 }
    fallback: [{ uses: other }]
  - { id: b, uses: k, for_each: [1, 2, 3], concurrency: 1 }
  - { id: c, uses: k, needs: [a] }";

    /// `a` runs under fence 1, `b[0]` under 2.
    const BEGUN: &str = "start > start a; expand b 3; start b[0]";
    const WAITING: &str = "start > start a; expand b 3; start b[0]\n a fail > retry a in 1s";
    const CANCELLING: &str = "start > start a; expand b 3; start b[0]
                              cancel > cancel; stop a; stop b[0]";
    const AT: Timestamp = Timestamp(9);

    fn started(step: u32, item: u32, attempt: u32, token: u64, candidate: u32) -> Event {
        let (step, item, token) = (StepIndex(step), ItemIndex(item), Token(token));
        Event::StepStarted { step, item, attempt, token, candidate, at: AT }
    }

    fn succeeded(token: u64) -> Event {
        Event::StepSucceeded { token: Token(token), output: json!(1), cached: false, at: AT }
    }

    fn failed(token: u64, candidate: u32) -> Event {
        let failure = Failure::fatal("x.y", "no");
        let (token, retry_at) = (Token(token), AT);
        Event::AttemptFailed { token, failure, retry_at, candidate, at: AT }
    }

    fn interrupted(token: u64) -> Event {
        Event::AttemptInterrupted { token: Token(token), cause: Interruption::Death, at: AT }
    }

    fn item_failed(step: u32, item: u32) -> Event {
        let (step, item, failure) = (StepIndex(step), ItemIndex(item), Failure::fatal("x.y", "no"));
        Event::ItemFailed { step, item, failure, at: AT }
    }

    fn cancelled(token: u64) -> Event {
        Event::AttemptCancelled { token: Token(token), at: AT }
    }

    #[test]
    fn what_cannot_follow_is_refused() {
        let cases = [
            ("", started(0, 0, 1, 0, 0), "fence 0 is not the next, 1"),
            ("", started(0, 0, 1, 2, 0), "fence 2 is not the next, 1"),
            ("", started(0, 0, 1, u64::MAX, 0), "fence 18446744073709551615 is not the next, 1"),
            ("", started(1, 0, 1, 1, 0), "the step was not expanded"),
            ("", started(2, 0, 1, 1, 0), "step 2 is not at work"),
            ("", started(3, 0, 1, 1, 0), "the workflow has no step 3"),
            ("", started(u32::MAX, 0, 1, 1, 0), "the workflow has no step 4294967295"),
            ("", started(0, 1, 1, 1, 0), "the step has no item 1"),
            ("", started(0, 0, 2, 1, 0), "attempt 2 follows 0"),
            ("", started(0, 0, 1, 1, 1), "candidate 1 starts for 0"),
            (BEGUN, started(0, 0, 2, 3, 0), "the item is not to be started"),
            (BEGUN, started(1, 2, 1, 3, 0), "the item is not to be started"),
            (BEGUN, started(1, 3, 1, 3, 0), "the step has no item 3"),
            (CANCELLING, started(1, 1, 1, 3, 0), "the job is being stopped"),
            ("", succeeded(1), "fence 1 is not open"),
            (WAITING, succeeded(1), "fence 1 is not open"),
            (CANCELLING, succeeded(1), "the job is being stopped"),
            (BEGUN, failed(7, 0), "fence 7 is not open"),
            (BEGUN, failed(1, 2), "candidate 2 follows 0"),
            (BEGUN, failed(2, 1), "candidate 1 follows 0"),
            (BEGUN, failed(1, u32::MAX), "candidate 4294967295 follows 0"),
            (CANCELLING, failed(1, 0), "the job is being stopped"),
            (WAITING, interrupted(1), "fence 1 is not open"),
            (CANCELLING, interrupted(1), "the job is being stopped"),
            ("", item_failed(0, 0), "step 0 is not at work"),
            ("", item_failed(9, 0), "the workflow has no step 9"),
            (BEGUN, item_failed(1, 9), "the step has no item 9"),
            (BEGUN, item_failed(1, 2), "the item has settled or is out of turn"),
            (CANCELLING, item_failed(1, 0), "the job is being stopped"),
            (BEGUN, cancelled(1), "the job is not being stopped"),
            (CANCELLING, cancelled(9), "fence 9 is not open"),
        ];
        for (before, event, why) in cases {
            let mut world = play(YAML, before);
            let error = world.state.apply(&event).expect_err(why);
            assert_eq!((error.event, error.why.as_str()), (event.kind(), why), "{event:?}");
        }
    }

    #[test]
    fn what_can_follow_is_taken() {
        let cases = [
            ("", started(0, 0, 1, 1, 0)),
            (WAITING, started(0, 0, 2, 3, 0)),
            (BEGUN, succeeded(2)),
            (BEGUN, failed(1, 0)),
            (BEGUN, failed(1, 1)),
            (BEGUN, interrupted(2)),
            (BEGUN, item_failed(1, 1)),
            (WAITING, item_failed(0, 0)),
            (CANCELLING, cancelled(2)),
        ];
        for (before, event) in cases {
            let mut world = play(YAML, before);
            assert_eq!(world.state.apply(&event), Ok(()), "{event:?}");
        }
    }

    #[test]
    fn tries_count_by_candidate_and_deaths_until_an_answer() {
        let mut world = play(YAML, BEGUN);
        let mut item = |event: Event| {
            world.state.apply(&event).unwrap();
            let item = world.state.item(StepIndex(0), ItemIndex::ONLY).unwrap();
            (item.attempts, item.tries, item.deaths, item.candidate)
        };
        assert_eq!(item(interrupted(1)), (1, 0, 1, 0));
        assert_eq!(item(started(0, 0, 2, 3, 0)), (2, 1, 1, 0));
        assert_eq!(item(failed(3, 0)), (2, 1, 0, 0));
        assert_eq!(item(started(0, 0, 3, 4, 0)), (3, 2, 0, 0));
        assert_eq!(item(failed(4, 1)), (3, 0, 0, 1));
        assert_eq!(item(started(0, 0, 4, 5, 1)), (4, 1, 0, 1));
    }

    #[test]
    fn an_interrupted_attempt_is_due_even_when_the_clock_has_gone_back() {
        let mut world = play(YAML, BEGUN);
        world.now = Timestamp(1);
        let again = world.crash();
        let starts = again.events.iter().filter(|event| event.kind() == "StepStarted").count();
        assert_eq!(starts, 2);
    }
}
