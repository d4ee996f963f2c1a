//! The description of the routes in OpenAPI 3.1, made from the routes themselves.

use std::sync::Arc;

use axum::body::Bytes;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response};

use crate::error::PROBLEM_JSON;
use crate::wire;

/// The description as JSON, written once.
#[derive(Clone)]
pub(crate) struct Document(Arc<Bytes>);

impl Document {
    pub(crate) fn new(document: &utoipa::openapi::OpenApi) -> Self {
        let json = serde_json::to_vec(document).unwrap_or_default();
        Self(Arc::new(json.into()))
    }

    pub(crate) fn json(&self) -> Bytes {
        Bytes::clone(&self.0)
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Callsheet",
        description = "A durable workflow engine: submit jobs, watch them, cancel them, fetch \
                       what they made. Errors are `application/problem+json` with a stable `code`.",
    ),
    components(schemas(wire::Event, wire::Progress, wire::JobProgress, wire::Problem)),
    tags(
        (name = "jobs", description = "Runs of workflows"),
        (name = "workflows", description = "What jobs can run"),
        (name = "artifacts", description = "Files that jobs made"),
        (name = "server", description = "How the server itself does"),
    ),
)]
struct Api;

/// The description without routes.
pub(crate) fn base() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// Adds what is the same for all routes: the version, the bearer token, and the shape of errors.
pub(crate) fn complete(document: &mut utoipa::openapi::OpenApi) {
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("Needed when the server was started with a token"))
        .build();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(TOKEN.to_owned(), SecurityScheme::Http(bearer).into());
    for (path, item) in &mut document.paths.paths {
        let guarded = path.starts_with("/v1/");
        for operation in [&mut item.get, &mut item.head, &mut item.post].into_iter().flatten() {
            if guarded {
                guard(operation);
            }
            describe_errors(operation);
        }
    }
}

/// The name of the token in the description.
const TOKEN: &str = "token";

/// The token is asked for only by servers that were given one, so it may be left out.
fn guard(operation: &mut Operation) {
    let with_token = SecurityRequirement::new(TOKEN, Vec::<String>::new());
    operation.security = Some(vec![SecurityRequirement::default(), with_token]);
    let refused = Response::new("`auth.missing`, `auth.refused`");
    operation.responses.responses.insert("401".to_owned(), refused.into());
}

/// Routes list the codes of their errors; the body is the same for all.
fn describe_errors(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.as_str() >= "400", response) {
            let body = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.insert(PROBLEM_JSON.to_owned(), body.into());
        }
    }
}
