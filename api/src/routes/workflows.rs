//! What jobs can run.

use axum::Json;
use axum::extract::State;
use callsheet_actors::EngineError;
use callsheet_engine::definition::nearest;

use crate::error::Refusal;
use crate::extract::{NamePath, TextBody};
use crate::state::AppState;
use crate::wire::{Validation, Workflow, WorkflowList};

/// All workflows that are registered
#[utoipa::path(
    get,
    path = "/v1/workflows",
    tag = "workflows",
    responses(
        (status = 200, description = "The workflows, by name", body = WorkflowList),
    ),
)]
pub(crate) async fn list(State(state): State<AppState>) -> Json<WorkflowList> {
    let workflows = state.engine.workflows();
    Json(WorkflowList { workflows: workflows.iter().map(|plan| (&**plan).into()).collect() })
}

/// One workflow, with its definition
#[utoipa::path(
    get,
    path = "/v1/workflows/{name}",
    tag = "workflows",
    params(("name" = String, Path, description = "The workflow's name")),
    responses(
        (status = 200, description = "The workflow", body = Workflow),
        (status = 400, description = "`request.path`"),
        (status = 404, description = "`workflow.unknown`"),
    ),
)]
pub(crate) async fn get(
    State(state): State<AppState>,
    NamePath(name): NamePath,
) -> Result<Json<Workflow>, Refusal> {
    match state.engine.workflow(&name) {
        Some(plan) => Ok(Json((&*plan).into())),
        None => Err(unknown(&state, name).into()),
    }
}

/// Checks a definition without running it
///
/// Every problem is reported at once, each with its place in the text.
#[utoipa::path(
    post,
    path = "/v1/workflows/validate",
    tag = "workflows",
    request_body(
        description = "The definition, as YAML or JSON",
        content((String = "application/yaml"), (Object = "application/json"))
    ),
    responses(
        (status = 200, description = "What is wrong with it, if anything", body = Validation),
        (status = 400, description = "`request.body`"),
        (status = 413, description = "`request.too_large`"),
        (status = 415, description = "`request.media_type`"),
    ),
)]
pub(crate) async fn validate(
    State(state): State<AppState>,
    TextBody(text): TextBody,
) -> Json<Validation> {
    Json(match state.engine.validate(&text) {
        Ok(plan) => Validation {
            valid: true,
            name: Some(plan.workflow().name.clone()),
            problems: Vec::new(),
        },
        Err(problems) => Validation {
            valid: false,
            name: None,
            problems: problems.0.iter().map(Into::into).collect(),
        },
    })
}

fn unknown(state: &AppState, name: String) -> EngineError {
    let plans = state.engine.workflows();
    let names = plans.iter().map(|plan| plan.workflow().name.as_str());
    let nearest = nearest(&name, names).map(ToOwned::to_owned);
    EngineError::UnknownWorkflow { name, nearest }
}
