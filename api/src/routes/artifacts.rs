//! Files that jobs made, or that came in for them.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use callsheet_actors::Engine;
use callsheet_storage::{ArtifactError, ArtifactStore, Digest};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use crate::download::{
    Asked, Disposition, asked, can_be_shown, disposition, media_type, part, whole,
};
use crate::error::Refusal;
use crate::extract::{CheckedQuery, DigestPath};
use crate::limits::MAX_DOWNLOAD_NAME_BYTES;
use crate::state::AppState;

/// Hands out a file
///
/// All of it or a range; the digest is its entity tag, and it never changes.
#[utoipa::path(
    method(get, head),
    path = "/v1/artifacts/{digest}",
    tag = "artifacts",
    params(
        ("digest" = String, Path, description = "The file's digest, `artifact` in an output"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-Range" = Option<String>, Header, description = "The range only if this is the tag"),
        ("If-None-Match" = Option<String>, Header, description = "Not if this is the tag"),
        DownloadQuery,
    ),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream"),
        (status = 206, description = "The range", content_type = "application/octet-stream"),
        (status = 304, description = "The client has it"),
        (status = 400, description = "`request.path`, `request.query`"),
        (status = 404, description = "`artifact.unknown`"),
        (status = 416, description = "`range.unsatisfiable`"),
        (status = 500, description = "`artifact.unreadable`"),
    ),
)]
pub(crate) async fn download(
    State(state): State<AppState>,
    DigestPath(digest): DigestPath,
    CheckedQuery(query): CheckedQuery<DownloadQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = query.name.as_deref();
    check_name(name)?;
    let as_attachment = query.download.as_deref().map(flag).transpose()?.unwrap_or(false);
    hand_out(&state.engine, digest, (name, as_attachment), &method, &headers).await
}

/// A file as an answer, for routes of a caller's own: all of it or the range that is asked for,
/// under a name whose ending decides on its type.
pub async fn artifact(
    engine: &Engine,
    digest: Digest,
    name: Option<&str>,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    let answer = hand_out(engine, digest, (name, false), method, headers).await;
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn hand_out(
    engine: &Engine,
    digest: Digest,
    (name, as_attachment): (Option<&str>, bool),
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let store = ArtifactStore::clone(engine.artifacts());
    let size = blocking(move || store.size(&digest)).await?;
    let etag = format!("\"{digest}\"");
    let asked = asked(headers, &etag, size);
    let (code, body, length) = match (&asked, *method == Method::HEAD) {
        (Asked::Outside, false) => return Err(Refusal::Range(size)),
        (Asked::NotModified, _) => (StatusCode::NOT_MODIFIED, Body::empty(), None),
        // A range means nothing for HEAD, which is answered as if for the whole file.
        (_, true) => (StatusCode::OK, Body::empty(), Some(size)),
        (Asked::Part(range), false) => {
            let (store, range) = (ArtifactStore::clone(engine.artifacts()), range.clone());
            let (file, length) = blocking(move || store.open_range(&digest, range)).await?;
            (StatusCode::PARTIAL_CONTENT, part(file, length), Some(length))
        }
        (Asked::Whole, false) => {
            let store = ArtifactStore::clone(engine.artifacts());
            let (file, length) = blocking(move || store.open_range(&digest, 0..size)).await?;
            (StatusCode::OK, whole(file, length, digest), Some(length))
        }
    };
    let mut response = (code, body).into_response();
    let fields = response.headers_mut();
    describe(fields, name, as_attachment, &etag);
    if let Some(length) = length {
        fields.insert(header::CONTENT_LENGTH, length.into());
    }
    if let (Asked::Part(range), StatusCode::PARTIAL_CONTENT) = (&asked, code) {
        let value = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        fields.extend(HeaderValue::from_str(&value).ok().map(|it| (header::CONTENT_RANGE, it)));
    }
    Ok(response)
}

/// How to hand a file out.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DownloadQuery {
    /// The name to save it under; its ending decides on the media type.
    #[param(example = "captions.srt")]
    name: Option<String>,
    /// `1`: to be saved, also when a browser could show it.
    #[param(example = "1")]
    download: Option<String>,
}

/// The headers that every answer about a file has.
fn describe(fields: &mut HeaderMap, name: Option<&str>, as_attachment: bool, etag: &str) {
    let media_type = media_type(name);
    let shown = can_be_shown(media_type) && !as_attachment;
    let what = if shown { Disposition::Inline } else { Disposition::Attachment };
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.insert(header::CONTENT_DISPOSITION, disposition(what, name));
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.extend(HeaderValue::from_str(etag).ok().map(|etag| (header::ETAG, etag)));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // Whoever may see it may keep it: under this digest it never changes.
    let cache = HeaderValue::from_static("private, max-age=31536000, immutable");
    fields.insert(header::CACHE_CONTROL, cache);
}

/// Nothing of a file runs or fetches anything; the page that a browser makes of a video may show
/// that video.
const POLICY: &str = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; \
                      style-src 'unsafe-inline'";

/// A query's yes or no.
fn flag(text: &str) -> Result<bool, Refusal> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(Refusal::Query {
            what: format!("`download` is `{other}`"),
            hint: Some("`1` or `0`".to_owned()),
        }),
    }
}

fn check_name(name: Option<&str>) -> Result<(), Refusal> {
    match name {
        Some(name) if name.len() > MAX_DOWNLOAD_NAME_BYTES => Err(Refusal::Query {
            what: format!("`name` has {} bytes", name.len()),
            hint: Some(format!("at most {MAX_DOWNLOAD_NAME_BYTES} bytes")),
        }),
        _ => Ok(()),
    }
}

/// Asks the store on a thread that may block.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, Refusal> {
    match spawn_blocking(ask).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(ArtifactError::Missing(digest))) => Err(unknown(&digest)),
        Ok(Err(error)) => {
            tracing::error!(%error, "an artifact cannot be read");
            Err(Refusal::UnreadableArtifact)
        }
        Err(_) => Err(Refusal::Panic),
    }
}

fn unknown(digest: &Digest) -> Refusal {
    Refusal::UnknownArtifact(digest.to_string())
}
