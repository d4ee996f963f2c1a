//! The engine's errors as HTTP tells them: one status for each.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use callsheet_actors::EngineError;
use callsheet_engine::definition::Problem;

use super::refusal::HttpError;
use crate::limits::RETRY_AFTER_SECONDS;

impl HttpError for EngineError {
    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownWorkflow { .. } | Self::UnknownJob(_) | Self::UnknownStep { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::NotHeld { .. } => StatusCode::CONFLICT,
            Self::Refused(_) | Self::KeyReused { .. } | Self::ResultInvalid(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::KeyInvalid(_) | Self::LabelReserved(_) => StatusCode::BAD_REQUEST,
            Self::ShuttingDown | Self::Store(_) | Self::Dead(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full | Self::Quota { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::Damaged { .. } | Self::Files(_) | Self::Setup(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn code(&self) -> &'static str {
        Self::code(self)
    }

    /// Errors that may tell of files and other insides get a text of their own here; the whole one
    /// goes to the log.
    fn detail(&self) -> String {
        match self {
            Self::Refused(problems) if problems.0.len() == 1 => problems.0[0].message.clone(),
            Self::Refused(problems) => format!("there are {} problems", problems.0.len()),
            Self::Damaged { job, .. } => format!("the journal of job `{job}` is damaged"),
            Self::Store(_) => "the store has failed and takes nothing any more".to_owned(),
            Self::Dead(_) => "the engine has failed and takes nothing any more".to_owned(),
            Self::Files(_) => "the files of jobs cannot be worked with".to_owned(),
            Self::Setup(_) => "the engine is not set up for this".to_owned(),
            Self::UnknownWorkflow { .. }
            | Self::UnknownJob(_)
            | Self::UnknownStep { .. }
            | Self::NotHeld { .. }
            | Self::ResultInvalid(_)
            | Self::KeyReused { .. }
            | Self::KeyInvalid(_)
            | Self::LabelReserved(_)
            | Self::ShuttingDown
            | Self::Quota { .. }
            | Self::Full => self.to_string(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(problems) if problems.0.len() == 1 => problems.0[0].hint.clone(),
            Self::Refused(_) => Some("`problems` has each of them with its place".to_owned()),
            Self::UnknownWorkflow { nearest: None, .. } => {
                Some("the workflows are listed at `/v1/workflows`".to_owned())
            }
            other => Self::hint(other),
        }
    }

    fn problems(&self) -> &[Problem] {
        match self {
            Self::Refused(problems) => &problems.0,
            _ => &[],
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::ShuttingDown | Self::Full | Self::Quota { .. } => {
                Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS.into()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use callsheet_engine::JobId;
    use callsheet_engine::definition::Problems;
    use callsheet_storage::StoreError;

    use super::*;
    use crate::error::CODES;

    fn every_error() -> Vec<EngineError> {
        let job = JobId::from_bytes([7; 16]);
        let problem = Problem::new("input.invalid", "a", "`a` is missing");
        vec![
            EngineError::UnknownWorkflow { name: "x".into(), nearest: None },
            EngineError::UnknownJob(job),
            EngineError::UnknownStep { step: "x".into(), nearest: None },
            EngineError::NotHeld { step: "x".into(), why: "it runs".into() },
            EngineError::ResultInvalid("it is too large".into()),
            EngineError::Refused(Problems(vec![problem.clone(), problem])),
            EngineError::KeyReused { job },
            EngineError::KeyInvalid("empty".into()),
            EngineError::ShuttingDown,
            EngineError::Full,
            EngineError::Quota { used: 9, most: 10 },
            EngineError::Files("/var/secret".into()),
            EngineError::Damaged { job, why: "/var/secret".into() },
            EngineError::Store(StoreError::Open("/var/secret".into())),
            EngineError::Dead("/var/secret".into()),
            EngineError::Setup("/var/secret".into()),
        ]
    }

    #[test]
    fn every_error_has_the_status_of_its_code_and_tells_no_insides() {
        for error in every_error() {
            let code = HttpError::code(&error);
            let known = CODES.iter().find(|known| known.code == code);
            let known = known.unwrap_or_else(|| panic!("`{code}` is not in the list"));
            assert_eq!(known.status, error.status().as_u16(), "{code}");
            assert!(!error.detail().contains("secret"), "{code}");
        }
    }
}
