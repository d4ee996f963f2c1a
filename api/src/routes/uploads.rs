//! Files that come in, for jobs to work on.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::Refusal;
use crate::extract::CheckedQuery;
use crate::state::AppState;
use crate::upload::{named_by, store, type_of};
use crate::wire::FileReference;

/// Takes a file in
///
/// The body is the file. The answer comes once it is on stable storage, and is what the inputs of
/// workflows and of steps take in place of a path or an address. The same content is stored once,
/// so the request may be sent again.
#[utoipa::path(
    post,
    path = "/v1/uploads",
    tag = "artifacts",
    params(
        UploadQuery,
        ("Content-Type" = Option<String>, Header,
            description = "What the file is; otherwise its name tells"),
        ("Content-Disposition" = Option<String>, Header,
            description = "Its `filename`, in place of `name`"),
    ),
    request_body(content = String, content_type = "*/*", description = "The file"),
    responses(
        (status = 201, description = "It is stored", body = FileReference,
            headers(("Location" = String, description = "Where to fetch it"))),
        (status = 400, description = "`request.query`, `request.body`"),
        (status = 408, description = "`upload.stalled`"),
        (status = 413, description = "`upload.too_large`"),
        (status = 415, description = "`request.media_type`"),
        (status = 500, description = "`upload.failed`"),
        (status = 503, description = "`upload.limit`"),
        (status = 507, description = "`upload.no_room`, `artifact.quota`"),
    ),
)]
pub(crate) async fn upload(
    State(state): State<AppState>,
    CheckedQuery(query): CheckedQuery<UploadQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    let place = state.uploads.clone().try_acquire_owned().map_err(|_| Refusal::Uploads)?;
    let headers = request.headers();
    let name = named_by(query.name.as_deref(), headers)?;
    let media_type = type_of(headers, &name)?;
    let told = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    let body: Body = request.into_body();
    let (digest, size) = store(&state.engine, body, told, state.max_upload_bytes).await?;
    drop(place);
    let artifact = digest.to_string();
    let location = HeaderValue::from_str(&format!("/v1/artifacts/{artifact}")).ok();
    let reference = FileReference { artifact, name, media_type, size };
    let mut response = (StatusCode::CREATED, Json(reference)).into_response();
    response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
    Ok(response)
}

/// What the file is called.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// Its name, without a directory; `upload` when nothing names it.
    #[param(example = "talk.mp4")]
    name: Option<String>,
}
