//! The process that is killed: it tells what it finds committed, goes on with what it finds
//! unfinished, accepts new jobs, and works until it is killed or everything has ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callsheet_actors::{Engine, EngineBuilder, StepContext, StepError, Submit};
use callsheet_engine::{Event, ItemIndex, StepIndex, Token};
use callsheet_storage::{ListQuery, SledStore, Store};
use rustix::process::{Signal, getpid, kill_process};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;

use crate::ledger;

/// Where the victim works.
pub const DIR: &str = "CALLSHEET_VICTIM_DIR";
/// Jobs that it submits.
pub const JOBS: &str = "CALLSHEET_VICTIM_JOBS";
/// The point at which it kills itself, and at which passing of it.
pub const POINT: &str = "CALLSHEET_VICTIM_POINT";

const WORKFLOW: &str = "
name: crash
steps:
  - { id: first, uses: mark, with: { millis: 2 } }
  - { id: each, uses: mark, needs: [first], for_each: [1, 2, 3, 4, 5], concurrency: 2,
      with: { millis: '{{ item }}' } }
  - { id: flaky, uses: flaky, needs: [first], retry: { max_attempts: 9, initial: 15ms } }
  - { id: big, uses: big, needs: [each] }
  - { id: child, uses: child, needs: [each, flaky] }
  - { id: last, uses: mark, needs: [big, child], with: { millis: 1 } }
output: '{{ steps.last.place }}'
";

#[derive(Deserialize, JsonSchema)]
struct Mark {
    millis: u64,
}

pub fn run() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("the parent sets the directory"));
    let jobs: u32 = std::env::var(JOBS).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(); // The test harness has begun a line.
    runtime.block_on(async {
        tell_committed(&dir.join("data")).await;
        println!("open");
        arm();
        let engine =
            kinds(&dir).data_dir(dir.join("data")).workflow(WORKFLOW).open().await.unwrap();
        submit_all(&engine, jobs).await;
        until_all_ended(&engine).await;
        engine.shutdown().await;
        println!("done");
    });
}

/// Kills this process at the n-th passing of the point that the parent names.
fn arm() {
    let Ok(point) = std::env::var(POINT) else { return };
    let (name, at) = point.split_once('@').unwrap();
    let (at, passed) = (at.parse::<u64>().unwrap(), AtomicU64::new(0));
    fail::cfg_callback(name, move || {
        if passed.fetch_add(1, Ordering::SeqCst) + 1 == at {
            kill_process(getpid(), Signal::KILL).unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
    })
    .unwrap();
}

fn kinds(dir: &Path) -> EngineBuilder {
    let ledger: Arc<Path> = dir.join("ledger").into();
    let begin = move |context: &StepContext| {
        let place = place(context);
        ledger::write(&ledger, &format!("begin {place} {}", context.attempt()));
        place
    };
    let (mark, flaky, big, child) = (begin.clone(), begin.clone(), begin.clone(), begin);
    let pids: Arc<Path> = dir.join("pids").into();
    Engine::builder()
        .step_fn("mark", move |input: Mark, context: StepContext| {
            let place = mark(&context);
            async move {
                tokio::time::sleep(Duration::from_millis(input.millis)).await;
                Ok(json!({ "place": place }))
            }
        })
        .step_fn("flaky", move |_: Value, context: StepContext| {
            let place = flaky(&context);
            async move {
                if context.attempt() == 1 {
                    return Err(StepError::retryable("test.flaky", "the first attempt fails"));
                }
                Ok(json!({ "place": place }))
            }
        })
        .step_fn("big", move |_: Value, context: StepContext| {
            let place = big(&context);
            async move { Ok(json!({ "place": place, "text": "x".repeat(20_000) })) }
        })
        .step_fn("child", move |_: Value, context: StepContext| {
            let (place, pids) = (child(&context), pids.clone());
            async move {
                let script = "echo $$ >> \"$PIDS\"; exec sleep 0.02";
                context.command("sh").args(["-c", script]).env("PIDS", &*pids).run().await?;
                Ok(json!({ "place": place }))
            }
        })
}

fn place(context: &StepContext) -> String {
    format!("{} {} {}", context.job(), context.step(), context.item().0)
}

/// Tells the results that are committed, before anything runs.
async fn tell_committed(data: &Path) {
    if !data.exists() {
        return;
    }
    let store = SledStore::open(data).unwrap();
    for head in all(&store).await {
        println!("head {} {}", head.id, head.status.as_str());
        for (step, item, attempt, output) in results(&store, head.id).await {
            println!("committed {} {} {} {attempt} {output}", head.id, step.0, item.0);
        }
    }
    store.close().await.unwrap();
}

async fn all(store: &dyn Store) -> Vec<callsheet_storage::JobHead> {
    let mut heads = Vec::new();
    let mut before = None;
    loop {
        let page =
            store.list(ListQuery { limit: 100, before, ..ListQuery::default() }).await.unwrap();
        heads.extend(page.heads);
        before = page.next;
        if before.is_none() {
            return heads;
        }
    }
}

type Recorded = (StepIndex, ItemIndex, u32, String);

async fn results(store: &dyn Store, job: callsheet_engine::JobId) -> Vec<Recorded> {
    let mut attempts: HashMap<Token, (StepIndex, ItemIndex, u32)> = HashMap::new();
    let mut results = Vec::new();
    for event in store.journal(job, 0).await.unwrap().into_iter().flat_map(|it| it.events) {
        match event {
            Event::StepStarted { step, item, attempt, token, .. } => {
                attempts.insert(token, (step, item, attempt));
            }
            Event::StepSucceeded { token, output, .. } => {
                let (step, item, attempt) = attempts[&token];
                let digest = callsheet_storage::Digest::of(output.to_string().as_bytes());
                results.push((step, item, attempt, digest.to_string()));
            }
            _ => {}
        }
    }
    results
}

/// Every fifth job is cancelled in the middle.
async fn submit_all(engine: &Engine, jobs: u32) {
    for n in 0..jobs {
        let submitted = engine.submit(Submit::named("crash", json!({}))).await.unwrap();
        let job = submitted.job;
        println!("accepted {}", job.id());
        if n % 5 == 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if job.cancel(None).await.unwrap() == callsheet_actors::CancelAnswer::Accepted {
                println!("cancelled {}", job.id());
            }
        }
    }
}

async fn until_all_ended(engine: &Engine) {
    loop {
        let mut live = 0;
        for status in ["running", "sleeping", "stopping"] {
            let query = ListQuery { status: Some(status.into()), limit: 1, ..ListQuery::default() };
            let page = engine.jobs(query).await.unwrap();
            // A page may be empty and not be the last.
            live += page.heads.len() + usize::from(page.next.is_some());
        }
        if live == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
