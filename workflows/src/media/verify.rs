//! The step kind `media.verify`: a container's word for its length is not enough, so the file is
//! decoded from end to end.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Facts, OpenMedia, StreamKind, input_args};
use crate::ffmpeg::Run;
use crate::limits::MIN_LENGTH_SHARE;
use crate::slots::Slots;

/// Checks that a media file is whole.
#[derive(Clone)]
pub struct Verify {
    slots: Slots,
}

/// The input of `media.verify`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The media file.
    pub media: Artifact,
    /// The length that it should have, in seconds; 95 % of it is enough.
    #[serde(default)]
    pub expected_duration_s: Option<f64>,
    /// Whether it must have moving pictures.
    #[serde(default)]
    pub expect_video: bool,
    /// Whether it must have sound.
    #[serde(default)]
    pub expect_audio: bool,
    /// Whether the pictures are decoded too. Pictures that were copied as they came may have faults
    /// of their own that every player bears.
    #[serde(default = "default_decode")]
    pub decode_video: bool,
    /// Whether the sound is decoded too. Sound that was copied as it came may have faults of its
    /// own that every player bears.
    #[serde(default = "default_decode")]
    pub decode_audio: bool,
}

fn default_decode() -> bool {
    true
}

/// The output of `media.verify`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verified {
    /// Length in seconds.
    pub duration_s: f64,
    /// Size in bytes.
    pub size: u64,
    /// Coding of the pictures, such as `h264`.
    pub video_codec: Option<String>,
    /// Coding of the sound, such as `aac`.
    pub audio_codec: Option<String>,
    /// Width of the picture in pixels.
    pub width: Option<u32>,
    /// Height of the picture in pixels.
    pub height: Option<u32>,
}

impl Verify {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }

    async fn decode(
        &self,
        media: &OpenMedia,
        input: &Written,
        context: &StepContext,
    ) -> StepResult<()> {
        // A file of sound alone is decoded in any case: else nothing of it would be.
        let with_audio = input.decode_audio || !media.facts.has_video;
        let mut run = Run::new(context, media.facts.duration_s)
            .arg("-xerror")
            .args(input_args(&media.path))
            .args(["-map", "0:v?"]);
        if !input.decode_video {
            // Read to the end all the same.
            run = run.args(["-c:v", "copy"]);
        }
        if with_audio {
            run = run.args(["-map", "0:a?"]);
        }
        let decoded = run.args(["-f", "null"]).nowhere().run(&self.slots).await;
        let decoded = decoded.map_err(|error| match error.0.code.as_str() {
            "ffmpeg.failed" => StepError::fatal("verify.decode", error.0.message),
            _ => error,
        })?;
        // ffmpeg looks into every stream when it opens a file, also into those it then leaves.
        let is_left = |kind| match kind {
            StreamKind::Audio => !with_audio,
            StreamKind::Video => !input.decode_video,
            _ => false,
        };
        let left = media.facts.streams.iter().filter(|stream| is_left(stream.kind));
        // What cuts pictures apart without a decoder behind it signs as `NULL`.
        let nameless = (!input.decode_video).then_some("NULL");
        let left = left.filter_map(|stream| stream.codec.as_deref()).chain(nameless);
        let left: Vec<&str> = left.chain(["null"]).collect();
        match decoded.errors.iter().find(|line| !left.iter().any(|name| is_of(name, line))) {
            Some(line) => {
                let message = format!("the file does not decode without errors: {line}");
                Err(StepError::fatal("verify.decode", message))
            }
            None => Ok(()),
        }
    }
}

impl Step for Verify {
    type Input = Written;
    type Output = Verified;

    fn kind(&self) -> String {
        "media.verify".to_owned()
    }

    fn description(&self) -> String {
        "Checks that a media file is whole: streams, length, and that all of it decodes.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Written, context: StepContext) -> StepResult<Verified> {
        let media = OpenMedia::open(&input.media, &context).await?;
        check(&media.facts, &input)?;
        self.decode(&media, &input, &context).await?;
        let codec = |kind| media.facts.first(kind).and_then(|stream| stream.codec.clone());
        Ok(Verified {
            duration_s: media.facts.duration_s.unwrap_or(0.0),
            size: media.facts.size,
            video_codec: codec(StreamKind::Video),
            audio_codec: codec(StreamKind::Audio),
            width: media.facts.width,
            height: media.facts.height,
        })
    }
}

/// Whether a line comes from this part of ffmpeg. What the writer to nowhere (`null`) complains of,
/// such as the order of pictures, says nothing of the file.
fn is_of(name: &str, line: &str) -> bool {
    line.strip_prefix('[')
        .and_then(|line| line.strip_prefix(name))
        .is_some_and(|rest| rest.starts_with(" @ "))
}

fn check(facts: &Facts, input: &Written) -> StepResult<()> {
    let refused = |code: &str, message: &str| Err(StepError::fatal(code, message));
    if input.expect_video && !facts.has_video {
        return refused("verify.no_video", "the file should have moving pictures and has none");
    }
    if input.expect_audio && !facts.has_audio {
        return refused("verify.no_audio", "the file should have sound and has none");
    }
    let duration = facts.duration_s.unwrap_or(0.0);
    if duration <= 0.0 {
        return refused("verify.too_short", "the file has no length");
    }
    match input.expected_duration_s {
        Some(expected) if duration < expected * MIN_LENGTH_SHARE => {
            let message = format!("the file lasts {duration:.2} s, expected {expected:.2} s");
            Err(StepError::fatal("verify.too_short", message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_told_by_who_wrote_them() {
        for (name, line, expected) in [
            ("aac", "[aac @ 0x55] [error] Number of bands (63) exceeds limit (44).", true),
            ("null", "[null @ 0x55] [error] non monotonically increasing dts", true),
            ("aac", "[aac_latm @ 0x55] [error] no", false),
            ("aac", "[error] [aac @ 0x55]", false),
            ("h264", "[mov @ 0x55] [error] [h264 @", false),
        ] {
            assert_eq!(is_of(name, line), expected, "{line}");
        }
    }

    #[test]
    fn streams_and_length_are_checked() {
        let digest = "0".repeat(64);
        let media = json!({ "artifact": digest, "name": "a", "media_type": "b", "size": 1 });
        for (video, audio, duration_s, expected, code) in [
            (true, true, Some(10.0), json!({}), None),
            (true, false, Some(10.0), json!({ "expect_video": true }), None),
            (false, true, Some(10.0), json!({ "expect_video": true }), Some("verify.no_video")),
            (true, false, Some(10.0), json!({ "expect_audio": true }), Some("verify.no_audio")),
            (true, true, None, json!({}), Some("verify.too_short")),
            (true, true, Some(9.6), json!({ "expected_duration_s": 10 }), None),
            (true, true, Some(9.4), json!({ "expected_duration_s": 10 }), Some("verify.too_short")),
        ] {
            let facts =
                Facts { has_video: video, has_audio: audio, duration_s, ..Facts::default() };
            let mut input = expected.clone();
            input["media"] = media.clone();
            let input: Written = serde_json::from_value(input).unwrap();
            let found = check(&facts, &input).err().map(|error| error.0.code);
            assert_eq!(found.as_deref(), code, "{expected}");
        }
    }
}
