//! The refusals of the front door itself.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use callsheet_actors::EngineError;
use callsheet_engine::definition::{Problem, Problems};

use crate::limits::{
    BACKUP_RETRY_AFTER_SECONDS, BODY_READ_SECONDS, MAX_BODY_BYTES, MAX_STREAMS_COUNT,
    MAX_UPLOADS_COUNT, REQUEST_SECONDS, RETRY_AFTER_SECONDS, UPLOAD_STALL_SECONDS,
};

/// How an error is told over HTTP.
pub(crate) trait HttpError {
    /// The status of the answer.
    fn status(&self) -> StatusCode;
    /// The stable code in the body.
    fn code(&self) -> &'static str;
    /// What went wrong this time. Never a path, a stack or another inside of the server.
    fn detail(&self) -> String;
    /// What to do about it.
    fn hint(&self) -> Option<String> {
        None
    }
    /// Single problems of a document, where the error is about one.
    fn problems(&self) -> &[Problem] {
        &[]
    }
    /// A header that the status asks for.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        None
    }
}

/// A request that is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no route `{0}`")]
    UnknownRoute(String),
    #[error("the route does not take `{0}`")]
    Method(String),
    #[error("the body has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the body did not arrive within {BODY_READ_SECONDS} s")]
    SlowBody,
    #[error("the body broke off or is not UTF-8 text")]
    Body,
    #[error("the media type `{given}` is not taken here")]
    MediaType { given: String, taken: &'static str },
    #[error("the body is not JSON: {0}")]
    Json(String),
    #[error("{what}")]
    Field { what: String, hint: Option<String> },
    #[error("{what}")]
    Query { what: String, hint: Option<String> },
    #[error("{what}")]
    Path { what: String, hint: &'static str },
    #[error("{0}")]
    Labels(String),
    #[error("name a workflow or give a definition, {0}")]
    WorkflowChoice(&'static str),
    #[error("the definition has {} problems", .0.0.len())]
    Definition(Problems),
    #[error("{what}")]
    Webhook { what: String, hint: Option<String> },
    #[error("this server tells nobody of the end of jobs")]
    NoWebhooks,
    #[error("the idempotency key is not valid: {0}")]
    IdempotencyKey(String),
    #[error("`{0}` is not a position in the events of this job")]
    Position(String),
    #[error("{MAX_STREAMS_COUNT} event streams are open")]
    Streams,
    #[error("the request has no token")]
    NoToken,
    #[error("the token of the request is not the server's")]
    WrongToken,
    #[error("the request names no host, or more than one")]
    NoHost,
    #[error("the host `{0}` is not served here")]
    Host(String),
    #[error("requests from pages of `{0}` are not taken")]
    Origin(String),
    #[error("there is no artifact `{0}`")]
    UnknownArtifact(String),
    #[error("the artifact cannot be read")]
    UnreadableArtifact,
    #[error("the artifact has {0} bytes")]
    Range(u64),
    #[error("{MAX_UPLOADS_COUNT} uploads are under way")]
    Uploads,
    #[error("the file has more than {0} bytes")]
    UploadTooLarge(u64),
    #[error("nothing of the file came for {UPLOAD_STALL_SECONDS} s")]
    StalledUpload,
    #[error("the media type `{0}` is not that of a file")]
    UploadForm(String),
    #[error("there is no room for the file")]
    NoRoomForUpload,
    #[error("the file cannot be stored")]
    UploadFailed,
    #[error("a backup is under way")]
    Backup,
    #[error("the answer took more than {REQUEST_SECONDS} s")]
    Slow,
    #[error("the server failed at this request")]
    Panic,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl HttpError for Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownRoute(_) | Self::UnknownArtifact(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge | Self::UploadTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody | Self::StalledUpload => StatusCode::REQUEST_TIMEOUT,
            Self::NoRoomForUpload => StatusCode::INSUFFICIENT_STORAGE,
            Self::MediaType { .. } | Self::UploadForm(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Field { .. }
            | Self::WorkflowChoice(_)
            | Self::Definition(_)
            | Self::Webhook { .. }
            | Self::NoWebhooks => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Body
            | Self::Json(_)
            | Self::Query { .. }
            | Self::Path { .. }
            | Self::Labels(_)
            | Self::IdempotencyKey(_)
            | Self::Position(_)
            | Self::NoHost => StatusCode::BAD_REQUEST,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Host(_) | Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Range(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Streams | Self::Uploads | Self::Backup | Self::Slow => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UnreadableArtifact | Self::UploadFailed | Self::Panic => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Engine(error) => error.status(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownRoute(_) => "route.unknown",
            Self::Method(_) => "request.method",
            Self::TooLarge => "request.too_large",
            Self::SlowBody => "request.slow",
            Self::Body => "request.body",
            Self::MediaType { .. } | Self::UploadForm(_) => "request.media_type",
            Self::Json(_) => "request.json",
            Self::Field { .. } => "request.field",
            Self::Query { .. } => "request.query",
            Self::Path { .. } => "request.path",
            Self::Labels(_) => "labels.invalid",
            Self::WorkflowChoice(_) => "workflow.choice",
            Self::Definition(_) => "definition.invalid",
            Self::Webhook { .. } => "webhook.refused",
            Self::NoWebhooks => "webhook.unavailable",
            Self::IdempotencyKey(_) => "idempotency.invalid",
            Self::Position(_) => "events.position",
            Self::Streams => "stream.limit",
            Self::NoToken => "auth.missing",
            Self::WrongToken => "auth.refused",
            Self::NoHost => "request.host",
            Self::Host(_) => "request.host_refused",
            Self::Origin(_) => "request.origin_refused",
            Self::UnknownArtifact(_) => "artifact.unknown",
            Self::UnreadableArtifact => "artifact.unreadable",
            Self::Range(_) => "range.unsatisfiable",
            Self::Uploads => "upload.limit",
            Self::UploadTooLarge(_) => "upload.too_large",
            Self::StalledUpload => "upload.stalled",
            Self::NoRoomForUpload => "upload.no_room",
            Self::UploadFailed => "upload.failed",
            Self::Backup => "backup.busy",
            Self::Slow => "server.slow",
            Self::Panic => "server.panic",
            Self::Engine(error) => HttpError::code(error),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Engine(error) => error.detail(),
            own => own.to_string(),
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Engine(error) = self {
            return HttpError::hint(error);
        }
        self.own_hint().map(Cow::into_owned)
    }

    fn problems(&self) -> &[Problem] {
        match self {
            Self::Definition(problems) => &problems.0,
            Self::Engine(error) => error.problems(),
            _ => &[],
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::NoToken => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"callsheet\""),
            )),
            Self::WrongToken => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"callsheet\", error=\"invalid_token\""),
            )),
            Self::Range(bytes) => HeaderValue::from_str(&format!("bytes */{bytes}"))
                .ok()
                .map(|value| (header::CONTENT_RANGE, value)),
            Self::Streams | Self::Uploads => {
                Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS.into()))
            }
            Self::Backup => Some((header::RETRY_AFTER, BACKUP_RETRY_AFTER_SECONDS.into())),
            Self::Engine(error) => error.header(),
            _ => None,
        }
    }
}

impl Refusal {
    /// Advice for the front door's own refusals; those of the engine bring theirs.
    fn own_hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::UnknownRoute(_) => "the routes are listed in `/openapi.json`",
            Self::Method(_) => "the methods it takes are in the `Allow` header",
            Self::TooLarge => "pass large data as files, by URL or path",
            Self::SlowBody => "send the body without long pauses",
            Self::Body => "send the whole body, as UTF-8 text",
            Self::MediaType { taken, .. } => {
                return Some(format!("set `Content-Type: {taken}`").into());
            }
            Self::Json(_) => "check the body with a JSON linter at the place named",
            Self::Field { hint, .. } | Self::Query { hint, .. } | Self::Webhook { hint, .. } => {
                return hint.clone().map(Cow::Owned);
            }
            Self::Path { hint, .. } => hint,
            Self::Labels(_) => "labels are short names with short texts on one line",
            Self::WorkflowChoice(_) => "send `{\"workflow\": \"NAME\", \"input\": {…}}`",
            Self::Definition(_) => "`problems` has each of them with its place",
            Self::NoWebhooks => "leave `webhook` out, or ask the server's operator for it",
            Self::IdempotencyKey(_) => "use 1 to 255 printable ASCII characters, such as a UUID",
            Self::Position(_) => "send back the `id` of an event of this job as it was",
            Self::Streams => "close streams that are not needed, or ask again later",
            Self::NoToken | Self::WrongToken => "send `Authorization: Bearer TOKEN`",
            Self::NoHost => "send exactly one `Host` header",
            Self::Host(_) => "use `localhost`, or start the server with a token",
            Self::Origin(_) => "call the server from a program, or from a page that it served",
            Self::UnknownArtifact(_) => {
                "take the digest from the output of a job; its files go when its retention is over"
            }
            Self::UnreadableArtifact => "the server's log says why",
            Self::Range(_) => "ask for bytes that it has",
            Self::Uploads => "ask again later",
            Self::UploadTooLarge(_) => {
                "send less, or start the server with a larger `--max-upload`"
            }
            Self::StalledUpload => "send the file without long pauses; nothing of it was kept",
            Self::UploadForm(_) => {
                "send the file itself as the body: `curl -X POST -T FILE …/v1/uploads?name=FILE`"
            }
            Self::NoRoomForUpload => "make room on the disk of the data directory",
            Self::UploadFailed => "the server's log says why",
            Self::Backup => "ask again when it is done",
            Self::Slow => "ask again; with an `Idempotency-Key` a submit is not done twice",
            Self::Panic => "the server's log has the cause under this answer's `x-request-id`",
            Self::Engine(_) => return None,
        };
        Some(hint.into())
    }
}
