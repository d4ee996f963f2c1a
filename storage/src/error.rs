//! What can go wrong in durable truth, and what the caller is to do about it.

use callsheet_engine::JobId;

/// A store's refusal or failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such job.
    #[error("job `{0}` is not known")]
    UnknownJob(JobId),
    /// Another owner has taken the job over: the caller is a zombie and must stop.
    #[error("job `{job}` has a newer owner (epoch {epoch} is stale)")]
    StaleEpoch {
        /// Which job.
        job: JobId,
        /// The epoch that was refused.
        epoch: u64,
    },
    /// The record is not the next one: the caller's state is not the journal's.
    #[error("job `{job}` expects record {expected}, not {got}")]
    WrongSequence {
        /// Which job.
        job: JobId,
        /// The place of the next record.
        expected: u64,
        /// The place that was refused.
        got: u64,
    },
    /// A record of this job cannot be read; the job is quarantined, the rest goes on.
    #[error("job `{job}` has a damaged record: {why}")]
    Damaged {
        /// Which job.
        job: JobId,
        /// What is wrong with it.
        why: String,
    },
    /// A part of the store that belongs to no single job cannot be read; the rest goes on.
    #[error("a part of the store cannot be read: {0}")]
    Unreadable(String),
    /// What was asked for breaks a bound of the store; asking again will not help.
    #[error("the store refuses this: {0}")]
    Refused(String),
    /// There is no room: new work is refused, running jobs are parked, nothing is lost.
    #[error("no room on the disk of the data directory")]
    Full,
    /// Whether the commit is durable is not known: the store failed while it was under way.
    #[error("the outcome of the commit is not known: {0}")]
    OutcomeUnknown(String),
    /// The store has failed and takes nothing any more; the process should end.
    #[error("the store has stopped: {0}")]
    Stopped(String),
    /// The data directory cannot be opened.
    #[error("cannot open the data directory: {0}")]
    Open(String),
}

impl StoreError {
    /// Whether the store as a whole is gone, so that the process should stop.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::OutcomeUnknown(_) | Self::Stopped(_) | Self::Open(_) => true,
            Self::UnknownJob(_)
            | Self::StaleEpoch { .. }
            | Self::WrongSequence { .. }
            | Self::Damaged { .. }
            | Self::Unreadable(_)
            | Self::Refused(_)
            | Self::Full => false,
        }
    }
}
