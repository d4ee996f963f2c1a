//! Jobs that kill the process: after three deaths in the same attempt each is quarantined, also
//! when its step is pure and runs ahead of the disk, and the jobs beside it end well.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::{Command, Stdio};

use callsheet_actors::{Engine, Step, StepContext, StepResult, Submit};
use callsheet_engine::definition::Effect;
use callsheet_storage::ListQuery;
use serde_json::{Value, json};

const DIR: &str = "CALLSHEET_POISON_DIR";
const KIND: &str = "CALLSHEET_POISON_KIND";

/// Kills the process; pure or not.
struct Abort(&'static str, Effect);

impl Step for Abort {
    type Input = Value;
    type Output = ();

    fn kind(&self) -> String {
        self.0.into()
    }

    fn effect(&self) -> Effect {
        self.1
    }

    async fn run(&self, _: Value, _: StepContext) -> StepResult<()> {
        std::process::abort()
    }
}

/// Goes down until the stack is used up.
fn fall(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { fall(depth + 1) + here[63] }
}

async fn engine(dir: &Path, kind: &str) -> Engine {
    Engine::builder()
        .data_dir(dir)
        .step(Abort("abort", Effect::Idempotent))
        .step(Abort("pure_abort", Effect::Pure))
        .step_fn("overflow", |_: Value, _: StepContext| async { Ok(fall(0)) })
        .step_fn("say", |_: Value, _: StepContext| async { Ok("said") })
        .workflow(format!("name: poison\nsteps: [{{ id: a, uses: {kind} }}]"))
        .workflow("name: quiet\nsteps: [{ id: a, uses: say }, { id: b, uses: say, needs: [a] }]")
        .open()
        .await
        .unwrap()
}

/// Not a test of its own: what the parent starts, and starts again when it has died.
#[tokio::test]
#[ignore = "started by the other test of this file"]
async fn victim() {
    let dir = std::path::PathBuf::from(std::env::var_os(DIR).expect("the parent sets it"));
    let engine = engine(&dir.join("data"), &std::env::var(KIND).unwrap()).await;
    let page = engine.jobs(ListQuery { limit: 9, ..ListQuery::default() }).await.unwrap();
    if page.heads.is_empty() {
        for (name, key) in [("quiet", "1"), ("poison", "2"), ("quiet", "3")] {
            let submit = Submit::named(name, json!({})).idempotency_key(key);
            engine.submit(submit).await.unwrap();
        }
    }
    let page = engine.jobs(ListQuery { limit: 9, ..ListQuery::default() }).await.unwrap();
    let mut ends = Vec::new();
    for head in page.heads {
        let view = engine.job(head.id).wait().await.unwrap();
        let code = view.state.failure().map_or("", |failure| &failure.code).to_owned();
        ends.push(format!("{} {} {code}", head.workflow.name, view.head.status.as_str()));
    }
    ends.sort();
    let later = engine.submit(Submit::named("quiet", json!({}))).await.unwrap();
    let view = later.job.wait().await.unwrap();
    ends.push(format!("and then {}", view.head.status.as_str()));
    std::fs::write(dir.join("ends"), ends.join("\n")).unwrap();
    engine.shutdown().await;
}

/// Lives of the victim until it was done.
fn lives(dir: &Path, kind: &str) -> u32 {
    for life in 1..=9 {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["victim", "--exact", "--ignored", "--test-threads=1"])
            .envs([(DIR, dir.as_os_str()), (KIND, kind.as_ref())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            return life;
        }
    }
    panic!("`{kind}` loops the engine");
}

#[test]
fn a_job_that_kills_the_process_is_quarantined_and_the_others_go_on() {
    for kind in ["abort", "overflow", "pure_abort"] {
        let dir = tempfile::tempdir().unwrap();
        let lives = lives(dir.path(), kind);
        let ends = std::fs::read_to_string(dir.path().join("ends")).unwrap();
        // One that runs ahead of the disk may die once before it is on record.
        let most = if kind == "pure_abort" { 6 } else { 5 };
        assert!(ends.starts_with("poison failed job.poisoned"), "{kind}: {ends}");
        println!("{kind}: {lives} lives\n{ends}");
        assert!((4..=most).contains(&lives), "{kind}: {lives} lives");
        let (others, last) = ends.rsplit_once('\n').unwrap();
        let mut others = others.lines().skip(1);
        assert!(others.all(|line| line == "quiet succeeded "), "{kind}: {ends}");
        assert_eq!(last, "and then succeeded", "{kind}: new jobs go on");
    }
}
