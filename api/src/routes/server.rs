//! How the server does: health, readiness, figures, and the description of the routes.

use axum::http::header;
use axum::response::IntoResponse;
use axum::{Extension, Json, extract::State};
use callsheet_actors::EngineError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Refusal;
use crate::openapi::Document;
use crate::state::AppState;

/// The answer when all is well.
#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Whether the engine works
///
/// Not so once its store has failed: the process should then be started again.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "server",
    responses(
        (status = 200, description = "It works", body = Status),
        (status = 503, description = "`store.failed`, `engine.failed`"),
    ),
)]
pub(crate) async fn health(State(state): State<AppState>) -> Result<Json<Status>, Refusal> {
    state.engine.health()?;
    Ok(Json(Status { status: "ok" }))
}

/// Whether new jobs are taken
///
/// Not so while the server shuts down: send them elsewhere.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "server",
    responses(
        (status = 200, description = "They are", body = Status),
        (status = 503, description = "`engine.draining`, `store.failed`, `engine.failed`"),
    ),
)]
pub(crate) async fn ready(State(state): State<AppState>) -> Result<Json<Status>, Refusal> {
    state.engine.health()?;
    if state.engine.is_draining() || state.closing.is_cancelled() {
        return Err(EngineError::ShuttingDown.into());
    }
    Ok(Json(Status { status: "ready" }))
}

/// Figures for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    responses((status = 200, description = "The text format", body = String,
        content_type = "text/plain; version=0.0.4")),
)]
pub(crate) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")),
)]
pub(crate) async fn openapi(Extension(document): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.json())
}
