//! What all handlers share.

use std::sync::Arc;

use callsheet_actors::Engine;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::Gate;
use crate::guard::Hosts;
use crate::limits::{MAX_STREAMS_COUNT, MAX_UPLOADS_COUNT};
use crate::metrics::Metrics;
use crate::options::{ApiOptions, Webhooks};

/// The engine and what the front door keeps beside it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) engine: Engine,
    pub(crate) gate: Arc<Gate>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) metrics: Metrics,
    pub(crate) webhooks: Option<Webhooks>,
    /// Places for event streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Places for files that come in.
    pub(crate) uploads: Arc<Semaphore>,
    /// How large one of them may be.
    pub(crate) max_upload_bytes: u64,
    /// The place for a backup.
    pub(crate) backups: Arc<Semaphore>,
    /// Cancelled when the server is told to stop: streams and waits end then.
    pub(crate) closing: CancellationToken,
}

impl AppState {
    pub(crate) fn new(engine: Engine, options: &ApiOptions, closing: CancellationToken) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS_COUNT));
        Self {
            metrics: Metrics::new(engine.clone(), streams.clone()),
            gate: Arc::new(Gate::new(
                options.token.as_deref(),
                options.below.iter().map(|(path, _)| path.as_str()),
            )),
            hosts: Arc::new(Hosts::new(&options.hosts)),
            webhooks: options.webhooks.clone(),
            engine,
            streams,
            uploads: Arc::new(Semaphore::new(MAX_UPLOADS_COUNT)),
            max_upload_bytes: options.max_upload_bytes,
            backups: Arc::new(Semaphore::new(1)),
            closing,
        }
    }
}
