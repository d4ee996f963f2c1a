//! The job's actor cannot go on with it: the job fails, so that it cannot loop the engine.

use super::turn::Turn;
use crate::event::{Event, Interruption};
use crate::failure::Failure;
use crate::ids::Token;
use crate::state::Phase;

pub(super) fn quarantine(turn: &mut Turn<'_>, failure: Failure) {
    if turn.state.has_ended() {
        return;
    }
    let running = turn.state.phase == Phase::Running;
    let dead: Vec<Token> = turn.state.open_tokens().collect();
    let at = turn.now;
    for token in dead {
        turn.record(if running {
            Event::AttemptInterrupted { token, cause: Interruption::Death, at }
        } else {
            Event::AttemptCancelled { token, at }
        });
    }
    turn.record(Event::JobFailed { failure, at });
}
