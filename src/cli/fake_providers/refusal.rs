//! How the service says no: its statuses and the JSON that goes with them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Size of a request that the service takes: 25 MiB.
pub(super) const CONTENT_BYTES: usize = 25 * 1024 * 1024;

/// Kinds of file that the service takes, by the ending of the name.
pub(super) const FORMATS: [&str; 10] =
    ["flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm"];

/// A refusal in the service's own shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    message: String,
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind, param: None, code: None }
    }

    /// The request is wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// The same refusal, with the name of the parameter that is to blame.
    #[must_use]
    pub(super) fn param(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    /// The same refusal, with a code.
    #[must_use]
    pub(super) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// There is no key in the request.
    pub(super) fn no_key() -> Self {
        let message = "You didn't provide an API key. You need to provide your API key in an \
                       Authorization header using Bearer auth (i.e. Authorization: Bearer \
                       YOUR_KEY).";
        Self { status: 401, ..Self::invalid(message) }
    }

    /// The key is another one. Of it only the ends are shown, as the service does.
    pub(super) fn wrong_key(key: &str) -> Self {
        let key: Vec<char> = key.chars().collect();
        let shown = if key.len() > 12 {
            let ends = [&key[..8], &key[key.len() - 4..]].map(String::from_iter);
            ends.join(&"*".repeat(key.len() - 12))
        } else {
            "*".repeat(key.len())
        };
        let message = format!("Incorrect API key provided: {shown}.");
        Self { status: 401, ..Self::invalid(message) }.code("invalid_api_key")
    }

    /// The request is too large.
    pub(super) fn too_large(read: usize) -> Self {
        let message = format!(
            "413: Maximum content size limit ({CONTENT_BYTES}) exceeded ({read} bytes read)"
        );
        Self::new(413, "server_error", message)
    }

    /// The model is not there.
    pub(super) fn no_model(model: &str) -> Self {
        let message =
            format!("The model `{model}` does not exist or you do not have access to it.");
        Self { status: 404, ..Self::invalid(message) }.code("model_not_found")
    }

    /// The route is not there.
    pub(super) fn no_route(method: &str, path: &str) -> Self {
        Self { status: 404, ..Self::invalid(format!("Invalid URL ({method} {path})")) }
    }

    /// The route is there, but not for this method.
    pub(super) fn wrong_method(method: &str, path: &str) -> Self {
        let message = format!(
            "Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP \
             method?)"
        );
        Self { status: 405, ..Self::invalid(message) }.code("method_not_supported")
    }

    /// Too many requests.
    pub(super) fn busy() -> Self {
        Self::new(429, "requests", "Rate limit reached for requests. Please try again later.")
            .code("rate_limit_exceeded")
    }

    /// No credit left.
    pub(super) fn no_credit() -> Self {
        let message =
            "You exceeded your current quota, please check your plan and billing details.";
        Self::new(429, "insufficient_quota", message).code("insufficient_quota")
    }

    /// A scripted status.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            503 => Self::new(status, "server_error", "The engine is currently overloaded."),
            500.. => {
                let message = "The server had an error while processing your request.";
                Self::new(status, "server_error", message)
            }
            _ => Self { status, ..Self::invalid("This request was refused on purpose.") },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(json!({ "error": error }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_wrong_key_only_the_ends_are_shown() {
        for (key, shown) in [
            ("sk-canary-0123456789", "sk-canar********6789"),
            ("short", "*****"),
            ("", ""),
            ("twelve-chars", "************"),
        ] {
            let expected = format!("Incorrect API key provided: {shown}.");
            assert_eq!(Refusal::wrong_key(key).message, expected);
        }
    }

    #[test]
    fn statuses_are_those_that_were_asked_for() {
        for status in [400, 401, 404, 500, 503, 599] {
            assert_eq!(Refusal::of_status(status).status, status);
            assert_eq!(Refusal::of_status(status).into_response().status(), status);
        }
    }
}
