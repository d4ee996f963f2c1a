//! Results of before in place of running a body again, and equal work under way done once.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use callsheet_actors::{EngineError, Keeping, Step, StepContext, StepResult, Submit};
use callsheet_engine::Event;
use callsheet_engine::definition::Effect;
use callsheet_storage::{Artifact, JobStatus};
use serde_json::{Value, json};

use crate::kept::{MAKE, World, builder, ended, engine, recalled, text};
use crate::world::{eventually, failure, output, until_running};

#[tokio::test]
async fn the_same_again_is_recalled_and_the_journal_says_so() {
    let world = Arc::new(World::default());
    let engine = engine(&world, Keeping::default()).await;
    let first = ended(&engine, text("one")).await;
    let second = ended(&engine, text("one")).await;
    assert_eq!(world.begun.load(SeqCst), 1);
    assert_eq!(output(&first, "a"), output(&second, "a"));
    assert_eq!((recalled(&first, "a"), recalled(&second, "a")), (0, 1));
    assert_eq!(recalled(&second, "b"), 0, "a kind without a version is run");
    let records = engine.job(second.head.id).records(0).await.unwrap();
    let cached: Vec<_> = records
        .iter()
        .flat_map(|record| &record.events)
        .filter_map(|event| match event {
            Event::StepSucceeded { cached, .. } => Some(*cached),
            _ => None,
        })
        .collect();
    assert_eq!(cached, [true, false]);
    let started = records.iter().flat_map(|it| &it.events).any(|it| it.kind() == "StepStarted");
    assert!(started, "a start is recorded before the result that was recalled");
    let stats = engine.stats().files;
    assert_eq!((stats.cache_hits, stats.cache_misses, stats.cache_stored), (1, 1, 1));
}

#[tokio::test]
async fn another_input_a_no_or_another_engine_runs_the_body() {
    let world = Arc::new(World::default());
    let dir = tempfile::tempdir().unwrap();
    let open = |version, keeping| {
        let off = MAKE
            .replace("name: test", "name: off")
            .replace("uses: make,", "uses: make, cache: false,");
        builder(&world, version).data_dir(dir.path()).keeping(keeping).workflow(MAKE).workflow(off)
    };
    let engine = open(1, Keeping::default()).open().await.unwrap();
    let input = json!({ "text": "one" });
    let table = [
        (text("one"), 1),
        (text("one"), 1),
        (text("two"), 2),
        (text("one").no_cache(), 3),
        (Submit::named("off", input.clone()), 4),
        (text("one"), 4),
    ];
    for (n, (submit, runs)) in table.into_iter().enumerate() {
        ended(&engine, submit).await;
        assert_eq!(world.begun.load(SeqCst), runs, "{n}");
    }
    engine.stop_now().await;
    drop(engine);
    // Kept over a restart, but not for another version, nor where it is switched off.
    let cache_off = Keeping { cache: false, ..Keeping::default() };
    let table = [(1, Keeping::default(), 4), (2, Keeping::default(), 5), (2, cache_off, 6)];
    for (version, keeping, runs) in table {
        let engine = open(version, keeping).open().await.unwrap();
        ended(&engine, text("one")).await;
        assert_eq!(world.begun.load(SeqCst), runs);
        engine.stop_now().await;
    }
}

#[tokio::test]
async fn a_result_whose_file_is_gone_or_damaged_is_made_again() {
    let world = Arc::new(World::default());
    let engine = engine(&world, Keeping::default()).await;
    let first = ended(&engine, text("one")).await;
    let file: Artifact = serde_json::from_value(output(&first, "a")).unwrap();
    let path = engine.artifacts().path(&file.artifact);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ended(&engine, text("one")).await.head.status, JobStatus::Succeeded);
    assert_eq!(world.begun.load(SeqCst), 2);
    // Damage of the same length is found by who reads it; whoever asks then gets a new one.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "onx").unwrap();
    assert_eq!(failure(&ended(&engine, text("one")).await), "artifact.damaged");
    assert_eq!(ended(&engine, text("one")).await.head.status, JobStatus::Succeeded);
    assert_eq!(world.begun.load(SeqCst), 3);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let world = Arc::new(World::default());
    world.failures.store(1, SeqCst);
    let engine = engine(&world, Keeping::default()).await;
    assert_eq!(failure(&ended(&engine, text("one")).await), "test.fatal");
    assert_eq!(ended(&engine, text("one")).await.head.status, JobStatus::Succeeded);
    assert_eq!(world.begun.load(SeqCst), 2);
}

/// A body of it waits until it is told to go.
fn waiting(text: &str) -> Submit {
    Submit::named("test", json!({ "text": text, "waits": true }))
}

#[tokio::test]
async fn equal_steps_of_many_jobs_are_computed_once() {
    let world = Arc::new(World::default());
    let engine = engine(&world, Keeping::default()).await;
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(engine.submit(waiting("one")).await.unwrap().job);
    }
    for job in &jobs {
        until_running(job, "a").await;
    }
    // Everyone who does not run waits now.
    let open = || engine.stats().attempts_open;
    eventually("all wait or run", || open() == 20 && world.begun.load(SeqCst) == 1).await;
    world.go.notify_one();
    for job in jobs {
        assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Succeeded);
    }
    assert_eq!(world.begun.load(SeqCst), 1);
    let stats = engine.stats().files;
    assert_eq!(stats.cache_hits + stats.cache_joined, 19);
}

#[tokio::test]
async fn equal_items_of_one_step_are_computed_once() {
    let world = Arc::new(World::default());
    let fan = "
name: fan
steps:
  - { id: a, uses: make, for_each: [x, y, x, x], with: { text: '{{ item }}' } }
output: '{{ steps.a }}'";
    let builder = builder(&world, 1).in_memory().workflow(fan);
    let engine = builder.open().await.unwrap();
    let view = ended(&engine, Submit::named("fan", json!({}))).await;
    assert_eq!((world.begun.load(SeqCst), recalled(&view, "a")), (2, 2));
    let output = output(&view, "a");
    assert_eq!((&output[0], &output[0]), (&output[2], &output[3]));
    assert_ne!(output[0], output[1]);
}

#[tokio::test]
async fn who_waits_takes_over_when_the_other_fails_or_is_cancelled() {
    let world = Arc::new(World::default());
    let engine = engine(&world, Keeping::default()).await;
    let leader = engine.submit(waiting("one")).await.unwrap().job;
    eventually("the first works", || world.begun.load(SeqCst) == 1).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(engine.submit(waiting("one")).await.unwrap().job);
    }
    for job in &others {
        until_running(job, "a").await;
    }
    // One that waits goes at once.
    let gone = others.pop().unwrap();
    gone.cancel(None).await.unwrap();
    assert_eq!(gone.wait().await.unwrap().head.status, JobStatus::Cancelled);
    assert_eq!(world.begun.load(SeqCst), 1);
    leader.cancel(None).await.unwrap();
    eventually("another works", || world.begun.load(SeqCst) == 2).await;
    // The failure of that one is its own; the last one runs for itself.
    world.failures.store(1, SeqCst);
    world.go.notify_one();
    eventually("the last one works", || world.begun.load(SeqCst) == 3).await;
    world.go.notify_one();
    let mut ends = Vec::new();
    for job in others {
        ends.push(job.wait().await.unwrap().head.status.as_str());
    }
    ends.sort_unstable();
    assert_eq!(ends, ["failed", "succeeded"]);
    // Nobody waits for a body that is being stopped, so it may still be there for a moment.
    assert!(world.most.load(SeqCst) <= 2, "one at a time");
}

#[tokio::test]
async fn a_body_that_never_returns_keeps_nobody_waiting_not_even_its_own_retry() {
    let world = Arc::new(World::default());
    let short = "
name: short
steps:
  - id: a
    uses: make
    timeout: 200ms
    retry: { max_attempts: 2, initial: 1ms }
    with: '{{ input }}'";
    let engine =
        builder(&world, 1).in_memory().workflow(short).workflow(MAKE).open().await.unwrap();
    let input = || json!({ "text": "one", "blocks_ms": 600_000 });
    let view = ended(&engine, Submit::named("short", input())).await;
    // Both attempts ran into their own time, none into a wait for the other.
    assert_eq!(failure(&view), "step.timeout");
    assert_eq!((world.begun.load(SeqCst), world.now.load(SeqCst)), (2, 2));
    // Nor does another job wait for them.
    engine.submit(Submit::named("test", input())).await.unwrap();
    eventually("it works", || world.begun.load(SeqCst) == 3).await;
    assert_eq!((world.now.load(SeqCst), world.made.load(SeqCst)), (3, 0));
}

#[tokio::test]
async fn the_time_of_one_who_waits_is_its_own() {
    let world = Arc::new(World::default());
    let short = MAKE
        .replace("name: test", "name: short")
        .replace("uses: make,", "uses: make, timeout: 150ms,");
    let engine =
        builder(&world, 1).in_memory().workflow(MAKE).workflow(short).open().await.unwrap();
    let leader = engine.submit(waiting("one")).await.unwrap().job;
    eventually("the first works", || world.begun.load(SeqCst) == 1).await;
    let input = json!({ "text": "one", "waits": true });
    let view = ended(&engine, Submit::named("short", input)).await;
    assert_eq!(failure(&view), "step.timeout");
    assert_eq!(world.begun.load(SeqCst), 1, "its time passed while it waited");
    world.go.notify_one();
    assert_eq!(leader.wait().await.unwrap().head.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_deed_that_is_done_once_keeps_no_results() {
    struct Once;
    impl Step for Once {
        type Input = Value;
        type Output = Value;
        fn kind(&self) -> String {
            "once".into()
        }
        fn effect(&self) -> Effect {
            Effect::Once
        }
        fn cache(&self) -> Option<u32> {
            Some(1)
        }
        async fn run(&self, _: Value, _: StepContext) -> StepResult<Value> {
            Ok(Value::Null)
        }
    }
    let opened = callsheet_actors::Engine::builder().in_memory().step(Once).open().await;
    let Err(EngineError::Setup(why)) = opened.map(drop) else { panic!("it was opened") };
    assert!(why.contains("`once` is done once"), "{why}");
}

/// Jobs over few inputs, some cancelled at any moment, some failing: every job that was left alone
/// ends as it should, and no input is ever worked at by two.
#[tokio::test]
async fn a_storm_of_equal_jobs_hangs_nobody() {
    let world = Arc::new(World::default());
    let engine = engine(&world, Keeping::default()).await;
    for round in 0..4_u32 {
        world.failures.store(5, SeqCst);
        let mut jobs = Vec::new();
        for n in 0..40 {
            let input = json!({ "text": format!("{round}"), "blocks_ms": 1 + n % 3 });
            jobs.push(engine.submit(Submit::named("test", input)).await.unwrap().job);
        }
        for (n, job) in jobs.iter().enumerate() {
            if n % 4 == 0 {
                job.cancel(None).await.unwrap();
            }
        }
        for job in jobs {
            let ended = tokio::time::timeout(Duration::from_secs(120), job.wait()).await;
            let view = ended.expect("a job hangs").unwrap();
            assert!(view.head.status.has_ended());
        }
        assert!(world.most.load(SeqCst) <= 3, "three inputs a round, one at each");
    }
}
