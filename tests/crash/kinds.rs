//! The shapes of the jobs that have to suffer, and their step kinds, each of which writes into the
//! ledger that it began.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callsheet_actors::{Engine, EngineBuilder, Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ledger;

/// The jobs of one round, in this order; the last is there to be cancelled.
pub const SHAPES: [&str; 6] = ["mixed", "ahead", "fan", "timers", "keyed", "long"];

const WORKFLOWS: [&str; 6] = [
    "name: mixed
steps:
  - { id: first, uses: mark, with: { millis: 2 }, retry: { max_attempts: 9, initial: 1ms } }
  - { id: each, uses: mark, needs: [first], for_each: [1, 2, 3, 4, 5], concurrency: 2,
      with: { millis: '{{ item }}' }, retry: { max_attempts: 9, initial: 1ms } }
  - { id: flaky, uses: flaky, needs: [first], retry: { max_attempts: 9, initial: 15ms } }
  - { id: big, uses: big, needs: [each], retry: { max_attempts: 9, initial: 1ms } }
  - { id: child, uses: child, needs: [each, flaky], with: { seconds: '0.0213' },
      retry: { max_attempts: 9, initial: 1ms } }
  - { id: last, uses: mark, needs: [big, child], with: { millis: 1 },
      retry: { max_attempts: 9, initial: 1ms } }
output: '{{ steps.last.place }}'",
    // Pure steps run ahead of the disk; the one behind them must not.
    "name: ahead
steps:
  - { id: p1, uses: pure, retry: { max_attempts: 9, initial: 1ms } }
  - { id: p2, uses: pure, needs: [p1], retry: { max_attempts: 9, initial: 1ms } }
  - { id: p3, uses: pure, needs: [p2], retry: { max_attempts: 9, initial: 1ms } }
  - { id: p4, uses: pure, needs: [p3], retry: { max_attempts: 9, initial: 1ms } }
  - { id: p5, uses: pure, needs: [p4], retry: { max_attempts: 9, initial: 1ms } }
  - { id: p6, uses: pure, needs: [p5], retry: { max_attempts: 9, initial: 1ms } }
  - { id: seen, uses: mark, needs: [p6], with: { millis: 0 },
      retry: { max_attempts: 9, initial: 1ms } }
output: '{{ steps.seen.place }}'",
    "name: fan
steps:
  - { id: each, uses: pure, for_each: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
      concurrency: 5, retry: { max_attempts: 9, initial: 1ms } }
  - { id: made, uses: made, for_each: [1, 2, 1, 2, 3], with: { n: '{{ item }} {{ job.id }}' },
      retry: { max_attempts: 9, initial: 1ms } }
  - { id: join, uses: mark, needs: [each, made], with: { millis: 0 },
      retry: { max_attempts: 9, initial: 1ms } }",
    // One wait with an actor, one without.
    "name: timers
steps:
  - { id: first, uses: mark, with: { millis: 0 }, retry: { max_attempts: 9, initial: 1ms } }
  - { id: short, sleep: 30ms, needs: [first] }
  - { id: long, sleep: 1100ms, needs: [short] }
  - { id: last, uses: mark, needs: [long], with: { millis: 0 },
      retry: { max_attempts: 9, initial: 1ms } }",
    "name: keyed
steps:
  - { id: only, uses: mark, with: { millis: 1 }, retry: { max_attempts: 9, initial: 1ms } }",
    "name: long
steps:
  - { id: first, uses: pure }
  - { id: body, uses: mark, needs: [first], with: { millis: 600000 } }
  - { id: child, uses: child, needs: [first], with: { seconds: '613' } }
  - { id: each, uses: mark, needs: [first], for_each: [600000, 600001, 600002], concurrency: 3,
      with: { millis: '{{ item }}' } }
  - { id: never, uses: mark, needs: [body, child, each], with: { millis: 0 } }",
];

#[derive(Deserialize, JsonSchema)]
struct Mark {
    millis: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Nap {
    seconds: String,
}

/// What the bodies of one life share with whoever watches them.
#[derive(Clone)]
pub struct Bodies {
    ledger: Arc<Path>,
    /// Process numbers of all children, a line each.
    pids: Arc<Path>,
    /// Bodies that are under way, by job.
    live: Arc<Mutex<HashMap<String, usize>>>,
}

/// A body that has begun; counts until it is dropped.
struct Begun {
    place: String,
    job: String,
    live: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        *self.live.lock().unwrap().get_mut(&self.job).unwrap() -= 1;
    }
}

impl Bodies {
    pub fn new(dir: &Path) -> Self {
        let (ledger, pids) = (dir.join("ledger").into(), dir.join("pids").into());
        Self { ledger, pids, live: Arc::default() }
    }

    /// Bodies of a job that are under way.
    pub fn of(&self, job: &str) -> usize {
        self.live.lock().unwrap().get(job).copied().unwrap_or(0)
    }

    fn begin(&self, context: &StepContext, effect: &str) -> Begun {
        let job = context.job().to_string();
        *self.live.lock().unwrap().entry(job.clone()).or_default() += 1;
        let place = format!("{job} {} {}", context.step(), context.item().0);
        ledger::write(&self.ledger, &format!("begin {place} {} {effect}", context.attempt()));
        Begun { place, job, live: self.live.clone() }
    }

    fn keyed(&self) -> impl Fn(&StepContext) -> Begun + Send + Sync + 'static {
        let bodies = self.clone();
        move |context| bodies.begin(context, "keyed")
    }
}

/// A step of which nothing can be seen outside, so it may run ahead of the disk.
struct Pure(Bodies);

impl Step for Pure {
    type Input = Value;
    type Output = Value;

    fn kind(&self) -> String {
        "pure".into()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, _: Value, context: StepContext) -> StepResult<Value> {
        let begun = self.0.begin(&context, "pure");
        Ok(json!({ "place": begun.place }))
    }
}

/// A step whose results are kept: a file.
struct Made(Bodies);

impl Step for Made {
    type Input = Value;
    type Output = Artifact;

    fn kind(&self) -> String {
        "made".into()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Value, context: StepContext) -> StepResult<Artifact> {
        let _begun = self.0.begin(&context, "pure");
        context.put_bytes(input.to_string(), "made.json", "application/json").await
    }
}

/// An engine with all of it, in this directory.
pub fn engine(dir: &Path, bodies: &Bodies) -> EngineBuilder {
    let [mark, flaky, big, child] = [(); 4].map(|()| bodies.keyed());
    let pids: PathBuf = bodies.pids.to_path_buf();
    let kinds = Engine::builder().step(Pure(bodies.clone())).step(Made(bodies.clone()));
    let mut builder = kinds.data_dir(dir.join("data"));
    for workflow in WORKFLOWS {
        builder = builder.workflow(workflow);
    }
    builder
        .step_fn("mark", move |input: Mark, context: StepContext| {
            let begun = mark(&context);
            async move {
                tokio::time::sleep(Duration::from_millis(input.millis)).await;
                Ok(json!({ "place": begun.place }))
            }
        })
        .step_fn("flaky", move |_: Value, context: StepContext| {
            let begun = flaky(&context);
            async move {
                if context.attempt() == 1 {
                    return Err(StepError::retryable("test.flaky", "the first attempt fails"));
                }
                Ok(json!({ "place": begun.place }))
            }
        })
        .step_fn("big", move |_: Value, context: StepContext| {
            let begun = big(&context);
            async move { Ok(json!({ "place": begun.place, "text": "x".repeat(20_000) })) }
        })
        .step_fn("child", move |input: Nap, context: StepContext| {
            let (begun, pids) = (child(&context), pids.clone());
            async move {
                let script = "echo $$ >> \"$PIDS\"; exec sleep \"$0\"";
                let sh = context.command("sh").args(["-c", script, &input.seconds]);
                sh.env("PIDS", &pids).run().await?;
                Ok(json!({ "place": begun.place }))
            }
        })
}
