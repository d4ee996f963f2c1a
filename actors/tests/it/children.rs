//! Child processes end with their attempt, all of them.

use std::path::{Path, PathBuf};

use callsheet_actors::{Engine, JobHandle, StepContext, Submit};
use callsheet_storage::JobStatus;
use serde_json::json;

use crate::world::{attempts, engine, eventually, failure, output, run};

fn shell(script: &str, rest: &str) -> String {
    let script = serde_json::to_string(script).unwrap();
    let once = "retry: { max_attempts: 1 }";
    format!("  - {{ id: s, uses: shell, with: {{ text: {script} }}, {once}{rest} }}")
}

/// Where the script of a running job left its pids.
async fn pids(engine: &Engine, job: &JobHandle, count: usize) -> (PathBuf, Vec<i32>) {
    let root = engine.artifacts().root().parent().unwrap().join("work").join(job.id().to_string());
    let file = root.join("1").join("pids");
    let read = || -> Vec<i32> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    eventually("the script wrote its pids", || read().len() == count).await;
    (root, read())
}

/// Whether a process runs or waits to be reaped.
fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_child_that_ends_well_hands_over_its_output() {
    let engine = engine(&shell("echo hello; echo oops >&2", "")).await;
    let view = run(&engine).await;
    assert_eq!(output(&view, "s")["stdout"], "hello\n");
    let dir = output(&view, "s")["dir"].as_str().unwrap().to_owned();
    assert!(!Path::new(&dir).exists(), "the work directory is removed");
}

#[tokio::test]
async fn a_child_that_fails_explains_itself() {
    let engine = engine(&shell("echo before; echo the reason >&2; exit 3", "")).await;
    let view = run(&engine).await;
    assert_eq!(failure(&view), "process.exit");
    let text = format!("{:?}", view.state.phase);
    for part in ["exit status: 3", "the reason", "before", "sh -c"] {
        assert!(text.contains(part), "`{part}` is missing in {text}");
    }
}

#[tokio::test]
async fn cancel_ends_the_whole_tree_even_one_that_ignores_term() {
    // The script, a child of it, and a grandchild; all three ignore TERM.
    let script = "trap '' TERM; echo $$ >> pids; (trap '' TERM; sh -c \"trap '' TERM; \
                  echo \\$\\$ >> pids; while :; do sleep 1; done\" & \
                  sh -c 'echo $PPID >> pids'; wait) ; wait";
    let engine = engine(&shell(script, "")).await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    let (root, pids) = pids(&engine, &job, 3).await;
    assert!(pids.iter().all(|pid| exists(*pid)));
    job.cancel(None).await.unwrap();
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
    // Once the job is cancelled nothing of it is left: no wait here.
    assert!(!exists(pids[0]), "the child is reaped before the attempt is called ended");
    assert!(!root.exists(), "the work directory is removed");
    eventually("the orphans are reaped by init", || !pids.iter().any(|pid| exists(*pid))).await;
}

/// On TERM it tells that it was asked, outside its work directory, and lives on.
const STUBBORN: &str = "trap 'echo asked > ../../told' TERM; echo $$ > pids; \
                        while :; do sleep 0.01; done";

#[tokio::test]
async fn a_child_is_asked_before_it_is_killed_unless_it_is_disposable() {
    for disposable in [false, true] {
        let wait = move |_: serde_json::Value, context: StepContext| async move {
            let dir = context.work_dir()?.to_owned();
            let command = context.command("sh").args(["-c", STUBBORN]).current_dir(dir);
            let command = if disposable { command.disposable() } else { command };
            command.run().await?;
            Ok(())
        };
        let engine = Engine::builder()
            .in_memory()
            .step_fn("wait", wait)
            .workflow("name: test\nsteps: [ { id: s, uses: wait } ]")
            .open()
            .await
            .unwrap();
        let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
        let (root, pids) = pids(&engine, &job, 1).await;
        job.cancel(None).await.unwrap();
        job.wait().await.unwrap();
        assert!(!exists(pids[0]));
        let asked = root.parent().unwrap().join("told").exists();
        assert_eq!(asked, !disposable);
    }
}

#[tokio::test]
async fn a_timeout_ends_the_child() {
    let engine = engine(&shell("echo $$ >> pids; exec sleep 600", ", timeout: 300ms")).await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    let (_, pids) = pids(&engine, &job, 1).await;
    let view = job.wait().await.unwrap();
    assert_eq!((failure(&view).as_str(), attempts(&view, "s")), ("step.timeout", 1));
    assert!(!exists(pids[0]));
}

#[tokio::test]
async fn a_child_left_behind_by_its_body_is_ended_with_the_attempt() {
    let engine = engine(&shell("sleep 600 & echo $! > pid; cat pid", "")).await;
    // The pipe is held open by the grandchild, so the body would wait for it for ever.
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    crate::world::until_running(&job, "s").await;
    job.cancel(None).await.unwrap();
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let engine = Engine::builder()
        .in_memory()
        .step_fn("none", |_: serde_json::Value, context: StepContext| async move {
            context.command("no-such-program-here").run().await?;
            Ok(())
        })
        .workflow("name: test\nsteps: [ { id: s, uses: none } ]")
        .open()
        .await
        .unwrap();
    let view = run(&engine).await;
    assert_eq!((failure(&view).as_str(), attempts(&view, "s")), ("process.not_found", 1));
}
