//! Workflows that are registered.

use callsheet_engine::Plan;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// All workflows that are registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowList {
    /// The workflows, by name.
    pub workflows: Vec<WorkflowSummary>,
}

/// What a list shows of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowSummary {
    /// The name that jobs are submitted under.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// BLAKE3 of the definition.
    pub digest: String,
    /// How many steps it has.
    pub steps: u64,
}

/// A workflow as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workflow {
    /// The name that jobs are submitted under.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// BLAKE3 of the definition.
    pub digest: String,
    /// JSON Schema of the input; absent when any input is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The steps, in the order of the definition.
    pub steps: Vec<WorkflowStep>,
    /// The whole definition.
    pub definition: Value,
}

/// A step of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowStep {
    /// Its name.
    pub id: String,
    /// The step kind; `sleep` or `until` for a timer.
    pub uses: String,
    /// The steps that must have settled before it: named by it, or referred to.
    pub needs: Vec<String>,
}

impl From<&Plan> for WorkflowSummary {
    fn from(plan: &Plan) -> Self {
        let workflow = plan.workflow();
        Self {
            name: workflow.name.clone(),
            description: workflow.description.clone(),
            digest: plan.digest().to_owned(),
            steps: plan.steps().len() as u64,
        }
    }
}

impl From<&Plan> for Workflow {
    fn from(plan: &Plan) -> Self {
        let workflow = plan.workflow();
        let steps = plan.steps().iter().map(|step| WorkflowStep {
            id: step.id.clone(),
            uses: step.uses().to_owned(),
            needs: step.needs.iter().map(|need| plan.step(*need).id.clone()).collect(),
        });
        Self {
            name: workflow.name.clone(),
            description: workflow.description.clone(),
            digest: plan.digest().to_owned(),
            input: workflow.input.clone(),
            steps: steps.collect(),
            // A definition came out of JSON or YAML, so it goes back into it.
            definition: serde_json::to_value(workflow).unwrap_or_default(),
        }
    }
}
