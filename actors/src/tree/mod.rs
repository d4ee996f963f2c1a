//! The supervision tree.
//!
//! ```text
//! root            starts the two below, and both anew when one of them dies
//!  ├─ scheduler   due waits of jobs that have no actor
//!  └─ jobs        which jobs have an actor; restarts them, quarantines them
//!      └─ job     one per active job: decides, commits, acts
//!          └─ attempt   one per running attempt: owns the body and its child processes
//! ```

mod answer;
mod attempt;
mod backlog;
mod job;
mod jobs;
mod ledger;
mod nursery;
mod parking;
mod places;
mod root;
mod scheduler;
mod status;
mod trial;

pub(crate) use answer::Answered;
pub use answer::CancelAnswer;
pub(crate) use job::JobMsg;
pub(crate) use jobs::JobsMsg;
pub(crate) use nursery::{Nursery, watch};
pub(crate) use root::{Root, RootMsg};
