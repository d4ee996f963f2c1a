//! Expressions: how one step's output becomes another step's input.
//!
//! The language is minijinja's, with no clock, no randomness, no files and a bound on work and
//! size. Data is never evaluated a second time.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::failure::Failure;
use crate::ids::{ItemIndex, JobId};
use crate::time::Timestamp;

/// What an expression can see.
pub struct Scope<'a> {
    /// `input`: the job's input.
    pub input: &'a Value,
    /// `steps.ID`: the output of a step that has settled.
    pub steps: Box<dyn Fn(&str) -> Option<&'a Value> + 'a>,
    /// `item` and `index` inside a `for_each`.
    pub item: Option<(&'a Value, ItemIndex)>,
    /// `job.id` and `job.submitted_at`.
    pub job: JobFacts,
}

/// What an expression can see of its own job.
#[derive(Clone, Copy, Debug)]
pub struct JobFacts {
    /// `job.id`, as text.
    pub id: JobId,
    /// `job.submitted_at`, milliseconds since 1970.
    pub submitted_at: Timestamp,
}
