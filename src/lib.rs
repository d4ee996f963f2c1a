//! Callsheet is a durable workflow engine on an actor model.
//!
//! A *workflow* is a graph of *steps*, written in YAML. A *job* is one run of it. Each job is a
//! supervised actor whose state is on disk after every step: kill the process at any instant, open
//! the engine again on the same directory, and every job goes on from its last recorded step.
//! Cancel a job and its work stops now.
//!
//! ```
//! use callsheet::{Engine, StepContext, StepResult, Submit};
//! use serde_json::json;
//!
//! /// A step: an async function from a typed input to a typed output.
//! async fn greet(name: String, _: StepContext) -> StepResult<String> {
//!     Ok(format!("hello, {name}"))
//! }
//!
//! const WELCOME: &str = r#"
//! name: welcome
//! steps:
//!   - id: greet
//!     uses: greet
//!     with: "{{ input.name }}"
//! output: "{{ steps.greet }}"
//! "#;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), callsheet::EngineError> {
//! let engine = Engine::builder()
//!     .in_memory() // a service keeps its jobs: `.data_dir("/var/lib/my-service")`
//!     .step_fn("greet", greet)
//!     .workflow(WELCOME)
//!     .open()
//!     .await?;
//! let submitted = engine.submit(Submit::named("welcome", json!({ "name": "Ada" }))).await?;
//! let view = submitted.job.wait().await?;
//! assert_eq!(view.state.output(), Some(&json!("hello, Ada")));
//! engine.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - [`Engine::builder`] makes an [`Engine`]; a [`JobHandle`] watches and cancels a job.
//! - A step is an async function ([`EngineBuilder::step_fn`]) or a type that implements [`Step`].
//!   What it returns decides its fate: a value, or a [`StepError`] that may be tried again or not.
//! - A step's result is recorded at most once and is never worked out again. Its *body* runs at
//!   least once: after a crash an attempt that was under way is made again, with the same
//!   [`StepContext::idempotency_key`].
//! - Files travel between steps as [`Artifact`]s: stored once under their content's hash.
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `media` | module `media`: step kinds for video and speech, the workflow `caption` | by `cli` |
//! | `server` | the `server` module: the HTTP routes and a client for them | by `cli` |
//! | `cli` | the `callsheet` command | yes |
//!
//! A service that embeds the engine takes `default-features = false`.

// --- the engine ----------------------------------------------------------------------------------
pub use callsheet_actors::{
    ActorInfo, CancelAnswer, Engine, EngineBuilder, EngineError, FileStats, HELD_UNTIL, JobHandle,
    JobView, Keeping, Progress, Stats, Submit, Submitted, Swept,
};

// --- steps of your own ---------------------------------------------------------------------------
pub use callsheet_actors::{Command, Finished, Probed, Step, StepContext, StepError, StepResult};
pub use schemars;
pub use serde;
pub use serde_json;

// --- definitions ---------------------------------------------------------------------------------
pub use callsheet_engine::definition::{self, Problem, Problems, Workflow};
pub use callsheet_engine::{Plan, limits};

// --- what is recorded ----------------------------------------------------------------------------
pub use callsheet_engine::{
    Ending, Event, Failure, IllegalEvent, Interruption, ItemIndex, JobId, JobOptions, JobState,
    Millis, Phase, Resolution, Resolver, StepIndex, StepState, StepStatus, StopCause, Timestamp,
    Token, Verdict, WorkflowRef, fold,
};
pub use callsheet_storage::maintenance;
pub use callsheet_storage::{
    Artifact, ArtifactError, ArtifactStore, Digest, Hashed, Hashing, JobHead, JobStatus, ListQuery,
    Page, Record, Reservation, SledStore, Store, StoreError, StoreStats,
};

// --- optional parts ------------------------------------------------------------------------------
#[cfg(feature = "server")]
pub use callsheet_api as server;
#[cfg(feature = "media")]
pub use callsheet_workflows as media;
