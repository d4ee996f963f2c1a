//! Jobs that were there each time the engine died.

use std::sync::Arc;

use callsheet_actors::{Engine, JobHandle, Submit};
use callsheet_storage::{JobStatus, MemoryStore};
use serde_json::json;

use crate::world::{Runs, attempts, failure, kinds, workflow};

/// An engine over a store that outlives it. Dropped, it dies as a process does: nothing is given
/// back.
async fn life(store: &Arc<MemoryStore>) -> Engine {
    let steps = "  - { id: a, uses: nap, with: { millis: 600000 } }
  - { id: b, uses: flaky, with: { failures: 99 },
      retry: { max_attempts: 99, initial: 200ms, factor: 1, jitter: 0 } }";
    kinds(&Runs::default()).store(store.clone()).workflow(workflow(steps)).open().await.unwrap()
}

/// Waits until an attempt is on record.
async fn until_attempt(job: &JobHandle, number: u32) {
    while attempts(&job.view().await.unwrap(), "a") < number {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A job that has seen two engines die, in a third one.
async fn twice_bereft() -> (Arc<MemoryStore>, Engine, JobHandle) {
    let store = Arc::new(MemoryStore::new());
    let engine = life(&store).await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    until_attempt(&job, 1).await;
    let id = job.id();
    drop((job, engine));
    let engine = life(&store).await;
    until_attempt(&engine.job(id), 2).await;
    drop(engine);
    let engine = life(&store).await;
    let job = engine.job(id);
    (store, engine, job)
}

#[tokio::test]
async fn a_suspect_goes_on_by_itself_and_is_quarantined_after_one_more_death() {
    let (store, engine, job) = twice_bereft().await;
    until_attempt(&job, 3).await;
    let id = job.id();
    drop((job, engine));
    let view = life(&store).await.job(id).wait().await.unwrap();
    assert_eq!((failure(&view).as_str(), attempts(&view, "a")), ("job.poisoned", 3));
}

#[tokio::test]
async fn a_suspect_waits_for_its_trial_without_being_woken() {
    let (_store, engine, job) = twice_bereft().await;
    until_attempt(&job, 3).await;
    // Its other step was due long before.
    let actors = engine.actors();
    let actor = actors.iter().find(|actor| actor.kind == "job").unwrap();
    assert!(actor.handled < 50, "{actor:?}");
}

#[tokio::test]
async fn a_suspect_that_waits_for_its_trial_can_be_cancelled() {
    let (_store, _engine, job) = twice_bereft().await;
    job.cancel(None).await.unwrap();
    let view = job.wait().await.unwrap();
    assert_eq!((view.head.status, attempts(&view, "a")), (JobStatus::Cancelled, 2));
}
