//! A definition made ready to run: steps by position, edges both ways, expressions compiled.

use serde_json::Value;

use crate::definition::{Catalog, OnError, Problems, Retry, Workflow};
use crate::expression::{Expression, Template};
use crate::ids::StepIndex;
use crate::time::Millis;

/// A workflow's graph, compiled once and shared by all jobs that run it.
#[derive(Debug)]
pub struct Plan {
    workflow: Workflow,
    digest: String,
    steps: Vec<PlannedStep>,
    output: Template,
}

/// One node, compiled.
#[derive(Debug)]
pub struct PlannedStep {
    /// Its name.
    pub id: String,
    /// Steps that must have settled first: written in `needs`, or referred to.
    pub needs: Vec<StepIndex>,
    /// Steps that need this one.
    pub dependents: Vec<StepIndex>,
    /// Its `if`.
    pub condition: Option<Expression>,
    /// Its `for_each`.
    pub for_each: Option<Template>,
    /// Items that run at once.
    pub concurrency: u32,
    /// The step's own kind and input, then its fallbacks.
    pub candidates: Vec<Candidate>,
    /// When a failed attempt is made again.
    pub retry: Retry,
    /// The time that one attempt may take.
    pub timeout: Millis,
    /// What a final failure means for the job.
    pub on_error: OnError,
}

/// A kind to use and the input to give it.
#[derive(Debug)]
pub struct Candidate {
    /// The step kind.
    pub uses: String,
    /// Its input.
    pub with: Template,
}
