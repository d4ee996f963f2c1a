//! What the engine's handle answers when it cannot do what was asked.

use callsheet_engine::definition::Problems;
use callsheet_engine::{IllegalEvent, JobId};
use callsheet_storage::{ArtifactError, StoreError};

use crate::files::SweepError;

/// An answer other than the one hoped for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// No workflow of this name is registered.
    #[error("there is no workflow `{name}`")]
    UnknownWorkflow {
        /// The name that was asked for.
        name: String,
        /// The registered name that is most like it.
        nearest: Option<String>,
    },
    /// There is no such job.
    #[error("there is no job `{0}`")]
    UnknownJob(JobId),
    /// The job has no such step.
    #[error("the job has no step `{step}`")]
    UnknownStep {
        /// The id that was asked for.
        step: String,
        /// The step whose id is most like it.
        nearest: Option<String>,
    },
    /// The step is not held, so there is no doubt of its to decide about.
    #[error("step `{step}` is not held: {why}")]
    NotHeld {
        /// Which step.
        step: String,
        /// How it stands instead.
        why: String,
    },
    /// The result that was given for a step cannot be one.
    #[error("the result is not valid: {0}")]
    ResultInvalid(String),
    /// The definition or the input has problems.
    #[error("{0}")]
    Refused(Problems),
    /// The idempotency key was used before, for another request.
    #[error("the idempotency key belongs to job `{job}`, which was asked for in other words")]
    KeyReused {
        /// The job that has the key.
        job: JobId,
    },
    /// The idempotency key is empty or too long.
    #[error("the idempotency key is not valid: {0}")]
    KeyInvalid(String),
    /// A label has a name that the engine uses itself.
    #[error("the label `{0}` is the engine's own")]
    LabelReserved(String),
    /// The engine is shutting down and takes no new jobs.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// There is no room on the disk: no new jobs, nothing accepted is lost.
    #[error("no room on the disk of the data directory")]
    Full,
    /// There is no room for files under their bound: no new jobs, nothing accepted is lost.
    #[error("no room for files: {used} of {most} bytes are in use")]
    Quota {
        /// The bytes of all files.
        used: u64,
        /// The most that they may have.
        most: u64,
    },
    /// A file's place refuses to be worked with.
    #[error("files cannot be worked with: {0}")]
    Files(String),
    /// A job's journal cannot be read.
    #[error("the journal of job `{job}` is damaged: {why}")]
    Damaged {
        /// Which job.
        job: JobId,
        /// What is wrong with it.
        why: String,
    },
    /// The store cannot be opened or has failed.
    #[error(transparent)]
    Store(StoreError),
    /// The engine's actors have died and could not be started again.
    #[error("the engine has failed: {0}")]
    Dead(String),
    /// The engine cannot be built as asked.
    #[error("{0}")]
    Setup(String),
}

impl EngineError {
    /// Stable and dotted; listed in `docs/errors.md`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownWorkflow { .. } => "workflow.unknown",
            Self::UnknownJob(_) => "job.unknown",
            Self::UnknownStep { .. } => "step.unknown",
            Self::NotHeld { .. } => "step.not_held",
            Self::ResultInvalid(_) => "resolve.result",
            Self::Refused(_) => "input.invalid",
            Self::KeyReused { .. } => "idempotency.conflict",
            Self::KeyInvalid(_) => "idempotency.invalid",
            Self::LabelReserved(_) => "labels.reserved",
            Self::ShuttingDown => "engine.draining",
            Self::Full => "store.full",
            Self::Quota { .. } => "artifact.quota",
            Self::Files(_) => "artifact.io",
            Self::Damaged { .. } => "job.damaged",
            Self::Store(_) => "store.failed",
            Self::Dead(_) => "engine.failed",
            Self::Setup(_) => "engine.setup",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownWorkflow { nearest, .. } => {
                nearest.as_ref().map(|name| format!("did you mean `{name}`?"))
            }
            Self::UnknownJob(_) => Some("list the jobs to find its id".into()),
            Self::UnknownStep { nearest: Some(name), .. } => {
                Some(format!("did you mean `{name}`?"))
            }
            Self::UnknownStep { .. } => Some("look at the job for the ids of its steps".into()),
            Self::NotHeld { .. } => Some("look at the job: only a step that is held waits".into()),
            Self::ResultInvalid(_) => None,
            Self::Refused(_) => None,
            Self::KeyReused { .. } => Some("use a new key for a new request".into()),
            Self::KeyInvalid(_) => Some("use 1 to 255 bytes, such as a UUID".into()),
            Self::LabelReserved(_) => Some("choose another name for the label".into()),
            Self::ShuttingDown => Some("submit again once the engine has started".into()),
            Self::Full => Some("make room on the disk; running jobs then go on".into()),
            Self::Quota { .. } => {
                Some("raise the bound of files, or let jobs have a shorter retention".into())
            }
            Self::Files(_) => Some("look at the log and the disk, then try again".into()),
            Self::Damaged { .. } => Some("restore the data directory from a backup".into()),
            Self::Store(_) | Self::Dead(_) => {
                Some("look at the log, then start the engine again".into())
            }
            Self::Setup(_) => None,
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownJob(job) => Self::UnknownJob(job),
            StoreError::Damaged { job, why } => Self::Damaged { job, why },
            StoreError::Full => Self::Full,
            other => Self::Store(other),
        }
    }
}

impl From<Problems> for EngineError {
    fn from(problems: Problems) -> Self {
        Self::Refused(problems)
    }
}

impl From<ArtifactError> for EngineError {
    fn from(error: ArtifactError) -> Self {
        Self::Setup(error.to_string())
    }
}

impl From<SweepError> for EngineError {
    fn from(error: SweepError) -> Self {
        match error {
            SweepError::Store(error) => error.into(),
            SweepError::Files(_) | SweepError::Lagged => Self::Files(error.to_string()),
        }
    }
}

impl EngineError {
    pub(crate) fn illegal(job: JobId, error: &IllegalEvent) -> Self {
        Self::Damaged { job, why: error.to_string() }
    }
}
