//! Opening an engine, its handles, and what they answer when they cannot do what was asked.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use callsheet_actors::{Engine, EngineError, JobHandle, Submit};
use callsheet_engine::JobId;
use callsheet_storage::maintenance::{
    BackupOptions, MaintenanceError, restore, save_backup, verify,
};
use callsheet_storage::maintenance::{Progress, VerifyOptions};
use callsheet_storage::{ArtifactStore, JobStatus, ListQuery, MemoryStore, SledStore, Store};
use futures::StreamExt;
use serde_json::json;

use crate::world::{
    Runs, attempts, engine, eventually, kinds, output, run, until_running, workflow,
};

async fn submit(engine: &Engine) -> JobHandle {
    engine.submit(Submit::named("test", json!({}))).await.unwrap().job
}

#[tokio::test]
async fn the_problems_of_all_workflows_are_told_at_once() {
    let builder = kinds(&Runs::default()).in_memory();
    let refused = builder
        .workflow("name: one\nsteps: [ { id: a, uses: sya } ]")
        .workflow(workflow("  - { id: a, uses: say }"))
        .workflow("name: three\nsteps: [ { id: a, uses: say, needs: [b] } ]")
        .open()
        .await
        .err()
        .unwrap();
    let EngineError::Refused(problems) = refused else { panic!("{refused:?}") };
    let said: Vec<_> = problems.0.iter().map(|problem| problem.code.to_string()).collect();
    assert_eq!(said, ["definition.unknown_kind", "definition.unknown_step"]);
}

#[tokio::test]
async fn what_a_killed_engine_left_is_gone_before_a_step_runs() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().canonicalize().unwrap().join("work");
    std::fs::create_dir_all(work.join("some-job/1")).unwrap();
    std::fs::write(work.join("some-job/1/scraps"), "many").unwrap();
    let start = |mark: &Path| {
        let mut command = std::process::Command::new("sleep");
        command.arg("600").env("CALLSHEET_WORK_ROOT", mark).stdin(Stdio::null());
        command.spawn().unwrap()
    };
    let (mut ours, mut others) = (start(&work), start(&dir.path().join("elsewhere")));
    let engine = kinds(&Runs::default()).data_dir(dir.path()).open().await.unwrap();
    eventually("the stray has ended", || ours.try_wait().unwrap().is_some()).await;
    assert!(others.try_wait().unwrap().is_none(), "another engine's child is left alone");
    others.kill().unwrap();
    others.wait().unwrap();
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 0);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_store_of_ones_own_outlives_the_engine() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let open = || {
        let text = workflow("  - { id: n, uses: nap, with: { millis: 100 } }");
        kinds(&Runs::default()).store(store.clone()).workflow(text).open()
    };
    let first = open().await.unwrap();
    let job = submit(&first).await;
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Succeeded);
    assert_eq!(
        first.jobs(ListQuery { limit: 9, ..ListQuery::default() }).await.unwrap().heads[0].id,
        job.id()
    );
    assert!(store.head(job.id()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_limit_of_no_jobs_at_all_is_one() {
    let text = workflow("  - { id: n, uses: nap, with: { millis: 5 } }");
    let builder = kinds(&Runs::default()).in_memory().max_active_jobs(0);
    let engine = builder.workflow(text).open().await.unwrap();
    let (one, two) = (submit(&engine).await, submit(&engine).await);
    assert_eq!(one.wait().await.unwrap().head.status, JobStatus::Succeeded);
    assert_eq!(two.wait().await.unwrap().head.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_job_keeps_the_definition_it_was_accepted_with() {
    let engine = engine(
        "  - { id: n, uses: nap, with: { millis: 100 } }
  - { id: a, uses: say, needs: [n], with: { text: old } }",
    )
    .await;
    let old = submit(&engine).await;
    let new = workflow("  - { id: a, uses: say, with: { text: new } }");
    let before = engine.workflow("test").unwrap();
    assert_eq!(engine.validate(&new).unwrap().workflow().steps.len(), 1);
    assert_eq!(engine.workflow("test").unwrap().digest(), before.digest(), "only looked at");
    let plan = engine.register(&new).unwrap();
    assert_ne!(plan.digest(), before.digest());
    assert_eq!(engine.workflows().len(), 1);
    assert_eq!(output(&run(&engine).await, "a")["text"], "new");
    let view = old.wait().await.unwrap();
    assert_eq!((output(&view, "a")["text"].as_str(), attempts(&view, "n")), (Some("old"), 1));
    assert!(engine.register("name: test\nsteps: [ { id: a, uses: nobody } ]").is_err());
    assert_eq!(
        engine.workflow("test").unwrap().digest(),
        plan.digest(),
        "a refused one changes nothing"
    );
    let compiled = engine.compile(plan.workflow().as_ref().clone()).unwrap();
    assert_eq!(compiled.digest(), plan.digest());
}

#[tokio::test]
async fn labels_and_input_are_a_part_of_what_a_key_stands_for() {
    let engine = engine("  - { id: a, uses: say }").await;
    let ask = |key: &str, input: i32, label: &str| {
        let request = Submit::named("test", json!({ "n": input })).label("who", label);
        engine.submit(request.idempotency_key(key))
    };
    let first = ask("k", 1, "ann").await.unwrap();
    let again = ask("k", 1, "ann").await.unwrap();
    assert_eq!((again.job.id(), first.is_new, again.is_new), (first.job.id(), true, false));
    for (input, label) in [(2, "ann"), (1, "bob")] {
        let refused = ask("k", input, label).await.err().unwrap();
        assert_eq!(refused, EngineError::KeyReused { job: first.job.id() });
        assert_eq!(refused.hint().as_deref(), Some("use a new key for a new request"));
    }
    assert!(ask(&"k".repeat(255), 1, "ann").await.unwrap().is_new, "the longest key");
    assert!(ask("K", 1, "ann").await.unwrap().is_new, "keys are compared byte by byte");
}

#[tokio::test]
async fn a_job_that_is_nowhere_is_unknown_to_every_method() {
    let engine = engine("  - { id: a, uses: say }").await;
    let id = JobId(uuid::Uuid::from_u128(7));
    let job = engine.job(id);
    let unknown = EngineError::UnknownJob(id);
    assert_eq!(job.view().await.err(), Some(unknown.clone()));
    assert_eq!(job.wait().await.err(), Some(unknown.clone()));
    assert_eq!(job.wait_for(Duration::ZERO).await.err(), Some(unknown.clone()));
    assert_eq!(job.cancel(None).await.err(), Some(unknown.clone()));
    assert_eq!(job.records(0).await.err(), Some(unknown.clone()));
    let events: Vec<_> = job.events(0).collect().await;
    assert_eq!(events, [Err(unknown.clone())], "told once, then over");
    assert_eq!(unknown.code(), "job.unknown");
    assert!(unknown.to_string().contains(&id.to_string()));
}

#[tokio::test]
async fn a_wait_for_some_time_answers_with_where_the_job_stands() {
    let engine = engine("  - { id: n, uses: nap, with: { millis: 200 } }").await;
    let job = submit(&engine).await;
    until_running(&job, "n").await;
    let view = job.wait_for(Duration::from_millis(1)).await.unwrap();
    assert!(!view.head.status.has_ended());
    let view = job.wait_for(Duration::from_secs(60)).await.unwrap();
    assert_eq!(view.head.status, JobStatus::Succeeded);
    let stats = engine.stats();
    assert_eq!((stats.jobs_submitted, stats.jobs_succeeded, stats.jobs_failed), (1, 1, 0));
    assert_eq!((stats.attempts_started, stats.attempts_succeeded, stats.attempts_open), (1, 1, 0));
}

#[tokio::test]
async fn whoever_waits_is_told_when_the_engine_stops() {
    let engine = engine("  - { id: n, uses: nap, with: { millis: 600000 } }").await;
    let job = submit(&engine).await;
    until_running(&job, "n").await;
    let waiting = tokio::spawn({
        let job = job.clone();
        async move { job.wait().await }
    });
    assert!(!engine.is_draining());
    engine.stop_now().await;
    assert!(engine.is_draining());
    let told = waiting.await.unwrap().err().unwrap();
    assert!(["engine.draining", "store.failed"].contains(&told.code()), "{told:?}");
    let late = engine.submit(Submit::named("test", json!({}))).await.err().unwrap();
    assert_eq!(late, EngineError::ShuttingDown);
    assert!(late.hint().unwrap().contains("once the engine has started"));
}

fn quietly() -> Progress {
    Arc::new(|_, _, _| {})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_an_engine_at_work_becomes_an_engine_that_goes_on() {
    const STEPS: &str = "  - { id: a, uses: say, with: { text: kept } }
  - { id: n, uses: nap, needs: [a], with: { millis: 300 } }";
    let dir = tempfile::tempdir().unwrap();
    let (runs, copy) = (Runs::default(), dir.path().join("copy"));
    let open = |at: &Path| kinds(&runs).data_dir(at).workflow(workflow(STEPS)).open();
    let engine = open(&dir.path().join("original")).await.unwrap();
    let request = || Submit::named("test", json!({})).idempotency_key("k");
    let job = engine.submit(request()).await.unwrap().job;
    until_running(&job, "n").await;

    let file = dir.path().join("b");
    let options = BackupOptions { artifacts: true, progress: quietly() };
    let saved = save_backup::<MaintenanceError>(engine.backup(options), &file).await.unwrap();
    assert_eq!((saved.0.jobs, saved.0.keys, saved.1.len()), (1, 1, 0));
    engine.shutdown().await;
    assert_eq!(restore(&file, &copy, quietly()).await.unwrap(), saved);
    let store = SledStore::open(&copy).unwrap();
    let files = Arc::new(ArtifactStore::open(copy.join("artifacts")).unwrap());
    let options = VerifyOptions { artifacts: true, progress: quietly() };
    let found = verify(&store, files, options).await.unwrap();
    assert_eq!((found.jobs, found.ended, found.faults.len()), (1, 0, 0));
    store.close().await.unwrap();
    drop(store);

    let engine = open(&copy).await.unwrap();
    assert_eq!(engine.submit(request()).await.unwrap().job.id(), job.id());
    let view = engine.job(job.id()).wait().await.unwrap();
    assert_eq!(view.head.status, JobStatus::Succeeded);
    assert_eq!((attempts(&view, "a"), attempts(&view, "n")), (1, 2));
    engine.shutdown().await;
}
