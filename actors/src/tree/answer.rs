//! Answers that somebody waits for: they are given when what they tell is durable.

use callsheet_storage::{JobStatus, StoreError};
use tokio::sync::oneshot;

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It is recorded; the job's work is being stopped.
    Accepted,
    /// The job was being cancelled already.
    AlreadyStopping,
    /// The job had ended before, like this.
    AlreadyEnded(JobStatus),
}

/// What is said to a wish: its answer, or that there is no room to record it.
pub(crate) type Answered<T> = Result<T, StoreError>;

/// An answer that is known, and whom to tell once it is durable.
pub(super) enum Reply {
    /// To a wish to cancel.
    Cancel(oneshot::Sender<Answered<CancelAnswer>>, CancelAnswer),
    /// To a word about a doubt: whether the doubt was held.
    Resolve(oneshot::Sender<Answered<bool>>, bool),
}

impl Reply {
    /// Gives the answer. The asker may have gone away; what was recorded stands all the same.
    pub(super) fn give(self) {
        match self {
            Self::Cancel(asker, answer) => drop(asker.send(Ok(answer))),
            Self::Resolve(asker, answer) => drop(asker.send(Ok(answer))),
        }
    }

    /// Says that there is no room to record it.
    pub(super) fn refuse(self) {
        let full = StoreError::Full;
        match self {
            Self::Cancel(asker, _) => drop(asker.send(Err(full))),
            Self::Resolve(asker, _) => drop(asker.send(Err(full))),
        }
    }
}
