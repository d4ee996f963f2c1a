//! Somebody wants the job to stop: no attempt starts any more, the open ones are told to stop, and
//! once they are gone the job is cancelled.

use super::turn::Turn;
use crate::event::Event;
use crate::state::{Phase, StopCause};

pub(super) fn cancel(turn: &mut Turn<'_>, reason: Option<String>) {
    match turn.state.phase {
        Phase::Ended { .. } | Phase::Stopping(StopCause::Cancel) => {}
        Phase::Running | Phase::Stopping(StopCause::Failure(_)) => {
            turn.record(Event::CancelRequested { reason, at: turn.now });
            turn.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, play};

    const YAML: &str = "
name: cancel
steps:
  - { id: a, uses: k, retry: { jitter: 0 } }
  - { id: b, uses: k, retry: { jitter: 0 } }
  - { id: c, uses: k, needs: [a] }";

    #[test]
    fn a_cancel_is_final_in_every_phase() {
        let cases = [
            ("not begun", "", "cancel; cancelled"),
            ("at work", "start > start a; start b", "cancel; stop a; stop b"),
            (
                "one waits, one runs",
                "start > start a; start b\n a fail > retry a in 1s",
                "cancel; stop b",
            ),
            (
                "all wait",
                "start > start a; start b\n a fail > retry a in 1s\n b fail > retry b in 1s",
                "cancel; cancelled",
            ),
            ("draining", "start > start a; start b\n drain >", "cancel; stop a; stop b"),
            ("failing", "start > start a; start b\n a fatal > fail a test.fatal; stop b", "cancel"),
            (
                "failed",
                "start > start a; start b\n a fatal > fail a test.fatal; stop b
                 b stopped > drop b; failed test.fatal",
                "",
            ),
        ];
        for (phase, before, expected) in cases {
            let mut world = play(YAML, before);
            world.play(&format!("cancel > {expected}"));
            let over = world.state.has_ended();
            world.play("cancel >\n +1h >");
            for name in ["a", "b"] {
                if world.open_at(name).is_some() {
                    let last = name == "b" || world.open_at("b").is_none();
                    let end = if last { "; cancelled" } else { "" };
                    world.play(&format!("{name} ok > drop {name}{end}"));
                }
            }
            assert!(world.state.has_ended(), "{phase}");
            assert_eq!(over, expected.is_empty() || expected.ends_with("cancelled"), "{phase}");
            assert_eq!(started_after_cancel(&world), 0, "{phase}");
        }
    }

    #[test]
    fn a_cancel_survives_a_crash() {
        play(
            YAML,
            r"
            start    > start a; start b
            cancel   > cancel; stop a; stop b
            a ok     > drop a
            crash    > drop b; cancelled
            crash    >
            ",
        );
    }

    #[test]
    fn the_first_commit_wins_against_a_cancel() {
        play(
            "{ name: race, steps: [{ id: a, uses: k }] }",
            "
            start    > start a
            a ok     > ok a; succeeded null
            cancel   >
            ",
        );
    }

    fn started_after_cancel(world: &World) -> usize {
        let words = world.journal.iter().map(|event| event.kind());
        words
            .skip_while(|kind| *kind != "CancelRequested")
            .filter(|kind| *kind == "StepStarted")
            .count()
    }
}
