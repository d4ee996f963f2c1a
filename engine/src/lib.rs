//! The brain of Callsheet: pure decisions about durable jobs.
//!
//! A *workflow* is a declarative graph of steps ([`definition`]), compiled into a [`Plan`]. A *job*
//! is one run of it: a list of recorded [`Event`]s whose fold is its [`JobState`]. [`decide`] takes
//! the state, an [`Input`] and the time, and answers with the events to commit and the [`Action`]s
//! to do after the commit. Nothing here awaits, sleeps, reads a clock or a file, or draws a random
//! number; so everything that can be wrong about a job is testable in microseconds.

pub mod definition;
pub mod expression;
pub mod limits;

mod decide;
mod event;
mod failure;
mod fold;
mod graph;
mod ids;
mod instant;
mod mutations;
mod options;
mod plan;
mod progress;
mod state;
#[cfg(test)]
mod testing;
mod time;
mod timer;

pub use decide::{
    Action, Decision, Input, Outcome, Resolution, StartStep, Submission, Work, decide, submit,
};
pub use event::{Event, Interruption, Resolver, Verdict, WorkflowRef};
pub use failure::Failure;
pub use fold::{IllegalEvent, fold};
pub use ids::{ItemIndex, JobId, StepIndex, Token, idempotency_key};
pub use instant::NotAnInstant;
pub use mutations::{MUTATIONS, Mutation, mutated};
pub use options::JobOptions;
pub use plan::{Candidate, Plan, PlannedStep, RUN_WORKFLOW, canonical_json};
pub use progress::Gauge;
pub use state::{
    Active, Doubt, DoubtStage, Ending, HeldDoubt, Item, ItemStatus, JobState, Phase, StepState,
    StepStatus, StopCause,
};
pub use time::{Millis, NotASpan, Timestamp};
pub use timer::Timer;
