//! A small world of step kinds for the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callsheet_actors::{
    Engine, EngineBuilder, JobView, StepContext, StepError, StepResult, Submit,
};
use callsheet_engine::{Phase, StepStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Say {
    #[serde(default)]
    pub text: String,
}

#[derive(Deserialize, JsonSchema)]
pub struct Nap {
    #[serde(default)]
    pub millis: u64,
}

#[derive(Deserialize, JsonSchema)]
pub struct Flaky {
    pub failures: u32,
    #[serde(default)]
    pub fatal: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct Said {
    pub text: String,
    pub attempt: u32,
}

/// Counts bodies that ran, over everything a test does.
pub type Runs = Arc<AtomicU32>;

/// A builder with the kinds `say`, `nap`, `block`, `flaky`, `panic`, `shell`, `deep` and `spill`.
pub fn kinds(runs: &Runs) -> EngineBuilder {
    let count = runs.clone();
    Engine::builder()
        .step_fn("say", move |input: Say, context: StepContext| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { Ok(Said { text: input.text, attempt: context.attempt() }) }
        })
        .step_fn("nap", |input: Nap, context: StepContext| async move {
            context.progress(10.0, "lying down");
            tokio::time::sleep(Duration::from_millis(input.millis)).await;
            Ok("woke")
        })
        .step_fn("block", |input: Nap, context: StepContext| async move {
            context.progress(0.0, "blocking");
            std::thread::sleep(Duration::from_millis(input.millis));
            Ok("back")
        })
        .step_fn("flaky", flaky)
        .step_fn("panic", |_: Value, _: StepContext| async move {
            if true {
                panic!("on purpose");
            }
            Ok(())
        })
        .step_fn("shell", shell)
        .step_fn("deep", |_: Value, _: StepContext| async move {
            Ok((0..1_000).fold(json!(1), |value, _| json!([value])))
        })
        .step_fn("spill", |_: Value, _: StepContext| async move {
            Ok("x".repeat(callsheet_engine::limits::MAX_OUTPUT_BYTES + 1))
        })
}

async fn flaky(input: Flaky, context: StepContext) -> StepResult<Said> {
    if context.attempt() > input.failures {
        return Ok(Said { text: "at last".into(), attempt: context.attempt() });
    }
    Err(if input.fatal {
        StepError::fatal("test.fatal", "will not do")
    } else {
        StepError::retryable("test.flaky", "not yet")
    })
}

/// Runs a script with the attempt's work directory as `$DIR`; its pids go to `$DIR/pids`.
async fn shell(input: Say, context: StepContext) -> StepResult<Value> {
    let dir = context.work_dir()?.to_owned();
    let done = context
        .command("sh")
        .args(["-c", &input.text])
        .env("DIR", &dir)
        .current_dir(&dir)
        .run()
        .await?;
    Ok(json!({ "stdout": done.stdout, "dir": dir }))
}

/// A workflow of these steps, in YAML flow style.
pub fn workflow(steps: &str) -> String {
    format!("name: test\nsteps:\n{steps}")
}

/// An engine in memory with one workflow `test`.
pub async fn engine(steps: &str) -> Engine {
    kinds(&Runs::default()).in_memory().workflow(workflow(steps)).open().await.unwrap()
}

/// Runs the workflow `test` to its end.
pub async fn run(engine: &Engine) -> JobView {
    engine.submit(Submit::named("test", json!({}))).await.unwrap().job.wait().await.unwrap()
}

/// The output of a step that succeeded.
pub fn output(view: &JobView, step: &str) -> Value {
    view.state.output_of(step).cloned().unwrap_or_else(|| panic!("`{step}` has no output"))
}

/// Attempts made at a step.
pub fn attempts(view: &JobView, step: &str) -> u32 {
    let index = view.state.plan.index_of(step).unwrap();
    view.state.steps[index.at()].attempts
}

/// The code of the failure that a job ended with.
pub fn failure(view: &JobView) -> String {
    match &view.state.phase {
        Phase::Ended { ending: callsheet_engine::Ending::Failed(failure), .. } => {
            failure.code.clone()
        }
        other => panic!("the job did not fail: {other:?}"),
    }
}

/// Waits until a step of the job is running.
pub async fn until_running(job: &callsheet_actors::JobHandle, step: &str) -> JobView {
    loop {
        let view = job.view().await.unwrap();
        let index = view.state.plan.index_of(step).unwrap();
        if matches!(view.state.steps[index.at()].status, StepStatus::Active(_)) {
            return view;
        }
        assert!(!view.head.status.has_ended(), "the job ended before `{step}` ran: {view:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until something holds; fails after half a minute.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came true: {what}");
}
