//! Whom to tell of a job's end.

use axum::extract::State;
use axum::response::Response;
use callsheet_actors::Submit;

use super::jobs::accepted;
use crate::error::Refusal;
use crate::extract::{JobPath, JsonBody};
use crate::state::AppState;
use crate::wire::{Accepted, Webhook};

/// Tells somebody of a job's end
///
/// The job may have ended: then it is told at once. So a delivery that failed is made again, by the
/// same request. The answer names the job that delivers it.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/webhook",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id")),
    request_body = Webhook,
    responses(
        (status = 201, description = "The delivery is durable", body = Accepted,
            headers(("Location" = String, description = "Where to look at it"))),
        (status = 400, description = "`request.path`, `request.json`, `request.body`"),
        (status = 404, description = "`job.unknown`"),
        (status = 408, description = "`request.slow`"),
        (status = 413, description = "`request.too_large`"),
        (status = 415, description = "`request.media_type`"),
        (status = 422, description = "`request.field`, `webhook.refused`, `webhook.unavailable`"),
        (status = 503, description = "`engine.draining`, `store.failed`, `server.slow`"),
        (status = 507, description = "`store.full`"),
    ),
)]
pub(crate) async fn add(
    State(state): State<AppState>,
    JobPath(id): JobPath,
    JsonBody(request): JsonBody<Webhook>,
) -> Result<Response, Refusal> {
    state.engine.job(id).head().await?;
    let delivery = delivery(&state, request).await?;
    let submitted = state.engine.follow(id, delivery).await?;
    Ok(accepted(submitted.job.id(), submitted.is_new))
}

/// The job that delivers a webhook.
pub(super) async fn delivery(state: &AppState, request: Webhook) -> Result<Submit, Refusal> {
    let make = state.webhooks.as_ref().ok_or(Refusal::NoWebhooks)?;
    (make.0)(request)
        .await
        .map_err(|failure| Refusal::Webhook { what: failure.message, hint: failure.hint })
}
