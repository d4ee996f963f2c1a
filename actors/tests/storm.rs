//! A thousand jobs whose step panics at once, and one that does not: the storm is bounded and the
//! quiet job is not hurt. In a program of its own, for its panics are many and nobody reads them.
#![allow(clippy::unwrap_used, missing_docs)]

use callsheet_actors::{Engine, JobHandle, StepContext, Submit};
use callsheet_storage::JobStatus;
use serde_json::{Value, json};

const JOBS: u64 = 1_000;
const TRIES: u64 = 3;

async fn engine() -> Engine {
    Engine::builder()
        .in_memory()
        .step_fn("panic", |_: Value, _: StepContext| async {
            if true {
                panic!("on purpose");
            }
            Ok(())
        })
        .step_fn("say", |_: Value, _: StepContext| async { Ok("said") })
        .workflow(format!(
            "name: storm\nsteps:\n  - {{ id: a, uses: panic, \
             retry: {{ max_attempts: {TRIES}, initial: 1500ms, factor: 1 }} }}"
        ))
        .workflow("name: quiet\nsteps: [{ id: a, uses: say }]")
        .open()
        .await
        .unwrap()
}

async fn submit(engine: &Engine, workflow: &str) -> JobHandle {
    engine.submit(Submit::named(workflow, json!({}))).await.unwrap().job
}

/// Messages that an actor of the tree has handled.
fn handled(engine: &Engine, kind: &str) -> u64 {
    engine.actors().iter().filter(|actor| actor.kind == kind).map(|actor| actor.handled).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_panics_is_bounded_and_hurts_nobody_else() {
    std::panic::set_hook(Box::new(|_| ()));
    let engine = engine().await;
    let storm = futures::future::join_all((0..JOBS).map(|_| submit(&engine, "storm"))).await;
    for _ in 0..10 {
        let quiet = submit(&engine, "quiet").await;
        assert_eq!(quiet.wait().await.unwrap().head.status, JobStatus::Succeeded);
    }
    for job in storm {
        let view = job.wait().await.unwrap();
        assert_eq!(view.head.status, JobStatus::Failed);
        assert_eq!(u64::from(view.state.steps[0].attempts), TRIES);
    }
    let stats = engine.stats();
    assert_eq!((stats.attempts_failed, stats.jobs_failed), (JOBS * TRIES, JOBS));
    assert_eq!((stats.actor_restarts, stats.attempts_open), (0, 0));
    // Nobody turns in circles: each try is one wake, one sleep and one farewell at most.
    let wakes = (handled(&engine, "scheduler"), handled(&engine, "jobs"));
    println!("scheduler and jobs supervisor were woken {wakes:?} times");
    assert!(wakes.0 <= 3 * JOBS * TRIES && wakes.1 <= 4 * JOBS * TRIES, "{wakes:?}");
}
