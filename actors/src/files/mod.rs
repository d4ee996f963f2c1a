//! The life of files: what jobs have made and use, what is kept of their results, and what goes.

mod flights;
mod keeping;
mod named;
mod recall;
mod room;
mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use callsheet_engine::{Event, JobId, JobOptions};
use callsheet_storage::{
    ArtifactError, ArtifactStore, Digest, Hold, ResultStore, Store, Terms, mentions,
};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify};

use flights::Flights;
pub use keeping::Keeping;
pub(crate) use recall::Deed;
use room::Shortfall;
pub use sweep::Swept;
pub(crate) use sweep::{SweepError, watch};

use crate::stats::FileCounters;

/// All that the engine knows of files.
pub(crate) struct Files {
    pub(crate) artifacts: Arc<ArtifactStore>,
    pub(crate) keeping: Keeping,
    pub(crate) counters: FileCounters,
    results: ResultStore,
    flights: Arc<Flights>,
    /// What refers to files.
    store: Arc<dyn Store>,
    /// The actors' runtime: a sweep takes no thread from the steps.
    control: Handle,
    /// One sweep at a time; what the last one for room fell short of.
    turn: Mutex<Option<Shortfall>>,
    /// Results have outgrown their bound.
    overgrown: Notify,
}

impl Files {
    /// Counts the files that there are. Blocks.
    ///
    /// # Errors
    /// When their directory cannot be read.
    pub(crate) fn new(
        artifacts: ArtifactStore,
        store: Arc<dyn Store>,
        keeping: Keeping,
        control: Handle,
    ) -> Result<Self, ArtifactError> {
        artifacts.count()?;
        artifacts.set_max_bytes(keeping.max_bytes);
        Ok(Self {
            results: ResultStore::open(&artifacts)?,
            artifacts: Arc::new(artifacts),
            keeping,
            counters: FileCounters::default(),
            flights: Arc::default(),
            store,
            control,
            turn: Mutex::default(),
            overgrown: Notify::new(),
        })
    }

    /// The terms of files that a job uses.
    pub(crate) fn terms(&self, options: JobOptions, hold: Option<Arc<Hold>>) -> Terms {
        let kept = options.retention.map(|time| Duration::from(time).max(self.keeping.grace));
        Terms { keep_for: kept, hold }
    }

    /// Takes the files that a job's input names into use, for as long as the hold lives.
    pub(crate) async fn welcome(
        &self,
        input: &Value,
        options: JobOptions,
    ) -> Result<Option<Arc<Hold>>, ArtifactError> {
        let named = named_in(input);
        if named.is_empty() {
            return Ok(None);
        }
        let hold = Arc::new(self.artifacts.hold());
        let store = self.artifacts.under(self.terms(options, Some(hold.clone())));
        self.blocking(move || prolong_all(&store, &named)).await?;
        Ok(Some(hold))
    }

    /// Gives the files of a job that is about to end their last term: it counts from now on. To be
    /// done before the end is recorded, for afterwards nobody would know of it.
    pub(crate) async fn farewell(&self, job: JobId, options: JobOptions, last: &[Event]) {
        if options.retention.is_none() {
            return; // They are kept for ever as it is.
        }
        let prolonged = async {
            let mut named = BTreeSet::new();
            for record in self.store.journal(job, 0).await? {
                record.events.iter().for_each(|event| mentions_of(event, &mut named));
            }
            last.iter().for_each(|event| mentions_of(event, &mut named));
            let store = self.artifacts.under(self.terms(options, None));
            self.blocking(move || prolong_all(&store, &named)).await?;
            Ok::<_, SweepError>(())
        };
        // No reason to keep a job from its end.
        if let Err(error) = prolonged.await {
            tracing::error!(%job, %error, "the files of an ended job may go before their time");
        }
    }

    /// Runs blocking work on the actors' runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
    ) -> Result<T, ArtifactError> {
        match self.control.spawn_blocking(work).await {
            Ok(answer) => answer,
            Err(error) => Err(ArtifactError::Io {
                what: "work in",
                path: self.artifacts.root().to_owned(),
                source: std::io::Error::other(error),
            }),
        }
    }
}

/// The digests that stand in a value, each once: whatever is done about one waits for the disk.
pub(crate) fn named_in(value: &Value) -> BTreeSet<Digest> {
    let mut named = BTreeSet::new();
    mentions(value, &mut named);
    named
}

/// The digests that stand in an event, whatever kind of event it is.
fn mentions_of(event: &Event, found: &mut impl Extend<Digest>) {
    let value = serde_json::to_value(event).expect("an event is JSON");
    mentions(&value, found);
}

/// Prolongs what is there of these. Blocks.
pub(crate) fn prolong_all(
    store: &ArtifactStore,
    named: &BTreeSet<Digest>,
) -> Result<(), ArtifactError> {
    // Text that looks like a digest, or a file that is gone: the step that needs it says so.
    named.iter().try_for_each(|digest| store.prolong(digest).map(drop))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_that_is_named_often_is_found_once() {
        let digest = Digest::of(b"x");
        let value = json!({ "a": digest, "b": vec![digest; 60], "c": format!("/{digest}?n") });
        assert_eq!(named_in(&value), BTreeSet::from([digest]));
    }
}
