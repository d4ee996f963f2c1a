//! The engine that has to suffer: it runs one job of each kind, round after round, and says all
//! that it is told and all that it does. In a process of its own, or, to go on with what a crash
//! has left, in the test's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use callsheet::{
    Artifact, CancelAnswer, Engine, EngineBuilder, EngineError, JobHandle, ListQuery, StepContext,
    StepError, Submit,
};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::words::Mouth;

/// Where the data are.
const DATA: &str = "CALLSHEET_VICTIM_DATA";
/// The file to speak into.
const SAY: &str = "CALLSHEET_VICTIM_SAY";
/// Rounds of jobs to submit; 0 only goes on with what there is.
const ROUNDS: &str = "CALLSHEET_VICTIM_ROUNDS";

/// Jobs that may be on their way before another round is submitted.
const MOST_LIVE: usize = 24;

/// One workflow for each way in which a job can go.
const WORKFLOWS: &[&str] = &[
    "name: chain
steps:
  - { id: one, uses: mark, with: { millis: 1 } }
  - { id: two, uses: mark, needs: [one], with: { millis: 1 } }
  - { id: three, uses: mark, needs: [two], with: { millis: 0 } }
output: '{{ steps.three.place }}'",
    "name: fan
steps:
  - id: each
    uses: mark
    for_each: [1, 2, 3, 2, 1]
    concurrency: 2
    with: { millis: '{{ item }}' }
  - { id: join, uses: mark, needs: [each], with: { millis: 0 } }
output: '{{ steps.join.place }}'",
    "name: flaky
steps:
  - { id: soon, uses: flaky, retry: { max_attempts: 9, initial: 15ms } }
  - { id: later, uses: flaky, needs: [soon], retry: { max_attempts: 9, initial: 1100ms } }",
    "name: stopped
steps:
  - { id: long, uses: mark, with: { millis: 600000 } }",
    "name: large
steps:
  - { id: text, uses: text }
  - { id: file, uses: file, needs: [text],
      retry: { max_attempts: 100, initial: 50ms, max: 200ms } }
  - { id: look, uses: look, with: { file: '{{ steps.file.file }}' } }",
    "name: failing
steps:
  - { id: fine, uses: mark, with: { millis: 1 } }
  - { id: wrong, uses: wrong, needs: [fine] }",
    "name: keyed
steps:
  - { id: only, uses: mark, with: { millis: 1 } }",
];

#[derive(Deserialize, schemars::JsonSchema)]
struct Mark {
    millis: u64,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Look {
    file: Artifact,
}

/// Once this file is there, no more rounds begin.
pub fn enough(say: &Path) -> PathBuf {
    say.with_extension("enough")
}

/// The victim as a process: this program again.
pub fn start(data: &Path, say: &Path, rounds: u32, environment: &[(&str, &Path)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DATA, data)
        .env(SAY, say)
        .env(ROUNDS, rounds.to_string())
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What that process does.
pub fn run() {
    let path = |name| PathBuf::from(std::env::var_os(name).expect("the test sets it"));
    let rounds = std::env::var(ROUNDS).unwrap().parse().unwrap();
    let mouth = Mouth::open(&path(SAY));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let lived = runtime.unwrap().block_on(live(&path(DATA), &mouth, rounds));
    if let Err(error) = lived {
        mouth.say(&format!("failed {}: {error}", error.code()));
        std::process::exit(3);
    }
    mouth.say("done");
}

/// Opens the engine, goes on with what there is, adds so many rounds, and waits for all to end.
pub async fn live(data: &Path, mouth: &Mouth, rounds: u32) -> Result<(), EngineError> {
    let engine = kinds(mouth).data_dir(data).open().await?;
    mouth.say("open");
    let worked = tokio::select! {
        worked = work(&engine, mouth, rounds) => worked,
        error = engine.failed() => Err(error),
    };
    engine.shutdown().await;
    worked
}

async fn work(engine: &Engine, mouth: &Mouth, rounds: u32) -> Result<(), EngineError> {
    let mut followers = JoinSet::new();
    for job in unfinished(engine).await? {
        followers.spawn(follow(job, mouth.clone()));
    }
    for _ in (0..rounds).take_while(|_| !enough(&mouth.path).exists()) {
        for name in ["chain", "fan", "flaky", "stopped", "large", "failing", "keyed"] {
            let job = submit(engine, mouth, name).await?;
            followers.spawn(follow(job, mouth.clone()));
        }
        while followers.len() > MOST_LIVE
            && let Some(followed) = followers.join_next().await
        {
            followed.expect("a follower does not panic")?;
        }
    }
    while let Some(followed) = followers.join_next().await {
        followed.expect("a follower does not panic")?;
    }
    Ok(())
}

async fn submit(engine: &Engine, mouth: &Mouth, name: &str) -> Result<JobHandle, EngineError> {
    let mut submit = Submit::named(name, json!({})).label("kind", name);
    let mut key = "-".to_owned();
    if name == "keyed" {
        // Its own word for itself: a key that no other submit has.
        key = format!("key-{:?}", std::time::SystemTime::now()).replace(' ', "");
        submit = submit.idempotency_key(&key);
    }
    let accepted = loop {
        match engine.submit(submit.clone()).await {
            Err(EngineError::Full) => mouth.say("full"),
            other => break other?,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    mouth.say(&format!("accepted {} {key}", accepted.job.id()));
    if name == "keyed" {
        let again = engine.submit(submit).await?;
        assert!(!again.is_new && again.job.id() == accepted.job.id(), "one key, one job");
    }
    Ok(accepted.job)
}

/// The job that a key gives, and whether it is new.
pub async fn again(engine: &Engine, key: &str) -> Result<(String, bool), EngineError> {
    let submit = Submit::named("keyed", json!({})).label("kind", "keyed").idempotency_key(key);
    let submitted = engine.submit(submit).await?;
    Ok((submitted.job.id().to_string(), submitted.is_new))
}

/// Says each record of a job as it becomes known; cancels a job that is there to be cancelled.
async fn follow(job: JobHandle, mouth: Mouth) -> Result<(), EngineError> {
    let to_cancel = job.view().await?.head.workflow.name == "stopped";
    let mut records = Box::pin(job.events(0));
    while let Some(record) = records.next().await {
        let record = record?;
        mouth.say(&format!("record {} {}", job.id(), record.sequence));
        let started = record.events.iter().any(|event| event.kind() == "StepStarted");
        if to_cancel && started {
            let answer = cancel_when_there_is_room(&job).await?;
            // One whose attempt died with the process again and again has failed by itself.
            if !matches!(answer, CancelAnswer::AlreadyEnded(_)) {
                mouth.say(&format!("cancelled {}", job.id()));
            }
        }
    }
    Ok(())
}

/// While the disk is full a cancel is refused: nothing is promised, and it is asked for again.
async fn cancel_when_there_is_room(job: &JobHandle) -> Result<CancelAnswer, EngineError> {
    loop {
        match job.cancel(None).await {
            Err(EngineError::Full) => tokio::time::sleep(Duration::from_millis(20)).await,
            answer => return answer,
        }
    }
}

async fn unfinished(engine: &Engine) -> Result<Vec<JobHandle>, EngineError> {
    let mut jobs = Vec::new();
    let mut before = None;
    loop {
        let page = engine.jobs(ListQuery { limit: 100, before, ..ListQuery::default() }).await?;
        let live = page.heads.iter().filter(|head| !head.status.has_ended());
        jobs.extend(live.map(|head| engine.job(head.id)));
        before = page.next;
        if before.is_none() {
            return Ok(jobs);
        }
    }
}

/// The step kinds, each of which says that it began.
pub fn kinds(mouth: &Mouth) -> EngineBuilder {
    let mouth = mouth.clone();
    let begin = move |context: &StepContext| {
        let (job, step, item) = (context.job(), context.step(), context.item().0);
        mouth.say(&format!("begin {job} {step} {item} {}", context.attempt()));
        format!("{job} {step} {item}")
    };
    let begin = Arc::new(begin);
    let [mark, flaky, text, file, look, wrong] = [(); 6].map(|()| begin.clone());
    let mut builder = Engine::builder();
    for workflow in WORKFLOWS {
        builder = builder.workflow(*workflow);
    }
    builder
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
        .step_fn("text", move |_: Value, context: StepContext| {
            let place = text(&context);
            async move { Ok(json!({ "text": place.repeat(400) })) }
        })
        .step_fn("file", move |_: Value, context: StepContext| {
            let place = file(&context);
            async move {
                let (path, text) = (context.work_dir()?.join("file"), place.repeat(500));
                std::fs::write(&path, &text)?;
                let copy = context.put_bytes(text + " ", "copy.txt", "text/plain").await?;
                let file = context.put_file(path, "file.txt", "text/plain").await?;
                Ok(json!({ "file": file, "copy": copy }))
            }
        })
        .step_fn("look", move |input: Look, context: StepContext| {
            look(&context);
            async move {
                Ok(json!({ "length": std::fs::metadata(context.open(&input.file).await?)?.len() }))
            }
        })
        .step_fn("wrong", move |_: Value, context: StepContext| {
            wrong(&context);
            async move { Err::<Value, _>(StepError::fatal("test.wrong", "it always fails")) }
        })
}
