//! What the front door refuses, and how it says so: one body, one status for each kind of refusal.

mod codes;
mod engine;
mod refusal;
mod respond;

pub use codes::{CODES, Code};
#[cfg(test)]
pub(crate) use refusal::HttpError;
pub(crate) use refusal::Refusal;
pub(crate) use respond::{PROBLEM_JSON, problem_of};
