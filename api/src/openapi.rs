//! The description of the routes in OpenAPI 3.1, made from the routes themselves.

use std::sync::Arc;

use axum::body::Bytes;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

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
    components(schemas(wire::Event, wire::Progress, wire::Problem)),
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

/// Adds what is the same for all routes: the version and the bearer token.
pub(crate) fn complete(document: &mut utoipa::openapi::OpenApi) {
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("Needed when the server was started with a token"))
        .build();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert("token".to_owned(), SecurityScheme::Http(bearer).into());
}
