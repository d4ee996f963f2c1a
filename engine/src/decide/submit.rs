//! A job is accepted: its input checked, its first event made. What starts is decided by its owner,
//! once it has one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::definition::Problems;
use crate::event::{Event, WorkflowRef};
use crate::ids::JobId;
use crate::plan::Plan;
use crate::state::JobState;
use crate::time::Timestamp;

/// What a submitter hands in.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The new job's id.
    pub id: JobId,
    /// The graph to run.
    pub plan: Arc<Plan>,
    /// The input, not yet checked.
    pub input: Value,
    /// The submitter's own marks.
    pub labels: BTreeMap<String, String>,
}

/// Checks a submission and makes the first event of its journal.
///
/// # Errors
/// Every problem of the input against the workflow's schema.
pub fn submit(submission: Submission, now: Timestamp) -> Result<(JobState, Event), Problems> {
    let Submission { id, plan, input, labels } = submission;
    let input = plan.accept_input(input)?;
    let workflow =
        WorkflowRef { name: plan.workflow().name.clone(), digest: plan.digest().to_owned() };
    let event = Event::JobSubmitted { workflow, input, labels, at: now };
    let state = JobState::begin(id, plan, &event)
        .expect("a fresh `JobSubmitted` with the plan's own digest begins a journal");
    Ok((state, event))
}
