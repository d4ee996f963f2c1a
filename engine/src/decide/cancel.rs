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
