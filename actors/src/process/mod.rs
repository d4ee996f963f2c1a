//! Child processes of attempts: each in a process group of its own, ended with its attempt, and
//! reaped before the attempt is called ended.

mod children;
mod command;
mod death_signal;
mod strays;
mod tail;

pub use children::Adopted;
pub(crate) use children::Children;
pub use command::{Command, Finished};
pub(crate) use strays::end_strays;
