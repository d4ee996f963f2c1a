//! Jobs: submit, look, wait, list, cancel.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use callsheet_actors as actors;
use callsheet_engine::{JobId, Millis};
use callsheet_storage::ListQuery;
use serde::Deserialize;
use utoipa::IntoParams;

use super::webhooks::delivery;
use crate::error::Refusal;
use crate::extract::{CheckedQuery, JobPath, JsonBody, OptionalJsonBody, parse_job_id};
use crate::limits::{
    DEFAULT_PAGE_COUNT, MAX_IDEMPOTENCY_KEY_BYTES, MAX_LABEL_NAME_BYTES, MAX_LABEL_VALUE_BYTES,
    MAX_LABELS_COUNT, MAX_PAGE_COUNT, MAX_REASON_BYTES, MAX_WAIT_SECONDS,
};
use crate::state::AppState;
use crate::text::has_hidden;
use crate::wire::{
    Accepted, CancelAnswer, CancelOutcome, CancelRequest, Job, JobPage, JobsQuery, SubmitRequest,
    percent,
};

/// The header with which a client says that two submits are one.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header that tells such a client that the job was there before.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Submits a job
///
/// The answer comes once the job is on stable storage: from then on it will end, whatever happens
/// to the server. With an `Idempotency-Key` the same request, sent again, gives the same job.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "1 to 255 printable ASCII characters, such as a UUID")),
    request_body = SubmitRequest,
    responses(
        (status = 201, description = "The job is new and durable", body = Accepted,
            headers(("Location" = String, description = "Where to look at it"))),
        (status = 200, description = "The same key and request had given the job before",
            body = Accepted,
            headers(("Idempotency-Replayed" = String, description = "`true`"))),
        (status = 400, description = "`request.json`, `request.body`, `labels.invalid`, \
            `labels.reserved`, `idempotency.invalid`"),
        (status = 404, description = "`workflow.unknown`"),
        (status = 408, description = "`request.slow`"),
        (status = 413, description = "`request.too_large`"),
        (status = 415, description = "`request.media_type`"),
        (status = 422, description = "`request.field`, `workflow.choice`, `definition.invalid`, \
            `input.invalid`, `idempotency.conflict`, `webhook.refused`, `webhook.unavailable`"),
        (status = 503, description = "`engine.draining`, `store.failed`, `server.slow`"),
        (status = 507, description = "`store.full`, `artifact.quota`"),
    ),
)]
pub(crate) async fn submit(
    State(state): State<AppState>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<SubmitRequest>,
) -> Result<Response, Refusal> {
    check_labels(&request.labels)?;
    let mut submit = chosen(&state, request.workflow, request.definition, request.input)?;
    for (name, value) in request.labels {
        submit = submit.label(name, value);
    }
    if let Some(key) = idempotency_key(&headers)? {
        submit = submit.idempotency_key(key);
    }
    if let Some(time) = request.retention.as_deref() {
        submit = submit.retention(retention(time)?);
    }
    if request.cache == Some(false) {
        submit = submit.no_cache();
    }
    if let Some(webhook) = request.webhook {
        submit = submit.followed_by(delivery(&state, webhook).await?);
    }
    let submitted = state.engine.submit(submit).await?;
    Ok(accepted(submitted.job.id(), submitted.is_new))
}

/// A time for which files are kept; none for ever.
fn retention(text: &str) -> Result<Option<Duration>, Refusal> {
    if text == "forever" {
        return Ok(None);
    }
    let time = text.parse::<Millis>().map_err(|_| Refusal::Field {
        what: format!("`retention` is `{text}`, not a length of time"),
        hint: Some("write it like `30m`, `2h` or `7d`, or `forever`".to_owned()),
    })?;
    Ok(Some(time.into()))
}

/// Looks at a job, or waits for its end
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id"), WaitQuery),
    responses(
        (status = 200, description = "The job as it is recorded; with `wait`, when it has ended \
            or the time is up", body = Job),
        (status = 400, description = "`request.path`, `request.query`"),
        (status = 404, description = "`job.unknown`"),
        (status = 500, description = "`job.damaged`"),
        (status = 503, description = "`store.failed`"),
    ),
)]
pub(crate) async fn get(
    State(state): State<AppState>,
    JobPath(id): JobPath,
    CheckedQuery(query): CheckedQuery<WaitQuery>,
) -> Result<Json<Job>, Refusal> {
    let job = state.engine.job(id);
    let view = match query.wait.as_deref().map(wait_time).transpose()? {
        None => job.view().await?,
        Some(time) => tokio::select! {
            view = job.wait_for(time) => view?,
            // A server that stops answers its waiters with what there is.
            () = state.closing.cancelled() => job.view().await?,
        },
    };
    let follower = match view.kin().followed_by {
        Some(follower) => {
            state.engine.job(follower).head().await.ok().map(|head| Box::new(head.into()))
        }
        None => None,
    };
    let job = Job::from(view).with_children(state.engine.children(id));
    Ok(Json(Job { follower, ..job }))
}

/// Lists jobs, newest first
#[utoipa::path(
    get,
    path = "/v1/jobs",
    tag = "jobs",
    params(JobsQuery),
    responses(
        (status = 200, description = "A page of jobs", body = JobPage),
        (status = 400, description = "`request.query`"),
        (status = 503, description = "`store.failed`"),
    ),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    CheckedQuery(query): CheckedQuery<JobsQuery>,
) -> Result<Json<JobPage>, Refusal> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE_COUNT);
    if !(1..=MAX_PAGE_COUNT).contains(&limit) {
        return Err(Refusal::Query {
            what: format!("`limit` is {limit}"),
            hint: Some(format!("1 to {MAX_PAGE_COUNT}; take more with `cursor`")),
        });
    }
    let before = query.cursor.as_deref().map(cursor).transpose()?;
    let status = query.status.map(|status| status.stored().to_owned());
    let page =
        state.engine.jobs(ListQuery { status, workflow: query.workflow, before, limit }).await?;
    let live: Vec<_> = page.heads.iter().map(|head| state.engine.progress_of(head.id)).collect();
    let mut page = JobPage::from(page);
    for (job, live) in page.jobs.iter_mut().zip(live) {
        job.progress = job.progress.or(live.map(percent));
    }
    Ok(Json(page.only(query.status)))
}

/// Cancels a job
///
/// The answer comes once the cancel is on stable storage: no step starts after it, and what runs
/// is being stopped. A job that had ended keeps its end, and the answer tells it.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id")),
    request_body(content = Option<CancelRequest>, content_type = "application/json"),
    responses(
        (status = 202, description = "It is being stopped", body = CancelAnswer),
        (status = 200, description = "It had ended before", body = CancelAnswer),
        (status = 400, description = "`request.path`, `request.json`"),
        (status = 404, description = "`job.unknown`"),
        (status = 413, description = "`request.too_large`"),
        (status = 415, description = "`request.media_type`"),
        (status = 422, description = "`request.field`"),
        (status = 500, description = "`job.damaged`"),
        (status = 503, description = "`engine.draining`, `store.failed`"),
        (status = 507, description = "`store.full`"),
    ),
)]
pub(crate) async fn cancel(
    State(state): State<AppState>,
    JobPath(id): JobPath,
    OptionalJsonBody(request): OptionalJsonBody<CancelRequest>,
) -> Result<(StatusCode, Json<CancelAnswer>), Refusal> {
    check_reason(request.reason.as_deref())?;
    let job = state.engine.job(id);
    let answer = job.cancel(request.reason).await?;
    let (code, outcome, status) = match answer {
        actors::CancelAnswer::AlreadyEnded(status) => {
            (StatusCode::OK, CancelOutcome::AlreadyEnded, status.into())
        }
        actors::CancelAnswer::Accepted => {
            let status = job.view().await?.head.status.into();
            (StatusCode::ACCEPTED, CancelOutcome::Accepted, status)
        }
        actors::CancelAnswer::AlreadyStopping => {
            let status = job.view().await?.head.status.into();
            (StatusCode::ACCEPTED, CancelOutcome::AlreadyStopping, status)
        }
    };
    Ok((code, Json(CancelAnswer { id: id.to_string(), outcome, status })))
}

/// Draws a job's graph
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/graph",
    tag = "jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 200, description = "A Mermaid flowchart", body = String,
            content_type = "text/vnd.mermaid"),
        (status = 400, description = "`request.path`"),
        (status = 404, description = "`job.unknown`"),
        (status = 500, description = "`job.damaged`"),
        (status = 503, description = "`store.failed`"),
    ),
)]
pub(crate) async fn graph(
    State(state): State<AppState>,
    JobPath(id): JobPath,
) -> Result<impl IntoResponse, Refusal> {
    let view = state.engine.job(id).view().await?;
    let kind = HeaderValue::from_static("text/vnd.mermaid; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], view.state.plan.to_mermaid()))
}

/// How long to wait for a job.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Answer when the job has ended, at the latest after this time, at most `60s`.
    #[param(example = "30s")]
    wait: Option<String>,
}

pub(super) fn accepted(id: JobId, is_new: bool) -> Response {
    let url = format!("/v1/jobs/{id}");
    let location = HeaderValue::from_str(&url).ok();
    let code = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let body = Accepted { id: id.to_string(), url, replayed: !is_new };
    let mut response = (code, Json(body)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if !is_new {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The job of a request: of a registered workflow, or of a definition that came with it.
fn chosen(
    state: &AppState,
    workflow: Option<String>,
    definition: Option<serde_json::Value>,
    input: serde_json::Value,
) -> Result<actors::Submit, Refusal> {
    match (workflow, definition) {
        (Some(name), None) => Ok(actors::Submit::named(name, input)),
        (None, Some(definition)) => {
            let plan = state.engine.validate(&definition.to_string());
            plan.map(|plan| actors::Submit::plan(plan, input)).map_err(|mut problems| {
                for problem in &mut problems.0 {
                    // The places are those of a text that the client has not seen.
                    (problem.line, problem.column) = (None, None);
                }
                Refusal::Definition(problems)
            })
        }
        (Some(_), Some(_)) => Err(Refusal::WorkflowChoice("not both")),
        (None, None) => Err(Refusal::WorkflowChoice("the request has neither")),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let refused = |why: &str| Err(Refusal::IdempotencyKey(why.to_owned()));
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    if keys.next().is_some() {
        return refused("it was sent twice");
    }
    match key.to_str() {
        Ok("") => refused("it is empty"),
        Ok(key) if key.len() > MAX_IDEMPOTENCY_KEY_BYTES => refused("it is too long"),
        Ok(key) if has_hidden(key) => refused("it has characters that cannot be printed"),
        Ok(key) => Ok(Some(key.to_owned())),
        Err(_) => refused("it has characters that cannot be printed"),
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let count = labels.len();
    if count > MAX_LABELS_COUNT {
        return Err(Refusal::Labels(format!("there are {count}, more than {MAX_LABELS_COUNT}")));
    }
    for (name, value) in labels {
        if name.is_empty() || name.len() > MAX_LABEL_NAME_BYTES || has_hidden(name) {
            return Err(Refusal::Labels(format!(
                "the name `{name}` is not 1 to {MAX_LABEL_NAME_BYTES} bytes of printable text"
            )));
        }
        if value.len() > MAX_LABEL_VALUE_BYTES || has_hidden(value) {
            return Err(Refusal::Labels(format!(
                "the value of `{name}` is not at most {MAX_LABEL_VALUE_BYTES} bytes of printable \
                 text"
            )));
        }
    }
    Ok(())
}

pub(crate) fn check_reason(reason: Option<&str>) -> Result<(), Refusal> {
    match reason {
        Some(reason) if reason.len() > MAX_REASON_BYTES || has_hidden(reason) => {
            Err(Refusal::Field {
                what: "`reason` is too long or has characters that cannot be printed".to_owned(),
                hint: Some(format!("one line of at most {MAX_REASON_BYTES} bytes")),
            })
        }
        _ => Ok(()),
    }
}

fn wait_time(text: &str) -> Result<Duration, Refusal> {
    let longest = Millis(MAX_WAIT_SECONDS * 1_000);
    match text.parse::<Millis>() {
        Ok(span) if span <= longest => Ok(span.into()),
        Ok(span) => Err(Refusal::Query {
            what: format!("`wait` is {span}, more than {longest}"),
            hint: Some("wait less, and ask again".to_owned()),
        }),
        Err(error) => {
            let hint = Some("write it like `30s`".to_owned());
            Err(Refusal::Query { what: format!("`wait`: {error}"), hint })
        }
    }
}

fn cursor(text: &str) -> Result<JobId, Refusal> {
    parse_job_id(text).ok_or_else(|| Refusal::Query {
        what: format!("`cursor` is `{text}`, which no page has given"),
        hint: Some("send the `next` of the page before as it was".to_owned()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::HttpError;

    fn code_of<T>(result: Result<T, Refusal>) -> &'static str {
        result.map_or_else(|refusal| refusal.code(), |_| "ok")
    }

    #[test]
    fn keys_are_checked() {
        let long = "k".repeat(256);
        for (key, answer) in [
            (&b"7f"[..], "ok"),
            (b"a b~!", "ok"),
            (b"", "idempotency.invalid"),
            (long.as_bytes(), "idempotency.invalid"),
            (b"a\tb", "idempotency.invalid"),
            ("ä".as_bytes(), "idempotency.invalid"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(key).unwrap());
            assert_eq!(code_of(idempotency_key(&headers)), answer, "{key:?}");
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("b"));
            assert_eq!(code_of(idempotency_key(&headers)), "idempotency.invalid", "twice");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn labels_are_checked() {
        let long = "v".repeat(MAX_LABEL_VALUE_BYTES + 1);
        for (name, value, answer) in [
            ("team", "films", "ok"),
            ("team", "", "ok"),
            ("", "x", "labels.invalid"),
            ("a\nb", "x", "labels.invalid"),
            ("a", "\u{1b}[2J", "labels.invalid"),
            ("a", "\u{202e}x", "labels.invalid"),
            ("a", &long, "labels.invalid"),
        ] {
            let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(code_of(check_labels(&labels)), answer, "{name:?} {value:?}");
        }
        let many = (0..=MAX_LABELS_COUNT).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(code_of(check_labels(&many)), "labels.invalid");
    }

    #[test]
    fn waits_are_bounded() {
        for (text, answer) in [
            ("0s", "ok"),
            ("500ms", "ok"),
            ("60s", "ok"),
            ("61s", "request.query"),
            ("30", "request.query"),
            ("", "request.query"),
        ] {
            assert_eq!(code_of(wait_time(text)), answer, "{text}");
        }
    }

    #[test]
    fn reasons_are_one_short_line() {
        let long = "r".repeat(MAX_REASON_BYTES + 1);
        for (reason, answer) in [
            (None, "ok"),
            (Some("no longer needed"), "ok"),
            (Some("a\nb"), "request.field"),
            (Some(&*long), "request.field"),
        ] {
            assert_eq!(code_of(check_reason(reason)), answer);
        }
    }
}
