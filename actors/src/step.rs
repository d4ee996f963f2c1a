//! The trait that users implement: a step kind, from a typed input to a typed output.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use callsheet_engine::definition::{Effect, KindInfo};
use callsheet_engine::limits::{MAX_DATA_NESTING_DEPTH, MAX_OUTPUT_BYTES};
use callsheet_engine::{Failure, Millis, Outcome};
use callsheet_storage::ArtifactError;
use futures::FutureExt;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::StepContext;
use crate::size::measure;

/// A step kind. One value of it serves all attempts at all steps that use it, side by side.
///
/// The body runs at least once for each step; what it does outside is done once in effect when the
/// receiver honours [`StepContext::idempotency_key`] or when it writes through artifacts. When the
/// job is cancelled the body's future is dropped at its next await.
pub trait Step: Send + Sync + 'static {
    /// What `with` must hold.
    type Input: DeserializeOwned + JsonSchema + Send + 'static;
    /// What the steps after it see.
    type Output: Serialize + JsonSchema + Send + 'static;

    /// The name that definitions use, such as `media.fetch`.
    fn kind(&self) -> String;

    /// One line for people.
    fn description(&self) -> String {
        String::new()
    }

    /// What a repeat of the body means outside. A workflow that uses a kind which is done
    /// [`Effect::Once`] has to say what to do when an attempt ends without an answer: `in_doubt`.
    fn effect(&self) -> Effect {
        Effect::Idempotent
    }

    /// Whether [`probe`](Self::probe) can tell if a deed was done: then `in_doubt: probe` may be
    /// written. Of use to kinds whose effect is [`Effect::Once`].
    fn probes(&self) -> bool {
        false
    }

    /// The version of the kind's results, when its output is a function of its input alone: then
    /// results are kept, and a step with the same input takes one that is there in place of running
    /// the body. Count it up when the same input gives another result from now on. None, as it is
    /// unless said otherwise, keeps nothing.
    ///
    /// Files count by their content, and by the name and media type that the input gives them: an
    /// artifact in the input is a part of it as it stands there, with its digest. What
    /// the body reads elsewhere, such as an address or the time, is not: a kind that does so keeps
    /// no results, unless it stays the same while the engine is open and the version follows it.
    /// Nor may one keep any whose effect is [`Effect::Once`].
    fn cache(&self) -> Option<u32> {
        None
    }

    /// Whether a body does hardly more than wait for another job: then it takes no place among the
    /// bodies that run at once, and a shutdown gives it back without waiting for its end.
    fn waits(&self) -> bool {
        false
    }

    /// The body.
    fn run(
        &self,
        input: Self::Input,
        context: StepContext,
    ) -> impl Future<Output = StepResult<Self::Output>> + Send;

    /// Finds out whether an attempt that gave no answer has done its deed, as a rule by asking the
    /// outside for [`StepContext::idempotency_key`]. It must change nothing, for it may be asked
    /// several times; it has the step's timeout. One that fails is asked again by the step's retry
    /// policy, and then a person is.
    fn probe(
        &self,
        input: Self::Input,
        context: StepContext,
    ) -> impl Future<Output = StepResult<Probed<Self::Output>>> + Send {
        drop((input, context));
        async { Ok(Probed::Unknown) }
    }
}

/// What a probe has found out about a deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed<T> {
    /// It was done, and this is its result.
    Done(T),
    /// It was not done, and no attempt of before will do it any more: another may be made.
    NotDone,
    /// It cannot be told; a person is asked.
    Unknown,
}

/// What a body answers with.
pub type StepResult<T> = Result<T, StepError>;

/// Why a body failed. Any error turns into one with `?` and may then be retried; say
/// [`StepError::fatal`] when trying again cannot help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError(pub Failure);

impl StepError {
    /// A failure that a retry cannot mend: bad input, a refused key.
    pub fn fatal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Failure::fatal(code, message))
    }

    /// A failure that may pass: an overloaded provider, a lost connection.
    pub fn retryable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Failure::retryable(code, message))
    }

    /// The deed may have been done and may not: the connection broke after the request was sent. A
    /// step that is done [`Effect::Once`] is then in doubt, as if its process had died; any other
    /// fails as with [`retryable`](Self::retryable).
    pub fn unanswered(message: impl Into<String>) -> Self {
        Self(Failure::retryable(UNANSWERED, message))
    }

    /// The same failure, of one who said when to come again: the next attempt is made no sooner,
    /// and after ten minutes at the latest. Where the step's `retry` waits longer, that counts.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.with_retry_after(Millis(wait)))
    }

    /// The same failure with advice.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self(self.0.with_hint(hint))
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: std::error::Error> From<E> for StepError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::retryable("step.error", message)
    }
}

/// A step kind whose types are hidden: what the engine holds.
pub(crate) trait AnyStep: Send + Sync {
    fn info(&self) -> KindInfo;
    fn waits(&self) -> bool;
    fn run(self: Arc<Self>, input: Value, context: StepContext) -> BoxFuture<'static, Outcome>;
    fn probe(self: Arc<Self>, input: Value, context: StepContext) -> BoxFuture<'static, Outcome>;
}

/// The code of a failure whose body cannot tell whether its deed was done.
const UNANSWERED: &str = "step.unanswered";

impl<S: Step> AnyStep for S {
    fn info(&self) -> KindInfo {
        KindInfo {
            name: self.kind(),
            description: self.description(),
            effect: self.effect(),
            probes: self.probes(),
            cache: self.cache(),
            input_schema: schemars::schema_for!(S::Input).to_value(),
            output_schema: schemars::schema_for!(S::Output).to_value(),
        }
    }

    fn waits(&self) -> bool {
        Step::waits(self)
    }

    fn run(self: Arc<Self>, input: Value, context: StepContext) -> BoxFuture<'static, Outcome> {
        guarded(async move {
            let input = read_input::<S>(&self.kind(), input)?;
            let output = Step::run(&*self, input, context).await.map_err(|error| error.0)?;
            write_output(&self.kind(), &output).map(Outcome::Succeeded)
        })
    }

    fn probe(self: Arc<Self>, input: Value, context: StepContext) -> BoxFuture<'static, Outcome> {
        guarded(async move {
            let input = read_input::<S>(&self.kind(), input)?;
            match Step::probe(&*self, input, context).await.map_err(|error| error.0)? {
                Probed::Done(output) => write_output(&self.kind(), &output).map(Outcome::Succeeded),
                Probed::NotDone => Ok(Outcome::NotDone),
                Probed::Unknown => Ok(Outcome::Unknown),
            }
        })
    }
}

/// A body whose panic is an end like another; one that tells nothing of what was done.
fn guarded<F>(body: F) -> BoxFuture<'static, Outcome>
where
    F: Future<Output = Result<Outcome, Failure>> + Send + 'static,
{
    Box::pin(AssertUnwindSafe(body).catch_unwind().map(|ended| match ended {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) if failure.code == UNANSWERED => Outcome::Lost(failure),
        Ok(Err(failure)) => Outcome::Failed(failure),
        Err(panic) => Outcome::Lost(panicked(panic.as_ref())),
    }))
}

fn read_input<S: Step>(kind: &str, input: Value) -> Result<S::Input, Failure> {
    let input = if input.is_null() { Value::Object(serde_json::Map::new()) } else { input };
    serde_json::from_value(input).map_err(|error| {
        Failure::fatal("step.input", format!("the input of `{kind}` is not what it takes: {error}"))
            .with_hint(
                "compare `with` with the kind's input, shown by `callsheet validate --kinds`",
            )
    })
}

fn write_output<T: Serialize>(kind: &str, output: &T) -> Result<Value, Failure> {
    let broken = |error: serde_json::Error| {
        Failure::fatal("step.output", format!("the output of `{kind}` is not JSON: {error}"))
    };
    let too_much = |what: String| {
        Failure::fatal("limit.output", format!("the output of `{kind}` {what}"))
            .with_hint("store large data as an artifact and return its reference")
    };
    match measure(output) {
        Ok(bytes) if bytes > MAX_OUTPUT_BYTES => {
            Err(too_much(format!("has {bytes} bytes, more than {MAX_OUTPUT_BYTES}")))
        }
        Ok(_) => serde_json::to_value(output).map_err(broken),
        Err(error) if error.is_io() => {
            Err(too_much(format!("nests deeper than {MAX_DATA_NESTING_DEPTH}")))
        }
        Err(error) => Err(broken(error)),
    }
}

/// A body that panicked failed its attempt, nothing more.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Failure::retryable("step.panic", format!("the step panicked: {text}"))
}

/// What a fault of the artifact store means for the attempt. Content that is gone or damaged stays
/// so; a full disk or a refusing system may pass.
pub(crate) fn artifact_fault(error: ArtifactError) -> StepError {
    let said = error.to_string();
    match error {
        ArtifactError::Missing(_) => StepError::fatal("artifact.missing", said)
            .with_hint("restore it from a backup, or submit the job again"),
        ArtifactError::Damaged { .. } => StepError::fatal("artifact.damaged", said)
            .with_hint("the disk may be failing; restore the data directory from a backup"),
        ArtifactError::NotAFile { .. } => StepError::fatal("artifact.not_a_file", said),
        ArtifactError::Full { .. } => StepError::retryable("artifact.no_room", said)
            .with_hint("make room on the disk of the data directory"),
        // The time of other files passes, and with it comes room.
        ArtifactError::Quota { .. } => StepError::retryable("artifact.quota", said)
            .with_hint("raise the bound of files, or let jobs have a shorter retention"),
        ArtifactError::BadRange { .. } | ArtifactError::Io { .. } => {
            StepError::retryable("artifact.io", said)
        }
    }
}

/// A step kind made of an async function: see [`EngineBuilder::step_fn`].
///
/// [`EngineBuilder::step_fn`]: crate::EngineBuilder::step_fn
pub(crate) struct FnStep<F, I> {
    pub(crate) kind: String,
    pub(crate) body: F,
    pub(crate) input: std::marker::PhantomData<fn(I)>,
}

impl<F, I, O, Fut> Step for FnStep<F, I>
where
    F: Fn(I, StepContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = StepResult<O>> + Send + 'static,
    I: DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + JsonSchema + Send + 'static,
{
    type Input = I;
    type Output = O;

    fn kind(&self) -> String {
        self.kind.clone()
    }

    async fn run(&self, input: I, context: StepContext) -> StepResult<O> {
        (self.body)(input, context).await
    }
}
