//! What happens to every request: a number, a line in the log, a count, safe headers, and a bound
//! on time and on panics.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fail::fail_point;
use tracing::Instrument;
use uuid::Uuid;

use crate::error::Refusal;
use crate::limits::REQUEST_SECONDS;
use crate::state::AppState;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Numbers, logs and counts a request. The number is the server's own: one from outside could be
/// made to look like another's.
pub(crate) async fn observe(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let id = Uuid::now_v7().to_string();
    let span = tracing::info_span!("request", %id, method, route);
    fail_point!("api.request.before");
    let mut response = next.run(request).instrument(span.clone()).await;
    fail_point!("api.answer.before");
    let (status, took) = (response.status().as_u16(), began.elapsed());
    state.metrics.count(method, route, status, took);
    span.in_scope(|| tracing::debug!(status, ms = took.as_secs_f64() * 1_000.0, "answered"));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What a job is at now is not what it is at in a minute; downloads say otherwise themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Ends a handler that takes too long. Not for waits, streams and downloads.
pub(crate) async fn bound_time(request: Request, next: Next) -> Response {
    let time = Duration::from_secs(REQUEST_SECONDS);
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::Slow.into_response(),
    }
}

/// The answer for a handler that panicked: the client hears that it was not its fault, the log why.
pub(crate) fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    Refusal::Panic.into_response()
}

/// A method as a label: anybody can make up a method, so only the known ones have a name.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use axum::{Router, middleware};
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;
    use crate::wire::Problem;

    async fn problem(router: Router) -> Problem {
        let request = Request::builder().uri("/").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    async fn panics() {
        panic!("the secret path");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_no_insides() {
        let layer = CatchPanicLayer::custom(answer_panic);
        let problem = problem(Router::new().route("/", get(panics)).layer(layer)).await;
        assert_eq!((problem.status, &*problem.code), (500, "server.panic"));
        assert!(!format!("{problem:?}").contains("secret"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_too_long_is_given_up() {
        let slow = get(|| tokio::time::sleep(Duration::from_secs(REQUEST_SECONDS + 1)));
        let layer = middleware::from_fn(bound_time);
        let problem = problem(Router::new().route("/", slow).layer(layer)).await;
        assert_eq!((problem.status, &*problem.code), (503, "server.slow"));
    }

    #[test]
    fn made_up_methods_are_one_label() {
        assert_eq!(method_label(&Method::GET), "GET");
        for name in ["BREW", "get", "TRACE"] {
            assert_eq!(method_label(&Method::from_bytes(name.as_bytes()).unwrap()), "other");
        }
    }
}
