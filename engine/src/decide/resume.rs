//! The job got a new owner after a restart or the death of its actor: whatever the journal has open
//! is dead. It is made again, unless it has killed its owner too often.

use super::turn::Turn;
use crate::event::{Event, Interruption};
use crate::failure::Failure;
use crate::ids::Token;
use crate::limits::MAX_DEATHS_COUNT;
use crate::state::{ItemStatus, Phase, StepStatus};

pub(super) fn resume(turn: &mut Turn<'_>) {
    let dead: Vec<Token> = turn.state.open_tokens().collect();
    let running = turn.state.phase == Phase::Running;
    let mut poisoned = None;
    for token in dead {
        if !running {
            turn.record(Event::AttemptCancelled { token, at: turn.now });
            continue;
        }
        let deaths = deaths_of(turn, token) + 1;
        if deaths >= MAX_DEATHS_COUNT {
            poisoned = poisoned.or_else(|| step_id(turn, token));
        }
        let cause = Interruption::Death;
        turn.record(Event::AttemptInterrupted { token, cause, at: turn.now });
    }
    match poisoned {
        Some(step) => turn.record(Event::JobFailed { failure: poison(&step), at: turn.now }),
        None => turn.advance(),
    }
}

fn deaths_of(turn: &Turn<'_>, token: Token) -> u32 {
    let Some((step, item)) = turn.state.open_attempt(token) else { return 0 };
    match &turn.state.steps[step.at()].status {
        StepStatus::Active(active) => {
            let item = &active.items[item.at()];
            assert!(matches!(item.status, ItemStatus::Running { .. }), "an open attempt runs");
            item.deaths
        }
        _ => 0,
    }
}

fn step_id(turn: &Turn<'_>, token: Token) -> Option<String> {
    let (step, _) = turn.state.open_attempt(token)?;
    Some(turn.state.plan.step(step).id.clone())
}

fn poison(step: &str) -> Failure {
    Failure::fatal(
        "job.poisoned",
        format!("the engine died {MAX_DEATHS_COUNT} times while step `{step}` was running"),
    )
    .with_hint("find out what in this step kills the process, then submit the job again")
}
