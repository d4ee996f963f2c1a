//! An error as an answer: `application/problem+json`, RFC 9457.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::codes::title_of;
use super::refusal::{HttpError, Refusal};
use crate::text::visible;
use crate::wire;

/// The media type of every error.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// The body that tells of an error. Text from outside is made visible in it.
pub(crate) fn problem_of(error: &dyn HttpError) -> wire::Problem {
    let (status, code) = (error.status(), error.code());
    wire::Problem {
        r#type: format!("urn:callsheet:error:{code}"),
        title: title_of(code, status).to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail: visible(&error.detail()),
        hint: error.hint().map(|hint| visible(&hint)),
        problems: error.problems().iter().map(wire::DefinitionProblem::from).collect(),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status().is_server_error() {
            // The answer keeps quiet about insides, so the log must have them.
            tracing::error!(code = self.code(), error = %visible(&self.to_string()), "refused");
        }
        let problem = problem_of(&self);
        let body = serde_json::to_vec(&problem)
            .unwrap_or_else(|_| format!("{{\"code\":\"{}\"}}", self.code()).into_bytes());
        let kind = HeaderValue::from_static(PROBLEM_JSON);
        let status = self.status();
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
            // The rest of the body is not read, so the connection cannot be used again.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::error::CODES;

    /// One of every refusal of the front door itself.
    fn every_refusal() -> Vec<Refusal> {
        let text = || "x\u{1b}[2J".to_owned();
        vec![
            Refusal::UnknownRoute(text()),
            Refusal::Method(text()),
            Refusal::TooLarge,
            Refusal::SlowBody,
            Refusal::Body,
            Refusal::MediaType { given: text(), taken: "application/json" },
            Refusal::Json(text()),
            Refusal::Field { what: text(), hint: Some(text()) },
            Refusal::Query { what: text(), hint: None },
            Refusal::Path { what: text(), hint: "a" },
            Refusal::Labels(text()),
            Refusal::WorkflowChoice("not both"),
            Refusal::Definition(callsheet_engine::definition::Problems::default()),
            Refusal::IdempotencyKey(text()),
            Refusal::Position(text()),
            Refusal::Streams,
            Refusal::NoToken,
            Refusal::WrongToken,
            Refusal::NoHost,
            Refusal::Host(text()),
            Refusal::Origin(text()),
            Refusal::UnknownArtifact(text()),
            Refusal::UnreadableArtifact,
            Refusal::Range(5),
            Refusal::Uploads,
            Refusal::UploadTooLarge(5),
            Refusal::StalledUpload,
            Refusal::UploadForm(text()),
            Refusal::NoRoomForUpload,
            Refusal::UploadFailed,
            Refusal::Backup,
            Refusal::Slow,
            Refusal::Panic,
        ]
    }

    #[tokio::test]
    async fn every_refusal_is_a_whole_problem_with_its_listed_status() {
        for refusal in every_refusal() {
            let (code, status) = (refusal.code(), refusal.status());
            let known = CODES.iter().find(|known| known.code == code);
            let known = known.unwrap_or_else(|| panic!("`{code}` is not in the list"));
            assert_eq!(known.status, status.as_u16(), "{code}");

            let response = refusal.into_response();
            assert_eq!(response.status(), status, "{code}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            let body = to_bytes(response.into_body(), 4096).await.expect("the body is in memory");
            let problem: wire::Problem = serde_json::from_slice(&body).expect("a problem");
            assert_eq!(problem.code, code);
            assert_eq!(problem.title, known.title);
            assert!(!problem.detail.contains('\u{1b}'), "{code}: {}", problem.detail);
        }
    }

    #[test]
    fn statuses_that_ask_for_a_header_have_it() {
        for (refusal, name, value) in [
            (Refusal::NoToken, header::WWW_AUTHENTICATE, "Bearer realm=\"callsheet\""),
            (Refusal::Range(5), header::CONTENT_RANGE, "bytes */5"),
            (Refusal::Streams, header::RETRY_AFTER, "5"),
            (Refusal::Uploads, header::RETRY_AFTER, "5"),
            (Refusal::Backup, header::RETRY_AFTER, "30"),
            (Refusal::StalledUpload, header::CONNECTION, "close"),
            (Refusal::TooLarge, header::CONNECTION, "close"),
        ] {
            assert_eq!(refusal.into_response().headers()[name], value);
        }
    }
}
