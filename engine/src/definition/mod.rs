//! Workflow definitions: data, written as YAML or JSON or built in Rust.
//!
//! The types here are what a definition *means*; [`parse`] turns text into them and reports every
//! problem at once, with line, column and hint.

mod bounds;
mod catalog;
mod compile;
mod cycles;
mod doubt;
mod finding;
mod forms;
mod kinds;
mod node;
mod parse;
mod place;
mod problem;
mod reader;
mod references;
mod schema;
mod suggest;
#[cfg(test)]
mod testing;
mod timer;
mod validate;
mod yaml;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use catalog::{Catalog, Effect, KindInfo};
pub use forms::{forms, of_field, without_secrets};
pub use parse::{parse, parse_json};
pub use problem::{Problem, Problems};
pub use suggest::nearest;
pub use validate::validate;

pub(crate) use bounds::nests_deeper_than;
pub(crate) use finding::Findings;
pub(crate) use parse::draft;
pub(crate) use place::{OwnedTurn, Path, Place};
pub(crate) use schema::{Misfit, MisfitKind, Schema, fill_defaults};
pub(crate) use validate::{Graph, check};

use crate::limits::{DEFAULT_ATTEMPTS_COUNT, DEFAULT_CONCURRENCY_COUNT, DEFAULT_TIMEOUT_MS};
use crate::time::Millis;

/// A workflow: a named graph of steps with a typed input and an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// The name jobs are submitted under: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// JSON Schema of the input, checked at submit; its `default`s are filled in. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The nodes of the graph, in any order.
    pub steps: Vec<Step>,
    /// What the job answers with; any JSON with `{{ … }}` in its strings. Absent: `null`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
}

/// A node of the graph: one use of a step kind, or a durable timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Unique in the workflow: a letter or `_`, then letters, digits and `_`.
    pub id: String,
    /// The step kind, such as `ffmpeg.burn_subtitles`; empty for a timer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uses: String,
    /// A timer that is over so long after it began: `1h30m`, or `{{ … }}` that gives such a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<String>,
    /// A timer that is over at this instant: `2027-01-31T08:00:00Z` (RFC 3339), or `{{ … }}` that
    /// gives such a text or milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The kind's input: any JSON with `{{ … }}` in its strings.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub with: Value,
    /// Steps that must have ended first, beside those that the expressions refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// An expression; when false the step is skipped.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// An expression that gives a list: the step runs once an item, as `item` and `index`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<Value>,
    /// Items of `for_each` that run at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// How often and when a failed attempt is made again.
    #[serde(default)]
    pub retry: Retry,
    /// The time one attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Millis,
    /// Kinds to try in order once all attempts of the one before have failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
    /// What a final failure of this step means for the job.
    #[serde(default)]
    pub on_error: OnError,
    /// What to do when nobody knows whether the step's own kind has done its deed. Has to be there
    /// for kinds whose effect is `once`, and only for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<InDoubt>,
    /// Whether the result of an attempt of before with the same input may be taken in place of
    /// running the body. It may, where the kind keeps its results, unless this is `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
    /// The step's share of the job's progress, beside those of the others: 0 for one that takes no
    /// time worth showing.
    #[serde(default = "default_weight", skip_serializing_if = "is_default_weight")]
    pub weight: f64,
}

impl Workflow {
    /// A workflow of that name and these steps, with any input and no output.
    #[must_use]
    pub fn new(name: impl Into<String>, steps: Vec<Step>) -> Self {
        let (description, output) = (String::new(), Value::Null);
        Self { name: name.into(), description, input: None, steps, output }
    }
}

impl Step {
    /// A step with nothing but its name and its kind; the rest as if it were not written.
    #[must_use]
    pub fn new(id: impl Into<String>, uses: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            uses: uses.into(),
            sleep: None,
            until: None,
            with: Value::Null,
            needs: Vec::new(),
            condition: None,
            for_each: None,
            concurrency: default_concurrency(),
            retry: Retry::default(),
            timeout: default_timeout(),
            fallback: Vec::new(),
            on_error: OnError::default(),
            in_doubt: None,
            cache: None,
            weight: default_weight(),
        }
    }

    /// A timer that is over so long after it began.
    #[must_use]
    pub fn sleep(id: impl Into<String>, time: impl Into<String>) -> Self {
        Self { sleep: Some(time.into()), ..Self::new(id, "") }
    }

    /// A timer that is over at this instant.
    #[must_use]
    pub fn until(id: impl Into<String>, instant: impl Into<String>) -> Self {
        Self { until: Some(instant.into()), ..Self::new(id, "") }
    }

    /// Whether the node is a timer: it has no kind, no attempts and no input.
    #[must_use]
    pub fn is_timer(&self) -> bool {
        self.sleep.is_some() || self.until.is_some()
    }
}

/// A step's `if`: written as a bare expression, as `{{ … }}`, or as `true` and `false`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// A constant.
    Constant(bool),
    /// An expression, with or without its braces.
    Expression(String),
}

/// An alternative to a step's own kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The step kind.
    pub uses: String,
    /// Its input; absent: that of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<Value>,
    /// What to do when nobody knows whether this kind has done its deed: see [`Step::in_doubt`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_doubt: Option<InDoubt>,
}

/// Exponential back-off: the wait before attempt n+1 is `initial × factor^(n-1)`, at most `max`,
/// times a factor drawn from `1 ± jitter` by the job's own seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// The wait before the second attempt.
    pub initial: Millis,
    /// Growth of the wait from attempt to attempt; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Millis,
    /// Share of the wait that is random, 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: DEFAULT_ATTEMPTS_COUNT,
            initial: Millis(1_000),
            factor: 2.0,
            max: Millis(60_000),
            jitter: 0.2,
        }
    }
}

/// What a step's final failure means for the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The job stops its other steps and fails.
    #[default]
    Fail,
    /// The step's output is `none` and the steps after it run.
    Continue,
}

/// What to do about an attempt of which nobody knows whether its deed was done: its process died
/// or was shut down, its body panicked or ran out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InDoubt {
    /// Make another attempt: the deed may be done twice.
    Retry,
    /// Ask the step kind, which asks the outside by the idempotency key.
    Probe,
    /// The step fails with `step.in_doubt`: the deed may have been done.
    Fail,
    /// Wait until a person has looked.
    Hold,
}

fn default_concurrency() -> u32 {
    DEFAULT_CONCURRENCY_COUNT
}

fn default_timeout() -> Millis {
    DEFAULT_TIMEOUT_MS
}

fn default_weight() -> f64 {
    1.0
}

/// Left out where it is not used: a definition keeps its digest.
#[allow(clippy::float_cmp, reason = "the default is this very number")]
fn is_default_weight(weight: &f64) -> bool {
    *weight == default_weight()
}
