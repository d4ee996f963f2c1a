//! The body of Callsheet: the actors that run jobs, the [`Step`] trait that users implement, child
//! processes, and the [`Engine`] handle.
//!
//! An engine has a tree of supervised actors; see `tree`. Step bodies run on a runtime of their
//! own, so that no body can delay a decision, a cancel or another job.

pub mod limits;

mod accept;
mod builder;
mod cancels;
mod clock;
mod context;
mod core;
mod engine;
mod error;
mod files;
mod gauges;
mod handle;
mod mailbox;
mod plans;
mod points;
mod process;
mod scratch;
mod size;
mod stats;
mod step;
#[cfg(test)]
#[path = "../tests/it/faulty.rs"]
mod testing;
mod tree;
mod waiters;

pub use builder::EngineBuilder;
pub use context::{Progress, StepContext};
pub use engine::{Engine, Submit, Submitted};
pub use error::EngineError;
pub use files::{Keeping, Swept};
pub use handle::{HELD_UNTIL, JobHandle, JobView};
pub use mailbox::ActorInfo;
pub use points::{POINTS, TREE_POINTS};
pub use process::{Adopted, Command, Finished};
pub use stats::{FileStats, Stats};
pub use step::{Probed, Step, StepError, StepResult};
pub use tree::CancelAnswer;
