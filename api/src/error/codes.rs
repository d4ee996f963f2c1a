//! Every code that an HTTP answer can carry, with its status and title.
//!
//! `docs/errors.md` has a section for each; a test compares the two.

use axum::http::StatusCode;

/// One code of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable and dotted.
    pub code: &'static str,
    /// The HTTP status that it comes with.
    pub status: u16,
    /// What it means in general, the same for every occurrence.
    pub title: &'static str,
}

/// All codes of HTTP answers, by name.
pub const CODES: &[Code] = &[
    code("artifact.io", 500, "The files cannot be worked with"),
    code("artifact.quota", 507, "No room for files"),
    code("artifact.unknown", 404, "No such artifact"),
    code("artifact.unreadable", 500, "The artifact cannot be read"),
    code("auth.missing", 401, "A token is needed"),
    code("auth.refused", 401, "The token is not valid"),
    code("backup.busy", 503, "A backup is under way"),
    code("definition.invalid", 422, "The definition has problems"),
    code("engine.draining", 503, "The engine is shutting down"),
    code("engine.failed", 503, "The engine has failed"),
    code("engine.setup", 500, "The engine cannot do this"),
    code("events.position", 400, "The position in the events is not valid"),
    code("idempotency.conflict", 422, "The idempotency key belongs to another request"),
    code("idempotency.invalid", 400, "The idempotency key is not valid"),
    code("input.invalid", 422, "The input or the definition has problems"),
    code("job.damaged", 500, "The journal of the job is damaged"),
    code("job.unknown", 404, "No such job"),
    code("labels.invalid", 400, "The labels are not valid"),
    code("labels.reserved", 400, "A label is the engine's own"),
    code("range.unsatisfiable", 416, "The range lies outside the artifact"),
    code("request.body", 400, "The body cannot be read"),
    code("request.field", 422, "The body is not what the route takes"),
    code("request.host", 400, "The host is missing"),
    code("request.host_refused", 403, "The host name is not served here"),
    code("request.json", 400, "The body is not JSON"),
    code("request.media_type", 415, "The media type is not taken"),
    code("request.method", 405, "The route does not take this method"),
    code("request.origin_refused", 403, "The page is from another origin"),
    code("request.path", 400, "The path is not valid"),
    code("request.query", 400, "The query is not valid"),
    code("request.slow", 408, "The body did not arrive in time"),
    code("request.too_large", 413, "The body is too large"),
    code("resolve.result", 422, "The result cannot be one"),
    code("route.unknown", 404, "No such route"),
    code("server.panic", 500, "The server failed"),
    code("server.slow", 503, "The answer took too long"),
    code("step.not_held", 409, "The step is not held"),
    code("step.unknown", 404, "No such step"),
    code("store.failed", 503, "The store has failed"),
    code("store.full", 507, "No room on the disk"),
    code("stream.limit", 503, "Too many event streams"),
    code("upload.failed", 500, "The file cannot be stored"),
    code("upload.limit", 503, "Too many uploads"),
    code("upload.no_room", 507, "No room for the file"),
    code("upload.stalled", 408, "The file did not arrive in time"),
    code("upload.too_large", 413, "The file is too large"),
    code("webhook.refused", 422, "The webhook is not taken"),
    code("webhook.unavailable", 422, "The server offers no webhooks"),
    code("workflow.choice", 422, "Either a name or a definition"),
    code("workflow.unknown", 404, "No such workflow"),
];

const fn code(code: &'static str, status: u16, title: &'static str) -> Code {
    Code { code, status, title }
}

/// The title that goes with a code; that of its status when the code came from below and is new.
pub(super) fn title_of(code: &str, status: StatusCode) -> &'static str {
    let found = CODES.iter().find(|known| known.code == code).map(|known| known.title);
    found.or(status.canonical_reason()).unwrap_or("Error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_have_real_statuses() {
        assert!(CODES.is_sorted_by(|a, b| a.code < b.code));
        for code in CODES {
            assert!((400..600).contains(&code.status), "{code:?}");
            assert!(code.code.contains('.'), "{code:?}");
        }
    }
}
