//! The body of Callsheet: the actors that run jobs, the [`Step`] trait that users implement, child
//! processes, and the [`Engine`] handle.
//!
//! An engine has a tree of supervised actors; see `tree`. Step bodies run on a runtime of their
//! own, so that no body can delay a decision, a cancel or another job.

pub mod limits;

mod accept;
mod builder;
mod cancels;
mod child;
mod clock;
mod context;
mod core;
mod engine;
mod error;
mod files;
mod gauges;
mod handle;
mod kin;
mod mailbox;
mod plans;
mod points;
mod process;
mod provided;
mod reach;
mod scratch;
mod size;
mod stats;
mod step;
mod submit;
#[cfg(test)]
#[path = "../tests/it/faulty.rs"]
mod testing;
mod tree;
mod waiters;

pub use builder::EngineBuilder;
pub use context::{Progress, StepContext};
pub use engine::Engine;
pub use error::EngineError;
pub use files::{Keeping, Swept};
pub use handle::{HELD_UNTIL, JobHandle, JobView};
pub use kin::{FOLLOWS_UNTIL, Kin, Parent};
pub use mailbox::ActorInfo;
pub use points::{POINTS, TREE_POINTS};
pub use process::{Adopted, Command, Finished};
pub use stats::{FileStats, Stats};
pub use step::{Probed, Step, StepError, StepResult};
pub use submit::{Submit, Submitted};
pub use tree::CancelAnswer;
