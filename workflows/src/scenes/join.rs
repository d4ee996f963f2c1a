//! The step kind `scenes.join`: pictures, sound and captions become a film, all by copy.

use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::listed;
use super::picture::Pictured;
use super::plan::{default_fps, rate};
use super::rate::Rate;
use super::score::Scored;
use crate::ffmpeg::{Run, Track};
use crate::limits::{MAX_DRIFT_S, SAMPLES_PER_SECOND};
use crate::lower::Format;
use crate::media::{Facts, OpenMedia, StreamKind, input_args};
use crate::slots::Slots;

/// Joins the parts of a film.
#[derive(Clone)]
pub struct JoinScenes {
    slots: Slots,
}

/// The input of `scenes.join`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The parts' pictures in their order, as `scenes.picture` encodes them.
    pub pictures: Vec<Pictured>,
    /// The sound of the whole film, as `scenes.score` makes it.
    pub sound: Scored,
    /// Pictures a second, as the parts were encoded.
    #[serde(default = "default_fps")]
    #[schemars(range(min = 1.0, max = 120.0))]
    pub fps: f64,
    /// Captions as SubRip that become a track which viewers can switch on.
    #[serde(default)]
    pub captions: Option<Artifact>,
    /// The language of the captions as a code, such as `en`; the track is tagged with it.
    #[serde(default)]
    pub language: Option<String>,
}

/// The output of `scenes.join`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Joined {
    /// The film: MP4, H.264 and AAC, named `video.mp4`.
    pub video: Artifact,
    /// Its length in seconds.
    pub duration_s: f64,
    /// How many pictures it has.
    pub frames: u64,
}

impl JoinScenes {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for JoinScenes {
    type Input = Parts;
    type Output = Joined;

    fn kind(&self) -> String {
        "scenes.join".to_owned()
    }

    fn description(&self) -> String {
        "Joins the pictures of a film's parts, its sound and its captions, all by copy.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(2)
    }

    async fn run(&self, input: Parts, context: StepContext) -> StepResult<Joined> {
        let rate = rate(input.fps)?;
        let frames = input.frames(rate)?;
        let to = std::path::absolute(context.work_dir()?)?.join("video.mp4");
        self.join(&input, rate, frames, &to, &context).await?;
        let film = OpenMedia::written(&to, &context).await?;
        check_length(&film.facts, rate, frames)?;
        let video = film.store("video.mp4", "video/mp4", &context).await?;
        Ok(Joined { duration_s: rate.seconds(frames), frames, video })
    }
}

impl Parts {
    /// How many pictures the film has.
    fn frames(&self, rate: Rate) -> StepResult<u64> {
        let frames: u64 = self.pictures.iter().map(|part| part.frames).sum();
        let refused = |message: String| Err(StepError::fatal("merge.input", message));
        if frames == 0 {
            return refused("there are no `pictures`".to_owned());
        }
        let (samples, expected) = (self.sound.samples, rate.sample(frames));
        if samples != expected {
            return refused(format!("`sound` has {samples} samples, expected {expected}"));
        }
        Ok(frames)
    }
}

impl JoinScenes {
    /// Copies all that the film is made of into one file.
    async fn join(
        &self,
        input: &Parts,
        rate: Rate,
        frames: u64,
        to: &Path,
        context: &StepContext,
    ) -> StepResult<()> {
        let ends = input.pictures.iter().scan(0, |end, part| {
            *end += part.frames;
            Some((&part.picture, rate.micros(*end)))
        });
        let work = to.parent().unwrap_or(to);
        let pictures = listed("mp4", &ends.collect::<Vec<_>>(), work, context).await?;
        let sound = OpenMedia::open(&input.sound.sound, context).await?;
        let mut run = Run::new(context, Some(rate.seconds(frames)))
            .args(pictures)
            .args(input_args(&sound.path));
        let mut track = Vec::new();
        if let Some(artifact) = &input.captions {
            let spoken = input.language.as_deref();
            let opened = Track::open(artifact, spoken, Format::Mp4, context).await?;
            run = run.args(opened.input());
            track = opened.output(2, 0);
        }
        let (second, picture) = rate.ticks();
        // What is left of rounding is taken away: every picture begins on its tick.
        let snap = format!("setts=pts=round(PTS/{0})*{0}:dts=round(DTS/{0})*{0}", picture);
        run.args(["-map", "0:v:0", "-c:v", "copy", "-bsf:v", &snap])
            .args(["-video_track_timescale", &second.to_string()])
            .args(["-map", "1:a:0", "-c:a", "copy"])
            .args(track)
            .args(["-dn", "-map_metadata", "-1", "-map_chapters", "-1"])
            .args(["-max_muxing_queue_size", "4096", "-movflags", "+faststart", "-f", "mp4"])
            .output(to)
            .run(&self.slots)
            .await?;
        Ok(())
    }
}

/// Checks that the film has the pictures of its parts, and that its sound ends with them.
fn check_length(facts: &Facts, rate: Rate, frames: u64) -> StepResult<()> {
    let end = |kind| facts.first(kind).and_then(|stream| stream.end_s).unwrap_or(0.0);
    let (pictures, sound) = (end(StreamKind::Video), end(StreamKind::Audio));
    if rate.frames(pictures) != frames {
        let found = rate.frames(pictures);
        let message = format!("the film has {found} pictures, expected {frames}");
        return Err(StepError::fatal("merge.frames", message));
    }
    if (sound - pictures).abs() > MAX_DRIFT_S + 1.0 / SAMPLES_PER_SECOND as f64 {
        let message = format!("the sound ends at {sound:.3} s, the pictures at {pictures:.3} s");
        return Err(StepError::fatal("merge.samples", message));
    }
    Ok(())
}
