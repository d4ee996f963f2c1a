//! How a file is taken in: its bytes on their way to the store, its name, its type.

mod body;
mod name;

pub(crate) use body::store;
pub(crate) use name::{named_by, type_of};
