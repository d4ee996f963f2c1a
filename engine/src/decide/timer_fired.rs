//! A wait may be over: what is due starts, what is not waits on.

use super::turn::Turn;

pub(super) fn timer_fired(turn: &mut Turn<'_>) {
    turn.advance();
}
