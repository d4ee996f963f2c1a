//! Routes of another service, word for word, over this engine: for its clients, until they move.
//!
//! The front door knows no workflow, and the workflows know no routes; here both are known. See
//! `docs/moving.md`.

mod answers;
mod fields;
mod tasks;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, body::Bytes};
use callsheet::{Artifact, Engine, JobId, JobView, Submit};
use serde_json::{Value, json};

use answers::{Detail, task_of};
use tasks::Kind;

/// Where the routes are, below the server's address.
pub(crate) const PREFIX: &str = "/compat/ffmpeg-service";

/// The label of the jobs that come in here; others are not shown.
const LABEL: (&str, &str) = ("callsheet.compat", "ffmpeg-service");

/// How long a client may keep a video, as the original says it.
const CACHE_CONTROL: &str = "private, max-age=3600";

/// The routes.
pub(crate) fn routes(engine: Engine) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/health", get(health))
        .route("/tasks/{task}", get(look).post(submit))
        .route("/video/{file}", get(video))
        .fallback(async || Detail::not_found("Not Found"))
        .method_not_allowed_fallback(async || Detail::wrong_method())
        .with_state(engine)
}

async fn index() -> Json<Value> {
    let tasks = Kind::ALL.map(|kind| format!("POST {PREFIX}/tasks/{}", kind.route()));
    Json(json!({ "service": "callsheet", "endpoints": tasks, "documentation": "docs/moving.md" }))
}

async fn submit(
    State(engine): State<Engine>,
    Path(task): Path<String>,
    body: Bytes,
) -> Result<Response, Detail> {
    let kind = Kind::of_route(&task).ok_or_else(Detail::wrong_method)?;
    let input = kind.input(&body)?;
    let request = Submit::named(kind.workflow(), input).label(LABEL.0, LABEL.1);
    let submitted = engine.submit(request).await.map_err(Detail::engine)?;
    let answer = json!({
        "task_id": submitted.job.id().to_string(),
        "status": "queued",
        "message": format!("{} task queued successfully", kind.title()),
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn look(
    State(engine): State<Engine>,
    Path(task): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Detail> {
    if Kind::of_route(&task).is_some() {
        return Err(Detail::wrong_method());
    }
    let id: JobId = task.parse().map_err(|_| Detail::not_an_id(&task))?;
    let view = job(&engine, id).await?.ok_or_else(|| Detail::not_found("Task not found"))?;
    let base = format!("{}{PREFIX}/video", address(&headers));
    Ok(Json(task_of(&view, &base)))
}

async fn video(
    State(engine): State<Engine>,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Detail> {
    let missing = || Detail::not_found("Video not found");
    let (id, kind) = Kind::of_file(&file).ok_or_else(missing)?;
    let view = job(&engine, id).await?.filter(|view| kind.is_of(view)).ok_or_else(missing)?;
    let video: Artifact = view
        .state
        .output()
        .and_then(|output| serde_json::from_value(output.get("video")?.clone()).ok())
        .ok_or_else(missing)?;
    let name = Some(file.as_str());
    let mut response =
        callsheet::server::artifact(&engine, video.artifact, name, &method, &headers).await;
    if response.status().is_success() {
        let cache = HeaderValue::from_static(CACHE_CONTROL);
        response.headers_mut().insert(header::CACHE_CONTROL, cache);
    }
    Ok(response)
}

/// There is neither a Redis nor a Supabase: both words stand for the store.
async fn health(State(engine): State<Engine>) -> Json<Value> {
    let (status, store) = match engine.health() {
        Ok(()) => ("healthy", "connected"),
        Err(_) => ("degraded", "disconnected"),
    };
    let queue_length = engine.stats().jobs_active;
    Json(json!({
        "status": status, "redis": store, "supabase": store, "queue_length": queue_length,
    }))
}

/// A job that came in here.
async fn job(engine: &Engine, id: JobId) -> Result<Option<JobView>, Detail> {
    match engine.job(id).view().await {
        Ok(view) => {
            let is_ours = view.head.labels.get(LABEL.0).is_some_and(|value| value == LABEL.1);
            Ok(is_ours.then_some(view))
        }
        Err(callsheet::EngineError::UnknownJob(_)) => Ok(None),
        Err(error) => Err(Detail::engine(error)),
    }
}

/// The server's address as the client knows it: a proxy in front says how it was reached.
fn address(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text("x-forwarded-proto").filter(|it| *it == "https").unwrap_or("http");
    format!("{scheme}://{}", text("host").unwrap_or("localhost"))
}
