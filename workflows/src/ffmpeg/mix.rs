//! The step kind `ffmpeg.mix_music`.

use std::path::{Path, PathBuf};

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::loudness::{Level, MEASURE, Measured};
use super::run::Run;
use super::score::Score;
use crate::limits::{
    MAX_DRIFT_S, MAX_FADE_S, MAX_LOUDNESS_LUFS, MAX_MIX_ROUNDS_COUNT, MAX_VOLUME_RATIO,
    MIN_LOUDNESS_LUFS,
};
use crate::lower::Format;
use crate::media::{OpenMedia, StreamKind, input_args};
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

fn default_music_volume() -> f64 {
    0.3
}

fn default_fade_out_s() -> f64 {
    2.0
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
    pub has_speech: bool,
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

    async fn run(&self, input: Scoring, context: StepContext) -> StepResult<Mixed> {
        input.check()?;
        let mut mix = Mix::open(&input, &context, &self.slots).await?;
        let (level, target) = (Level::default(), input.loudness_lufs);
        let mut level = Level::of(&mix.measure(&level).await?, target);
        let mut measured = mix.write(&level).await?;
        for _ in 1..MAX_MIX_ROUNDS_COUNT {
            let drifted = mix.correct_length().await?;
            match level.corrected(&measured, target) {
                Some(better) => level = better,
                None if drifted => {}
                None => break,
            }
            measured = mix.write(&level).await?;
        }
        let silent = measured.lufs.is_none() && target.is_some();
        Ok(Mixed {
            duration_s: mix.length_s,
            loudness_lufs: measured.lufs,
            true_peak_dbtp: measured.peak_dbtp,
            loudness_reached: measured.reaches(target) && !silent,
            has_speech: mix.score.speech.is_some(),
            video: context.put_file(mix.to.clone(), mix.name(), mix.target.media_type()).await?,
        })
    }
}

impl Scoring {
    fn check(&self) -> StepResult<()> {
        let loudness = self.loudness_lufs.unwrap_or(MIN_LOUDNESS_LUFS);
        for (field, value, least, most) in [
            ("video_volume", self.video_volume, 0.0, MAX_VOLUME_RATIO),
            ("music_volume", self.music_volume, 0.0, MAX_VOLUME_RATIO),
            ("fade_out_s", self.fade_out_s, 0.0, MAX_FADE_S),
            ("loudness_lufs", loudness, MIN_LOUDNESS_LUFS, MAX_LOUDNESS_LUFS),
        ] {
            if !(least..=most).contains(&value) {
                let message = format!("`{field}` is {value}, expected {least} to {most}");
                return Err(StepError::fatal("ffmpeg.input", message));
            }
        }
        Ok(())
    }
}

/// A mix that is being made.
struct Mix<'a> {
    context: &'a StepContext,
    slots: &'a Slots,
    video: OpenMedia,
    pictures: u32,
    music: PathBuf,
    length_s: f64,
    score: Score,
    /// What the pictures are written into, as they are.
    target: Format,
    to: PathBuf,
    /// Percents that those who watch were told.
    done: f64,
}

impl<'a> Mix<'a> {
    /// Opens both files and refuses what cannot be mixed before anything is decoded.
    async fn open(
        input: &Scoring,
        context: &'a StepContext,
        slots: &'a Slots,
    ) -> StepResult<Mix<'a>> {
        let open = async |name: &str, artifact| {
            let named = |mut error: StepError| {
                error.0.message = format!("`{name}`: {}", error.0.message);
                error
            };
            OpenMedia::open(artifact, context).await.map_err(named)
        };
        let video = open("video", &input.video).await?;
        let music = open("music", &input.music).await?;
        let pictures = video.facts.video().map_err(|_| no_pictures())?.clone();
        let sound = music.facts.audio().map_err(|_| no_music("the music file has no sound"))?.index;
        let work = std::path::absolute(context.work_dir()?)?;
        let mut mix = Mix {
            context,
            slots,
            pictures: pictures.index,
            music: music.path.clone(),
            length_s: pictures.end_s.or(video.facts.duration_s).unwrap_or(0.0),
            score: Score {
                speech: video.facts.first(StreamKind::Audio).map(|stream| stream.index),
                music: sound,
                speech_volume: input.video_volume,
                music_volume: input.music_volume,
                duck: input.duck,
                fade_out_s: input.fade_out_s,
                length_s: 0.0,
            },
            target: Format::of_pictures(pictures.codec.as_deref().unwrap_or_default()),
            to: PathBuf::new(),
            video,
            done: 0.0,
        };
        mix.to = work.join(mix.name());
        mix.find_lengths(&music, &work).await?;
        Ok(mix)
    }

    /// Recorders that were cut off, and browsers, write files that do not say how long they are.
    /// Copied once, they do; and music without an end or a beginning would be repeated for ever.
    async fn find_lengths(&mut self, music: &OpenMedia, work: &Path) -> StepResult<()> {
        if music.facts.duration_s.is_none() {
            let to = work.join("music.mka");
            if self.copied_length(&music.path, self.score.music, &to).await?.is_none() {
                return Err(no_music("the music's sound track is empty"));
            }
            (self.music, self.score.music) = (to, 0);
        }
        if self.length_s <= 0.0 {
            let to = work.join("pictures.mkv");
            let length = self.copied_length(&self.video.path, self.pictures, &to).await?;
            self.length_s = length.ok_or_else(no_pictures)?;
        }
        Ok(())
    }

    /// Copies a stream into a file of its own; none when there is nothing in it.
    async fn copied_length(&self, from: &Path, stream: u32, to: &Path) -> StepResult<Option<f64>> {
        Run::new(self.context, None)
            .args(["-fflags", "+genpts"])
            .args(input_args(from))
            .arg("-map")
            .arg(format!("0:{stream}"))
            .args(["-c", "copy", "-f", "matroska"])
            .output(to)
            .run(self.slots)
            .await?;
        match OpenMedia::written(to, self.context).await {
            Ok(copy) => Ok(copy.facts.duration_s),
            // A Matroska file without a single packet cannot be opened.
            Err(StepError(failure)) if failure.code == "media.unreadable" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How loud the mix is, before anything is written.
    async fn measure(&mut self, level: &Level) -> StepResult<Measured> {
        let span = self.next(0.3);
        let run = self
            .inputs(span)
            .args(["-filter_complex", &self.graph(level, Some(MEASURE))])
            .args(["-map", "[out]", "-f", "null"])
            .nowhere();
        read(&run.run(self.slots).await?.said)
    }

    /// Writes the file; tells how loud it then is, since the encoder has its share in that.
    async fn write(&mut self, level: &Level) -> StepResult<Measured> {
        let span = self.next(0.6);
        self.inputs(span)
            .args(["-filter_complex", &self.graph(level, None)])
            .arg("-map")
            .arg(format!("0:{}", self.pictures))
            .args(["-map", "[out]", "-sn", "-dn", "-c:v", "copy"])
            .args(["-c:a", "aac", "-b:a", "192k", "-ar", "48000", "-ac", "2"])
            .args(["-max_muxing_queue_size", "4096"])
            .args(self.target.muxer())
            .output(&self.to)
            .run(self.slots)
            .await?;
        let (from, to) = self.next(0.6);
        let run = Run::new(self.context, Some(self.length_s))
            .span(from, to)
            .args(input_args(&self.to))
            .args(["-map", "0:a:0", "-vn", "-af", MEASURE, "-f", "null"])
            .nowhere();
        read(&run.run(self.slots).await?.said)
    }

    /// Corrects the length when the written sound does not end with the pictures: what a file says
    /// of its own length may be wrong, what was just written says it exactly.
    async fn correct_length(&mut self) -> StepResult<bool> {
        let written = OpenMedia::written(&self.to, self.context).await?;
        let end = |kind| written.facts.first(kind).and_then(|stream| stream.end_s);
        let (Some(video), Some(audio)) = (end(StreamKind::Video), end(StreamKind::Audio)) else {
            return Ok(false);
        };
        let drifted = (video - audio).abs() > MAX_DRIFT_S;
        if drifted {
            self.length_s += video - audio;
        }
        Ok(drifted)
    }

    /// Both inputs, the music without an end.
    fn inputs(&self, (from, to): (f64, f64)) -> Run {
        Run::new(self.context, Some(self.length_s))
            .span(from, to)
            // Old containers give pictures without times; a copy needs them.
            .args(["-fflags", "+genpts"])
            .args(input_args(&self.video.path))
            .args(["-vn", "-stream_loop", "-1"])
            .args(input_args(&self.music))
    }

    fn graph(&self, level: &Level, measure: Option<&str>) -> String {
        Score { length_s: self.length_s, ..self.score }.graph(level, measure)
    }

    fn name(&self) -> String {
        format!("video.{}", self.target.name())
    }

    /// The percents of the next run: a share of what is left, since nobody knows how many come.
    fn next(&mut self, share: f64) -> (f64, f64) {
        let from = self.done;
        self.done += (100.0 - from) * share;
        (from, self.done)
    }
}

fn read(said: &[String]) -> StepResult<Measured> {
    Measured::read(said).ok_or_else(|| {
        let message = "ffmpeg ended without saying how loud the sound is";
        StepError::fatal("music.not_measured", message)
            .with_hint("`ffmpeg -filters` must list `ebur128`; on Debian, use its `ffmpeg`")
    })
}

fn no_pictures() -> StepError {
    StepError::fatal("music.no_video", "the video has no moving pictures")
        .with_hint("`video` takes a file with pictures; `music` takes the sound")
}

fn no_music(message: &str) -> StepError {
    StepError::fatal("music.no_audio", message)
        .with_hint("give `music` a file that can be heard, such as an MP3")
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
    fn values_beyond_their_bounds_are_refused_by_name() {
        for (fields, named) in [
            (json!({}), None),
            (json!({ "loudness_lufs": null, "fade_out_s": 0, "music_volume": 10 }), None),
            (json!({ "video_volume": -0.1 }), Some("video_volume")),
            (json!({ "music_volume": 10.1 }), Some("music_volume")),
            (json!({ "fade_out_s": 61 }), Some("fade_out_s")),
            (json!({ "loudness_lufs": -7 }), Some("loudness_lufs")),
            (json!({ "loudness_lufs": -41 }), Some("loudness_lufs")),
        ] {
            let refused = scoring(fields.clone()).check().err();
            assert_eq!(refused.is_some(), named.is_some(), "{fields}");
            if let (Some(StepError(failure)), Some(named)) = (refused, named) {
                assert_eq!(failure.code, "ffmpeg.input");
                assert!(failure.message.contains(named), "{}", failure.message);
            }
        }
    }

    #[test]
    fn an_absent_loudness_is_the_usual_one_and_null_is_none() {
        assert_eq!(scoring(json!({})).loudness_lufs, Some(-16.0));
        assert_eq!(scoring(json!({ "loudness_lufs": null })).loudness_lufs, None);
    }
}
