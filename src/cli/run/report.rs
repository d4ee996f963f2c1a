//! The result of a run: for programs one JSON object, for people a summary.

use callsheet::{JobView, StepState, StepStatus};
use serde_json::{Map, Value, json};

use super::files::Landed;
use crate::cli::print;

/// The result as one object; the shape is part of the command's interface.
pub(crate) fn json(view: &JobView, files: &Landed) -> Value {
    let steps: Vec<Value> = view
        .state
        .plan
        .steps()
        .iter()
        .zip(&view.state.steps)
        .map(|(p, s)| step(&p.id, s))
        .collect();
    let files: Map<String, Value> =
        files.iter().map(|(key, path)| (key.clone(), json!(path.display().to_string()))).collect();
    let mut object = json!({
        "job": view.head.id.to_string(),
        "status": view.head.status.as_str(),
        "workflow": view.head.workflow.name,
        "output": view.state.output(),
        "files": files,
        "steps": steps,
    });
    if let Some(failure) = view.state.failure() {
        object["failure"] = json!(failure);
    }
    object
}

/// The status of a step as one word.
pub(crate) fn status(step: &StepState) -> &'static str {
    match &step.status {
        StepStatus::Pending => "pending",
        StepStatus::Active(_) => "running",
        StepStatus::Succeeded(_) => "succeeded",
        StepStatus::Skipped => "skipped",
        StepStatus::Failed(_) => "failed",
        StepStatus::Cancelled => "cancelled",
    }
}

fn step(id: &str, step: &StepState) -> Value {
    let seconds = step.started_at.zip(step.ended_at).map(|(from, to)| print::seconds(from, to));
    let mut object = json!({
        "id": id,
        "status": status(step),
        "attempts": step.attempts,
        "started_at": step.started_at.map(print::rfc3339),
        "ended_at": step.ended_at.map(print::rfc3339),
        "seconds": seconds,
    });
    if let StepStatus::Failed(failure) = &step.status {
        object["failure"] = json!(failure);
    }
    object
}
