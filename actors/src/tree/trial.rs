//! Jobs under suspicion: when the process has died twice with the same attempt open, that attempt
//! may be what kills it, or may just have been there. One more death would quarantine its job, so
//! such jobs go on after all others, one by one, each alone for a while: if the process dies again,
//! only the one that was tried is to blame.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callsheet_engine::{JobState, Token};
use tokio::sync::OwnedSemaphorePermit;

use super::JobsMsg;
use super::job::JobMsg;
use crate::core::Core;
use crate::limits::TRIAL_MS;
use crate::mailbox::Mailbox;

/// Where a job stands with it.
pub(super) enum Trial {
    /// Nobody suspects it, or no longer.
    None,
    /// It has not gone on yet: others are tried before it.
    Waiting(#[expect(dead_code, reason = "kept for its drop")] Aside),
    /// It is being tried, until these attempts have ended or its time is up.
    Under(#[expect(dead_code, reason = "kept for its drop")] OwnedSemaphorePermit, Vec<Token>),
}

/// A job that has an actor and does not run: it takes no place of one that would. Counted for as
/// long as it is held.
pub(super) struct Aside(Arc<AtomicUsize>);

impl Aside {
    fn new(core: &Core) -> Self {
        core.aside.fetch_add(1, Ordering::SeqCst);
        // Its place is another's now. Without a supervisor there are no places.
        let _ = core.tell_jobs(JobsMsg::Fill);
        Self(core.aside.clone())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Trial {
    /// A trial for a job that was just loaded, if it needs one.
    pub(super) fn of(state: &JobState, core: &Core, mailbox: &Mailbox<JobMsg>) -> Self {
        if !state.is_suspect() {
            return Self::None;
        }
        let (places, mailbox) = (core.trials.clone(), mailbox.clone());
        // Those that nobody suspects yet go first. If the process dies of one of them, this job was
        // not there.
        let first = core.opened + Duration::from_millis(TRIAL_MS);
        tokio::spawn(async move {
            tokio::time::sleep_until(first.into()).await;
            // The semaphore is never closed. Whoever has gone meanwhile gives the place back.
            if let Ok(place) = places.acquire_owned().await {
                let _ = mailbox.send(JobMsg::Tried(place));
            }
        });
        Self::Waiting(Aside::new(core))
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// It is the job's turn, with these attempts.
    pub(super) fn begin(
        &mut self,
        place: OwnedSemaphorePermit,
        state: &JobState,
        mailbox: &Mailbox<JobMsg>,
    ) {
        *self = Self::Under(place, state.open_tokens().collect());
        let mailbox = mailbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(TRIAL_MS)).await;
            // The actor may have ended meanwhile.
            let _ = mailbox.send(JobMsg::Cleared);
        });
    }

    /// Ends the trial once none of its attempts is open; the state must be durable.
    pub(super) fn look(&mut self, state: &JobState) {
        if let Self::Under(_, tokens) = self
            && tokens.iter().all(|token| state.open_attempt(*token).is_none())
        {
            *self = Self::None;
        }
    }

    /// The job's time alone is up, and the process lives.
    pub(super) fn clear(&mut self) {
        if !self.is_waiting() {
            *self = Self::None;
        }
    }
}
