//! Cancel is immediate and final.

use std::time::Duration;

use callsheet_actors::{CancelAnswer, Submit};
use callsheet_engine::Event;
use callsheet_storage::JobStatus;
use serde_json::json;

use crate::world::{engine, until_running};

const LONG: &str = "  - { id: n, uses: nap, with: { millis: 600000 } }
  - { id: after, uses: say, needs: [n] }";

#[tokio::test]
async fn a_running_job_is_cancelled_and_nothing_starts_after() {
    let engine = engine(LONG).await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    until_running(&job, "n").await;
    assert_eq!(job.cancel(Some("enough".into())).await.unwrap(), CancelAnswer::Accepted);
    let view = job.wait().await.unwrap();
    assert_eq!(view.head.status, JobStatus::Cancelled);
    let records = job.records(0).await.unwrap();
    let events: Vec<_> =
        records.iter().flat_map(|record| &record.events).map(Event::kind).collect();
    let expected =
        ["JobSubmitted", "StepStarted", "CancelRequested", "AttemptCancelled", "JobCancelled"];
    assert_eq!(events, expected);
    let again = job.cancel(None).await.unwrap();
    assert_eq!(again, CancelAnswer::AlreadyEnded(JobStatus::Cancelled));
    assert_eq!(engine.stats().attempts_open, 0);
}

#[tokio::test]
async fn a_sleeping_job_is_cancelled_without_waiting() {
    let engine = engine(
        "  - { id: f, uses: flaky, with: { failures: 1 }, retry: { initial: 1h, max: 1h } }",
    )
    .await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    crate::world::eventually("it started", || engine.stats().attempts_failed == 1).await;
    crate::world::eventually("it sleeps", || engine.stats().jobs_active == 0).await;
    assert_eq!(job.cancel(None).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
}

#[tokio::test]
async fn cancel_racing_completion_has_one_outcome_and_the_answer_agrees() {
    let engine = engine("  - { id: n, uses: nap, with: { millis: 1 } }").await;
    let mut seen = [0, 0];
    for round in 0..300u64 {
        let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
        tokio::time::sleep(Duration::from_micros(round * 17 % 4_000)).await;
        let answer = job.cancel(None).await.unwrap();
        let status = job.wait().await.unwrap().head.status;
        match answer {
            CancelAnswer::AlreadyEnded(told) => assert_eq!(told, status),
            CancelAnswer::Accepted => assert_eq!(status, JobStatus::Cancelled),
            CancelAnswer::AlreadyStopping => panic!("nobody else cancels"),
        }
        seen[usize::from(status == JobStatus::Cancelled)] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "the race was never a race: {seen:?}");
}

#[tokio::test]
async fn bodies_that_block_their_threads_delay_nobody_and_are_abandoned() {
    // More of them than the actors' runtime has threads.
    let engine = engine(
        "  - { id: n, uses: block, for_each: [1, 2, 3, 4], concurrency: 4,
      with: { millis: 8000 } }",
    )
    .await;
    let mut progress = engine.progress();
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    for _ in 0..4 {
        // From here on the body holds its thread.
        assert_eq!(progress.recv().await.unwrap().message, "blocking");
    }
    assert_eq!(job.cancel(None).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
    assert_eq!(engine.stats().attempts_abandoned, 4);
}

#[tokio::test]
async fn a_timeout_ends_the_attempt() {
    let engine = engine(
        "  - { id: n, uses: nap, with: { millis: 600000 }, timeout: 30ms,
      retry: { max_attempts: 1 } }",
    )
    .await;
    let view = crate::world::run(&engine).await;
    assert_eq!(crate::world::failure(&view), "step.timeout");
}
