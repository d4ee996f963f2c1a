//! The step kind `scenes.picture`: the one encode that a scene's pictures ever see.

use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frame::{Fit, Frame};
use super::plan::{default_fps, rate};
use super::rate::Rate;
use crate::ffmpeg::{BURN, CAPTIONS, Preset, Run, copy_captions};
use crate::limits::{MAX_DURATION_S, MAX_FILM_SIDE_PIXELS, MIN_FILM_SIDE_PIXELS};
use crate::media::{OpenMedia, Promise, input_args};
use crate::slots::Slots;

/// Encodes a scene's pictures as a part of the film.
#[derive(Clone)]
pub struct EncodePicture {
    slots: Slots,
}

/// The input of `scenes.picture`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Framing {
    /// The scene. Its last picture is held when it is shorter than it should be.
    pub scene: Artifact,
    /// How many pictures are written.
    #[schemars(range(min = 1))]
    pub frames: u64,
    /// Pictures a second, as `scenes.plan` was given them.
    #[serde(default = "default_fps")]
    #[schemars(range(min = 1.0, max = 120.0))]
    pub fps: f64,
    /// Width of the film in pixels: even, 480 to 3840.
    #[serde(default = "default_width")]
    #[schemars(range(min = 480, max = 3840))]
    pub width: u32,
    /// Height of the film in pixels: even, 480 to 3840.
    #[serde(default = "default_height")]
    #[schemars(range(min = 480, max = 3840))]
    pub height: u32,
    /// How a scene of another shape fills the frame.
    #[serde(default)]
    pub fit: Fit,
    /// Captions as ASS that are drawn into the picture, with times from the start of the scene.
    #[serde(default)]
    pub captions: Option<Artifact>,
    /// How long the encoder tries to make the file small.
    #[serde(default)]
    pub preset: Preset,
    /// The quality: 0 is without loss, 51 is the worst, 23 is usual.
    #[serde(default = "default_crf")]
    #[schemars(range(min = 0, max = 51))]
    pub crf: u8,
}

fn default_width() -> u32 {
    1080
}

fn default_height() -> u32 {
    1920
}

fn default_crf() -> u8 {
    23
}

/// The output of `scenes.picture`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pictured {
    /// The pictures alone: MP4, H.264. Parts of one film share their coding, so that they can be
    /// joined without another encode.
    pub picture: Artifact,
    /// How many there are.
    pub frames: u64,
}

impl EncodePicture {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for EncodePicture {
    type Input = Framing;
    type Output = Pictured;

    fn kind(&self) -> String {
        "scenes.picture".to_owned()
    }

    fn description(&self) -> String {
        "Encodes a scene's pictures in the film's size, with captions where there are any."
            .to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Framing, context: StepContext) -> StepResult<Pictured> {
        input.check()?;
        let frame = Frame {
            width: input.width,
            height: input.height,
            fit: input.fit,
            rate: rate(input.fps)?,
        };
        let scene = OpenMedia::open(&input.scene, &context).await?;
        // ffmpeg runs inside its directory, where a relative path would mean another file.
        let work = std::path::absolute(context.work_dir()?)?;
        if let Some(captions) = &input.captions {
            copy_captions(&context.open(captions).await?, &work.join(CAPTIONS))?;
        }
        let to = work.join("picture.mp4");
        let promise = Promise::of(&scene.facts, scene.facts.video()?);
        let written = self.encode(&input, frame, &scene, promise, &to, &context).await?;
        // A part with a picture too few would move all that follows.
        check_frames(written, input.frames, frame.rate, promise)?;
        let picture = context.put_file(to, "picture.mp4", "video/mp4").await?;
        Ok(Pictured { picture, frames: input.frames })
    }
}

impl EncodePicture {
    async fn encode(
        &self,
        input: &Framing,
        frame: Frame,
        scene: &OpenMedia,
        promise: Option<Promise>,
        to: &Path,
        context: &StepContext,
    ) -> StepResult<u64> {
        let source = scene.facts.video()?;
        // What a cut-off file does not hold is not made up.
        let found = |promise: Promise| frame.rate.whole_frames(promise.least_s());
        let hold = promise.map(|promise| input.frames.saturating_sub(found(promise)));
        let filters = frame.filters(source, hold, input.captions.as_ref().map(|_| BURN));
        let run = Run::new(context, Some(frame.rate.seconds(input.frames)))
            .directory(to.parent().unwrap_or(to))
            .args(input_args(&scene.path))
            .arg("-map")
            .arg(format!("0:{}", source.index))
            .args(["-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"])
            .args(["-vf", &filters, "-frames:v", &input.frames.to_string()])
            .args(["-c:v", "libx264", "-preset", input.preset.name(), "-crf"])
            .arg(input.crf.to_string())
            // Whatever the scene was, all parts have one header.
            .args(["-pix_fmt", "yuv420p", "-chroma_sample_location", "left"])
            .args(["-color_range", "tv", "-colorspace", "bt709"])
            .args(["-color_primaries", "bt709", "-color_trc", "bt709"])
            .args(["-video_track_timescale", &frame.rate.ticks().0.to_string()])
            // No date and no version in the file: the same scene gives the same artifact.
            .args(["-fflags", "+bitexact", "-flags:v", "+bitexact", "-f", "mp4"])
            .output(to);
        Ok(run.run(&self.slots).await?.frames)
    }
}

impl Framing {
    fn check(&self) -> StepResult<()> {
        let refused = |message: String| Err(StepError::fatal("merge.input", message));
        for (field, side) in [("width", self.width), ("height", self.height)] {
            let fits = (MIN_FILM_SIDE_PIXELS..=MAX_FILM_SIDE_PIXELS).contains(&side);
            if !fits || side % 2 == 1 {
                return refused(format!(
                    "`{field}` is {side}, expected an even number from {MIN_FILM_SIDE_PIXELS} to \
                     {MAX_FILM_SIDE_PIXELS}"
                ));
            }
        }
        if self.crf > 51 {
            return refused(format!("`crf` is {}, expected 0 to 51", self.crf));
        }
        let most = (MAX_DURATION_S * self.fps) as u64;
        if !(1..=most).contains(&self.frames) {
            return refused(format!("`frames` is {}, expected 1 to {most}", self.frames));
        }
        Ok(())
    }
}

fn check_frames(
    written: u64,
    planned: u64,
    rate: Rate,
    promise: Option<Promise>,
) -> StepResult<()> {
    if written == planned {
        return Ok(());
    }
    if written == 0 {
        let message = "the scene has no picture that decodes";
        return Err(StepError::fatal("merge.no_video", message));
    }
    // A picture more or less is a fault of ours.
    if let Some(promise) = promise.filter(|_| written + 1 < planned) {
        return Err(promise.broken("the scene", rate.seconds(written)));
    }
    let message = format!("{written} pictures were written, expected {planned}");
    Err(StepError::fatal("merge.frames", message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn framing(fields: &Value) -> Framing {
        let file = json!({ "artifact": "0".repeat(64), "name": "a", "media_type": "b", "size": 1 });
        let mut input = json!({ "scene": file, "frames": 30 });
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(input).unwrap()
    }

    #[test]
    fn values_beyond_their_bounds_are_refused_by_name() {
        for (fields, named) in [
            (json!({}), None),
            (json!({ "width": 480, "height": 3_840, "crf": 0 }), None),
            (json!({ "width": 479 }), Some("`width`")),
            (json!({ "width": 481 }), Some("`width`")),
            (json!({ "height": 3_842 }), Some("`height`")),
            (json!({ "crf": 52 }), Some("`crf`")),
            (json!({ "frames": 0 }), Some("`frames`")),
            (json!({ "frames": 3_000_000 }), Some("`frames`")),
        ] {
            let refused = framing(&fields).check().err().map(|error| error.0);
            assert_eq!(refused.is_some(), named.is_some(), "{fields}");
            if let (Some(failure), Some(named)) = (refused, named) {
                assert_eq!(failure.code, "merge.input");
                assert!(failure.message.contains(named), "{}", failure.message);
            }
        }
    }

    #[test]
    fn a_part_has_the_pictures_that_were_planned() {
        for (written, code) in [
            (30, None),
            (29, Some("merge.frames")),
            (31, Some("merge.frames")),
            (0, Some("merge.no_video")),
        ] {
            let rate = Rate::of(30.0).unwrap();
            let refused = check_frames(written, 30, rate, None).err().map(|error| error.0.code);
            assert_eq!(refused.as_deref(), code, "{written}");
        }
    }
}
