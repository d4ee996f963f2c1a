//! Shutdown, restart, and what the roster shows.

use std::sync::atomic::Ordering;

use callsheet_actors::{Engine, EngineError, Submit};
use callsheet_engine::Event;
use callsheet_storage::JobStatus;
use serde_json::json;

use crate::world::{Runs, attempts, eventually, kinds, until_running, workflow};

async fn open(runs: &Runs, dir: &std::path::Path, steps: &str) -> Engine {
    kinds(runs).data_dir(dir).workflow(workflow(steps)).open().await.unwrap()
}

const STEPS: &str = "  - { id: first, uses: say, with: { text: once } }
  - { id: n, uses: nap, needs: [first], with: { millis: 300 } }
  - { id: last, uses: say, needs: [n], with: { text: end } }";

#[tokio::test]
async fn a_job_goes_on_after_an_orderly_stop_and_repeats_nothing_that_was_recorded() {
    let (runs, dir) = (Runs::default(), tempfile::tempdir().unwrap());
    let engine = open(&runs, dir.path(), STEPS).await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    until_running(&job, "n").await;
    engine.stop_now().await;
    let failed = tokio::time::timeout(std::time::Duration::from_millis(50), engine.failed()).await;
    assert!(failed.is_err(), "an orderly end is no failure: {failed:?}");
    assert_eq!(
        engine.submit(Submit::named("test", json!({}))).await.err(),
        Some(EngineError::ShuttingDown)
    );

    let engine = open(&runs, dir.path(), STEPS).await;
    let view = engine.job(job.id()).wait().await.unwrap();
    assert_eq!(view.head.status, JobStatus::Succeeded);
    assert_eq!(attempts(&view, "first"), 1);
    assert_eq!(attempts(&view, "n"), 2);
    assert_eq!(runs.load(Ordering::SeqCst), 2, "`first` and `last` ran once each");
    let records = engine.job(job.id()).records(0).await.unwrap();
    let given_back = records.iter().flat_map(|record| &record.events).any(|event| {
        matches!(event, Event::AttemptInterrupted { cause, .. }
            if *cause == callsheet_engine::Interruption::Shutdown)
    });
    assert!(given_back, "an orderly stop is no death");
    engine.shutdown().await;
}

#[tokio::test]
async fn a_drain_lets_what_runs_end_and_starts_nothing() {
    let (runs, dir) = (Runs::default(), tempfile::tempdir().unwrap());
    let engine = open(&runs, dir.path(), STEPS).await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    until_running(&job, "n").await;
    engine.shutdown().await;

    let engine = open(&runs, dir.path(), STEPS).await;
    let view = engine.job(job.id()).wait().await.unwrap();
    assert_eq!((attempts(&view, "n"), attempts(&view, "last")), (1, 1));
    engine.shutdown().await;
}

#[tokio::test]
async fn a_second_engine_on_the_same_directory_is_refused() {
    let (runs, dir) = (Runs::default(), tempfile::tempdir().unwrap());
    let engine = open(&runs, dir.path(), STEPS).await;
    let second = kinds(&runs).data_dir(dir.path()).open().await;
    assert_eq!(second.err().unwrap().code(), "store.failed");
    engine.shutdown().await;
    let third = kinds(&runs).data_dir(dir.path()).open().await.unwrap();
    third.shutdown().await;
}

#[tokio::test]
async fn the_roster_shows_the_tree_and_forgets_what_has_ended() {
    let runs = Runs::default();
    let steps = "  - { id: n, uses: nap, with: { millis: 600000 } }";
    let engine = kinds(&runs).in_memory().workflow(workflow(steps)).open().await.unwrap();
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    until_running(&job, "n").await;
    eventually("the attempt is on the roster", || engine.actors().len() == 5).await;
    let kinds: Vec<_> = engine.actors().iter().map(|actor| actor.kind).collect();
    assert_eq!(kinds, ["root", "scheduler", "jobs", "job", "attempt"]);
    assert_eq!(engine.actors()[4].name, format!("{}/n/0#1", job.id()));
    job.cancel(None).await.unwrap();
    job.wait().await.unwrap();
    eventually("only the tree is left", || engine.actors().len() == 3).await;
}

#[tokio::test]
async fn two_engines_in_one_process_do_not_meet() {
    let (one, two) = (Runs::default(), Runs::default());
    let steps = "  - { id: a, uses: say }";
    let first = kinds(&one).in_memory().workflow(workflow(steps)).open().await.unwrap();
    let second = kinds(&two).in_memory().workflow(workflow(steps)).open().await.unwrap();
    let job = first.submit(Submit::named("test", json!({}))).await.unwrap().job;
    job.wait().await.unwrap();
    assert!(second.job(job.id()).view().await.is_err());
    assert_eq!((one.load(Ordering::SeqCst), two.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_dropped_engine_leaves_no_bodies_behind() {
    let runs = Runs::default();
    let steps = "  - { id: s, uses: shell, with: { text: 'echo $$ > pids; exec sleep 600' } }";
    let engine = kinds(&runs).in_memory().workflow(workflow(steps)).open().await.unwrap();
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    let file = engine.artifacts().root().parent().unwrap().join("work");
    let file = file.join(job.id().to_string()).join("1/pids");
    let mut pid = String::new();
    eventually("the child runs", || {
        pid = std::fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
        !pid.is_empty()
    })
    .await;
    drop((engine, job));
    let process = std::path::PathBuf::from(format!("/proc/{pid}/cmdline"));
    // It may wait to be reaped by this process; its command line is empty then.
    eventually("the child is killed", || std::fs::read(&process).unwrap_or_default().is_empty())
        .await;
}
