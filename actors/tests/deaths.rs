//! A job's actor that dies is started again from the journal; one that dies again and again is
//! quarantined. Its points are global, so this is one test in a program of its own.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use callsheet_actors::{Engine, JobView, StepContext, Submit};
use callsheet_engine::{Ending, Phase};
use callsheet_storage::JobStatus;
use serde_json::{Value, json};

/// Only a job that nobody goes on with takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

const WORKFLOW: &str = "name: test\nsteps:\n  - { id: a, uses: say }\n  \
                        - { id: b, uses: say, needs: [a] }";

async fn engine() -> Engine {
    let say = |_: Value, _: StepContext| async { Ok("said") };
    Engine::builder().in_memory().step_fn("say", say).workflow(WORKFLOW).open().await.unwrap()
}

/// Runs a job while a point acts as told; answers with its end and the actor's restarts.
async fn run_with(point: &str, action: &str) -> (JobView, u64) {
    let engine = engine().await;
    fail::cfg(point, action).unwrap();
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    let ended = tokio::time::timeout(PATIENCE, job.wait()).await;
    let view = ended.expect("the job's actor is followed by another").unwrap();
    fail::remove(point);
    (view, engine.stats().actor_restarts)
}

#[tokio::test]
async fn a_dead_job_actor_is_followed_by_another_and_too_many_deaths_end_the_job() {
    for point in ["actors.commit.before", "actors.commit.after", "actors.deed.before"] {
        let (view, restarts) = run_with(point, "1*panic").await;
        assert_eq!((view.head.status, restarts), (JobStatus::Succeeded, 1), "{point}");
    }
    let (view, restarts) = run_with("actors.deed.before", "panic").await;
    let Phase::Ended { ending: Ending::Failed(failure), .. } = &view.state.phase else {
        panic!("the job goes on: {view:?}");
    };
    assert_eq!((failure.code.as_str(), restarts), ("job.poisoned", 3));
}
