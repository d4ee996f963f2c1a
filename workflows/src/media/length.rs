//! How long a stream is, where its file does not say so or is only guessing.

use std::path::Path;

use callsheet_actors::{StepContext, StepError, StepResult};

use super::{OpenMedia, input_args};
use crate::ffmpeg::Run;
use crate::slots::Slots;

/// Copies a stream into a Matroska file of its own, which says how long it is; none when there is
/// nothing in it.
///
/// # Errors
/// `ffmpeg.*` and `media.*`.
pub(crate) async fn copied_length(
    (from, stream): (&Path, u32),
    to: &Path,
    context: &StepContext,
    slots: &Slots,
) -> StepResult<Option<f64>> {
    Run::new(context, None)
        .args(["-fflags", "+genpts"])
        .args(input_args(from))
        .arg("-map")
        .arg(format!("0:{stream}"))
        .args(["-c", "copy", "-f", "matroska"])
        .output(to)
        .run(slots)
        .await?;
    match OpenMedia::written(to, context).await {
        Ok(copy) => Ok(copy.facts.duration_s),
        // A Matroska file without a single packet cannot be opened.
        Err(StepError(failure)) if failure.code == "media.unreadable" => Ok(None),
        Err(error) => Err(error),
    }
}
