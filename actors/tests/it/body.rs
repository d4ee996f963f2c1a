//! What a body sees of its attempt, and what stands at its end in the journal.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use callsheet_actors::{Engine, JobView, StepContext, StepError, StepResult, Submit};
use callsheet_engine::{Ending, Failure, Phase};
use callsheet_storage::{Artifact, JobStatus};
use serde_json::{Value, json};

use crate::world::{attempts, eventually, output, run};

/// An engine with a workflow of one step, whose body is given.
async fn with_body<F, O, Fut>(body: F, rest: &str) -> Engine
where
    F: Fn(Value, StepContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = StepResult<O>> + Send + 'static,
    O: serde::Serialize + schemars::JsonSchema + Send + 'static,
{
    let definition = format!("name: test\nsteps: [ {{ id: s, uses: body{rest} }} ]");
    let builder = Engine::builder().in_memory().step_fn("body", body).workflow(definition);
    builder.open().await.unwrap()
}

const ONCE: &str = ", retry: { max_attempts: 1 }";

fn failure_of(view: &JobView) -> Failure {
    match &view.state.phase {
        Phase::Ended { ending: Ending::Failed(failure), .. } => failure.clone(),
        other => panic!("the job did not fail: {other:?}"),
    }
}

#[tokio::test]
async fn an_attempt_knows_its_step_item_number_and_time() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let body = move |_: Value, context: StepContext| {
        let notes = notes.clone();
        async move {
            let left = context.deadline().saturating_duration_since(Instant::now());
            assert!(left <= Duration::from_secs(40) && !left.is_zero(), "{left:?}");
            let key = context.idempotency_key().to_owned();
            let (item, attempt) = (context.item().0, context.attempt());
            notes.lock().unwrap().push((context.step().to_owned(), item, attempt, key));
            if attempt == 1 && item == 1 {
                return Err(StepError::retryable("test.first", "once more"));
            }
            Ok(item)
        }
    };
    let rest = ", for_each: [a, b], timeout: 40s, \
                retry: { max_attempts: 2, initial: 1ms, max: 1ms }";
    let engine = with_body(body, rest).await;
    let view = run(&engine).await;
    assert_eq!(output(&view, "s"), json!([0, 1]));
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let key = |item: u32| format!("{}/s/{item}", view.head.id);
    let expected = [(0, 1, key(0)), (1, 1, key(1)), (1, 2, key(1))];
    assert_eq!(seen, expected.map(|(item, attempt, key)| ("s".to_owned(), item, attempt, key)));
}

#[tokio::test]
async fn progress_stays_between_0_and_100_and_is_a_sign_of_life() {
    let body = |_: Value, context: StepContext| async move {
        let begun = context.last_sign();
        for percent in [-5.0, 50.5, 500.0] {
            tokio::time::sleep(Duration::from_millis(2)).await;
            context.progress(percent, "on the way");
        }
        let told = context.last_sign();
        tokio::time::sleep(Duration::from_millis(2)).await;
        context.heartbeat();
        Ok(begun < told && told < context.last_sign())
    };
    let engine = with_body(body, "").await;
    let mut progress = engine.progress();
    let view = run(&engine).await;
    assert_eq!(output(&view, "s"), json!(true));
    for percent in [0.0, 50.5, 100.0] {
        let note = progress.recv().await.unwrap();
        assert_eq!((note.percent, note.attempt, note.item.0), (percent, 1, 0));
    }
}

#[tokio::test]
async fn blocking_work_that_panics_fails_its_attempt_and_may_be_tried_again() {
    let body = |_: Value, context: StepContext| async move {
        let first = context.attempt() == 1;
        context
            .blocking(move || {
                assert!(!first, "the disk is a duck");
                Ok("well")
            })
            .await
    };
    let engine = with_body(body, ", retry: { max_attempts: 2, initial: 1ms }").await;
    let view = run(&engine).await;
    assert_eq!((output(&view, "s"), attempts(&view, "s")), (json!("well"), 2));
    let engine = with_body(body, ONCE).await;
    let failure = failure_of(&run(&engine).await);
    assert_eq!((failure.code.as_str(), failure.retryable), ("step.panic", true));
    assert!(failure.message.contains("duck"), "{failure:?}");
}

#[tokio::test]
async fn every_error_of_a_body_is_told_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("the oven is cold")]
    struct Cold(#[source] std::io::Error);
    let cold = |_: Value, _: StepContext| async move {
        let gas = std::io::Error::other("no gas");
        Err::<(), StepError>(Cold(gas).into())
    };
    let advised = |_: Value, _: StepContext| async move {
        Err::<(), _>(StepError::fatal("oven.cold", "it is cold").with_hint("light it"))
    };
    let failure = failure_of(&run(&with_body(cold, ONCE).await).await);
    assert_eq!(failure.message, "the oven is cold: no gas");
    assert_eq!((failure.code.as_str(), failure.retryable), ("step.error", true));
    let view = run(&with_body(advised, "").await).await;
    let failure = failure_of(&view);
    assert_eq!((failure.hint.as_deref(), failure.retryable), (Some("light it"), false));
    assert_eq!(attempts(&view, "s"), 1, "a fatal error is not tried again");
    assert_eq!(StepError(failure).to_string(), "it is cold [oven.cold]\nhint: light it");
}

#[tokio::test]
async fn panics_of_all_shapes_are_failures_with_their_words() {
    let panics = |input: Value, _: StepContext| async move {
        match input["how"].as_str() {
            Some("text") => panic!("plain"),
            Some("format") => panic!("made of {}", "parts"),
            Some("value") => std::panic::panic_any(7),
            _ => Ok(()),
        }
    };
    let rest = format!(", with: {{ how: '{{{{ input.how }}}}' }}{ONCE}");
    let engine = with_body(panics, &rest).await;
    for (how, words) in [("text", "plain"), ("format", "made of parts"), ("value", "no message")] {
        let request = Submit::named("test", json!({ "how": how }));
        let view = engine.submit(request).await.unwrap().job.wait().await.unwrap();
        let failure = failure_of(&view);
        assert_eq!(failure.code, "step.panic");
        assert!(failure.message.ends_with(words), "{failure:?}");
    }
}

#[tokio::test]
async fn an_output_that_is_no_json_fails_its_attempt() {
    #[derive(schemars::JsonSchema)]
    struct Odd;
    impl serde::Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it has no shape"))
        }
    }
    let engine = with_body(|_: Value, _: StepContext| async move { Ok(Odd) }, "").await;
    let view = run(&engine).await;
    let failure = failure_of(&view);
    assert_eq!((failure.code.as_str(), attempts(&view, "s")), ("step.output", 1));
    assert!(failure.message.contains("it has no shape"), "{failure:?}");
}

#[tokio::test]
async fn only_files_become_artifacts_and_bytes_do_too() {
    let bytes = |_: Value, context: StepContext| async move {
        let made = context.put_bytes(*b"bytes", "b.bin", "application/octet-stream").await?;
        Ok(std::fs::read_to_string(context.open(&made).await?)? == "bytes" && made.size == 5)
    };
    assert_eq!(output(&run(&with_body(bytes, "").await).await, "s"), json!(true));
    let directory = |_: Value, context: StepContext| async move {
        let dir = context.work_dir()?.to_owned();
        context.put_file(dir, "dir", "text/plain").await
    };
    let failure = failure_of(&run(&with_body(directory, "").await).await);
    assert_eq!((failure.code.as_str(), failure.retryable), ("artifact.not_a_file", false));
    let missing = |_: Value, context: StepContext| async move {
        let none = context.work_dir()?.join("none");
        context.put_file(none, "none", "text/plain").await
    };
    let failure = failure_of(&run(&with_body(missing, ONCE).await).await);
    assert_eq!((failure.code.as_str(), failure.retryable), ("artifact.io", true));
}

/// Where the attempts of an engine in memory have their directories.
fn work_root(engine: &Engine) -> std::path::PathBuf {
    engine.artifacts().root().parent().unwrap().join("work")
}

#[tokio::test]
async fn a_work_directory_that_cannot_be_made_is_a_failure_that_may_pass() {
    let body = |_: Value, context: StepContext| async move {
        let dir = context.work_dir()?;
        assert_eq!(dir, context.work_dir()?, "one for each attempt");
        Ok(dir.is_dir())
    };
    let engine = with_body(body, ONCE).await;
    let root = work_root(&engine);
    std::fs::write(&root, "in the way").unwrap();
    let failure = failure_of(&run(&engine).await);
    assert_eq!((failure.code.as_str(), failure.retryable), ("step.work_dir", true));
    assert!(failure.message.contains("cannot make the work directory"), "{failure:?}");
    std::fs::remove_file(&root).unwrap();
    assert_eq!(output(&run(&engine).await, "s"), json!(true));
}

#[tokio::test]
async fn a_work_directory_goes_however_its_attempt_ends() {
    let body = |input: Value, context: StepContext| async move {
        std::fs::write(context.work_dir()?.join("scraps"), "many")?;
        match input["end"].as_str() {
            Some("error") => Err(StepError::fatal("test.fatal", "no")),
            Some("panic") => panic!("no"),
            Some("cancel") => std::future::pending().await,
            _ => Ok(()),
        }
    };
    let rest = format!(", with: {{ end: '{{{{ input.end }}}}' }}{ONCE}");
    let engine = with_body(body, &rest).await;
    let ends = [
        ("well", JobStatus::Succeeded),
        ("error", JobStatus::Failed),
        ("panic", JobStatus::Failed),
        ("cancel", JobStatus::Cancelled),
    ];
    for (end, status) in ends {
        let request = Submit::named("test", json!({ "end": end }));
        let job = engine.submit(request).await.unwrap().job;
        if end == "cancel" {
            let dir = work_root(&engine).join(job.id().to_string());
            eventually("the body made its directory", || dir.exists()).await;
            job.cancel(None).await.unwrap();
        }
        assert_eq!(job.wait().await.unwrap().head.status, status);
        let left: Vec<_> = std::fs::read_dir(work_root(&engine)).unwrap().collect();
        assert!(left.is_empty(), "{end}: {left:?}");
    }
}

#[tokio::test]
async fn artifacts_outlive_the_attempt_that_made_them() {
    let body = |input: Value, context: StepContext| async move {
        if let Some((_, file)) = Artifact::find_in(&input).pop() {
            return Ok(json!(std::fs::read_to_string(context.open(&file).await?)?));
        }
        let path = context.work_dir()?.join("letter");
        std::fs::write(&path, "dear")?;
        let made = context.put_file(&path, "letter", "text/plain").await?;
        assert!(!path.exists(), "moved, not copied");
        Ok(serde_json::to_value(made)?)
    };
    let rest = " }, { id: t, uses: body, with: { file: '{{ steps.s }}' }";
    let view = run(&with_body(body, rest).await).await;
    assert_eq!(output(&view, "t"), json!("dear"));
}
