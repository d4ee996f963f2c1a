//! What events say about doubts: they arise, are asked about, are held for a person, and are over.

use super::{Folded, IllegalEvent, illegal};
use crate::event::{Event, Interruption, Verdict};
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::state::{Doubt, DoubtStage, Item, ItemStatus, JobState};
use crate::time::Timestamp;

/// Where a doubt is.
type Place = (StepIndex, ItemIndex);

impl JobState {
    /// One event of a doubt's life; the caller has sorted out the others.
    pub(super) fn follow_doubt(&mut self, event: &Event) -> Folded {
        match event {
            Event::StepInDoubt { token, cause, failure, at } => {
                self.begin_doubt(*token, *cause, failure.as_ref(), *at)
            }
            Event::ProbeStarted { step, item, probe, token, at } => {
                self.start_probe((*step, *item), *probe, *token, *at)
            }
            Event::ProbeFailed { token, retry_at, .. } => self.fail_probe(*token, *retry_at),
            Event::StepHeld { step, item, .. } => self.hold((*step, *item)),
            Event::DoubtResolved { step, item, by, verdict, at } => {
                let by_person = *by == crate::event::Resolver::Person;
                self.resolve((*step, *item), by_person, verdict, *at)
            }
            other => illegal(other.kind(), "it says nothing of a doubt"),
        }
    }

    fn begin_doubt(
        &mut self,
        token: Token,
        cause: Interruption,
        failure: Option<&Failure>,
        at: Timestamp,
    ) -> Folded {
        const EVENT: &str = "StepInDoubt";
        let place = self.close_running(EVENT, token)?;
        let plan = self.plan.clone();
        let slot = self.attempted(EVENT, place)?;
        let chosen = plan.step(place.0).candidates.get(slot.candidate as usize);
        if chosen.is_none_or(|chosen| chosen.in_doubt.is_none()) {
            return illegal(EVENT, "the step kind may be repeated");
        }
        match cause {
            Interruption::Death => slot.deaths += 1,
            Interruption::Shutdown => {}
            // Its owner lived on, so it was a try like one that failed.
            Interruption::NoAnswer => slot.deaths = 0,
        }
        if cause != Interruption::NoAnswer {
            slot.tries = slot.tries.saturating_sub(1);
        }
        let (failure, stage) = (failure.cloned(), DoubtStage::Fresh);
        let doubt = Doubt { since: at, cause, failure, probes: 0, stage };
        slot.status = ItemStatus::InDoubt(Box::new(doubt));
        self.doubts.insert(place);
        Ok(())
    }

    fn start_probe(&mut self, place: Place, probe: u32, token: Token, at: Timestamp) -> Folded {
        const EVENT: &str = "ProbeStarted";
        self.must_run(EVENT)?;
        self.must_be_next(EVENT, token)?;
        let doubt = self.doubt_mut(EVENT, place)?;
        if probe != doubt.probes + 1 {
            return illegal(EVENT, format!("probe {probe} follows {}", doubt.probes));
        }
        if !matches!(doubt.stage, DoubtStage::Fresh | DoubtStage::Waiting { .. }) {
            return illegal(EVENT, "the doubt waits for another");
        }
        doubt.probes = probe;
        let stage = DoubtStage::Probing { token, since: at };
        let before = std::mem::replace(&mut doubt.stage, stage);
        self.forget_stage(place, &before);
        self.open.insert(token, place);
        self.next_token += 1;
        Ok(())
    }

    fn fail_probe(&mut self, token: Token, due: Timestamp) -> Folded {
        const EVENT: &str = "ProbeFailed";
        let place = self.close_running(EVENT, token)?;
        let doubt = self.doubt_mut(EVENT, place)?;
        doubt.stage = DoubtStage::Waiting { due };
        self.item_mut(EVENT, place.0, place.1)?.deaths = 0;
        self.waits.insert((due, place.0, place.1));
        Ok(())
    }

    /// A probe that was interrupted is made again: the doubt is as fresh as before.
    pub(super) fn interrupt_probe(&mut self, place: Place, cause: Interruption) -> Folded {
        const EVENT: &str = "AttemptInterrupted";
        self.doubt_mut(EVENT, place)?.stage = DoubtStage::Fresh;
        let deaths = u32::from(cause == Interruption::Death);
        self.item_mut(EVENT, place.0, place.1)?.deaths += deaths;
        self.doubts.insert(place);
        Ok(())
    }

    fn hold(&mut self, place: Place) -> Folded {
        const EVENT: &str = "StepHeld";
        self.must_run(EVENT)?;
        let doubt = self.doubt_mut(EVENT, place)?;
        if doubt.stage == DoubtStage::Held {
            return illegal(EVENT, "the doubt is held already");
        }
        let before = std::mem::replace(&mut doubt.stage, DoubtStage::Held);
        self.forget_stage(place, &before);
        self.held.insert(place);
        Ok(())
    }

    fn resolve(
        &mut self,
        place: Place,
        by_person: bool,
        verdict: &Verdict,
        at: Timestamp,
    ) -> Folded {
        const EVENT: &str = "DoubtResolved";
        self.must_run(EVENT)?;
        let (step, item) = place;
        let before = self.doubt_mut(EVENT, place)?.stage.clone();
        self.forget_stage(place, &before);
        let candidates = self.plan.step(step).candidates.len();
        let slot = self.item_mut(EVENT, step, item)?;
        match verdict {
            Verdict::Succeeded { output } => {
                slot.status = ItemStatus::Succeeded(output.clone());
                self.settle_item(step, at);
            }
            Verdict::Again { retry_at, candidate } => {
                slot.pass_on(EVENT, *candidate, candidates)?;
                if by_person {
                    // Whoever has looked gives all tries anew, and breaks any chain of deaths.
                    (slot.tries, slot.deaths) = (0, 0);
                }
                slot.status = ItemStatus::Waiting { due: *retry_at };
                self.waits.insert((*retry_at, step, item));
            }
        }
        Ok(())
    }

    /// Takes a doubt off the list that its stage keeps it on.
    pub(super) fn forget_stage(&mut self, place: Place, stage: &DoubtStage) {
        match stage {
            DoubtStage::Fresh => {
                self.doubts.remove(&place);
            }
            DoubtStage::Probing { token, .. } => {
                self.open.remove(token);
            }
            DoubtStage::Waiting { due } => {
                self.waits.remove(&(*due, place.0, place.1));
            }
            DoubtStage::Held => {
                self.held.remove(&place);
            }
        }
    }

    fn doubt_mut(&mut self, event: &'static str, place: Place) -> Result<&mut Doubt, IllegalEvent> {
        match &mut self.item_mut(event, place.0, place.1)?.status {
            ItemStatus::InDoubt(doubt) => Ok(doubt),
            _ => illegal(event, "the item is not in doubt"),
        }
    }
}

impl Item {
    /// Turns to the next candidate, if that is the one that is to follow.
    pub(super) fn pass_on(
        &mut self,
        event: &'static str,
        candidate: u32,
        candidates: usize,
    ) -> Folded {
        if candidate != self.candidate {
            if candidate != self.candidate + 1 || candidate as usize >= candidates {
                return illegal(event, format!("candidate {candidate} follows {}", self.candidate));
            }
            (self.candidate, self.tries) = (candidate, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event::Resolver;
    use crate::testing::play;
    use serde_json::json;

    const YAML: &str = "
name: doubts
steps:
  - { id: a, uses: once, in_doubt: probe, retry: { jitter: 0 }, fallback: [{ uses: k }] }
  - { id: b, uses: k }";
    const BEGUN: &str = "start > start a; start b";
    const PROBING: &str = "start > start a; start b\n a lost > doubt a; probe a#1";
    const WAITING: &str = "start > start a; start b\n a lost > doubt a; probe a#1
                           a fail > probe a again in 1s";
    const HELD: &str = "start > start a; start b\n a lost > doubt a; probe a#1
                        a unknown > hold a";
    const STOPPING: &str = "start > start a; start b\n a lost > doubt a; probe a#1
                            cancel > cancel; stop b; stop a";
    const AT: Timestamp = Timestamp(9);
    const A: StepIndex = StepIndex(0);
    const ONLY: ItemIndex = ItemIndex::ONLY;

    fn doubt(token: u64) -> Event {
        let cause = Interruption::Death;
        Event::StepInDoubt { token: Token(token), cause, failure: None, at: AT }
    }

    fn probe(probe: u32, token: u64) -> Event {
        Event::ProbeStarted { step: A, item: ONLY, probe, token: Token(token), at: AT }
    }

    fn held(step: u32) -> Event {
        Event::StepHeld { step: StepIndex(step), item: ONLY, failure: None, at: AT }
    }

    fn resolved(step: u32, verdict: Verdict) -> Event {
        let (step, by) = (StepIndex(step), Resolver::Person);
        Event::DoubtResolved { step, item: ONLY, by, verdict, at: AT }
    }

    fn again(candidate: u32) -> Verdict {
        Verdict::Again { retry_at: AT, candidate }
    }

    fn probe_failed(token: u64) -> Event {
        let failure = Failure::fatal("x.y", "no");
        Event::ProbeFailed { token: Token(token), failure, retry_at: AT, at: AT }
    }

    #[test]
    fn what_cannot_follow_is_refused() {
        let no_answer = Interruption::NoAnswer;
        let unanswered = Event::AttemptInterrupted { token: Token(1), cause: no_answer, at: AT };
        let failure = Failure::fatal("x.y", "no");
        let failed =
            Event::AttemptFailed { token: Token(3), failure, retry_at: AT, candidate: 0, at: AT };
        let cases = [
            ("", doubt(1), "fence 1 is not open"),
            (BEGUN, doubt(2), "the step kind may be repeated"),
            (PROBING, doubt(3), "the fence is that of a probe"),
            (STOPPING, doubt(3), "the job is being stopped"),
            (BEGUN, unanswered, "an attempt without an answer has failed or is in doubt"),
            (PROBING, failed, "the fence is that of a probe"),
            ("", probe(1, 1), "step 0 is not at work"),
            (BEGUN, probe(1, 3), "the item is not in doubt"),
            (WAITING, probe(2, 7), "fence 7 is not the next, 4"),
            (WAITING, probe(1, 4), "probe 1 follows 1"),
            (PROBING, probe(2, 4), "the doubt waits for another"),
            (HELD, probe(2, 4), "the doubt waits for another"),
            (BEGUN, probe_failed(1), "the item is not in doubt"),
            (PROBING, probe_failed(9), "fence 9 is not open"),
            (BEGUN, held(0), "the item is not in doubt"),
            (BEGUN, held(9), "the workflow has no step 9"),
            (HELD, held(0), "the doubt is held already"),
            (STOPPING, held(0), "the job is being stopped"),
            (BEGUN, resolved(1, again(0)), "the item is not in doubt"),
            (HELD, resolved(0, again(2)), "candidate 2 follows 0"),
            (STOPPING, resolved(0, again(0)), "the job is being stopped"),
        ];
        for (before, event, why) in cases {
            let mut world = play(YAML, before);
            let error = world.state.apply(&event).expect_err(why);
            assert_eq!((error.event, error.why.as_str()), (event.kind(), why), "{event:?}");
        }
    }

    #[test]
    fn what_can_follow_is_taken_and_leaves_nothing_behind() {
        let item_failed =
            Event::ItemFailed { step: A, item: ONLY, failure: Failure::fatal("x.y", "no"), at: AT };
        let done = Verdict::Succeeded { output: json!(1) };
        let cases = [
            (BEGUN, doubt(1)),
            (WAITING, probe(2, 4)),
            (PROBING, probe_failed(3)),
            (PROBING, held(0)),
            (WAITING, held(0)),
            (PROBING, resolved(0, again(1))),
            (WAITING, resolved(0, again(0))),
            (HELD, resolved(0, done)),
            (PROBING, item_failed.clone()),
            (WAITING, item_failed.clone()),
            (HELD, item_failed),
        ];
        for (before, event) in cases {
            let mut world = play(YAML, before);
            assert_eq!(world.state.apply(&event), Ok(()), "{event:?}");
            crate::testing::check_consistency(&world.state);
        }
    }

    #[test]
    fn tries_and_deaths_are_counted_through_doubts() {
        let mut world = play(YAML, BEGUN);
        let mut item = |event: Event| {
            world.state.apply(&event).unwrap();
            let item = world.state.item(A, ONLY).unwrap();
            (item.tries, item.deaths, item.candidate)
        };
        assert_eq!(item(doubt(1)), (0, 1, 0));
        assert_eq!(item(probe(1, 3)), (0, 1, 0));
        let cause = Interruption::Death;
        let died = Event::AttemptInterrupted { token: Token(3), cause, at: AT };
        assert_eq!(item(died), (0, 2, 0));
        assert_eq!(item(probe(2, 4)), (0, 2, 0));
        assert_eq!(item(probe_failed(4)), (0, 0, 0));
        assert_eq!(item(held(0)), (0, 0, 0));
        assert_eq!(item(resolved(0, again(1))), (0, 0, 1));
    }
}
