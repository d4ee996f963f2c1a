//! Removes the files that nobody needs any more.
//!
//! A file goes when its time is over and neither a job that has not ended nor a kept result names
//! it, nor the output of a job that one of the former has run. How long it is to be kept stands on
//! the file itself, prolonged whenever a job uses it and once more before a job's end is recorded;
//! so no other journals are read, and those only when there is a file whose time is over.
//!
//! What is put or prolonged after the sweep has begun is not due at that instant; what was before
//! is in use by a job's actor, or stands in a journal that is read, or in a kept result. So nothing
//! that is used can fall between.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use callsheet_storage::{ArtifactError, Digest, StoreError, Trimmed};

use super::Files;
use crate::limits::{SWEEP_AGAIN, SWEEP_REST_COUNT};

/// What a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files that were removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Kept results that were forgotten.
    pub results: u64,
}

/// Why a sweep could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Files(Arc<ArtifactError>),
    /// Jobs were recorded faster than they could be listed.
    #[error("more jobs changed than could be followed")]
    Lagged,
}

impl From<ArtifactError> for SweepError {
    fn from(error: ArtifactError) -> Self {
        Self::Files(Arc::new(error))
    }
}

/// Sweeps at the start and then again and again, for as long as the engine lives.
pub(crate) async fn watch(files: Arc<Files>) {
    loop {
        let began = Instant::now();
        if let Err(error) = files.sweep().await {
            tracing::warn!(%error, "files could not be swept; it is tried again");
        }
        // What jobs at work hold no sweep takes away: not each result beyond causes one.
        let pause = SWEEP_AGAIN.max(began.elapsed() * SWEEP_REST_COUNT);
        let overgrown = async {
            tokio::time::sleep(pause).await;
            files.overgrown.notified().await;
        };
        tokio::select! {
            () = tokio::time::sleep(files.keeping.sweep_every) => {}
            () = overgrown => {}
        }
    }
}

impl Files {
    /// Removes what nobody needs.
    pub(crate) async fn sweep(self: &Arc<Self>) -> Result<Swept, SweepError> {
        let _turn = self.turn.lock().await;
        let swept = self.sweep_in_turn(0).await?;
        self.counters.swept(swept);
        if swept.files > 0 {
            tracing::info!(files = swept.files, bytes = swept.bytes, "swept files");
        }
        Ok(swept)
    }

    /// The same, by who has the turn; for `need` bytes of room also what only kept results need.
    pub(super) async fn sweep_in_turn(self: &Arc<Self>, need: u64) -> Result<Swept, SweepError> {
        // The order matters: see the module's own words.
        let at = SystemTime::now();
        let in_use = Arc::new(self.artifacts.in_use());
        let mut kept = self.trim(in_use.clone()).await?;
        let mut swept = Swept { results: kept.forgotten, ..Swept::default() };
        let store = self.artifacts.clone();
        let due = self.blocking(move || store.due(at)).await?;
        let due = due.into_iter().filter(|due| !in_use.contains(&due.digest));
        let mut due: HashMap<Digest, u64> = due.map(|due| (due.digest, due.size)).collect();
        if !due.is_empty() {
            let named = self.named_by_live_jobs(&due).await?;
            due.retain(|digest, _| !named.contains(digest));
        }
        let free = |kept: &Trimmed| -> u64 {
            due.iter().filter(|(it, _)| !kept.needed.contains(it)).map(|(_, size)| size).sum()
        };
        if need > free(&kept) {
            let (results, more) = (self.results.clone(), need - free(&kept));
            let (due, in_use_now) = (due.clone(), in_use.clone());
            let work = move || results.give_up(more, &due, &in_use_now);
            swept.results += self.blocking(work).await?;
            kept = self.trim(in_use.clone()).await?;
        }
        due.retain(|digest, _| !kept.needed.contains(digest));
        let store = self.artifacts.clone();
        let removed = move || -> Result<(u64, u64), ArtifactError> {
            let (mut files, mut bytes) = (0, 0);
            for digest in due.keys() {
                if let Some(size) = store.remove(digest, at)? {
                    files += 1;
                    bytes += size;
                }
            }
            Ok((files, bytes))
        };
        (swept.files, swept.bytes) = self.blocking(removed).await?;
        Ok(swept)
    }

    /// Keeps the results within their bound.
    async fn trim(&self, in_use: Arc<HashSet<Digest>>) -> Result<Trimmed, ArtifactError> {
        let (results, most) = (self.results.clone(), self.keeping.cache_max_bytes);
        let trimmed = self.blocking(move || results.trim(most, &in_use)).await?;
        self.counters.results(trimmed.left, trimmed.bytes);
        Ok(trimmed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use callsheet_storage::{ArtifactStore, MemoryStore};
    use tokio::runtime::Handle;

    use super::*;
    use crate::files::Keeping;

    #[tokio::test(start_paused = true)]
    async fn results_that_cannot_be_forgotten_do_not_cause_sweeps_in_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = ArtifactStore::open(dir.path().join("artifacts")).unwrap();
        let keeping = Keeping { cache_max_bytes: 0, ..Keeping::default() };
        let store = Arc::new(MemoryStore::default());
        let files = Files::new(artifacts, store, keeping, Handle::current()).unwrap();
        let files = Arc::new(files);
        let watching = tokio::spawn(watch(files.clone()));
        let mut sweeps = 0;
        // Five seconds.
        for _ in 0..100 {
            files.kept(1);
            tokio::time::sleep(Duration::from_millis(50)).await;
            sweeps += u32::from(files.counters.result_bytes.load(Ordering::Relaxed) == 0);
        }
        watching.abort();
        // Fewer where one takes its time: the rest is a multiple of that.
        assert!((1..=4).contains(&sweeps), "{sweeps} sweeps");
    }
}
