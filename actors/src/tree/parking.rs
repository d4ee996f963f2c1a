//! What becomes of a job while the disk is full: it is parked with the record that found no room,
//! and its actor goes on listening.
//!
//! A parked job starts nothing, for what it would start rests on that record. A wish to cancel it
//! is refused at once, for a cancel is a promise and none can be kept; an orderly stop lets it go,
//! and its next owner repeats what was not recorded. When there is room it goes on by itself.

use std::time::Duration;

use callsheet_storage::{Commit, StoreError};
use fail::fail_point;
use tokio_util::sync::CancellationToken;

use super::job::JobMsg;
use crate::core::Core;
use crate::limits::ROOM_RETRY_MS;
use crate::mailbox::Mailbox;

/// A record on its way to the disk.
#[derive(Default)]
pub(super) struct Flight {
    given_up: CancellationToken,
    /// Whether it has found no room.
    pub(super) parked: bool,
}

impl Flight {
    /// What tells the task that writes the record that it is given up.
    pub(super) fn given_up(&self) -> CancellationToken {
        self.given_up.clone()
    }

    /// Gives a parked record up, unless it is just being tried again: what the store has in hand
    /// may become durable, and is waited for.
    pub(super) fn give_up(&self) {
        self.given_up.cancel();
    }
}

/// Commits; while there is no room, the job is told once and the commit is tried again. `None` when
/// it was given up: then nothing of it was written, and nobody was told of it.
pub(super) async fn commit(
    core: &Core,
    mailbox: &Mailbox<JobMsg>,
    commit: Commit,
    given_up: &CancellationToken,
) -> Option<Result<(), StoreError>> {
    fail_point!("actors.commit.before");
    let mut told = false;
    loop {
        match core.store.commit(commit.clone()).await {
            Err(StoreError::Full) => {
                if !told {
                    told = true;
                    tracing::warn!(job = %commit.job, "the disk is full; the job is parked");
                    // An actor that has died is followed by one that parks anew.
                    let _ = mailbox.send(JobMsg::Parked);
                }
                let wait = tokio::time::sleep(Duration::from_millis(ROOM_RETRY_MS));
                given_up.run_until_cancelled(wait).await?;
            }
            other => {
                fail_point!("actors.commit.after");
                return Some(other);
            }
        }
    }
}
