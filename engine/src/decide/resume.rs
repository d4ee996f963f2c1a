//! The job got a new owner after a restart or the death of its actor: whatever the journal has open
//! is dead. It is made again, unless it has killed its owner too often.

use super::turn::Turn;
use crate::event::Event;
use crate::failure::Failure;
use crate::limits::MAX_DEATHS_COUNT;

pub(super) fn resume(turn: &mut Turn<'_>) {
    // Whoever waits for the job's turn to go on lets it start nothing until then.
    turn.state.draining = false;
    let dead = turn.bury();
    let deadly = dead.into_iter().find(|(step, item)| {
        turn.state.item(*step, *item).is_some_and(|item| item.deaths >= MAX_DEATHS_COUNT)
    });
    match deadly {
        Some((step, _)) => {
            let failure = poison(&turn.state.plan.step(step).id);
            turn.record(Event::JobFailed { failure, at: turn.now });
        }
        None => turn.advance(),
    }
}

fn poison(step: &str) -> Failure {
    Failure::fatal(
        "job.poisoned",
        format!("the engine died {MAX_DEATHS_COUNT} times while step `{step}` was running"),
    )
    .with_hint("find out what in this step kills the process, then submit the job again")
}

#[cfg(test)]
mod tests {
    use crate::testing::play;

    const YAML: &str = "
name: resume
steps:
  - id: a
    uses: k
    retry: { max_attempts: 2, initial: 1s, jitter: 0 }
    fallback: [{ uses: other }]
  - { id: b, uses: k, needs: [a], for_each: [1, 2, 3], concurrency: 2 }";

    #[test]
    fn open_attempts_are_made_again_and_committed_ones_are_not() {
        play(
            YAML,
            r"
            start       > start a
            crash       > died a; start a#2
            a ok        > ok a; expand b 3; start b[0]; start b[1]
            b[1] ok 1   > ok b[1]; start b[2]
            crash       > died b[0]; died b[2]; start b[0]#2; start b[2]#2
            b[0] ok 0   > ok b[0]
            crash       > died b[2]; start b[2]#3
            b[2] ok 2   > ok b[2]; succeeded null
            crash       >
            ",
        );
    }

    #[test]
    fn the_third_death_poisons_the_job() {
        play(
            YAML,
            r"
            start    > start a
            crash    > died a; start a#2
            crash    > died a; start a#3
            crash    > died a; failed job.poisoned
            crash    >
            ",
        );
    }

    #[test]
    fn an_answer_forgets_the_deaths_before_it() {
        play(
            YAML,
            r"
            start    > start a
            crash    > died a; start a#2
            crash    > died a; start a#3
            a fail   > retry a in 1s
            crash    >
            +1s      > start a#4
            crash    > died a; start a#5
            crash    > died a; start a#6
            crash    > died a; failed job.poisoned
            ",
        );
    }

    #[test]
    fn a_death_is_no_try_and_keeps_the_candidate() {
        play(
            YAML,
            r"
            start    > start a
            crash    > died a; start a#2
            a fail   > retry a in 1s
            +1s      > start a#3
            crash    > died a; start a#4
            a fail   > retry a by other in 0s; start a#5 by other
            crash    > died a; start a#6 by other
            a fail   > retry a by other in 1s
            +1s      > start a#7 by other
            a fail   > fail a test.fault; failed test.fault
            ",
        );
    }

    #[test]
    fn one_deadly_item_poisons_the_job_of_many() {
        let world = play(
            YAML,
            r"
            start       > start a
            a ok        > ok a; expand b 3; start b[0]; start b[1]
            crash       > died b[0]; died b[1]; start b[0]#2; start b[1]#2
            b[0] ok     > ok b[0]; start b[2]
            crash       > died b[1]; died b[2]; start b[1]#3; start b[2]#2
            crash       > died b[1]; died b[2]; failed job.poisoned
            ",
        );
        let last = format!("{:?}", world.journal.last());
        assert!(last.contains("while step `b` was running"), "{last}");
    }

    #[test]
    fn whoever_only_waits_for_another_job_may_be_there_at_any_number_of_deaths() {
        let yaml = "
name: parent
steps:
  - { id: a, uses: workflow.run, fallback: [{ uses: other }] }
  - { id: b, uses: k, needs: [a] }";
        let world = play(
            yaml,
            r"
            start    > start a
            crash    > died a; start a#2
            crash    > died a; start a#3
            crash    > died a; start a#4
            crash    > died a; start a#5
            a fatal  > retry a by other in 0s; start a#6 by other
            crash    > died a; start a#7 by other
            crash    > died a; start a#8 by other
            crash    > died a; failed job.poisoned
            ",
        );
        assert!(!world.state.is_suspect());
        let mut world = play(yaml, "start > start a\n crash > died a; start a#2");
        assert!(!world.state.is_suspect(), "it is not tried alone: it would wait for its own job");
        world.play("a fatal > retry a by other in 0s; start a#3 by other");
        world.play("crash > died a; start a#4 by other");
        assert!(world.state.is_suspect(), "its fallback is a body like another");
    }

    #[test]
    fn a_job_that_fails_goes_on_failing() {
        let yaml = "{ name: two, steps: [{ id: a, uses: k }, { id: b, uses: k }] }";
        play(
            yaml,
            r"
            start    > start a; start b
            a fatal  > fail a test.fatal; stop b
            crash    > drop b; failed test.fatal
            ",
        );
    }

    #[test]
    fn before_its_last_but_one_death_is_taken_in_a_job_is_suspected() {
        let mut world = play(YAML, "start > start a");
        assert!(!world.state.is_suspect(), "any job may have been there when the process died");
        world.play("crash > died a; start a#2");
        assert!(world.state.is_suspect(), "its second death");
        world.play("crash > died a; start a#3");
        assert!(!world.state.is_suspect(), "after its third it is quarantined at once");
        world.play("a ok > ok a; expand b 3; start b[0]; start b[1]");
        assert!(!world.state.is_suspect(), "an answer forgets the deaths before it");
    }
}
