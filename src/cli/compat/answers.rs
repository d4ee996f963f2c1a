//! The original's answers: a task as its clients know it, and errors under `detail`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use callsheet::{EngineError, Failure, JobStatus, JobView, Phase, StepStatus};
use serde_json::{Value, json};

use super::tasks::Kind;
use crate::cli::print::rfc3339;

/// A refusal: `{"detail": …}`.
#[derive(Debug)]
pub(super) struct Detail {
    status: StatusCode,
    detail: Value,
}

impl Detail {
    fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }

    pub(super) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }

    pub(super) fn bad_request(why: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    /// Everything that is wrong with a request's fields.
    pub(super) fn unprocessable(wrong: Vec<Value>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, wrong)
    }

    pub(super) fn not_an_id(text: &str) -> Self {
        Self::unprocessable(vec![json!({
            "type": "uuid_parsing",
            "loc": ["path", "task_id"],
            "msg": "Input should be a valid UUID",
            "input": text,
        })])
    }

    pub(super) fn engine(error: EngineError) -> Self {
        let status = match &error {
            EngineError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            EngineError::Full | EngineError::Quota { .. } => StatusCode::INSUFFICIENT_STORAGE,
            EngineError::ShuttingDown | EngineError::Store(_) | EngineError::Dead(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, format!("{error} [{}]", error.code()))
    }

    #[cfg(test)]
    pub(super) fn into_parts(self) -> (u16, Value) {
        (self.status.as_u16(), self.detail)
    }
}

impl IntoResponse for Detail {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "detail": self.detail }))).into_response()
    }
}

/// A task as the original shows it; `videos` is where its video would be.
pub(super) fn task_of(view: &JobView, videos: &str) -> Value {
    let status = view.head.status;
    let file = Kind::of(view).map(|kind| format!("{videos}/{}", kind.file(view.head.id)));
    json!({
        "task_id": view.head.id.to_string(),
        "status": word_of(view),
        "video_url": file.filter(|_| has_video(view)),
        "error": error_of(view),
        "created_at": rfc3339(view.head.submitted_at),
        "updated_at": rfc3339(view.head.changed_at),
        "completed_at": status.has_ended().then(|| rfc3339(view.head.changed_at)),
    })
}

/// Whether there is what the original promises: of sound alone there are captions and no video.
fn has_video(view: &JobView) -> bool {
    view.state.output().is_some_and(|output| !output["video"].is_null())
}

/// The original knows four words; what was cancelled has failed to its clients.
fn word_of(view: &JobView) -> &'static str {
    match view.head.status {
        JobStatus::Succeeded if has_video(view) => "success",
        JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled => "failed",
        JobStatus::Running | JobStatus::Sleeping { .. } | JobStatus::Stopping => {
            let begun = |step: &callsheet::StepState| step.status != StepStatus::Pending;
            if view.state.steps.iter().any(begun) { "running" } else { "queued" }
        }
    }
}

fn error_of(view: &JobView) -> Option<String> {
    match (&view.state.phase, view.state.failure()) {
        (Phase::Ended { .. }, Some(Failure { code, message, hint, .. })) => {
            let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            Some(format!("{message} [{code}]{hint}"))
        }
        (Phase::Ended { .. }, None) if view.head.status == JobStatus::Cancelled => {
            Some("the task was cancelled".to_owned())
        }
        (Phase::Ended { .. }, None) if !has_video(view) => {
            Some("the file has no moving pictures [media.no_video]".to_owned())
        }
        _ => None,
    }
}
