//! Cancel against completion, a few thousand times: one terminal state, an answer that agrees with
//! it, and nothing that starts after the cancel.
//!
//! `CALLSHEET_RACES` sets the number of races (4,000 unless set).
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use callsheet_actors::{CancelAnswer, Engine, JobHandle, StepContext, Submit};
use callsheet_engine::Event;
use callsheet_storage::JobStatus;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Barrier, Notify};

/// Races that are run side by side: each has a lane of its own.
const LANES: usize = 16;

const WORKFLOW: &str = "name: race
steps:
  - { id: gate, uses: gate, with: { lane: '{{ input.lane }}' } }
  - { id: after, uses: after, needs: [gate], with: { lane: '{{ input.lane }}' } }
";

#[derive(Deserialize, JsonSchema)]
struct Place {
    lane: usize,
}

/// What the bodies of one lane and its test tell one another.
#[derive(Default)]
struct Lane {
    begun: Notify,
    open: Notify,
    /// Times that the body of `after` began.
    after: AtomicU64,
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn engine(lanes: &Arc<[Lane]>) -> Engine {
    let (gates, afters) = (lanes.clone(), lanes.clone());
    Engine::builder()
        .in_memory()
        .step_fn("gate", move |place: Place, _: StepContext| {
            let lanes = gates.clone();
            async move {
                lanes[place.lane].begun.notify_one();
                lanes[place.lane].open.notified().await;
                Ok(())
            }
        })
        .step_fn("after", move |place: Place, _: StepContext| {
            afters[place.lane].after.fetch_add(1, Ordering::SeqCst);
            async move { Ok(()) }
        })
        .workflow(WORKFLOW)
        .open()
        .await
        .unwrap()
}

/// Lets go of the gate and cancels, from two tasks at one barrier, one of them a little later.
async fn race(lane: &Arc<[Lane]>, n: usize, round: u64, job: &JobHandle) -> CancelAnswer {
    let barrier = Arc::new(Barrier::new(2));
    let (at_barrier, lanes) = (barrier.clone(), lane.clone());
    let opener = tokio::spawn(async move {
        at_barrier.wait().await;
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        lanes[n].open.notify_one();
    });
    barrier.wait().await;
    for _ in 0..round % 11 {
        tokio::task::yield_now().await;
    }
    let answer = job.cancel(None).await.unwrap();
    opener.await.unwrap();
    answer
}

/// The journal has one end, and nothing starts in it after a cancel.
fn check(events: &[Event], status: JobStatus) {
    let kinds: Vec<_> = events.iter().map(Event::kind).collect();
    let ends = ["JobSucceeded", "JobFailed", "JobCancelled"];
    assert_eq!(kinds.iter().filter(|kind| ends.contains(kind)).count(), 1, "{kinds:?}");
    let expected = match status {
        JobStatus::Succeeded => "JobSucceeded",
        JobStatus::Cancelled => "JobCancelled",
        other => panic!("the job ended {other:?}"),
    };
    assert_eq!(kinds.last(), Some(&expected));
    let after = kinds.iter().skip_while(|kind| **kind != "CancelRequested");
    assert_eq!(after.filter(|kind| **kind == "StepStarted").count(), 0, "{kinds:?}");
}

/// One race; answers with how it ended.
async fn round(engine: &Engine, lanes: &Arc<[Lane]>, n: usize, round: u64) -> &'static str {
    let job = engine.submit(Submit::named("race", json!({ "lane": n }))).await.unwrap().job;
    // Now and then the job is not even begun.
    if !round.is_multiple_of(5) {
        lanes[n].begun.notified().await;
    }
    let begun_before = lanes[n].after.load(Ordering::SeqCst);
    let answer = race(lanes, n, round, &job).await;
    let status = job.wait().await.unwrap().head.status;
    match answer {
        CancelAnswer::Accepted => assert_eq!(status, JobStatus::Cancelled),
        CancelAnswer::AlreadyEnded(told) => assert_eq!(told, status),
        CancelAnswer::AlreadyStopping => panic!("nobody else cancels"),
    }
    let records = job.records(0).await.unwrap();
    let events: Vec<Event> = records.into_iter().flat_map(|record| record.events).collect();
    check(&events, status);
    // What a round leaves behind is no word to the next.
    let _ = tokio::time::timeout(std::time::Duration::ZERO, lanes[n].open.notified()).await;
    let _ = tokio::time::timeout(std::time::Duration::ZERO, lanes[n].begun.notified()).await;
    let started = events.iter().filter(|event| event.kind() == "StepStarted").count();
    let begun = lanes[n].after.load(Ordering::SeqCst) - begun_before;
    assert!(begun <= u64::from(started == 2), "a body began whose start is not recorded");
    match (status, started) {
        (JobStatus::Succeeded, _) => "completed",
        (_, 0) => "cancelled before the first step",
        (_, 1) => "cancelled in the first step",
        _ => "cancelled in the second step",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_that_races_with_completion_has_one_outcome() {
    let rounds = number("CALLSHEET_RACES", 4_000);
    let lanes: Arc<[Lane]> = (0..LANES).map(|_| Lane::default()).collect();
    let engine = engine(&lanes).await;
    let tasks = (0..LANES).map(|n| {
        let (engine, lanes) = (engine.clone(), lanes.clone());
        tokio::spawn(async move {
            let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
            for nth in (n as u64..rounds).step_by(LANES) {
                *seen.entry(round(&engine, &lanes, n, nth).await).or_default() += 1;
            }
            seen
        })
    });
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for lane in futures::future::join_all(tasks).await {
        lane.unwrap().into_iter().for_each(|(end, count)| *seen.entry(end).or_default() += count);
    }
    println!("{rounds} races: {seen:?}");
    assert!(seen.len() >= 3, "the race was never a race: {seen:?}");
    let stats = engine.stats();
    assert_eq!((stats.attempts_open, stats.actor_restarts), (0, 0), "{stats:?}");
    assert_eq!(stats.jobs_cancelled + stats.jobs_succeeded, rounds);
}
