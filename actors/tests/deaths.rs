//! Actors that die are followed by others; those that die again and again are not. The points at
//! which they are killed are global, so each test here holds a lock.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use callsheet_actors::{Engine, JobView, StepContext, Submit};
use callsheet_engine::{Ending, Phase};
use callsheet_storage::{JobStatus, MemoryStore};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

/// Only a job that nobody goes on with takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

const WORKFLOW: &str = "name: test\nsteps:\n  - { id: a, uses: say }\n  \
                        - { id: b, uses: say, needs: [a] }";

/// A step that waits so long that its job gives up its actor.
const SLEEPY: &str = "name: sleepy\nsteps:\n  - { id: a, uses: flaky, \
                      retry: { max_attempts: 2, initial: 1500ms, jitter: 0 } }";

/// A step with a temporary directory, which an attempt's actor has to tidy up.
const TIDY: &str = "name: tidy\nsteps:\n  - { id: a, uses: files, \
                    retry: { max_attempts: 3, initial: 1ms } }";

static POINTS: Mutex<()> = Mutex::const_new(());

/// Points that act as told until this is dropped.
struct Acting(Vec<&'static str>, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Acting {
    async fn alone() -> Self {
        Self(Vec::new(), POINTS.lock().await)
    }

    fn set(&mut self, point: &'static str, action: &str) {
        fail::cfg(point, action).unwrap();
        self.0.push(point);
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.0.iter().for_each(fail::remove);
    }
}

async fn engine() -> Engine {
    let say = |_: Value, _: StepContext| async { Ok("said") };
    let flaky = |_: Value, context: StepContext| async move {
        match context.attempt() {
            1 => Err(callsheet_actors::StepError::retryable("test.flaky", "not yet")),
            _ => Ok("at last"),
        }
    };
    let files = |_: Value, context: StepContext| async move {
        std::fs::write(context.work_dir()?.join("file"), "x")?;
        Ok("written")
    };
    Engine::builder()
        .in_memory()
        .step_fn("say", say)
        .step_fn("flaky", flaky)
        .step_fn("files", files)
        .workflow(WORKFLOW)
        .workflow(SLEEPY)
        .workflow(TIDY)
        .open()
        .await
        .unwrap()
}

async fn end(engine: &Engine, workflow: &str) -> JobView {
    let job = engine.submit(Submit::named(workflow, json!({}))).await.unwrap().job;
    let ended = tokio::time::timeout(PATIENCE, job.wait()).await;
    ended.expect("somebody goes on with the job").unwrap()
}

fn failure(view: &JobView) -> &str {
    match &view.state.phase {
        Phase::Ended { ending: Ending::Failed(failure), .. } => &failure.code,
        other => panic!("the job did not fail: {other:?}"),
    }
}

#[tokio::test]
async fn a_dead_job_actor_is_followed_by_another_and_too_many_deaths_end_the_job() {
    for point in ["actors.commit.before", "actors.commit.after", "actors.deed.before"] {
        let mut acting = Acting::alone().await;
        let engine = engine().await;
        acting.set(point, "1*panic");
        let view = end(&engine, "test").await;
        let restarts = engine.stats().actor_restarts;
        assert_eq!((view.head.status, restarts), (JobStatus::Succeeded, 1), "{point}");
    }
    let mut acting = Acting::alone().await;
    let engine = engine().await;
    acting.set("actors.deed.before", "panic");
    let view = end(&engine, "test").await;
    assert_eq!((failure(&view), engine.stats().actor_restarts), ("job.poisoned", 3));
}

#[tokio::test]
async fn the_tree_is_started_anew_when_a_supervisor_dies() {
    for (point, workflow) in
        [("tree.jobs", "test"), ("tree.jobs", "sleepy"), ("tree.scheduler", "sleepy")]
    {
        let mut acting = Acting::alone().await;
        let engine = engine().await;
        end(&engine, "test").await;
        acting.set(point, "1*panic");
        let view = end(&engine, workflow).await;
        assert_eq!(view.head.status, JobStatus::Succeeded, "{point} {workflow}");
        assert_eq!(engine.stats().actor_restarts, 1, "{point} {workflow}");
        assert_eq!(engine.health(), Ok(()));
        // Neither figures nor roster remember those who went down with the tree.
        while engine.stats().jobs_active > 0 || engine.actors().len() > 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(engine.stats().attempts_open, 0);
    }
}

#[tokio::test]
async fn a_supervisor_that_dies_while_it_is_told_of_old_jobs_is_followed_by_another() {
    const JOBS: usize = 3_000;
    let mut acting = Acting::alone().await;
    let store = Arc::new(MemoryStore::new());
    let life = async |silent: bool| {
        let say = move |_: Value, _: StepContext| async move {
            if silent {
                std::future::pending::<()>().await;
            }
            Ok("said")
        };
        let builder = Engine::builder().store(store.clone()).step_fn("say", say);
        builder.workflow(WORKFLOW).open().await.unwrap()
    };
    let engine = life(true).await;
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(engine.submit(Submit::named("test", json!({}))).await.unwrap().job.id());
    }
    drop(engine);
    // Its actors go one after the other; the next engine's are to meet the panic.
    tokio::time::sleep(Duration::from_millis(500)).await;
    acting.set("tree.jobs", "10*off->1*panic");
    let heir = life(false).await;
    for job in jobs {
        let ended = tokio::time::timeout(PATIENCE, heir.job(job).wait()).await;
        assert_eq!(ended.unwrap().unwrap().head.status, JobStatus::Succeeded);
    }
    assert_eq!((heir.health(), heir.stats().actor_restarts), (Ok(()), 1));
}

#[tokio::test]
async fn a_cancel_reaches_its_job_while_the_tree_is_started_anew() {
    let mut acting = Acting::alone().await;
    let engine = engine().await;
    let sleepy = engine.submit(Submit::named("sleepy", json!({}))).await.unwrap().job;
    while engine.stats().attempts_failed == 0 || engine.stats().jobs_active > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    acting.set("tree.jobs", "1*panic");
    let answer = sleepy.cancel(None).await.unwrap();
    assert_eq!(answer, callsheet_actors::CancelAnswer::Accepted);
    assert_eq!(sleepy.wait().await.unwrap().head.status, JobStatus::Cancelled);
}

#[tokio::test]
async fn supervisors_that_die_again_and_again_end_the_engine_loudly() {
    for (point, others) in [("tree.jobs", None), ("tree.root", Some("tree.jobs"))] {
        let mut acting = Acting::alone().await;
        let engine = engine().await;
        acting.set(point, "panic");
        others.into_iter().for_each(|other| acting.set(other, "1*panic"));
        let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
        let failed = tokio::time::timeout(PATIENCE, engine.failed()).await;
        let failed = failed.expect("whoever runs the engine is told");
        assert_eq!((failed.code(), engine.health().is_err()), ("engine.failed", true));
        assert!(engine.stats().actor_restarts <= 6, "{:?}", engine.stats());
        let refused = engine.submit(Submit::named("test", json!({}))).await.err();
        assert_eq!(refused.unwrap().code(), "engine.failed");
        assert_eq!(job.cancel(None).await.unwrap_err().code(), "engine.failed");
        // Told, not left to wait for what nobody does.
        let waited = tokio::time::timeout(PATIENCE, job.wait()).await.expect("an answer");
        assert_eq!(waited.unwrap_err().code(), "engine.failed");
    }
}

#[tokio::test]
async fn an_attempts_actor_that_dies_fails_its_attempt_only() {
    let mut acting = Acting::alone().await;
    let engine = engine().await;
    acting.set("tree.attempt", "1*panic");
    let view = end(&engine, "tidy").await;
    assert_eq!(view.head.status, JobStatus::Succeeded);
    assert_eq!(view.state.steps[0].attempts, 2);
    acting.set("tree.attempt", "panic");
    let view = end(&engine, "tidy").await;
    assert_eq!(failure(&view), "step.actor");
    assert_eq!(view.state.steps[0].attempts, 3);
    assert_eq!((engine.stats().actor_restarts, engine.stats().attempts_open), (0, 0));
}
