//! An attempt came to its end: its result is recorded, or it is made again, or its step fails; and
//! the graph moves on in the same record.

use super::retry;
use super::turn::Turn;
use super::{Outcome, doubt};
use crate::event::{Event, Interruption};
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::mutations::mutated;
use crate::state::{ItemStatus, Phase};
use crate::time::Timestamp;

pub(super) fn step_ended(turn: &mut Turn<'_>, token: Token, outcome: Outcome) {
    let token = match turn.state.open_attempt(token) {
        None if mutated("fence-token") => turn.state.open_tokens().next().unwrap_or(token),
        _ => token,
    };
    let Some((step, item)) = turn.state.open_attempt(token) else {
        return; // The fence is stale: another attempt owns the step now, or it has its result.
    };
    let at = turn.now;
    if turn.state.phase != Phase::Running {
        turn.record(Event::AttemptCancelled { token, at });
        return turn.finish();
    }
    if turn.state.item(step, item).is_some_and(|it| matches!(it.status, ItemStatus::InDoubt(_))) {
        return doubt::probe_ended(turn, token, (step, item), outcome);
    }
    let in_doubt = doubt::policy(turn, (step, item)).is_some();
    match outcome {
        Outcome::Succeeded(output) => {
            turn.record(Event::StepSucceeded { token, output, cached: false, at });
        }
        Outcome::Recalled(output) => {
            turn.record(Event::StepSucceeded { token, output, cached: true, at });
        }
        Outcome::Lost(failure) if in_doubt => {
            doubt::begin(turn, token, Interruption::NoAnswer, Some(failure));
        }
        Outcome::Failed(failure) | Outcome::Lost(failure) => {
            failed(turn, token, (step, item), failure);
        }
        Outcome::NotDone | Outcome::Unknown => {
            let message = "the body answered as only a probe may";
            failed(turn, token, (step, item), Failure::fatal("step.output", message));
        }
        Outcome::Stopped | Outcome::Released | Outcome::NotBegun => {
            // Given back by a shutdown: the next owner goes on with it, not this one.
            let cause = Interruption::Shutdown;
            return match in_doubt && outcome != Outcome::NotBegun {
                true => doubt::begin(turn, token, cause, None),
                false => turn.record(Event::AttemptInterrupted { token, cause, at }),
            };
        }
    }
    turn.advance();
}

fn failed(turn: &mut Turn<'_>, token: Token, place: (StepIndex, ItemIndex), failure: Failure) {
    let ((step, item), at) = (place, turn.now);
    turn.record(match what_follows(turn, place, &failure) {
        Some((retry_at, candidate)) => {
            Event::AttemptFailed { token, failure, retry_at, candidate, at }
        }
        None => Event::ItemFailed { step, item, failure, at },
    });
}

/// When and by which candidate an attempt follows one that failed; none when the item has failed
/// for good.
pub(super) fn what_follows(
    turn: &Turn<'_>,
    (step, item): (StepIndex, ItemIndex),
    failure: &Failure,
) -> Option<(Timestamp, u32)> {
    let planned = turn.state.plan.step(step);
    let record = turn.state.item(step, item).expect("an attempt has its item");
    let (tries, candidate) = (record.tries, record.candidate);
    if failure.retryable && tries < planned.retry.max_attempts {
        // One whose process died has not counted as a try.
        let wait = retry::wait(&planned.retry, tries.max(1), turn.state.id, (step, item), failure);
        return Some((turn.now + wait, candidate));
    }
    let more = (candidate as usize) + 1 < planned.candidates.len();
    more.then_some((turn.now, candidate + 1))
}

#[cfg(test)]
mod tests {
    use crate::testing::play;

    const RETRIES: &str = "
name: retries
steps:
  - id: a
    uses: k
    retry: { max_attempts: 3, initial: 1s, factor: 2, max: 1m, jitter: 0 }
    fallback: [{ uses: plan_b }, { uses: plan_c, with: { c: 1 } }]
  - { id: b, uses: k, with: { a: '{{ steps.a }}' } }";

    #[test]
    fn every_candidate_has_all_its_tries_and_its_own_waits() {
        play(
            RETRIES,
            r#"
            start    > start a
            a fail   > retry a in 1s
            +1s      > start a#2
            a fail   > retry a in 2s
            +2s      > start a#3
            a fail   > retry a by plan_b in 0s; start a#4 by plan_b
            a fail   > retry a by plan_b in 1s
            +1s      > start a#5 by plan_b
            a fatal  > retry a by plan_c in 0s; start a#6 by plan_c {"c":1}
            a fail   > retry a by plan_c in 1s
            +1s      > start a#7 by plan_c {"c":1}
            a fail   > retry a by plan_c in 2s
            +2s      > start a#8 by plan_c {"c":1}
            a fail   > fail a test.fault; failed test.fault
            "#,
        );
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept_to() {
        play(
            RETRIES,
            r#"
            start           > start a
            a fail 500ms    > retry a in 1s
            +1s             > start a#2
            a fail 40s      > retry a in 40s
            +39s            >
            +1s             > start a#3
            a fail 40s      > retry a by plan_b in 0s; start a#4 by plan_b
            a fail 7d       > retry a by plan_b in 10m
            +10m            > start a#5 by plan_b
            a ok 7          > ok a; start b {"a":7}
            b ok            > ok b; succeeded null
            "#,
        );
    }

    #[test]
    fn a_fallback_gives_the_result_of_its_step() {
        play(
            RETRIES,
            r#"
            start    > start a
            a fatal  > retry a by plan_b in 0s; start a#2 by plan_b
            a ok 7   > ok a; start b {"a":7}
            b ok     > ok b; succeeded null
            "#,
        );
    }

    #[test]
    fn a_result_of_before_is_a_result_and_says_so() {
        play(
            RETRIES,
            r#"
            start          > start a
            a recalled 7   > recall a; start b {"a":7}
            b ok           > ok b; succeeded null
            "#,
        );
    }

    #[test]
    fn a_late_result_is_dropped() {
        play(
            RETRIES,
            r#"
            start    > start a
            a fail   > retry a in 1s
            stale a  >
            +1s      > start a#2
            a ok 1   > ok a; start b {"a":1}
            stale a  >
            b ok     > ok b; succeeded null
            stale b  >
            "#,
        );
    }

    #[test]
    fn a_failed_step_that_may_fail_gives_nothing() {
        let yaml = "
name: continue
steps:
  - { id: a, uses: k, on_error: continue }
  - { id: b, uses: k, for_each: [1, 2, 3], concurrency: 3, on_error: continue }
  - { id: c, uses: k, with: { a: '{{ steps.a }}', b: '{{ steps.b }}' } }";
        play(
            yaml,
            r#"
            start        > start a; expand b 3; start b[0]; start b[1]; start b[2]
            b[1] fatal   > fail b[1] test.fatal
            a fatal      > fail a test.fatal
            b[0] ok 0    > ok b[0]
            b[2] ok 2    > ok b[2]; start c {"a":null,"b":[0,null,2]}
            c ok         > ok c; succeeded null
            "#,
        );
    }

    #[test]
    fn a_final_failure_stops_the_job_and_drops_what_still_ends() {
        let yaml = "
name: stop
steps:
  - id: a
    uses: k
    for_each: [1, 2, 3, 4, 5]
    concurrency: 3
    retry: { jitter: 0 }
  - { id: b, uses: k }
  - { id: c, uses: k, needs: [b] }";
        play(
            yaml,
            r"
            start        > expand a 5; start a[0]; start a[1]; start a[2]; start b
            a[2] fail    > retry a[2] in 1s
            a[0] fatal   > fail a[0] test.fatal; stop a[1]; stop b
            +10s         >
            b ok 1       > drop b
            stale b      >
            a[1] fatal   > drop a[1]; failed test.fatal
            ",
        );
    }

    #[test]
    fn the_second_failure_does_not_change_the_verdict() {
        let yaml = "
name: first
steps:
  - { id: a, uses: k }
  - { id: b, uses: k }";
        play(
            yaml,
            r"
            start     > start a; start b
            a fatal   > fail a test.fatal; stop b
            b fail    > drop b; failed test.fatal
            ",
        );
    }

    #[test]
    fn what_is_given_back_is_left_to_the_next_owner_and_is_not_a_try() {
        play(
            RETRIES,
            r"
            start        > start a
            a fail       > retry a in 1s
            +1s          > start a#2
            drain        >
            a released   > given back a
            timer        >
            crash        > start a#3
            a fail       > retry a in 2s
            +2s          > start a#4
            drain        >
            a stopped    > given back a
            crash        > start a#5
            a fail       > retry a by plan_b in 0s; start a#6 by plan_b
            ",
        );
    }

    #[test]
    fn while_draining_results_are_kept_and_nothing_starts() {
        let yaml = "
name: drain
steps:
  - { id: a, uses: k }
  - { id: b, uses: k }
  - { id: c, uses: k, needs: [a] }";
        play(
            yaml,
            r"
            start    > start a; start b
            drain    >
            a ok     > ok a
            b ok     > ok b
            +1h      >
            crash    > start c
            drain    >
            c ok     > ok c; succeeded null
            ",
        );
    }
}
