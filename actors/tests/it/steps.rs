//! What a step's body is given, and what it may hand back.

use callsheet_actors::{Engine, Step, StepContext, StepResult, Submit};
use callsheet_engine::definition::Effect;
use callsheet_storage::{Artifact, Digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::world::{attempts, engine, failure, output, run};

struct Shout;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Words {
    text: String,
}

#[derive(Serialize, JsonSchema)]
struct Shouted {
    file: Artifact,
    read_back: String,
    key: String,
}

impl Step for Shout {
    type Input = Words;
    type Output = Shouted;

    fn kind(&self) -> String {
        "shout".into()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, input: Words, context: StepContext) -> StepResult<Shouted> {
        let file = context.work_dir()?.join("words.txt");
        std::fs::write(&file, input.text.to_uppercase())?;
        let file = context.put_file(file, "words.txt", "text/plain").await?;
        let path = context.open(&file).await?;
        let read_back = context.blocking(move || Ok(std::fs::read_to_string(path)?)).await?;
        Ok(Shouted { file, read_back, key: context.idempotency_key().to_owned() })
    }
}

#[tokio::test]
async fn files_pass_as_artifacts_and_the_key_names_the_place() {
    let engine = Engine::builder()
        .in_memory()
        .step(Shout)
        .workflow("name: test\nsteps: [ { id: s, uses: shout, with: { text: hey } } ]")
        .open()
        .await
        .unwrap();
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    let view = job.wait().await.unwrap();
    let said = output(&view, "s");
    assert_eq!(said["read_back"], "HEY");
    assert_eq!(said["key"], format!("{}/s/0", job.id()));
    let found = Artifact::find_in(&said);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].1.name.as_str(), found[0].1.size), ("words.txt", 3));
    let kind = engine.catalog().get("shout").unwrap();
    assert_eq!(
        (kind.effect, kind.input_schema["required"][0].as_str()),
        (Effect::Pure, Some("text"))
    );
}

#[tokio::test]
async fn a_file_that_is_gone_or_damaged_is_said_so_and_not_tried_again() {
    let open = |input: Artifact, context: StepContext| async move {
        context.open(&input).await?;
        Ok(())
    };
    let engine = Engine::builder()
        .in_memory()
        .step_fn("open", open)
        .workflow("name: test\nsteps: [ { id: s, uses: open, with: '{{ input.file }}' } ]")
        .open()
        .await
        .unwrap();
    let file = |artifact: Digest| {
        let (name, media_type) = ("a.txt", "text/plain");
        json!({ "artifact": artifact, "name": name, "media_type": media_type, "size": 3 })
    };
    let damaged = engine.artifacts().put_bytes(b"abc").unwrap();
    let path = engine.artifacts().path(&damaged);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"abX").unwrap();
    for (artifact, code) in
        [(Digest::of(b"never stored"), "artifact.missing"), (damaged, "artifact.damaged")]
    {
        let request = Submit::named("test", json!({ "file": file(artifact) }));
        let view = engine.submit(request).await.unwrap().job.wait().await.unwrap();
        assert_eq!((failure(&view).as_str(), attempts(&view, "s")), (code, 1));
    }
}

#[tokio::test]
async fn input_of_another_shape_fails_at_once_and_says_why() {
    // The expression is only known when it is evaluated, so the definition could not be refused.
    let engine = engine("  - { id: a, uses: say, with: { text: '{{ input.n }}' } }").await;
    let job = engine.submit(Submit::named("test", json!({ "n": 7 }))).await.unwrap().job;
    let view = job.wait().await.unwrap();
    assert_eq!((failure(&view).as_str(), attempts(&view, "a")), ("step.input", 1));
    assert!(format!("{:?}", view.state.phase).contains("expected a string"));
}

#[tokio::test]
async fn two_kinds_of_one_name_and_no_place_are_refused() {
    let twice = Engine::builder().in_memory().step(Shout).step(Shout).open().await;
    assert!(twice.err().unwrap().to_string().contains("registered twice"));
    let nowhere = Engine::builder().step(Shout).open().await;
    assert_eq!(nowhere.err().unwrap().code(), "engine.setup");
    let broken =
        Engine::builder().in_memory().workflow("name: x").workflow("steps: 1").open().await;
    assert_eq!(broken.err().unwrap().code(), "input.invalid");
    let view = run(&engine("  - { id: a, uses: say }").await).await;
    assert_eq!(attempts(&view, "a"), 1);
}
