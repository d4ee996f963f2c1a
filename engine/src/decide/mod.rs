//! What happens next: one function from a job's state and an input to the events to commit and the
//! deeds to do after the commit.
//!
//! [`decide`] awaits nothing and reads no clock. It applies every event that it records to the
//! state through the fold, so the state is ahead of the journal until the events are committed; if
//! the commit is refused the caller throws the state away and folds the journal again.

mod cancel;
mod doubt;
mod quarantine;
mod resume;
mod retry;
mod step_ended;
mod submit;
mod timer_fired;
mod turn;

use serde_json::Value;

pub use submit::{Submission, submit};

use crate::event::Event;
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::state::{HeldDoubt, JobState};
use crate::time::{Millis, Timestamp};
use turn::Turn;

/// Everything that wakes a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The job got a new owner: whatever attempts the journal has open are dead.
    Resume,
    /// A wait may be over.
    TimerFired,
    /// An attempt came to its end.
    StepEnded {
        /// Its fence.
        token: Token,
        /// Its end.
        outcome: Outcome,
    },
    /// Somebody has looked whether a deed in doubt was done.
    Resolve {
        /// The doubt that they mean.
        doubt: HeldDoubt,
        /// What they say.
        resolution: Resolution,
    },
    /// Somebody wants the job to stop.
    Cancel {
        /// Why, in their words.
        reason: Option<String>,
    },
    /// The process is about to stop, or the job's turn has not come: what runs may end, nothing
    /// starts before the next [`Resume`](Self::Resume).
    Drain,
    /// The job's actor cannot go on with it: whatever is open is dead, and the job fails.
    Quarantine {
        /// Why.
        failure: Failure,
    },
}

/// The end of an attempt, as its body or its supervisor tells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The body returned this.
    Succeeded(Value),
    /// The body was not run: this is the result of an attempt of before at the same input.
    Recalled(Value),
    /// The body failed, and said so.
    Failed(Failure),
    /// The body said nothing: it panicked, ran out of time, or its actor died.
    Lost(Failure),
    /// Of a probe only: the deed was not done.
    NotDone,
    /// Of a probe only: it cannot be told whether the deed was done.
    Unknown,
    /// The body was stopped because the decision said so.
    Stopped,
    /// The body was given back by an orderly shutdown.
    Released,
    /// The same, and the body had not begun: nothing was done.
    NotBegun,
}

/// What a person says about a deed in doubt.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// It was not done, or may be done twice: make another attempt.
    Retry,
    /// It was done, and this is its result.
    Succeeded(Value),
    /// It shall count as failed, for this reason.
    Failed(String),
}

/// What to commit, and what to do once it is committed.
#[derive(Debug, Default, PartialEq)]
pub struct Decision {
    /// Events of one record; empty when there is nothing to say.
    pub events: Vec<Event>,
    /// Deeds, in order.
    pub actions: Vec<Action>,
}

/// A deed, imperative. Done only after the record that it came with is committed.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start the body of an attempt.
    StartStep(StartStep),
    /// Stop the body of an attempt and say when it is gone.
    StopStep(Token),
}

/// What an attempt is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The deed.
    Run,
    /// To find out whether the deed was done by an attempt that gave no answer.
    Probe,
}

/// All that a body needs to start.
#[derive(Clone, Debug, PartialEq)]
pub struct StartStep {
    /// The attempt's fence.
    pub token: Token,
    /// Which step.
    pub step: StepIndex,
    /// Which item.
    pub item: ItemIndex,
    /// Whether to do the deed or to ask whether it was done.
    pub work: Work,
    /// Number of the attempt, or of the probe, from 1.
    pub attempt: u32,
    /// The step kind.
    pub uses: String,
    /// The kind's input, rendered.
    pub input: Value,
    /// The time that the attempt may take.
    pub timeout: Millis,
    /// Whether a result of before may be taken.
    pub cache: bool,
}

/// Decides what `input` means for the job at the instant `now`.
///
/// An input that changes nothing (a stale fence, a second cancel, a timer too early) gives an empty
/// decision.
pub fn decide(state: &mut JobState, input: Input, now: Timestamp) -> Decision {
    let mut turn = Turn::new(state, now);
    match input {
        Input::Resume => resume::resume(&mut turn),
        Input::TimerFired => timer_fired::timer_fired(&mut turn),
        Input::StepEnded { token, outcome } => step_ended::step_ended(&mut turn, token, outcome),
        Input::Resolve { doubt, resolution } => doubt::resolve(&mut turn, doubt, resolution),
        Input::Cancel { reason } => cancel::cancel(&mut turn, reason),
        Input::Drain => turn.state.draining = true,
        Input::Quarantine { failure } => quarantine::quarantine(&mut turn, failure),
    }
    turn.into_decision()
}
