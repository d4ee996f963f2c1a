//! Work on a thread of its own is not dropped like a future: it looks up now and then.

use callsheet_actors::{StepContext, StepError, StepResult};

/// Asked between two pieces of long work; an error ends it.
pub type Wanted<'w> = &'w dyn Fn() -> StepResult<()>;

/// Whether an attempt is still wanted. Nobody reads the error: the attempt was called off.
pub(crate) fn by(context: &StepContext) -> impl Fn() -> StepResult<()> + Send + 'static {
    let stop = context.cancelled().clone();
    move || {
        if stop.is_cancelled() {
            return Err(StepError::retryable("step.cancelled", "the attempt was called off"));
        }
        Ok(())
    }
}
