//! What the tests of files and kept results share: kinds that make files and read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callsheet_actors::{
    Engine, EngineBuilder, JobView, Keeping, Step, StepContext, StepError, StepResult, Submit,
};
use callsheet_engine::definition::Effect;
use callsheet_storage::{Artifact, ArtifactStore, Terms};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Makes a file of a text; its results are kept.
pub struct Make {
    pub kind: &'static str,
    pub version: u32,
    pub world: Arc<World>,
}

/// What bodies do and wait for.
#[derive(Default)]
pub struct World {
    /// Bodies that began.
    pub begun: AtomicU32,
    /// Bodies that came to their end.
    pub made: AtomicU32,
    /// Bodies at work now, and the most that there ever were.
    pub now: AtomicU32,
    pub most: AtomicU32,
    /// Lets bodies go that wait.
    pub go: Notify,
    /// Bodies that are to fail first.
    pub failures: AtomicU32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToMake {
    text: String,
    /// Waits for the word to go, after the file is made.
    #[serde(default)]
    waits: bool,
    /// Blocks its thread for so long.
    #[serde(default)]
    blocks_ms: u64,
}

struct Now<'w>(&'w World);

impl Drop for Now<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Step for Make {
    type Input = ToMake;
    type Output = Artifact;

    fn kind(&self) -> String {
        self.kind.to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(self.version)
    }

    async fn run(&self, input: ToMake, context: StepContext) -> StepResult<Artifact> {
        let world = &*self.world;
        world.begun.fetch_add(1, Ordering::SeqCst);
        let now = world.now.fetch_add(1, Ordering::SeqCst) + 1;
        world.most.fetch_max(now, Ordering::SeqCst);
        let _now = Now(world);
        let file = context.put_bytes(input.text, "text", "text/plain").await?;
        if input.waits {
            world.go.notified().await;
        }
        std::thread::sleep(Duration::from_millis(input.blocks_ms));
        let left = |left: u32| left.checked_sub(1);
        if world.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
            return Err(StepError::fatal("test.fatal", "told to fail"));
        }
        world.made.fetch_add(1, Ordering::SeqCst);
        Ok(file)
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct ToRead {
    file: Artifact,
}

/// A builder with the kinds `make`, `read` and `nap`.
pub fn builder(world: &Arc<World>, version: u32) -> EngineBuilder {
    Engine::builder()
        .step(Make { kind: "make", version, world: world.clone() })
        .step_fn("read", |input: ToRead, context: StepContext| async move {
            let path = context.open(&input.file).await?;
            Ok(std::fs::read_to_string(path)?)
        })
        .step_fn("nap", |_: Value, _: StepContext| async move {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            Ok(())
        })
}

/// Makes a file and reads it.
pub const MAKE: &str = "
name: test
steps:
  - { id: a, uses: make, with: '{{ input }}' }
  - { id: b, uses: read, with: { file: '{{ steps.a }}' } }
output: '{{ steps.b }}'
";

/// Keeps files for no time at all, and sweeps only when it is asked to.
pub fn fleeting() -> Keeping {
    Keeping {
        retention: Some(Duration::ZERO),
        grace: Duration::ZERO,
        sweep_every: Duration::from_secs(1_000_000),
        ..Keeping::default()
    }
}

pub async fn engine(world: &Arc<World>, keeping: Keeping) -> Engine {
    builder(world, 1).in_memory().keeping(keeping).workflow(MAKE).open().await.unwrap()
}

pub fn text(text: &str) -> Submit {
    Submit::named("test", json!({ "text": text }))
}

pub async fn ended(engine: &Engine, submit: Submit) -> JobView {
    engine.submit(submit).await.unwrap().job.wait().await.unwrap()
}

/// Puts a file that is due at once, as nobody uses it.
pub fn put_stray(store: &ArtifactStore, bytes: &[u8]) -> Artifact {
    let terms = Terms { keep_for: Some(Duration::ZERO), hold: None };
    let artifact = store.under(terms).put_bytes(bytes).unwrap();
    let (name, media_type) = ("stray".to_owned(), "text/plain".to_owned());
    Artifact { artifact, name, media_type, size: bytes.len() as u64 }
}

/// Results that were recalled for a step.
pub fn recalled(view: &JobView, step: &str) -> u32 {
    let index = view.state.plan.index_of(step).unwrap();
    view.state.steps[index.at()].recalled
}
