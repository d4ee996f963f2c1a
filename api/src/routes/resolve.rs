//! A step that is held: somebody says what became of it.

use axum::Json;
use axum::extract::State;
use callsheet_engine::Resolution;

use crate::error::Refusal;
use crate::extract::{JsonBody, StepPath};
use crate::routes::jobs::check_reason;
use crate::state::AppState;
use crate::wire::{ResolveAs, ResolveRequest, Resolved};

/// Decides about a step that is held
///
/// A step that must not be done twice is held when nobody knows whether it was done: its process
/// died, or it ran out of time. Look outside, then say what became of it. The answer comes once
/// that is on stable storage; the job then goes on.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/steps/{step}/resolve",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job's id"),
        ("step" = String, Path, description = "The step's id"),
    ),
    request_body = ResolveRequest,
    responses(
        (status = 200, description = "It is recorded, and the job goes on", body = Resolved),
        (status = 400, description = "`request.path`, `request.json`"),
        (status = 404, description = "`job.unknown`, `step.unknown`"),
        (status = 409, description = "`step.not_held`"),
        (status = 413, description = "`request.too_large`"),
        (status = 415, description = "`request.media_type`"),
        (status = 422, description = "`request.field`, `resolve.result`"),
        (status = 500, description = "`job.damaged`"),
        (status = 503, description = "`engine.draining`, `store.failed`"),
        (status = 507, description = "`store.full`"),
    ),
)]
pub(crate) async fn resolve(
    State(state): State<AppState>,
    StepPath(id, step): StepPath,
    JsonBody(request): JsonBody<ResolveRequest>,
) -> Result<Json<Resolved>, Refusal> {
    let item = request.item;
    let resolution = resolution(request)?;
    let job = state.engine.job(id);
    job.resolve(&step, item, resolution).await?;
    let status = job.view().await?.head.status.into();
    Ok(Json(Resolved { id: id.to_string(), step, status }))
}

fn resolution(request: ResolveRequest) -> Result<Resolution, Refusal> {
    let ResolveRequest { verdict, result, reason, .. } = request;
    check_reason(reason.as_deref())?;
    let stray = |field: &str, goes_with: &str| Refusal::Field {
        what: format!("`{field}` has no meaning when `as` is `{}`", verdict.as_str()),
        hint: Some(format!("it goes with `\"as\": \"{goes_with}\"`")),
    };
    match (verdict, result, reason) {
        (ResolveAs::Retry | ResolveAs::Failed, Some(_), _) => Err(stray("result", "succeeded")),
        (ResolveAs::Retry | ResolveAs::Succeeded, _, Some(_)) => Err(stray("reason", "failed")),
        (ResolveAs::Retry, None, None) => Ok(Resolution::Retry),
        (ResolveAs::Succeeded, result, None) => {
            Ok(Resolution::Succeeded(result.unwrap_or_default()))
        }
        (ResolveAs::Failed, None, reason) => {
            let unsaid = || "somebody looked, and it was not done".to_owned();
            Ok(Resolution::Failed(reason.unwrap_or_else(unsaid)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::HttpError;

    #[test]
    fn a_request_says_one_thing() {
        let not_done = "somebody looked, and it was not done".to_owned();
        for (request, expected) in [
            (json!({ "as": "retry" }), Ok(Resolution::Retry)),
            (json!({ "as": "succeeded" }), Ok(Resolution::Succeeded(json!(null)))),
            (json!({ "as": "succeeded", "result": 7 }), Ok(Resolution::Succeeded(json!(7)))),
            (json!({ "as": "failed" }), Ok(Resolution::Failed(not_done))),
            (json!({ "as": "failed", "reason": "no" }), Ok(Resolution::Failed("no".into()))),
            (json!({ "as": "failed", "reason": "a\nb" }), Err("too long")),
            (json!({ "as": "retry", "result": 7 }), Err("`result` has no meaning")),
            (json!({ "as": "failed", "result": 7 }), Err("`result` has no meaning")),
            (json!({ "as": "retry", "reason": "no" }), Err("`reason` has no meaning")),
            (json!({ "as": "succeeded", "reason": "no" }), Err("`reason` has no meaning")),
        ] {
            let told = resolution(serde_json::from_value(request.clone()).unwrap());
            match (told, expected) {
                (Ok(told), Ok(expected)) => assert_eq!(told, expected, "{request}"),
                (Err(told), Err(why)) => {
                    assert_eq!(told.code(), "request.field");
                    assert!(told.detail().contains(why), "{}", told.detail());
                }
                (Ok(told), Err(_)) => panic!("{request}: {told:?}"),
                (Err(told), Ok(_)) => panic!("{request}: {}", told.detail()),
            }
        }
    }
}
