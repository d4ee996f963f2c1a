//! An attempt at what must not be done twice ended without an answer: the step's policy decides, or
//! its kind when asked, or a person.

use super::step_ended::what_follows;
use super::turn::Turn;
use super::{Outcome, Resolution, retry};
use crate::definition::InDoubt;
use crate::event::{Event, Interruption, Resolver, Verdict};
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::state::{Doubt, HeldDoubt, Item, ItemStatus, Phase};

/// Where a doubt is.
type Place = (StepIndex, ItemIndex);

/// The policy of the candidate that an item's attempts are made with; none when it may be repeated.
pub(super) fn policy(turn: &Turn<'_>, (step, item): Place) -> Option<InDoubt> {
    let candidate = turn.state.item(step, item)?.candidate;
    turn.state.plan.step(step).candidates.get(candidate as usize)?.in_doubt
}

/// Records that an attempt ended without an answer.
pub(super) fn begin(
    turn: &mut Turn<'_>,
    token: Token,
    cause: Interruption,
    failure: Option<Failure>,
) {
    turn.record(Event::StepInDoubt { token, cause, failure, at: turn.now });
}

/// What the policy says about a fresh doubt.
pub(super) fn look_at(turn: &mut Turn<'_>, place: Place) {
    match policy(turn, place) {
        Some(InDoubt::Probe) => turn.start_probe(place.0, place.1),
        Some(InDoubt::Fail) => {
            let failure = in_doubt(turn, place);
            fail(turn, place, Resolver::Policy, failure);
        }
        Some(InDoubt::Hold) => hold(turn, place, None),
        // The fold lets no doubt arise without a policy.
        Some(InDoubt::Retry) | None => again(turn, place, Resolver::Policy),
    }
}

/// A probe came to its end.
pub(super) fn probe_ended(turn: &mut Turn<'_>, token: Token, place: Place, outcome: Outcome) {
    let at = turn.now;
    match outcome {
        // Nothing is recalled for a probe; a result is a result all the same.
        Outcome::Succeeded(output) | Outcome::Recalled(output) => {
            turn.record(Event::StepSucceeded { token, output, cached: false, at });
        }
        Outcome::NotDone => again(turn, place, Resolver::Probe),
        Outcome::Unknown => hold(turn, place, None),
        Outcome::Failed(failure) | Outcome::Lost(failure) => {
            let (doubt, _) = doubt(turn, place);
            let (probes, policy) = (doubt.probes, &turn.state.plan.step(place.0).retry);
            if failure.retryable && probes < policy.max_attempts {
                let wait = retry::wait(policy, probes, turn.state.id, place, &failure);
                turn.record(Event::ProbeFailed { token, failure, retry_at: at + wait, at });
            } else {
                hold(turn, place, Some(failure));
            }
        }
        Outcome::Stopped | Outcome::Released | Outcome::NotBegun => {
            let cause = Interruption::Shutdown;
            return turn.record(Event::AttemptInterrupted { token, cause, at });
        }
    }
    turn.advance();
}

/// A person decides about a doubt that is held; about any other there is nothing to decide, nor
/// about one that came after the doubt they looked at.
pub(super) fn resolve(turn: &mut Turn<'_>, held: HeldDoubt, resolution: Resolution) {
    if turn.state.phase != Phase::Running || !turn.state.held().any(|other| other == held) {
        return;
    }
    let place = (held.step, held.item);
    let (at, (_, record)) = (turn.now, doubt(turn, place));
    let candidate = record.candidate;
    match resolution {
        Resolution::Retry => settle(turn, place, Verdict::Again { retry_at: at, candidate }),
        Resolution::Succeeded(output) => settle(turn, place, Verdict::Succeeded { output }),
        Resolution::Failed(message) => {
            let failure = Failure::fatal("step.in_doubt", message);
            fail(turn, place, Resolver::Person, failure);
        }
    }
    turn.advance();
}

fn settle(turn: &mut Turn<'_>, (step, item): Place, verdict: Verdict) {
    let (by, at) = (Resolver::Person, turn.now);
    turn.record(Event::DoubtResolved { step, item, by, verdict, at });
}

pub(super) fn hold(turn: &mut Turn<'_>, (step, item): Place, failure: Option<Failure>) {
    turn.record(Event::StepHeld { step, item, failure, at: turn.now });
}

/// It was not done, or may be done twice. An attempt that was cut off is made again; one that
/// panicked or ran out of time has failed, as it would have without a doubt.
fn again(turn: &mut Turn<'_>, (step, item): Place, by: Resolver) {
    let at = turn.now;
    let (doubt, record) = doubt(turn, (step, item));
    let candidate = record.candidate;
    if let Some(failure) = doubt.failure.clone() {
        return fail(turn, (step, item), by, failure);
    }
    let verdict = Verdict::Again { retry_at: at, candidate };
    turn.record(Event::DoubtResolved { step, item, by, verdict, at });
}

/// The attempt has failed: another follows, or a fallback, or the item fails for good.
fn fail(turn: &mut Turn<'_>, (step, item): Place, by: Resolver, failure: Failure) {
    let at = turn.now;
    match what_follows(turn, (step, item), &failure) {
        Some((retry_at, candidate)) => {
            let verdict = Verdict::Again { retry_at, candidate };
            turn.record(Event::DoubtResolved { step, item, by, verdict, at });
        }
        None => turn.record(Event::ItemFailed { step, item, failure, at }),
    }
}

fn doubt<'t>(turn: &'t Turn<'_>, (step, item): Place) -> (&'t Doubt, &'t Item) {
    let record = turn.state.item(step, item).expect("a doubt is listed with its item");
    match &record.status {
        ItemStatus::InDoubt(doubt) => (doubt, record),
        _ => unreachable!("an item that is listed as in doubt is in doubt"),
    }
}

/// The failure of an attempt that may have done its deed.
fn in_doubt(turn: &Turn<'_>, place: Place) -> Failure {
    let (doubt, _) = doubt(turn, place);
    let why = match (doubt.cause, &doubt.failure) {
        (Interruption::Death, _) => "the engine died during its attempt".to_owned(),
        (Interruption::Shutdown, _) => "a shutdown cut its attempt off".to_owned(),
        (Interruption::NoAnswer, Some(failure)) => failure.message.clone(),
        (Interruption::NoAnswer, None) => "its attempt gave no answer".to_owned(),
    };
    let step = &turn.state.plan.step(place.0).id;
    Failure::fatal("step.in_doubt", format!("nobody knows whether `{step}` was done: {why}"))
        .with_hint("look outside whether it was done before you submit the job again")
}

#[cfg(test)]
mod tests {
    use crate::event::Event;
    use crate::testing::{World, play};

    /// One step under a policy, and one beside it.
    fn yaml(policy: &str) -> String {
        format!(
            "
name: once
steps:
  - id: pay
    uses: bank
    in_doubt: {policy}
    retry: {{ max_attempts: 2, initial: 1s, jitter: 0 }}
    fallback: [{{ uses: cash }}]
  - {{ id: other, uses: k, retry: {{ max_attempts: 1 }} }}
output: '{{{{ steps.pay }}}}'"
        )
    }

    fn play_policy(policy: &str, script: &str) -> World {
        let world = World::new(&yaml(policy));
        let mut world = world;
        world.play(script);
        world
    }

    #[test]
    fn retry_makes_another_attempt() {
        play_policy(
            "retry",
            r#"
            start      > start pay; start other
            crash      > doubt pay; died other; start other#2
                       > policy: pay by bank in 0s; start pay#2
            other ok   > ok other
            pay ok 1   > ok pay; succeeded 1
            "#,
        );
    }

    #[test]
    fn fail_fails_the_attempt_and_its_fallback_follows() {
        let world = play_policy(
            "fail",
            r#"
            start      > start pay; start other
            crash      > doubt pay; died other; start other#2
                       > policy: pay by cash in 0s; start pay#2 by cash
            pay lost   > retry pay by cash in 1s
            +1s        > start pay#3 by cash
            pay fatal  > fail pay test.fatal; stop other
            "#,
        );
        assert!(!world.state.is_held());
        let plain = yaml("fail").replace("    fallback: [{ uses: cash }]\n", "");
        play(
            &plain,
            "
            start      > start pay; start other
            other ok   > ok other
            crash      > doubt pay; fail pay step.in_doubt; failed step.in_doubt
            ",
        );
        let lenient = plain.replace("in_doubt: fail", "in_doubt: fail\n    on_error: continue");
        play(
            &lenient,
            "
            start      > start pay; start other
            other ok   > ok other
            crash      > doubt pay; fail pay step.in_doubt; succeeded null
            ",
        );
    }

    #[test]
    fn hold_waits_for_a_person_while_other_branches_go_on() {
        let mut world = play_policy(
            "hold",
            r#"
            start      > start pay; start other
            crash      > doubt pay; died other; start other#2; hold pay
            timer      >
            +1h        >
            "#,
        );
        assert!(!world.state.only_waits() && world.state.is_held());
        world.play("other ok > ok other\n +1h >\n crash >\n crash >");
        assert!(world.state.only_waits());
        assert_eq!(world.state.next_wake(), None);
    }

    const HELD: &str = "start > start pay; start other
                        other ok > ok other
                        crash > doubt pay; hold pay";

    #[test]
    fn a_person_decides_what_was_done() {
        let cases = [
            ("retry", "person: pay by bank in 0s; start pay#2"),
            (r#"succeeded {"paid":1}"#, r#"person: pay gave {"paid":1}; succeeded {"paid":1}"#),
            ("failed", "person: pay by cash in 0s; start pay#2 by cash"),
        ];
        for (word, expected) in cases {
            let mut world = play_policy("hold", HELD);
            world.play(&format!("resolve pay {word} > {expected}\n resolve pay {word} >"));
            assert!(!world.state.is_held(), "{word}");
        }
    }

    #[test]
    fn a_person_who_says_failed_fails_a_step_without_a_fallback() {
        let plain = yaml("hold").replace("    fallback: [{ uses: cash }]\n", "");
        let mut world = play(&plain, HELD);
        world.play("resolve pay failed > fail pay step.in_doubt; failed step.in_doubt");
        let last = format!("{:?}", world.journal.last());
        assert!(last.contains("it was not done"), "{last}");
    }

    #[test]
    fn a_held_job_is_cancelled_at_once() {
        play_policy("hold", HELD).play("cancel > cancel; cancelled\n resolve pay retry >");
    }

    #[test]
    fn a_word_about_one_doubt_says_nothing_about_the_next() {
        let mut world = play_policy("hold", HELD);
        world.play("resolve pay#1 retry > person: pay by bank in 0s; start pay#2");
        world.play("crash > doubt pay; hold pay");
        world.play("resolve pay#1 retry >\n resolve pay#1 succeeded 1 >\n resolve pay#3 retry >");
    }

    #[test]
    fn an_attempt_that_never_began_leaves_no_doubt() {
        let mut world = play_policy("hold", "start > start pay; start other");
        world.play("drain >\n pay unbegun > given back pay\n other unbegun > given back other");
    }

    #[test]
    fn only_a_held_doubt_can_be_resolved() {
        let mut world = play_policy("hold", "resolve pay retry >\n start > start pay; start other");
        world.play("resolve pay retry >\n resolve other succeeded 1 >\n resolve pay[7] retry >");
    }

    #[test]
    fn whatever_leaves_no_answer_is_in_doubt_and_an_answer_is_not() {
        let cases = [
            ("lost", "doubt pay; hold pay"),
            ("released", "doubt pay"),
            ("stopped", "doubt pay"),
            ("fail", "retry pay in 1s"),
            ("fatal", "retry pay by cash in 0s; start pay#2 by cash"),
            ("notdone", "retry pay by cash in 0s; start pay#2 by cash"),
            ("ok 1", "ok pay"),
        ];
        for (end, expected) in cases {
            let mut world = play_policy("hold", "start > start pay; start other");
            world.play(&format!("pay {end} > {expected}"));
        }
    }

    #[test]
    fn what_a_shutdown_cut_off_is_decided_on_by_the_next_owner() {
        play_policy(
            "probe",
            r#"
            start         > start pay; start other
            drain         >
            pay released  > doubt pay
            other ok      > ok other
            timer         >
            crash         > probe pay#1
            pay released  > given back pay
            crash         > probe pay#2
            pay notdone   > probe: pay by bank in 0s; start pay#2
            pay ok 2      > ok pay; succeeded 2
            "#,
        );
    }

    #[test]
    fn a_probe_tells_what_was_done() {
        let begun = "start > start pay; start other\n other ok > ok other
                     crash > doubt pay; probe pay#1";
        let cases = [
            "pay ok 7 > ok pay; succeeded 7",
            "pay notdone > probe: pay by bank in 0s; start pay#2",
            "pay unknown > hold pay\n resolve pay succeeded 1 > person: pay gave 1; succeeded 1",
            "pay fatal > hold pay",
            "pay fail > probe pay again in 1s\n +1s > probe pay#2\n pay fail > hold pay",
            "pay lost > probe pay again in 1s\n +1s > probe pay#2
             pay ok 3 > ok pay; succeeded 3",
            "cancel > cancel; stop pay\n pay ok 3 > drop pay; cancelled",
            "pay fail > probe pay again in 1s\n cancel > cancel; cancelled",
            "crash > died pay; probe pay#2\n pay ok 3 > ok pay; succeeded 3",
        ];
        for script in cases {
            play_policy("probe", begun).play(script);
        }
    }

    #[test]
    fn a_lost_attempt_that_was_not_done_has_used_up_a_try() {
        play_policy(
            "probe",
            r#"
            start        > start pay; start other
            other ok     > ok other
            pay lost     > doubt pay; probe pay#1
            pay notdone  > probe: pay by bank in 1s
            +1s          > start pay#2
            pay lost     > doubt pay; probe pay#1
            pay notdone  > probe: pay by cash in 0s; start pay#3 by cash
            "#,
        );
    }

    #[test]
    fn deaths_in_a_row_poison_the_job_whoever_was_asked_in_between() {
        play_policy(
            "probe",
            r"
            start        > start pay; start other
            other ok     > ok other
            crash        > doubt pay; probe pay#1
            crash        > died pay; probe pay#2
            crash        > died pay; failed job.poisoned
            ",
        );
        play_policy(
            "retry",
            r"
            start        > start pay; start other
            other ok     > ok other
            crash        > doubt pay; policy: pay by bank in 0s; start pay#2
            crash        > doubt pay; policy: pay by bank in 0s; start pay#3
            crash        > doubt pay; failed job.poisoned
            ",
        );
    }

    #[test]
    fn a_person_breaks_a_chain_of_deaths() {
        let again = "resolve pay retry > person: pay by bank in 0s; start pay#";
        let mut world = play_policy("hold", HELD);
        for attempt in 2..6 {
            world.play(&format!("{again}{attempt}\n crash > doubt pay; hold pay"));
        }
    }

    #[test]
    fn items_are_in_doubt_one_by_one() {
        play(
            "
name: items
steps:
  - { id: a, uses: bank, in_doubt: hold, for_each: [1, 2, 3], concurrency: 2 }
output: '{{ steps.a }}'",
            r#"
            start                  > expand a 3; start a[0]; start a[1]
            crash                  > doubt a[0]; doubt a[1]; hold a[0]; hold a[1]
            resolve a[1] succeeded 5 > person: a[1] gave 5; start a[2]
            a[2] ok 6              > ok a[2]
            resolve a[0] retry     > person: a[0] by bank in 0s; start a[0]#2
            a[0] ok 4              > ok a[0]; succeeded [4,5,6]
            "#,
        );
    }

    #[test]
    fn a_quarantined_job_says_what_is_in_doubt() {
        let world = play_policy(
            "probe",
            "start > start pay; start other
             quarantine > doubt pay; died other; failed job.poisoned",
        );
        let doubts = world.journal.iter().filter(|it| matches!(it, Event::StepInDoubt { .. }));
        assert_eq!(doubts.count(), 1);
    }
}
