//! The job's actor cannot go on with it: the job ends, so that it cannot loop the engine.

use super::turn::Turn;
use crate::event::Event;
use crate::failure::Failure;
use crate::state::Phase;

pub(super) fn quarantine(turn: &mut Turn<'_>, failure: Failure) {
    turn.bury();
    match turn.state.phase {
        Phase::Running => turn.record(Event::JobFailed { failure, at: turn.now }),
        // It was being stopped: it ends as it would have, for a cancel that was accepted stands.
        Phase::Stopping(_) | Phase::Ended { .. } => turn.finish(),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::play;

    #[test]
    fn the_job_ends_at_once_and_as_what_it_was_becoming() {
        let yaml = "{ name: two, steps: [{ id: a, uses: k }, { id: b, uses: k }] }";
        let begun = "start > start a; start b";
        let cases = [
            ("", "failed job.poisoned"),
            (begun, "died a; died b; failed job.poisoned"),
            ("cancel > cancel; cancelled", ""),
            (
                "start > start a; start b\n cancel > cancel; stop a; stop b\n b ok > drop b",
                "drop a; cancelled",
            ),
            (
                "start > start a; start b\n a fatal > fail a test.fatal; stop b",
                "drop b; failed test.fatal",
            ),
        ];
        for (before, expected) in cases {
            let mut world = play(yaml, before);
            world.play(&format!("quarantine > {expected}\n crash >"));
            assert!(world.state.has_ended());
        }
    }
}
