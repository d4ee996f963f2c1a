//! What events say about timers: they begin, and they are over.

use super::{Folded, illegal};
use crate::ids::{ItemIndex, StepIndex};
use crate::state::{Active, ItemStatus, JobState, StepStatus};
use crate::time::Timestamp;
use crate::timer;

impl JobState {
    pub(super) fn begin_sleep(&mut self, step: StepIndex, due: Timestamp, at: Timestamp) -> Folded {
        const EVENT: &str = "SleepBegan";
        self.take_ready(EVENT, step)?;
        if self.plan.step(step).timer.is_none() {
            return illegal(EVENT, "the step is not a timer");
        }
        let mut active = Active::single();
        active.items[0].status = ItemStatus::Sleeping { due };
        (active.next, active.busy) = (1, 1);
        let record = &mut self.steps[step.at()];
        record.status = StepStatus::Active(active);
        record.started_at = Some(at);
        self.waits.insert((due, step, ItemIndex::ONLY));
        Ok(())
    }

    pub(super) fn end_sleep(&mut self, step: StepIndex, at: Timestamp) -> Folded {
        const EVENT: &str = "SleepEnded";
        self.must_run(EVENT)?;
        let slot = self.item_mut(EVENT, step, ItemIndex::ONLY)?;
        let ItemStatus::Sleeping { due } = slot.status else {
            return illegal(EVENT, "the step does not sleep");
        };
        slot.status = ItemStatus::Succeeded(timer::output(due));
        self.waits.remove(&(due, step, ItemIndex::ONLY));
        self.settle_item(step, at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event::Event;
    use crate::failure::Failure;
    use crate::ids::Token;
    use crate::testing::play;

    const YAML: &str = "
name: sleep
steps:
  - { id: nap, sleep: 1h }
  - { id: a, uses: k }
  - { id: late, sleep: 1h, needs: [a] }";
    const BEGUN: &str = "start > sleep nap 1h; start a";
    const WOKEN: &str = "start > sleep nap 1h; start a\n +1h > woke nap";
    const STOPPING: &str = "start > sleep nap 1h; start a\n cancel > cancel; stop a";
    const AT: Timestamp = Timestamp(9);

    fn began(step: u32) -> Event {
        Event::SleepBegan { step: StepIndex(step), due: AT, at: AT }
    }

    fn ended(step: u32) -> Event {
        Event::SleepEnded { step: StepIndex(step), at: AT }
    }

    #[test]
    fn what_cannot_follow_is_refused() {
        const READY: &str = "the step's needs have not settled, or it was decided on before";
        let started = Event::StepStarted {
            step: StepIndex(0),
            item: ItemIndex::ONLY,
            attempt: 1,
            token: Token(1),
            candidate: 0,
            at: AT,
        };
        let again = match started.clone() {
            Event::StepStarted { step, item, candidate, at, .. } => {
                Event::StepStarted { step, item, attempt: 1, token: Token(2), candidate, at }
            }
            _ => unreachable!("it was made above"),
        };
        let failure = Failure::fatal("x.y", "no");
        let item_failed =
            Event::ItemFailed { step: StepIndex(0), item: ItemIndex::ONLY, failure, at: AT };
        let cases = [
            ("", began(1), "the step is not a timer"),
            ("", began(2), READY),
            ("", began(7), READY),
            ("", started, "the step is a timer"),
            ("", ended(0), "step 0 is not at work"),
            ("", ended(9), "the workflow has no step 9"),
            (BEGUN, began(0), READY),
            (BEGUN, ended(1), "the step does not sleep"),
            (BEGUN, again, "the item is not to be started"),
            (BEGUN, item_failed, "the item has settled or is out of turn"),
            (WOKEN, ended(0), "step 0 is not at work"),
            (STOPPING, ended(0), "the job is being stopped"),
            (STOPPING, began(2), "the job is being stopped"),
        ];
        for (before, event, why) in cases {
            let mut world = play(YAML, before);
            let error = world.state.apply(&event).expect_err(why);
            assert_eq!((error.event, error.why.as_str()), (event.kind(), why), "{event:?}");
        }
    }

    #[test]
    fn a_timer_knows_when_it_began_and_ended_and_has_no_attempts() {
        let step = &play(YAML, WOKEN).state.steps[0];
        let times = (step.started_at, step.ended_at, step.attempts);
        assert_eq!(times, (Some(Timestamp(1_000_000)), Some(Timestamp(4_600_000)), 0));
    }

    #[test]
    fn a_sleeping_job_costs_two_events_until_it_wakes() {
        let world = play("{ name: nap, steps: [{ id: nap, sleep: 1h }] }", "start > sleep nap 1h");
        let kinds: Vec<_> = world.journal.iter().map(Event::kind).collect();
        assert_eq!(kinds, ["JobSubmitted", "SleepBegan"]);
    }
}
