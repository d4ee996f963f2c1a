//! What is said of a job as a whole: its status in lists, and the count of those that ended so.

use callsheet_engine::{Ending, JobState, Phase, Timestamp};
use callsheet_storage::JobStatus;

use crate::core::Core;
use crate::handle::HELD_UNTIL;
use crate::limits::PASSIVATE_AFTER_MS;

impl Core {
    /// Counts a job that has ended in this state.
    pub(super) fn count_ending(&self, state: &JobState) {
        match &state.phase {
            Phase::Ended { ending: Ending::Succeeded(_), .. } => self.counters.jobs_succeeded.up(),
            Phase::Ended { ending: Ending::Failed(_), .. } => self.counters.jobs_failed.up(),
            Phase::Ended { ending: Ending::Cancelled, .. } => self.counters.jobs_cancelled.up(),
            Phase::Running | Phase::Stopping(_) => {}
        }
    }
}

/// The recorded status of a job in this state.
pub(super) fn status_of(state: &JobState, now: Timestamp) -> JobStatus {
    match &state.phase {
        Phase::Running if state.only_waits() => match state.next_wake() {
            Some(until) if until.since(now).0 > PASSIVATE_AFTER_MS => JobStatus::Sleeping { until },
            Some(_) => JobStatus::Running,
            // All that it waits for is a person.
            None => JobStatus::Sleeping { until: HELD_UNTIL },
        },
        Phase::Running => JobStatus::Running,
        Phase::Stopping(_) => JobStatus::Stopping,
        Phase::Ended { ending: Ending::Succeeded(_), .. } => JobStatus::Succeeded,
        Phase::Ended { ending: Ending::Failed(_), .. } => JobStatus::Failed,
        Phase::Ended { ending: Ending::Cancelled, .. } => JobStatus::Cancelled,
    }
}
