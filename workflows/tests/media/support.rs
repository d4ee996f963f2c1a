//! An engine with the media steps, and short words for what tests do with it.

use std::path::Path;

use callsheet_actors::{Engine, Submit};
use callsheet_engine::{Ending, Failure, Phase};
use callsheet_workflows::{MediaOptions, register};
use serde_json::{Value, json};

/// Options that let nothing of the surroundings in: no key, but files of this machine.
pub(crate) fn offline() -> MediaOptions {
    MediaOptions { openai: None, ..MediaOptions::local() }
}

pub(crate) async fn engine(options: &MediaOptions) -> Engine {
    register(Engine::builder().in_memory(), options).open().await.unwrap()
}

/// Runs a job of a registered workflow to its end.
pub(crate) async fn run(engine: &Engine, workflow: &str, input: Value) -> Result<Value, Failure> {
    ended(engine, Submit::named(workflow, input)).await
}

/// Runs one step, once.
pub(crate) async fn step(engine: &Engine, kind: &str, with: Value) -> Result<Value, Failure> {
    let definition = json!({
        "name": "one",
        "steps": [{ "id": "only", "uses": kind, "with": with, "retry": { "max_attempts": 1 } }],
        "output": "{{ steps.only }}",
    });
    let plan = engine.validate(&definition.to_string()).map_err(|problems| {
        // What `with` shows to be wrong is found before the job begins.
        Failure::fatal(problems.0[0].code.clone(), problems.to_string())
    })?;
    ended(engine, Submit::plan(plan, json!({}))).await
}

pub(crate) async fn ended(engine: &Engine, submit: Submit) -> Result<Value, Failure> {
    let submitted = engine.submit(submit).await.unwrap();
    let view = submitted.job.wait().await.unwrap();
    match view.state.phase {
        Phase::Ended { ending: Ending::Succeeded(output), .. } => Ok((*output).clone()),
        Phase::Ended { ending: Ending::Failed(failure), .. } => Err(failure),
        other => panic!("the job has not ended with an answer: {other:?}"),
    }
}

/// Stores bytes and gives their reference.
pub(crate) fn artifact(engine: &Engine, bytes: &[u8], name: &str) -> Value {
    let digest = engine.artifacts().put_bytes(bytes).unwrap();
    json!({
        "artifact": digest,
        "name": name,
        "media_type": "application/octet-stream",
        "size": bytes.len(),
    })
}

/// Stores a copy of a file and gives its reference.
pub(crate) fn stored(engine: &Engine, path: &Path) -> Value {
    artifact(engine, &std::fs::read(path).unwrap(), "file")
}

/// The bytes behind a reference.
pub(crate) fn bytes(engine: &Engine, reference: &Value) -> Vec<u8> {
    let digest = serde_json::from_value(reference["artifact"].clone()).unwrap();
    engine.artifacts().read(&digest).unwrap()
}

pub(crate) fn text(engine: &Engine, reference: &Value) -> String {
    String::from_utf8(bytes(engine, reference)).unwrap()
}

pub(crate) fn code(result: Result<Value, Failure>) -> String {
    match result {
        Ok(output) => panic!("it succeeded with {output}"),
        Err(failure) => failure.code,
    }
}
