//! The trait that users implement: a step kind, from a typed input to a typed output.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use callsheet_engine::Failure;
use callsheet_engine::definition::{Effect, KindInfo};
use callsheet_engine::limits::{MAX_DATA_NESTING_DEPTH, MAX_OUTPUT_BYTES};
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

    /// What a repeat of the body means outside.
    fn effect(&self) -> Effect {
        Effect::Idempotent
    }

    /// The body.
    fn run(
        &self,
        input: Self::Input,
        context: StepContext,
    ) -> impl Future<Output = StepResult<Self::Output>> + Send;
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
    fn run(self: Arc<Self>, input: Value, context: StepContext) -> BoxFuture<'static, BodyResult>;
}

pub(crate) type BodyResult = Result<Value, Failure>;

impl<S: Step> AnyStep for S {
    fn info(&self) -> KindInfo {
        KindInfo {
            name: self.kind(),
            description: self.description(),
            effect: self.effect(),
            input_schema: schemars::schema_for!(S::Input).to_value(),
            output_schema: schemars::schema_for!(S::Output).to_value(),
        }
    }

    fn run(self: Arc<Self>, input: Value, context: StepContext) -> BoxFuture<'static, BodyResult> {
        let body = async move {
            let input = read_input::<S>(&self.kind(), input)?;
            let output = Step::run(&*self, input, context).await.map_err(|error| error.0)?;
            write_output(&self.kind(), &output)
        };
        Box::pin(
            AssertUnwindSafe(body)
                .catch_unwind()
                .map(|ended| ended.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))),
        )
    }
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

fn write_output<T: Serialize>(kind: &str, output: &T) -> BodyResult {
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
