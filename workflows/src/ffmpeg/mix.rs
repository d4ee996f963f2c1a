//! The step kind `ffmpeg.mix_music`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::master::{Film, Master, check_levels, open_music};
use super::score::{Score, default_fade_out_s, default_music_volume};
use crate::lower::Format;
use crate::media::{OpenMedia, Promise, StreamKind, copied_length, input_args};
use crate::slots::Slots;

/// Lays music under a video.
#[derive(Clone)]
pub struct MixMusic {
    slots: Slots,
}

/// The input of `ffmpeg.mix_music`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scoring {
    /// The video. Its pictures are taken over as they are, its first sound track is mixed.
    pub video: Artifact,
    /// The music: any file with a sound track. It is repeated until the video ends.
    pub music: Artifact,
    /// Factor on the video's own sound; 0 leaves it out.
    #[serde(default = "default_video_volume")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub video_volume: f64,
    /// Factor on the music.
    #[serde(default = "default_music_volume")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub music_volume: f64,
    /// Whether the music gives way while the video's own sound is heard.
    #[serde(default)]
    pub duck: bool,
    /// Seconds in which the music fades out at the end; 0 for none.
    #[serde(default = "default_fade_out_s")]
    #[schemars(range(min = 0.0, max = 60.0))]
    pub fade_out_s: f64,
    /// Loudness of the result in LUFS; `null` leaves it as the volumes make it.
    #[serde(default = "default_loudness")]
    #[schemars(range(min = -40.0, max = -8.0))]
    pub loudness_lufs: Option<f64>,
}

fn default_video_volume() -> f64 {
    1.0
}

#[allow(clippy::unnecessary_wraps)] // The field is an `Option`: `null` means something else.
fn default_loudness() -> Option<f64> {
    Some(-16.0)
}

/// The output of `ffmpeg.mix_music`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Mixed {
    /// The video with music: `video.mp4`, or `video.mkv` where MP4 does not hold its pictures.
    pub video: Artifact,
    /// Length of the pictures in seconds, which is how long the file should be.
    pub duration_s: f64,
    /// Loudness of the written file in LUFS; none when it is silent or shorter than 0.4 s.
    pub loudness_lufs: Option<f64>,
    /// Highest peak of the written file in dBTP; none when it is silent.
    pub true_peak_dbtp: Option<f64>,
    /// Whether the loudness asked for was reached, within 0.5 LU and with no peak over -1.5 dBTP.
    pub loudness_reached: bool,
    /// Whether the video has a sound of its own, so that the music is not all that is heard.
    pub has_sound: bool,
}

impl MixMusic {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for MixMusic {
    type Input = Scoring;
    type Output = Mixed;

    fn kind(&self) -> String {
        "ffmpeg.mix_music".to_owned()
    }

    fn description(&self) -> String {
        "Lays music under a video, as loud as asked; the pictures are kept bit for bit.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(2)
    }

    async fn run(&self, input: Scoring, context: StepContext) -> StepResult<Mixed> {
        let volumes = [("video_volume", input.video_volume), ("music_volume", input.music_volume)];
        check_levels(&volumes, input.fade_out_s, input.loudness_lufs)?;
        let mix = Mix::open(&input, &context, &self.slots).await?;
        let has_sound = mix.score.speech.is_some();
        let (name, media_type) = (mix.name(), mix.target.media_type());
        let mastered = Master::new(mix.film(), &context, &self.slots);
        let mastered = mastered.make(input.loudness_lufs).await?;
        Ok(Mixed {
            duration_s: mastered.length_s,
            loudness_lufs: mastered.lufs,
            true_peak_dbtp: mastered.peak_dbtp,
            loudness_reached: mastered.reached,
            has_sound,
            video: mastered.media.store(&name, media_type, &context).await?,
        })
    }
}

/// A mix that is being made.
struct Mix<'a> {
    context: &'a StepContext,
    slots: &'a Slots,
    video: OpenMedia,
    pictures: u32,
    promise: Option<Promise>,
    music: PathBuf,
    length_s: f64,
    score: Score,
    /// What the pictures are written into, as they are.
    target: Format,
    to: PathBuf,
}

impl<'a> Mix<'a> {
    /// Opens both files and refuses what cannot be mixed before anything is decoded.
    async fn open(
        input: &Scoring,
        context: &'a StepContext,
        slots: &'a Slots,
    ) -> StepResult<Mix<'a>> {
        let named = |mut error: StepError| {
            error.0.message = format!("`video`: {}", error.0.message);
            error
        };
        let work = std::path::absolute(context.work_dir()?)?;
        let (video, music) = tokio::join!(
            OpenMedia::open(&input.video, context),
            open_music(&input.music, &work, context, slots),
        );
        let video = video.map_err(named)?;
        let pictures = video.facts.video().map_err(|_| no_pictures())?.clone();
        let (music, sound) = music?;
        let mut mix = Mix {
            context,
            slots,
            pictures: pictures.index,
            promise: Promise::of(&video.facts, &pictures),
            music,
            length_s: pictures.end_s.or(video.facts.duration_s).unwrap_or(0.0),
            score: Score {
                speech: video.facts.first(StreamKind::Audio).map(|stream| stream.index),
                music: Some(sound),
                speech_volume: input.video_volume,
                music_volume: input.music_volume,
                duck: input.duck,
                fade_out_s: input.fade_out_s,
                length_s: 0.0,
            },
            target: Format::of_pictures(pictures.codec.as_deref().unwrap_or_default()),
            to: PathBuf::new(),
            video,
        };
        mix.to = work.join(mix.name());
        mix.find_length(&work).await?;
        Ok(mix)
    }

    /// A film that does not say how long it is says so when it is copied once.
    async fn find_length(&mut self, work: &Path) -> StepResult<()> {
        if self.length_s <= 0.0 {
            let (pictures, to) = ((&*self.video.path, self.pictures), work.join("pictures.mkv"));
            let length = copied_length(pictures, &to, self.context, self.slots).await?;
            self.length_s = length.ok_or_else(no_pictures)?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("video.{}", self.target.name())
    }

    /// Both inputs, the music without an end; the pictures come from the first.
    fn film(self) -> Film {
        // Old containers give pictures without times; a copy needs them.
        let mut heard: Vec<OsString> = ["-fflags", "+genpts"].map(OsString::from).into();
        heard.extend(input_args(&self.video.path));
        heard.extend(["-vn", "-stream_loop", "-1"].map(OsString::from));
        heard.extend(input_args(&self.music));
        let pictures = format!("0:{}", self.pictures);
        let copied = ["-map", &pictures, "-sn", "-dn", "-c:v", "copy"].map(OsString::from);
        let codec = self.video.facts.first(StreamKind::Video).and_then(|it| it.codec.as_deref());
        let tags = self.target.tags(codec).into_iter().map(OsString::from);
        Film {
            score: Score { length_s: self.length_s, ..self.score },
            heard,
            beside: Vec::new(),
            promise: self.promise,
            copied: copied.into_iter().chain(tags).collect(),
            behind: self.target.muxer().iter().map(OsString::from).collect(),
            to: self.to,
        }
    }
}

fn no_pictures() -> StepError {
    StepError::fatal("music.no_video", "the video has no moving pictures")
        .with_hint("`video` takes a file with pictures; `music` takes the sound")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn scoring(fields: Value) -> Scoring {
        let file = json!({ "artifact": "0".repeat(64), "name": "a", "media_type": "b", "size": 1 });
        let mut input = json!({ "video": file, "music": file });
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(input).unwrap()
    }

    #[test]
    fn an_absent_loudness_is_the_usual_one_and_null_is_none() {
        assert_eq!(scoring(json!({})).loudness_lufs, Some(-16.0));
        assert_eq!(scoring(json!({ "loudness_lufs": null })).loudness_lufs, None);
    }
}
