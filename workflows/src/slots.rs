//! How many heavy programs run at once: an encoder keeps every processor busy, so more of them
//! only take memory from each other.

use std::sync::Arc;

use callsheet_actors::{StepContext, StepError, StepResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::HEARTBEAT_EVERY;

/// The places for heavy programs. Clones share them.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Semaphore>);

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Waits for a place and holds it until the permit is dropped. Those who watch are told.
    pub(crate) async fn take(&self, context: &StepContext) -> StepResult<OwnedSemaphorePermit> {
        if let Ok(permit) = self.0.clone().try_acquire_owned() {
            return Ok(permit);
        }
        context.progress(0.0, "waiting for a free processor");
        let turn = self.0.clone().acquire_owned();
        tokio::pin!(turn);
        loop {
            match timeout(HEARTBEAT_EVERY, &mut turn).await {
                Ok(Ok(permit)) => return Ok(permit),
                Ok(Err(closed)) => {
                    return Err(StepError::retryable("media.slots", closed.to_string()));
                }
                Err(_) => context.heartbeat(),
            }
        }
    }
}
