//! What a client hears when a call is not done.

use std::error::Error as StdError;
use std::fmt::Display;

use reqwest::StatusCode;

use crate::wire::{DefinitionProblem, Problem};

/// A call that was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused it, and says why.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Something else than a Callsheet server answered.
    #[error("the answer {status} is not one of a Callsheet server")]
    Foreign {
        /// The status of the answer.
        status: u16,
    },
    /// There was no connection, or it broke off.
    #[error("cannot reach the server: {0}")]
    Connection(String),
    /// The answer is not what this client understands.
    #[error("the answer cannot be read: {0}")]
    Answer(String),
    /// The URL of the server is not one.
    #[error("`{url}` is not the URL of a server: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The token has characters that cannot be sent.
    #[error("the token has characters that cannot be sent")]
    Token,
    /// A downloaded file is not what its digest says.
    #[error("the file that came for `{0}` is another one")]
    Damaged(String),
    /// A file of the client's own cannot be read or written.
    #[error("cannot use `{path}`: {why}")]
    File {
        /// Which file.
        path: String,
        /// The operating system's answer.
        why: String,
    },
}

impl ClientError {
    /// Stable and dotted: the server's code, or one that begins with `client.`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(problem) => &problem.code,
            Self::Foreign { .. } => "client.foreign",
            Self::Connection(_) => "client.connection",
            Self::Answer(_) => "client.answer",
            Self::Url { .. } => "client.url",
            Self::Token => "client.token",
            Self::Damaged(_) => "client.damaged",
            Self::File { .. } => "client.file",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => problem.hint.as_deref(),
            Self::Foreign { .. } => Some("check the URL; a proxy may have answered"),
            Self::Connection(_) => Some("is the server running? start it with `callsheet serve`"),
            Self::Answer(_) => Some("use the client of the server's version"),
            Self::Url { .. } => Some("write it like `http://127.0.0.1:7070`"),
            Self::Token => Some("a token is printable ASCII on one line"),
            Self::Damaged(_) => {
                Some("fetch it again; if it stays so, the server's disk is damaged")
            }
            Self::File { .. } => None,
        }
    }

    /// What is wrong with the definition or the input that was sent, each with its place.
    #[must_use]
    pub fn problems(&self) -> &[DefinitionProblem] {
        match self {
            Self::Refused(problem) => &problem.problems,
            _ => &[],
        }
    }

    /// Whether the same call made again may be done: the server was away, full or stopping.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let passing = |status: u16| {
            [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ]
            .iter()
            .any(|known| known.as_u16() == status)
        };
        match self {
            Self::Refused(problem) => passing(problem.status),
            Self::Foreign { status } => passing(*status),
            Self::Connection(_) => true,
            Self::Answer(_)
            | Self::Url { .. }
            | Self::Token
            | Self::Damaged(_)
            | Self::File { .. } => false,
        }
    }

    pub(super) fn url(url: &str, why: &dyn Display) -> Self {
        Self::Url { url: url.to_owned(), why: why.to_string() }
    }

    /// The innermost cause says what happened; the outer ones only that something did.
    pub(super) fn connection(error: &reqwest::Error) -> Self {
        let mut cause: &dyn StdError = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Self::Connection(cause.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> ClientError {
        ClientError::Refused(Box::new(Problem {
            r#type: String::new(),
            title: String::new(),
            status,
            code: "a.b".into(),
            detail: "no".into(),
            hint: Some("do".into()),
            problems: Vec::new(),
        }))
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (error, passes) in [
            (refused(503), true),
            (refused(404), false),
            (refused(507), false),
            (ClientError::Foreign { status: 502 }, true),
            (ClientError::Foreign { status: 200 }, false),
            (ClientError::Connection("refused".into()), true),
            (ClientError::Damaged("d".into()), false),
        ] {
            assert_eq!(error.may_pass(), passes, "{error:?}");
        }
    }

    #[test]
    fn a_refusal_speaks_with_the_servers_words() {
        let error = refused(404);
        assert_eq!((error.code(), error.hint(), &*error.to_string()), ("a.b", Some("do"), "no"));
    }
}
