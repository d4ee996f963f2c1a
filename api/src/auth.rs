//! The bearer token: who may use the routes under `/v1`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::Refusal;
use crate::state::AppState;

/// Lets a request pass when it has the token that the server was given, or when it was given none.
pub(crate) struct Gate {
    /// The token's hash: comparing hashes takes the same time wherever two tokens differ.
    expected: Option<blake3::Hash>,
    /// The paths that it guards, with all below them.
    guarded: Vec<String>,
}

impl Gate {
    /// A gate before `/v1` and before further paths.
    pub(crate) fn new<'p>(token: Option<&str>, more: impl Iterator<Item = &'p str>) -> Self {
        let expected = token.map(|token| blake3::hash(token.as_bytes()));
        let guarded = ["/v1"].into_iter().chain(more).map(str::to_owned).collect();
        Self { expected, guarded }
    }

    fn guards(&self, path: &str) -> bool {
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.guarded.iter().any(|guarded| path.strip_prefix(guarded.as_str()).is_some_and(is_below))
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(expected) = self.expected else {
            return Ok(());
        };
        let given = headers.get(header::AUTHORIZATION).ok_or(Refusal::NoToken)?.as_bytes();
        let token = bearer(given).ok_or(Refusal::NoToken)?;
        // `Hash` compares in constant time.
        if blake3::hash(token) == expected { Ok(()) } else { Err(Refusal::WrongToken) }
    }
}

/// Guards everything under `/v1` and under the caller's own routes; health, metrics and the API's
/// description are open.
pub(crate) async fn require_token(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let guarded = state.gate.guards(request.uri().path());
    match state.gate.check(request.headers()) {
        Err(refusal) if guarded => refusal.into_response(),
        _ => next.run(request).await,
    }
}

/// The token in an `Authorization` header; the scheme's name is read in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::error::HttpError;

    #[test]
    fn tokens_are_checked() {
        for (expected, given, answer) in [
            (None, None, "ok"),
            (None, Some("Bearer x"), "ok"),
            (Some("s"), Some("Bearer s"), "ok"),
            (Some("s"), Some("bearer  s "), "ok"),
            (Some("s"), None, "auth.missing"),
            (Some("s"), Some(""), "auth.missing"),
            (Some("s"), Some("s"), "auth.missing"),
            (Some("s"), Some("Basic s"), "auth.missing"),
            (Some("s"), Some("Bearer "), "auth.missing"),
            (Some("s"), Some("Bearer S"), "auth.refused"),
            (Some("s"), Some("Bearer ss"), "auth.refused"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_str(given).unwrap());
            }
            let checked = Gate::new(expected, std::iter::empty()).check(&headers);
            let code = checked.map_or_else(|refusal| refusal.code(), |()| "ok");
            assert_eq!(code, answer, "{expected:?} {given:?}");
        }
    }
}
