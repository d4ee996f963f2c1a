//! An attempt came to its end: its result is recorded, or it is made again, or its step fails; and
//! the graph moves on in the same record.

use super::Outcome;
use super::retry::backoff;
use super::turn::Turn;
use crate::event::{Event, Interruption};
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::state::{Item, Phase, StepStatus};

pub(super) fn step_ended(turn: &mut Turn<'_>, token: Token, outcome: Outcome) {
    let Some((step, item)) = turn.state.open_attempt(token) else {
        return; // The fence is stale: another attempt owns the step now, or it has its result.
    };
    let at = turn.now;
    if turn.state.phase != Phase::Running {
        turn.record(Event::AttemptCancelled { token, at });
        return turn.finish();
    }
    match outcome {
        Outcome::Succeeded(output) => turn.record(Event::StepSucceeded { token, output, at }),
        Outcome::Failed(failure) => failed(turn, token, (step, item), failure),
        Outcome::Stopped | Outcome::Released => {
            // Given back by a shutdown: it is made again by the next owner, not by this one.
            let cause = Interruption::Shutdown;
            return turn.record(Event::AttemptInterrupted { token, cause, at });
        }
    }
    turn.advance();
}

fn failed(turn: &mut Turn<'_>, token: Token, place: (StepIndex, ItemIndex), failure: Failure) {
    let (step, item) = place;
    let at = turn.now;
    let plan = turn.state.plan.clone();
    let planned = plan.step(step);
    let Some(record) = item_of(turn, step, item) else { return };
    let (tries, candidate) = (record.tries, record.candidate);
    if failure.retryable && tries < planned.retry.max_attempts {
        let retry_at = at + backoff(&planned.retry, tries, turn.state.id, step, item);
        turn.record(Event::AttemptFailed { token, failure, retry_at, candidate, at });
    } else if (candidate as usize) + 1 < planned.candidates.len() {
        let candidate = candidate + 1;
        turn.record(Event::AttemptFailed { token, failure, retry_at: at, candidate, at });
    } else {
        turn.record(Event::ItemFailed { step, item, failure, at });
    }
}

fn item_of<'t>(turn: &'t Turn<'_>, step: StepIndex, item: ItemIndex) -> Option<&'t Item> {
    match &turn.state.steps[step.at()].status {
        StepStatus::Active(active) => active.items.get(item.at()),
        _ => None,
    }
}
