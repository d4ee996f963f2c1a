//! What a chain of ten steps costs the disk, in counts and not in time: equal work gives equal
//! figures on every machine. A change that makes a step dearer must change a number here.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use callsheet_actors::{Engine, Step, StepContext, StepResult, Submit};
use callsheet_engine::definition::Effect;
use callsheet_storage::StoreStats;
use futures::future::join_all;
use serde_json::{Value, json};

/// Steps of one job.
const STEPS: u64 = 10;

/// Records of one job alone when no step may run ahead of the disk: it is accepted, its first step
/// begins, and then each end goes into one record with the next beginning, or with the job's end.
const RECORDS: u64 = 2 + STEPS;

/// Keys that one job alone may write and remove, each record being a group commit of its own: one
/// for each batch of the log, all of which are removed again, and the job's own when it has ended.
const MAX_KEYS: u64 = 2 * RECORDS + 2;

/// Bytes of keys and values that one record of a job alone may have, a hundred of them its result.
const MAX_RECORD_BYTES: u64 = 270;

/// Tries to see jobs share their waits for the disk: a machine that is busy elsewhere may run one
/// job after the other.
const TRIES: usize = 5;

struct Ten {
    effect: Effect,
}

impl Step for Ten {
    type Input = Value;
    type Output = String;

    fn kind(&self) -> String {
        name(self.effect).into()
    }

    fn effect(&self) -> Effect {
        self.effect
    }

    async fn run(&self, _: Value, _: StepContext) -> StepResult<String> {
        Ok("x".repeat(98)) // and two quotes
    }
}

fn name(effect: Effect) -> &'static str {
    if effect == Effect::Pure { "pure" } else { "keyed" }
}

fn chain(effect: Effect) -> String {
    let name = name(effect);
    let step = |n: u64| match n {
        1 => format!("  - {{ id: s1, uses: {name} }}\n"),
        n => format!("  - {{ id: s{n}, uses: {name}, needs: [s{}] }}\n", n - 1),
    };
    format!("name: {name}\nsteps:\n{}", (1..=STEPS).map(step).collect::<String>())
}

async fn engine(dir: &Path) -> Engine {
    let effects = [Effect::Pure, Effect::Idempotent];
    let builder = effects.into_iter().fold(Engine::builder().data_dir(dir), |builder, effect| {
        builder.step(Ten { effect }).workflow(chain(effect))
    });
    builder.open().await.unwrap()
}

/// What so many jobs at once have cost, the definition written before.
async fn cost(engine: &Engine, effect: Effect, jobs: usize) -> StoreStats {
    run(engine, effect).await;
    let before = engine.stats().store;
    join_all((0..jobs).map(|_| run(engine, effect))).await;
    let after = engine.stats().store;
    StoreStats {
        flushes: after.flushes - before.flushes,
        records: after.records - before.records,
        keys: after.keys - before.keys,
        bytes: after.bytes - before.bytes,
    }
}

async fn run(engine: &Engine, effect: Effect) {
    let submitted = engine.submit(Submit::named(name(effect), json!({}))).await.unwrap();
    let view = submitted.job.wait().await.unwrap();
    assert!(view.state.output().is_some(), "{:?}", view.head.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_alone_costs_one_record_and_one_flush() {
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let alone = cost(&engine, Effect::Idempotent, 1).await;
    assert_eq!(alone.records, RECORDS, "{alone:?}");
    assert_eq!(alone.flushes, RECORDS, "nothing waits twice: {alone:?}");
    assert!(alone.keys <= MAX_KEYS, "{alone:?}");
    assert!(alone.bytes <= MAX_RECORD_BYTES * RECORDS, "{alone:?}");
    let pure = cost(&engine, Effect::Pure, 1).await;
    // How many are gathered depends on the disk; that it never is more does not.
    assert!(pure.records <= RECORDS && pure.flushes <= pure.records, "{pure:?}");
    assert!(pure.keys <= MAX_KEYS, "{pure:?}");
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_jobs_share_their_flushes() {
    const JOBS: u64 = 16;
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(dir.path()).await;
    let mut least = u64::MAX;
    for _ in 0..TRIES {
        let all = cost(&engine, Effect::Idempotent, JOBS as usize).await;
        assert_eq!(all.records, JOBS * RECORDS, "{all:?}");
        // A batch of so few jobs is one value, written and removed; and each job has its own.
        assert!(all.keys <= 2 * all.flushes + JOBS + 1, "{all:?}");
        assert!(all.flushes <= all.records, "{all:?}");
        least = least.min(all.flushes);
        if least <= JOBS * RECORDS / 3 {
            break;
        }
    }
    assert!(least <= JOBS * RECORDS / 3, "{least} flushes for {} records", JOBS * RECORDS);
    engine.shutdown().await;
}
