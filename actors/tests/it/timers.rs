//! Timers: jobs that sleep have no actor, survive a restart, and are cancelled at once.

use callsheet_actors::{CancelAnswer, Engine, JobHandle, Submit};
use callsheet_engine::Timestamp;
use callsheet_storage::{JobStatus, ListQuery};
use futures::future::join_all;
use serde_json::json;

use crate::world::{Runs, engine, eventually, kinds, output, workflow};

async fn submit(engine: &Engine) -> JobHandle {
    engine.submit(Submit::named("test", json!({}))).await.unwrap().job
}

/// Waits until the job sleeps, and answers until when.
async fn until_asleep(job: &JobHandle) -> Timestamp {
    loop {
        let status = job.view().await.unwrap().head.status;
        if let JobStatus::Sleeping { until } = status {
            return until;
        }
        assert!(!status.has_ended(), "{status:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_sleeping_job_has_no_actor_and_two_records_and_wakes_in_time() {
    let steps = "  - { id: nap, sleep: 1500ms }
  - { id: after, uses: say, needs: [nap], with: { text: '{{ steps.nap.due_at ~ \"\" }}' } }";
    let engine = engine(steps).await;
    let job = submit(&engine).await;
    let until = until_asleep(&job).await;
    assert_eq!(job.view().await.unwrap().records, 2);
    eventually("the job has no actor", || engine.stats().jobs_active == 0).await;
    let view = job.wait().await.unwrap();
    assert_eq!(view.head.status, JobStatus::Succeeded);
    assert_eq!(output(&view, "after")["text"], json!(until.0.to_string()));
    let woken = view.state.steps[0].ended_at.unwrap();
    assert!(woken >= until, "it woke at {woken:?}, before {until:?}");
}

#[tokio::test]
async fn a_sleeping_job_is_cancelled_at_once() {
    let engine = engine("  - { id: nap, sleep: 1h }").await;
    let job = submit(&engine).await;
    until_asleep(&job).await;
    assert_eq!(job.cancel(None).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(job.view().await.unwrap().head.status, JobStatus::Cancelled);
}

#[tokio::test]
async fn a_restart_moves_no_timer() {
    let directory = tempfile::tempdir().unwrap();
    let steps = workflow("  - { id: nap, sleep: '{{ input.time }}' }");
    let open = async || {
        let builder = kinds(&Runs::default()).data_dir(directory.path()).workflow(&*steps);
        builder.open().await.unwrap()
    };
    let before = open().await;
    let submit = async |time: &str| {
        before.submit(Submit::named("test", json!({ "time": time }))).await.unwrap().job
    };
    let (short, long) = (submit("1200ms").await, submit("1h").await);
    let (due, far) = (until_asleep(&short).await, until_asleep(&long).await);
    before.shutdown().await;
    let after = open().await;
    let view = after.job(short.id()).wait().await.unwrap();
    assert_eq!(output(&view, "nap"), json!({ "due_at": due.0 }));
    assert_eq!(until_asleep(&after.job(long.id())).await, far);
    after.shutdown().await;
}

/// Jobs with this status.
async fn count(engine: &Engine, status: &str) -> usize {
    let (mut count, mut before) = (0, None);
    loop {
        let query = ListQuery { status: Some(status.into()), before, limit: 999, workflow: None };
        let page = engine.jobs(query).await.unwrap();
        count += page.heads.len();
        before = page.next;
        if before.is_none() {
            return count;
        }
    }
}

async fn until_so_many(engine: &Engine, status: &str, wanted: impl Fn(usize) -> bool) {
    while !wanted(count(engine, status).await) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

// The jobs that are woken at start and the timers are read from the store a thousand at a time.
#[tokio::test]
async fn more_jobs_than_a_page_go_on_after_a_restart_and_wake() {
    const JOBS: usize = 2_100;
    let directory = tempfile::tempdir().unwrap();
    let open = async |active: usize| {
        let steps = workflow("  - { id: nap, sleep: 3s }");
        let builder = kinds(&Runs::default()).data_dir(directory.path()).workflow(steps);
        builder.max_active_jobs(active).open().await.unwrap()
    };
    let first = open(1).await;
    join_all((0..JOBS).map(|_| submit(&first))).await;
    first.stop_now().await;
    let second = open(500).await;
    until_so_many(&second, "running", |running| running == 0).await;
    second.stop_now().await;
    let third = open(500).await;
    until_so_many(&third, "succeeded", |ended| ended == JOBS).await;
    third.shutdown().await;
}
