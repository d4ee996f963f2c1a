//! What events say about the job as a whole: it is being stopped, it is over.

use std::sync::Arc;

use serde_json::Value;

use super::{Folded, illegal};
use crate::failure::Failure;
use crate::state::{Ending, JobState, Phase, StepStatus, StopCause};
use crate::time::Timestamp;

impl JobState {
    pub(super) fn request_cancel(&mut self) -> Folded {
        match self.phase {
            Phase::Running | Phase::Stopping(StopCause::Failure(_)) => {
                self.stop(StopCause::Cancel);
                Ok(())
            }
            _ => illegal("CancelRequested", "the job was cancelled before"),
        }
    }

    pub(super) fn begin_stopping(&mut self, failure: &Failure) {
        self.stop(StopCause::Failure(failure.clone()));
    }

    /// Nothing starts any more: what could have started is forgotten.
    fn stop(&mut self, cause: StopCause) {
        self.phase = Phase::Stopping(cause);
        self.ready.clear();
        self.hungry.clear();
        self.waits.clear();
        self.doubts.clear();
        self.held.clear();
    }

    pub(super) fn end_well(&mut self, output: &Value, at: Timestamp) -> Folded {
        const EVENT: &str = "JobSucceeded";
        self.must_run(EVENT)?;
        if self.unsettled > 0 {
            return illegal(EVENT, format!("{} steps have not settled", self.unsettled));
        }
        self.end(Ending::Succeeded(Arc::new(output.clone())), at);
        Ok(())
    }

    pub(super) fn end_badly(&mut self, failure: &Failure, at: Timestamp) -> Folded {
        const EVENT: &str = "JobFailed";
        if !self.open.is_empty() {
            return illegal(EVENT, "attempts are open");
        }
        if self.phase == Phase::Stopping(StopCause::Cancel) {
            return illegal(EVENT, "the job is being cancelled");
        }
        self.end(Ending::Failed(failure.clone()), at);
        Ok(())
    }

    pub(super) fn end_cancelled(&mut self, at: Timestamp) -> Folded {
        const EVENT: &str = "JobCancelled";
        if !self.open.is_empty() {
            return illegal(EVENT, "attempts are open");
        }
        if self.phase != Phase::Stopping(StopCause::Cancel) {
            return illegal(EVENT, "nobody asked for it");
        }
        self.end(Ending::Cancelled, at);
        Ok(())
    }

    fn end(&mut self, ending: Ending, at: Timestamp) {
        for step in &mut self.steps {
            if matches!(step.status, StepStatus::Pending | StepStatus::Active(_)) {
                step.status = StepStatus::Cancelled;
                step.ended_at = Some(at);
            }
        }
        self.ready.clear();
        self.hungry.clear();
        self.waits.clear();
        self.doubts.clear();
        self.held.clear();
        self.phase = Phase::Ended { ending, at };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event::Event;
    use crate::testing::play;
    use serde_json::json;

    const YAML: &str = "{ name: two, steps: [{ id: a, uses: k }, { id: b, uses: k }] }";
    const BEGUN: &str = "start > start a; start b";
    const WAITING: &str = "start > start a; start b\n a ok > ok a\n b released > given back b";
    const FAILING: &str = "start > start a; start b\n a fatal > fail a test.fatal; stop b";
    const CANCELLING: &str = "start > start a; start b\n cancel > cancel; stop a; stop b";
    const AT: Timestamp = Timestamp(9);

    #[test]
    fn a_job_ends_only_as_its_journal_allows() {
        let well = Event::JobSucceeded { output: json!(1), at: AT };
        let badly = Event::JobFailed { failure: Failure::fatal("x.y", "no"), at: AT };
        let cancelled = Event::JobCancelled { at: AT };
        let request = Event::CancelRequested { reason: None, at: AT };
        let cases = [
            ("", &well, Some("2 steps have not settled")),
            (WAITING, &well, Some("1 steps have not settled")),
            (FAILING, &well, Some("the job is being stopped")),
            (CANCELLING, &well, Some("the job is being stopped")),
            ("", &badly, None),
            (WAITING, &badly, None),
            (BEGUN, &badly, Some("attempts are open")),
            (FAILING, &badly, Some("attempts are open")),
            (CANCELLING, &badly, Some("attempts are open")),
            ("", &cancelled, Some("nobody asked for it")),
            (CANCELLING, &cancelled, Some("attempts are open")),
            (FAILING, &cancelled, Some("attempts are open")),
            (BEGUN, &request, None),
            (FAILING, &request, None),
            (CANCELLING, &request, Some("the job was cancelled before")),
        ];
        for (before, event, why) in cases {
            let folded = play(YAML, before).state.apply(event);
            let expected = why.map_or(Ok(()), |why| illegal(event.kind(), why));
            assert_eq!(folded, expected, "{event:?} after {before}");
        }
    }

    #[test]
    fn a_cancel_that_was_accepted_does_not_become_a_failure() {
        let mut state = play(YAML, CANCELLING).state;
        for token in state.open_tokens().collect::<Vec<_>>() {
            state.apply(&Event::AttemptCancelled { token, at: AT }).unwrap();
        }
        let badly = Event::JobFailed { failure: Failure::fatal("x.y", "no"), at: AT };
        assert_eq!(state.clone().apply(&badly), illegal("JobFailed", "the job is being cancelled"));
        assert_eq!(state.apply(&Event::JobCancelled { at: AT }), Ok(()));
        assert_eq!(state.phase, Phase::Ended { ending: Ending::Cancelled, at: AT });
    }

    #[test]
    fn a_job_being_stopped_wakes_no_more() {
        let mut world = play(YAML, "start > start a; start b");
        world.end("a", crate::Outcome::Failed(Failure::retryable("x.y", "no")));
        assert!(world.state.next_wake().is_some());
        world.play("cancel > cancel; stop b");
        assert_eq!((world.state.next_wake(), world.state.only_waits()), (None, false));
    }
}
