//! All routes, in the layers that every request passes.

use axum::extract::{DefaultBodyLimit, Request};
use axum::response::IntoResponse;
use axum::{Router, middleware};
use callsheet_actors::Engine;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Refusal;
use crate::limits::MAX_BODY_BYTES;
use crate::options::ApiOptions;
use crate::state::AppState;
use crate::{auth, guard, observe, openapi, routes};

/// The routes over an engine, for a program that has a server of its own. [`serve`](crate::serve)
/// adds what a server must bound itself: headers, idle connections, readers that never read.
///
/// ```
/// # async fn routes(engine: callsheet_actors::Engine) {
/// let api = callsheet_api::router(engine, callsheet_api::ApiOptions::default());
/// let app = axum::Router::new().nest_service("/callsheet", api);
/// # let _: axum::Router = app;
/// # }
/// ```
pub fn router(engine: Engine, options: ApiOptions) -> Router {
    build(engine, &options, CancellationToken::new())
}

/// The routes, with a token that ends streams and waits when it is cancelled.
pub(crate) fn build(engine: Engine, options: &ApiOptions, closing: CancellationToken) -> Router {
    let state = AppState::new(engine, options, closing);
    let (mut router, mut document) = described().split_for_parts();
    openapi::complete(&mut document);
    let document = openapi::Document::new(&document);
    for (path, routes) in &options.below {
        let routes = routes.clone().layer(middleware::from_fn(observe::bound_time));
        router = router.nest_service(path, routes);
    }
    router = router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::Extension(document))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(observe::answer_panic))
        .layer(middleware::from_fn_with_state(state.clone(), auth::require_token))
        .layer(middleware::from_fn_with_state(state.clone(), guard::check_source))
        .layer(middleware::from_fn_with_state(state.clone(), observe::observe));
    router.with_state(state)
}

/// Every route together with its description; there is no other way to add one.
fn described() -> OpenApiRouter<AppState> {
    let quick = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(routes::jobs::submit, routes::jobs::list))
        .routes(routes!(routes::jobs::cancel))
        .routes(routes!(routes::resolve::resolve))
        .routes(routes!(routes::webhooks::add))
        .routes(routes!(routes::jobs::graph))
        .routes(routes!(routes::workflows::list))
        .routes(routes!(routes::workflows::validate))
        .routes(routes!(routes::workflows::get))
        .routes(routes!(routes::actors::list))
        .routes(routes!(routes::server::health))
        .routes(routes!(routes::server::ready))
        .routes(routes!(routes::server::metrics))
        .routes(routes!(routes::server::openapi))
        .layer(middleware::from_fn(observe::bound_time));
    // Waits, streams, uploads and downloads take as long as they take.
    let long = OpenApiRouter::new()
        .routes(routes!(routes::jobs::get))
        .routes(routes!(routes::events::events))
        .routes(routes!(routes::artifacts::download))
        .routes(routes!(routes::uploads::upload))
        .routes(routes!(routes::backup::backup));
    quick.merge(long)
}

async fn unknown_route(request: Request) -> impl IntoResponse {
    Refusal::UnknownRoute(request.uri().path().to_owned())
}

async fn wrong_method(request: Request) -> impl IntoResponse {
    Refusal::Method(request.method().to_string())
}
