//! Whether a file that ffmpeg wrote is what was planned: ffmpeg ends well too when it stops at a
//! limit, or at the first damage of its source.

use std::path::Path;

use callsheet_actors::{StepContext, StepError, StepResult};

use crate::limits::{MAX_WRITTEN_BYTES, MIN_LENGTH_SHARE};
use crate::lower::Lowered;
use crate::media::{Facts, OpenMedia, StreamKind};

/// Probes a written file, and gives what is in it when that is what was planned.
///
/// # Errors
/// `ffmpeg.too_large` when it was cut at the limit, `verify.*` when streams are missing or it is
/// shorter than 95 % of the plan.
pub(super) async fn check_written(
    path: &Path,
    plan: &Lowered,
    context: &StepContext,
) -> StepResult<Facts> {
    let facts = OpenMedia::written(path, context).await?.facts;
    let planned = Planned {
        pictures: plan.count(StreamKind::Video),
        sounds: plan.count(StreamKind::Audio),
        length_s: plan.expected_s,
    };
    planned.check(&facts)?;
    Ok(facts)
}

/// What a written file is to have.
#[derive(Clone, Copy, Debug)]
struct Planned {
    pictures: usize,
    sounds: usize,
    length_s: Option<f64>,
}

impl Planned {
    fn check(self, facts: &Facts) -> StepResult<()> {
        // ffmpeg stops a little below the limit, before the packet that would pass it.
        if facts.size >= MAX_WRITTEN_BYTES / 100 * 99 {
            let message = format!("the file grew to {MAX_WRITTEN_BYTES} bytes, the most there is");
            return Err(StepError::fatal("ffmpeg.too_large", message)
                .with_hint("ask for a lower quality, a smaller picture or a clip"));
        }
        let count = |kind| facts.streams.iter().filter(|stream| stream.kind == kind).count();
        for (kind, name, code, expected) in [
            (StreamKind::Video, "pictures", "verify.no_video", self.pictures),
            (StreamKind::Audio, "sound", "verify.no_audio", self.sounds),
        ] {
            let found = count(kind);
            if found < expected {
                let message = format!("the file has {found} streams of {name}, not {expected}");
                return Err(StepError::fatal(code, message));
            }
        }
        let length = facts.duration_s.unwrap_or(0.0);
        match self.length_s {
            Some(expected) if length < expected * MIN_LENGTH_SHARE => {
                let message = format!("the file lasts {length:.2} s, expected {expected:.2} s");
                Err(StepError::fatal("verify.too_short", message)
                    .with_hint("the source may be cut off, or say more of itself than it holds"))
            }
            _ if length <= 0.0 => {
                Err(StepError::fatal("verify.too_short", "the file has no length"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::media::Stream;

    #[test]
    fn what_is_not_as_planned_does_not_count() {
        let film = Planned { pictures: 1, sounds: 1, length_s: Some(10.0) };
        let (video, audio) = (StreamKind::Video, StreamKind::Audio);
        for (planned, kinds, length_s, size, code) in [
            (film, &[video, audio][..], Some(10.0), 1, None),
            (film, &[video, audio], Some(9.6), 1, None),
            (film, &[video, audio], Some(9.4), 1, Some("verify.too_short")),
            (film, &[video], Some(10.0), 1, Some("verify.no_audio")),
            (film, &[audio], Some(10.0), 1, Some("verify.no_video")),
            (film, &[video, audio], Some(10.0), MAX_WRITTEN_BYTES, Some("ffmpeg.too_large")),
            (Planned { length_s: None, ..film }, &[video, audio], Some(0.1), 1, None),
            (
                Planned { length_s: None, ..film },
                &[video, audio],
                None,
                1,
                Some("verify.too_short"),
            ),
        ] {
            let stream = |kind: &StreamKind| Stream { kind: *kind, ..Stream::default() };
            let streams = kinds.iter().map(stream).collect();
            let facts = Facts { streams, duration_s: length_s, size, ..Facts::default() };
            let found = planned.check(&facts).err().map(|error| error.0.code);
            assert_eq!(found.as_deref(), code, "{kinds:?} {length_s:?}");
        }
    }
}
