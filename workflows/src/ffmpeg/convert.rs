//! The step kind `ffmpeg.convert`.

use std::path::{Path, PathBuf};

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cut::Cutter;
use super::hardware::{Device, Hardware};
use super::resolution::Resolution;
use super::run::Run;
use super::whole::check_written;
use crate::limits::{
    MAX_ASKED_CHANNELS_COUNT, MAX_ASKED_FRAMES_PER_SECOND, MAX_ASKED_KBIT_PER_SECOND,
    MAX_ASKED_SAMPLES_PER_SECOND, MAX_CUT_COUNT, MAX_DURATION_S, MIN_ASKED_FRAMES_PER_SECOND,
    MIN_ASKED_KBIT_PER_SECOND, MIN_ASKED_SAMPLES_PER_SECOND,
};
use crate::lower::{
    Clip, Fate, Format, Lowered, Picture, PictureCodec, Plan, Quality, Sound, SoundCodec, Way,
    lower,
};
use crate::media::{Facts, OpenMedia, StreamKind};
use crate::slots::Slots;

/// Writes a media file in another container, coding, quality, size or length.
#[derive(Clone)]
pub struct Convert {
    slots: Slots,
    hardware: Hardware,
}

/// The input of `ffmpeg.convert`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The media file.
    pub video: Artifact,
    /// The container to write.
    #[serde(default = "default_format")]
    pub format: Format,
    /// What the pictures are coded as; `auto` keeps them where the container holds them.
    #[serde(default)]
    pub codec: PictureChoice,
    /// How much of the pictures is kept. They are then encoded; `null` keeps them where it can.
    #[serde(default)]
    pub quality: Option<Quality>,
    /// The box that the pictures fit into; they are never enlarged.
    #[serde(default)]
    pub resolution: Resolution,
    /// Pictures a second; `null` keeps them.
    #[serde(default)]
    #[schemars(range(min = 1.0, max = 240.0))]
    pub fps: Option<f64>,
    /// Second at which a clip begins.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub from_s: Option<f64>,
    /// Second at which it ends.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub to_s: Option<f64>,
    /// What the sound is coded as; `auto` keeps it where the container holds it, `none` leaves it
    /// out.
    #[serde(default)]
    pub audio_codec: SoundChoice,
    /// Kilobits of sound a second; the sound is then encoded.
    #[serde(default)]
    #[schemars(range(min = 16, max = 512))]
    pub audio_kbps: Option<u32>,
    /// Channels of sound; `null` keeps them.
    #[serde(default)]
    #[schemars(range(min = 1, max = 8))]
    pub audio_channels: Option<u32>,
    /// Samples of sound a second; `null` keeps them.
    #[serde(default)]
    #[schemars(range(min = 8000, max = 192_000))]
    pub audio_sample_rate: Option<u32>,
    /// Whether subtitles come along where the container holds them.
    #[serde(default = "default_subtitles")]
    pub subtitles: bool,
    /// Who encodes the pictures. A device is used only when it passes a test.
    #[serde(default)]
    pub encoder: Device,
}

fn default_format() -> Format {
    Format::Mp4
}

fn default_subtitles() -> bool {
    true
}

/// What the pictures are to be coded as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The usual names; `auto` is explained where it is used.
pub enum PictureChoice {
    #[default]
    Auto,
    H264,
    H265,
    Vp9,
    Av1,
}

/// What the sound is to be coded as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The usual names; `auto` and `none` are explained where they are used.
pub enum SoundChoice {
    #[default]
    Auto,
    Aac,
    Mp3,
    Opus,
    Flac,
    Pcm,
    None,
}

/// The output of `ffmpeg.convert`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Converted {
    /// The file: `video` or, without pictures, `audio`, with the ending of its container.
    pub file: Artifact,
    /// Its length in seconds.
    pub duration_s: f64,
    /// Width of its pictures in pixels.
    pub width: Option<u32>,
    /// Height of its pictures in pixels.
    pub height: Option<u32>,
    /// What became of each stream of the source, and why.
    pub streams: Vec<Fate>,
    /// What did not go as asked, such as a device that does not work.
    pub notes: Vec<String>,
}

impl Convert {
    pub(crate) fn new(slots: Slots, hardware: Hardware) -> Self {
        Self { slots, hardware }
    }
}

impl Step for Convert {
    type Input = Conversion;
    type Output = Converted;

    fn kind(&self) -> String {
        "ffmpeg.convert".to_owned()
    }

    fn description(&self) -> String {
        "Writes a media file in another container, coding, quality, size or length; what can be \
         copied is copied."
            .to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Conversion, context: StepContext) -> StepResult<Converted> {
        input.check()?;
        let media = OpenMedia::open(&input.video, &context).await?;
        let lowered = lower(&input.plan(&media.facts))?;
        let work = std::path::absolute(context.work_dir()?)?;
        let notes = input.notes(&media.facts);
        let mut job = Job { context: &context, media, lowered, work, notes };
        let to = job.write(&input, self).await?;
        let written = check_written(&to, &job.lowered, &context).await?;
        let pictures = job.lowered.count(StreamKind::Video) > 0;
        let stem = if pictures { "video" } else { "audio" };
        let name = format!("{stem}.{}", input.format.name());
        Ok(Converted {
            duration_s: written.duration_s.unwrap_or(0.0),
            width: written.width.filter(|_| pictures),
            height: written.height.filter(|_| pictures),
            file: context.put_file(to, &name, input.format.media_type()).await?,
            streams: job.lowered.fates,
            notes: job.notes,
        })
    }
}

impl Conversion {
    fn check(&self) -> StepResult<()> {
        for (field, value, least, most) in [
            ("fps", self.fps, MIN_ASKED_FRAMES_PER_SECOND, MAX_ASKED_FRAMES_PER_SECOND),
            ("from_s", self.from_s, 0.0, MAX_DURATION_S),
            ("to_s", self.to_s, 0.0, MAX_DURATION_S),
            (
                "audio_kbps",
                self.audio_kbps.map(f64::from),
                MIN_ASKED_KBIT_PER_SECOND,
                MAX_ASKED_KBIT_PER_SECOND,
            ),
            (
                "audio_channels",
                self.audio_channels.map(f64::from),
                1.0,
                f64::from(MAX_ASKED_CHANNELS_COUNT),
            ),
            (
                "audio_sample_rate",
                self.audio_sample_rate.map(f64::from),
                MIN_ASKED_SAMPLES_PER_SECOND,
                MAX_ASKED_SAMPLES_PER_SECOND,
            ),
        ] {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                let message = format!("`{field}` is {value}, expected {least} to {most}");
                return Err(StepError::fatal("ffmpeg.input", message));
            }
        }
        let codec = self.codec.codec().unwrap_or(self.format.picture_codec());
        if self.quality == Some(Quality::Lossless) && !codec.can_be_lossless() {
            let message = "`quality` is `lossless`, which the encoder of `av1` cannot do";
            return Err(StepError::fatal("ffmpeg.input", message)
                .with_hint("use `high`, or `h265` or `vp9` as `codec`"));
        }
        Ok(())
    }

    fn plan<'a>(&self, facts: &'a Facts) -> Plan<'a> {
        let sound = Sound {
            codec: self.audio_codec.codec(),
            kbps: self.audio_kbps,
            channels: self.audio_channels,
            sample_rate: self.audio_sample_rate,
            filters: None,
        };
        let clip = Clip { from_s: self.from_s.unwrap_or(0.0), to_s: self.to_s };
        Plan {
            facts,
            clip: Some(clip),
            picture: Some(Picture {
                codec: self.codec.codec(),
                quality: self.quality,
                fit: self.resolution.0,
                fps: self.fps,
                filters: None,
            }),
            sound: (self.audio_codec != SoundChoice::None).then_some(sound),
            subtitles: self.subtitles,
            format: self.format,
        }
    }

    /// What is asked for and will not be.
    fn notes(&self, facts: &Facts) -> Vec<String> {
        let Some((width, height)) = facts.width.zip(facts.height) else { return Vec::new() };
        let larger = |(wide, high): (Option<u32>, u32)| {
            high > height && wide.is_none_or(|wide| wide > width)
        };
        let asked = self.resolution.0.filter(|asked| larger(*asked));
        let note = "the pictures keep their";
        asked
            .map(|_| format!("{note} {width}x{height}: they are never enlarged"))
            .into_iter()
            .collect()
    }
}

impl PictureChoice {
    fn codec(self) -> Option<PictureCodec> {
        match self {
            Self::Auto => None,
            Self::H264 => Some(PictureCodec::H264),
            Self::H265 => Some(PictureCodec::H265),
            Self::Vp9 => Some(PictureCodec::Vp9),
            Self::Av1 => Some(PictureCodec::Av1),
        }
    }
}

impl SoundChoice {
    fn codec(self) -> Option<SoundCodec> {
        match self {
            Self::Auto | Self::None => None,
            Self::Aac => Some(SoundCodec::Aac),
            Self::Mp3 => Some(SoundCodec::Mp3),
            Self::Opus => Some(SoundCodec::Opus),
            Self::Flac => Some(SoundCodec::Flac),
            Self::Pcm => Some(SoundCodec::Pcm),
        }
    }
}

/// A conversion under way.
struct Job<'a> {
    context: &'a StepContext,
    media: OpenMedia,
    lowered: Lowered,
    work: PathBuf,
    notes: Vec<String>,
}

impl Job<'_> {
    async fn write(&mut self, input: &Conversion, step: &Convert) -> StepResult<PathBuf> {
        let to = self.work.join(format!("converted.{}", input.format.name()));
        if self.lowered.picture_way() == Some(Way::Cut) {
            match self.write_cut(&to, &step.slots).await {
                Ok(Ok(())) => return Ok(to),
                Ok(Err(reason)) => self.lowered.encode_instead(&reason),
                // An encode bears faults of the source that a copy does not.
                Err(error) if error.0.code == "ffmpeg.failed" => {
                    self.lowered.encode_instead("its parts could not be written and joined");
                }
                Err(error) => return Err(error),
            }
        }
        if self.lowered.encodes_pictures() {
            let coding = (self.lowered.coding.codec, self.lowered.coding.quality);
            let chosen =
                step.hardware.choose(input.encoder, coding, self.context, &step.slots).await?;
            self.lowered.set_maker(chosen.0);
            self.notes.extend(chosen.1);
        }
        self.run(self.lowered.input(&self.media.path), self.lowered.output(), &to, &step.slots)
            .await?;
        Ok(to)
    }

    /// Cuts the clip out; gives the reason when it cannot be cut.
    async fn write_cut(&mut self, to: &Path, slots: &Slots) -> StepResult<Result<(), String>> {
        let (Some(clip), Ok(pictures)) = (self.lowered.clip, self.media.facts.video()) else {
            return Ok(Err("there is no clip".to_owned()));
        };
        let frames = pictures.fps.unwrap_or(0.0) * self.lowered.length_s.unwrap_or(0.0);
        if frames > MAX_CUT_COUNT as f64 {
            return Ok(Err("the clip has too many pictures to look through".to_owned()));
        }
        let source = (self.media.path.as_path(), pictures.index);
        let cutter = match Cutter::new(self.context, slots, source, &self.work, clip).await? {
            Ok(cutter) => cutter,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut args = match cutter.write().await? {
            Ok(args) => args,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut args: Vec<std::ffi::OsString> = args.drain(..).map(Into::into).collect();
        // The first input are the joined pictures, the second is the source, for all else.
        args.extend(self.lowered.seek().into_iter().map(Into::into));
        args.extend(crate::media::input_args(&self.media.path));
        let pictures = ["-map", "0:v:0", "-c:v", "copy"].map(str::to_owned).to_vec();
        let output = [pictures, self.lowered.others("1"), self.lowered.container()].concat();
        self.run(args, output, to, slots).await?;
        if !cutter.is_whole(to).await? {
            return Ok(Err("the joined parts did not have each picture once".to_owned()));
        }
        for fate in self.lowered.fates.iter_mut().filter(|fate| fate.way == Way::Cut) {
            fate.reason = cutter.told();
        }
        Ok(Ok(()))
    }

    async fn run(
        &self,
        input: Vec<std::ffi::OsString>,
        output: Vec<String>,
        to: &Path,
        slots: &Slots,
    ) -> StepResult<()> {
        let run = Run::new(self.context, self.lowered.length_s).args(input).args(output);
        run.output(to).run(slots).await?;
        Ok(())
    }
}
