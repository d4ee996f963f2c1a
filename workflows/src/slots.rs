//! How many heavy programs run at once: an encoder keeps every processor busy, so more of them
//! only take memory from each other.

use std::sync::Arc;

use callsheet_actors::{StepContext, StepError, StepResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::HEARTBEAT_EVERY;

/// The places for heavy programs. Clones share them.
#[derive(Clone)]
pub(crate) struct Slots {
    places: Arc<Semaphore>,
    of: &'static str,
}

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        let places = Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self { places, of: "a free processor" }
    }

    /// The same with a word for what there is too little of, which those who watch are told.
    pub(crate) fn of(self, what: &'static str) -> Self {
        Self { of: what, ..self }
    }

    /// How many places nobody has.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// Waits for a place and holds it until the permit is dropped. Those who watch are told.
    pub(crate) async fn take(&self, context: &StepContext) -> StepResult<OwnedSemaphorePermit> {
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Ok(permit);
        }
        context.progress(0.0, format!("waiting for {}", self.of));
        let turn = self.places.clone().acquire_owned();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use callsheet_actors::{Engine, Submit};
    use serde_json::{Value, json};

    use super::*;

    const DEFINITION: &str = r#"{ "name": "many", "steps": [
        { "id": "work", "uses": "work", "for_each": [1, 2, 3, 4, 5, 6], "with": null }] }"#;

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_run_at_once_than_there_are_places() {
        for places in [1, 2] {
            let slots = Slots::new(places);
            let counts: Arc<(AtomicUsize, AtomicUsize)> = Arc::default();
            let seen = counts.clone();
            let body = move |_: Option<Value>, context: StepContext| {
                let (slots, counts) = (slots.clone(), counts.clone());
                async move {
                    let place = slots.take(&context).await?;
                    let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
                    counts.1.fetch_max(now, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    counts.0.fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                    Ok(Value::Null)
                }
            };
            let builder = Engine::builder().in_memory().step_fn("work", body);
            let engine = builder.workflow(DEFINITION).open().await.unwrap();
            let submitted = engine.submit(Submit::named("many", json!({}))).await.unwrap();
            let view = submitted.job.wait().await.unwrap();
            assert!(view.head.status.has_ended());
            assert_eq!(seen.1.load(Ordering::SeqCst), places);
        }
    }
}
