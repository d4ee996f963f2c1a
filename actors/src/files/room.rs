//! Room for files under their bound: what is in the way goes first, then it is said.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use callsheet_storage::Reservation;

use super::Files;
use crate::limits::{QUOTA_RESERVE_SHARE, SWEEP_AGAIN};

/// What a sweep for room could not make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shortfall {
    bytes: u64,
    at: Instant,
}

impl Shortfall {
    fn is_of_now(self) -> bool {
        self.at.elapsed() < SWEEP_AGAIN
    }
}

impl Files {
    /// Counts a result that was kept, and lets a sweep come when there are too many.
    pub(super) fn kept(&self, bytes: u64) {
        self.counters.stored.up();
        let before = self.counters.result_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.keeping.cache_max_bytes {
            self.overgrown.notify_one();
        }
    }

    /// Whether so many bytes more fit under the bound.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.missing(bytes) == 0
    }

    /// Makes room for so many bytes, if it can be made: removes what nobody needs, then forgets
    /// results that alone are in the way.
    pub(crate) async fn make_room(self: &Arc<Self>, bytes: u64) -> bool {
        let mut last = self.turn.lock().await;
        // Whoever was before may have made enough.
        let need = self.missing(bytes);
        if need == 0 || last.is_some_and(|last| last.is_of_now() && need >= last.bytes) {
            return need == 0;
        }
        match self.sweep_in_turn(need).await {
            Ok(swept) => self.counters.swept(swept),
            Err(error) => tracing::warn!(%error, "no room could be made for files"),
        }
        let missing = self.missing(bytes);
        *last = (missing > 0).then(|| Shortfall { bytes: missing, at: Instant::now() });
        missing == 0
    }

    /// How much must go before so many bytes fit under the bound.
    fn missing(&self, bytes: u64) -> u64 {
        let most = self.artifacts.max_bytes().unwrap_or(u64::MAX);
        self.artifacts.used_bytes().saturating_add(bytes).saturating_sub(most)
    }

    /// Takes so many bytes more into a room, and makes some where that can be done.
    pub(crate) async fn grow(self: &Arc<Self>, room: &Reservation, bytes: u64) -> bool {
        if room.grow(bytes) {
            return true;
        }
        // What comes piece by piece asks for as much again as it has, so that few sweeps do.
        self.make_room(bytes.max(room.bytes())).await;
        room.grow(bytes)
    }

    /// Whether there is room for the files of one more job: the last part of the bound is for the
    /// jobs that are there.
    pub(crate) async fn has_room_for_job(self: &Arc<Self>) -> bool {
        let Some(most) = self.artifacts.max_bytes() else { return true };
        let reserve = most / QUOTA_RESERVE_SHARE;
        self.has_room(reserve) || self.make_room(reserve).await
    }
}
