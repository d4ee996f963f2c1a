//! Jobs that were there each time the engine died.

use std::sync::Arc;
use std::time::Duration;

use callsheet_actors::{Engine, JobHandle, Submit};
use callsheet_engine::Resolution;
use callsheet_storage::{JobStatus, MemoryStore};
use serde_json::json;

use crate::doubt::{Outside, kinds_of};
use crate::world::{Runs, attempts, eventually, failure, kinds, workflow};

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
        tokio::time::sleep(Duration::from_millis(5)).await;
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

/// The same with a deed that was held when the second engine died.
#[tokio::test]
async fn a_word_about_a_suspect_starts_nothing_before_its_trial() {
    let outside = Outside::silent(3);
    let steps = "  - { id: a, uses: nap, with: { millis: 600000 } }
  - { id: pay, uses: once, in_doubt: hold }";
    let store = Arc::new(MemoryStore::new());
    let life = async || {
        let builder = kinds(&Runs::default()).step(outside.clone()).store(store.clone());
        builder.workflow(workflow(steps)).open().await.unwrap()
    };
    let engine = life().await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    eventually("the deed is done", || outside.deeds() == 1).await;
    let id = job.id();
    drop((job, engine));
    let engine = life().await;
    until_attempt(&engine.job(id), 2).await;
    drop(engine);
    let engine = life().await;
    let job = engine.job(id);
    outside.silence(3);
    job.resolve("pay", None, Resolution::Retry).await.unwrap();
    until_attempt(&job, 3).await;
    eventually("the deed is done again", || outside.deeds() == 2).await;
    let view = job.view().await.unwrap();
    assert_eq!((attempts(&view, "pay"), view.state.is_held()), (2, false));
    let doubts = kinds_of(&job).await.iter().filter(|kind| **kind == "StepInDoubt").count();
    assert_eq!(doubts, 1, "the second deed is at work, and nobody doubts it");
}

#[tokio::test]
async fn suspects_take_no_places_while_they_wait() {
    let store = Arc::new(MemoryStore::new());
    let life = async || {
        let steps = "  - { id: a, uses: nap, with: { millis: 600000 } }";
        let builder = kinds(&Runs::default()).store(store.clone()).max_active_jobs(3);
        let other = "name: other\nsteps:\n  - { id: s, uses: say }";
        builder.workflow(workflow(steps)).workflow(other).open().await.unwrap()
    };
    let mut engine = life().await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(engine.submit(Submit::named("test", json!({}))).await.unwrap().job.id());
    }
    for number in 1..=2 {
        for job in &jobs {
            until_attempt(&engine.job(*job), number).await;
        }
        drop(engine);
        engine = life().await;
    }
    // All three are suspects, and one of them is tried at a time.
    let other = engine.submit(Submit::named("other", json!({}))).await.unwrap().job;
    let ended = tokio::time::timeout(Duration::from_secs(30), other.wait()).await;
    assert_eq!(ended.unwrap().unwrap().head.status, JobStatus::Succeeded);
    assert_eq!(attempts(&engine.job(jobs[2]).view().await.unwrap(), "a"), 2, "it waits");
}

#[tokio::test]
async fn a_cancel_during_a_drain_starts_nothing() {
    let slow = "name: slow\nsteps:\n  - { id: n, uses: nap, with: { millis: 3000 } }";
    let flaky = workflow(
        "  - { id: f, uses: flaky, with: { failures: 9 },
      retry: { max_attempts: 9, initial: 1500ms, jitter: 0 } }",
    );
    let builder = kinds(&Runs::default()).in_memory().workflow(slow).workflow(flaky);
    let engine = builder.open().await.unwrap();
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    eventually("it sleeps", || {
        let stats = engine.stats();
        (stats.attempts_failed, stats.jobs_active) == (1, 0)
    })
    .await;
    engine.submit(Submit::named("slow", json!({}))).await.unwrap();
    eventually("the nap begins", || engine.stats().attempts_open == 1).await;
    let drained = tokio::spawn({
        let engine = engine.clone();
        async move { engine.shutdown().await }
    });
    eventually("it drains", || engine.is_draining()).await;
    // Its next attempt would be due.
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    job.cancel(None).await.unwrap();
    let view = job.view().await.unwrap();
    assert_eq!((view.head.status, attempts(&view, "f")), (JobStatus::Cancelled, 1));
    drained.await.unwrap();
}
