//! A disk that is full for a while: jobs are parked, nothing is lost, and everybody who asks is
//! answered at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use callsheet_actors::{Engine, EngineError, JobHandle, Submit};
use callsheet_engine::Event;
use callsheet_storage::JobStatus;
use serde_json::json;

use crate::faulty::Faulty;
use crate::world::{Runs, attempts, eventually, kinds, output, workflow};

/// The first step is slow enough for the disk to fill up while it runs.
const STEPS: &str = "  - { id: n, uses: nap, with: { millis: 100 } }
  - { id: last, uses: say, needs: [n] }";

struct World {
    engine: Engine,
    store: Arc<Faulty>,
    runs: Runs,
}

impl World {
    async fn new() -> Self {
        let (store, runs) = (Arc::new(Faulty::new()), Runs::default());
        let engine = kinds(&runs).store(store.clone()).workflow(workflow(STEPS)).open().await;
        Self { engine: engine.unwrap(), store, runs }
    }

    /// A job whose step is done and cannot be recorded.
    async fn parked(&self) -> JobHandle {
        let job = self.engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
        eventually("the step runs", || self.engine.stats().attempts_open == 1).await;
        self.store.set_full(true);
        eventually("the job is parked", || self.store.refused() > 0).await;
        job
    }
}

#[tokio::test]
async fn a_parked_job_goes_on_when_there_is_room_and_nothing_is_lost() {
    let world = World::new().await;
    let job = world.parked().await;
    let refused = world.engine.submit(Submit::named("test", json!({}))).await.err();
    assert_eq!(refused, Some(EngineError::Full));
    assert_eq!(job.view().await.unwrap().head.status, JobStatus::Running);
    assert_eq!(world.runs.load(Ordering::SeqCst), 0, "nothing starts on what is not durable");
    world.store.set_full(false);
    let view = job.wait().await.unwrap();
    assert_eq!(view.head.status, JobStatus::Succeeded);
    assert_eq!((attempts(&view, "n"), attempts(&view, "last")), (1, 1));
    let stats = world.engine.stats();
    assert_eq!((stats.actor_restarts, stats.attempts_open), (0, 0));
}

#[tokio::test]
async fn a_cancel_that_cannot_be_recorded_is_refused_at_once_and_can_be_repeated() {
    let world = World::new().await;
    let job = world.parked().await;
    for _ in 0..3 {
        assert_eq!(job.cancel(None).await, Err(EngineError::Full));
    }
    assert_eq!(job.view().await.unwrap().head.status, JobStatus::Running);
    world.store.set_full(false);
    let answer = job.cancel(None).await;
    let status = job.wait().await.unwrap().head.status;
    // There may be room again to the asker, and the job has not tried again yet.
    match answer {
        Ok(callsheet_actors::CancelAnswer::Accepted) => assert_eq!(status, JobStatus::Cancelled),
        Ok(callsheet_actors::CancelAnswer::AlreadyEnded(told)) => assert_eq!(told, status),
        Ok(callsheet_actors::CancelAnswer::AlreadyStopping) => panic!("refused means undecided"),
        Err(error) => assert_eq!((error, status), (EngineError::Full, JobStatus::Succeeded)),
    }
}

#[tokio::test]
async fn a_cancel_under_way_when_the_disk_fills_up_is_answered_too() {
    let world = World::new().await;
    let job = world.engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    eventually("the step runs", || world.engine.stats().attempts_open == 1).await;
    world.store.set_full(true);
    // Nothing is parked yet: this is the very record that finds no room.
    assert_eq!(job.cancel(None).await, Err(EngineError::Full));
    world.store.set_full(false);
    // It was decided on, so it is recorded in the end; nobody was told that it would not.
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
    let records = job.records(0).await.unwrap();
    let events = records.iter().flat_map(|record| &record.events);
    assert_eq!(events.filter(|it| matches!(it, Event::CancelRequested { .. })).count(), 1);
}

#[tokio::test]
async fn a_job_waits_for_room_for_the_jobs_that_it_runs() {
    let (store, runs) = (Arc::new(Faulty::new()), Runs::default());
    let steps = "  - { id: n, uses: nap, with: { millis: 100 } }
  - { id: c, uses: workflow.run, needs: [n], with: { workflow: child, on_failure: report } }";
    let child = "{ name: child, steps: [{ id: a, uses: say }] }";
    let builder = kinds(&runs).store(store.clone()).workflow(workflow(steps)).workflow(child);
    let engine = builder.open().await.unwrap();
    let submit = || engine.submit(Submit::named("test", json!({})));
    let (waits, stops) = (submit().await.unwrap().job, submit().await.unwrap().job);
    store.set_scarce(true);
    // More often than a step is tried.
    eventually("both ask for room again and again", || store.refused() > 8).await;
    stops.cancel(None).await.unwrap();
    assert_eq!(stops.wait().await.unwrap().head.status, JobStatus::Cancelled);
    store.set_scarce(false);
    let view = waits.wait().await.unwrap();
    assert_eq!(output(&view, "c")["status"], "succeeded");
    assert_eq!((attempts(&view, "c"), runs.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn an_engine_with_parked_jobs_stops_at_once() {
    let world = World::new().await;
    let job = world.parked().await;
    world.engine.stop_now().await;
    assert_eq!(world.engine.stats().jobs_active, 0, "the parked job was let go");
    assert!(job.view().await.is_err(), "the store is closed");
}
