//! The step kind `ffmpeg.burn_subtitles`.

use std::fs;
use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::Run;
use super::track::Track;
use crate::limits::MAX_ASS_BYTES;
use crate::lower::Format;
use crate::media::{Facts, OpenMedia, Stream, StreamKind, input_args};
use crate::slots::Slots;

/// Draws captions into the picture.
#[derive(Clone)]
pub struct Burn {
    slots: Slots,
}

/// The input of `ffmpeg.burn_subtitles`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Titled {
    /// The video.
    pub video: Artifact,
    /// The captions as ASS, as `subtitles.compose` writes them.
    pub subtitles: Artifact,
    /// How long the encoder tries to make the file small.
    #[serde(default)]
    pub preset: Preset,
    /// The quality: 0 is without loss, 51 is the worst, 23 is usual.
    #[serde(default = "default_crf")]
    #[schemars(range(min = 0, max = 51))]
    pub crf: u8,
    /// Captions as `SubRip` that are put in as a track too, for those who want to turn them off in
    /// another player, or search in them.
    #[serde(default)]
    pub track: Option<Artifact>,
    /// The language that the track is tagged with: two letters or an English name.
    #[serde(default)]
    pub language: Option<String>,
}

fn default_crf() -> u8 {
    23
}

/// How long the encoder tries to make the file small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The names of x264, from the quickest to the most thorough.
pub enum Preset {
    Ultrafast,
    Superfast,
    #[default]
    Veryfast,
    Faster,
    Fast,
    Medium,
    Slow,
    Slower,
    Veryslow,
}

impl Preset {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
            Self::Slow => "slow",
            Self::Slower => "slower",
            Self::Veryslow => "veryslow",
        }
    }
}

/// The output of `ffmpeg.burn_subtitles`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Burned {
    /// The video with captions: MP4, H.264, named `video.mp4`.
    pub video: Artifact,
    /// What became of the sound.
    pub audio: Sound,
}

/// What became of the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sound {
    /// It was taken over as it was.
    Copied,
    /// MP4 cannot hold it as it was, so it is AAC now.
    Encoded,
    /// There was none.
    None,
}

/// The name under which the captions lie in the working directory: the only thing about them that
/// a filter graph ever holds.
pub(crate) const CAPTIONS: &str = "captions.ass";

/// The filter that draws them, inside that directory.
pub(crate) const BURN: &str = "ass=captions.ass";

impl Burn {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for Burn {
    type Input = Titled;
    type Output = Burned;

    fn kind(&self) -> String {
        "ffmpeg.burn_subtitles".to_owned()
    }

    fn description(&self) -> String {
        "Draws captions into the picture of a video; the sound is kept.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Titled, context: StepContext) -> StepResult<Burned> {
        if input.crf > 51 {
            let message = format!("`crf` is {}, expected 0 to 51", input.crf);
            return Err(StepError::fatal("ffmpeg.input", message));
        }
        let media = OpenMedia::open(&input.video, &context).await?;
        let video = media.facts.video()?;
        let sound = sound(&media.facts);
        // ffmpeg runs inside its directory, where a relative path would mean another file.
        let work = std::path::absolute(context.work_dir()?)?;
        copy_captions(&context.open(&input.subtitles).await?, &work.join(CAPTIONS))?;
        let language = input.language.as_deref();
        let track = match &input.track {
            Some(track) => Some(Track::open(track, language, Format::Mp4, &context).await?),
            None => None,
        };
        let to = work.join("video.mp4");
        let mut run = Run::new(&context, media.facts.duration_s)
            .directory(&work)
            .args(input_args(&media.path));
        if let Some(track) = &track {
            run = run.args(track.input());
        }
        run = run
            .arg("-map")
            .arg(format!("0:{}", video.index))
            .args(["-map", "0:a?", "-dn"])
            .args(["-vf", &filters(video)])
            .args(["-c:v", "libx264", "-preset", input.preset.name(), "-crf"])
            .arg(input.crf.to_string())
            .args(["-pix_fmt", "yuv420p", "-max_muxing_queue_size", "4096"]);
        run = match sound {
            Sound::Copied => run.args(["-c:a", "copy"]),
            Sound::Encoded => run.args(["-c:a", "aac", "-b:a", "192k"]),
            Sound::None => run,
        };
        run = match &track {
            Some(track) => run.args(track.output(1, 0)),
            None => run.arg("-sn"),
        };
        run.args(Format::Mp4.muxer()).output(&to).run(&self.slots).await?;
        Ok(Burned { video: context.put_file(to, "video.mp4", "video/mp4").await?, audio: sound })
    }
}

/// The filter graph. Nothing in it comes from a user: a fixed name and fixed numbers.
fn filters(video: &Stream) -> String {
    let odd = |side: Option<u32>| side.is_some_and(|side| side % 2 == 1);
    let even = if odd(video.width) || odd(video.height) {
        // The colour format of every player halves both sides.
        "pad=ceil(iw/2)*2:ceil(ih/2)*2,"
    } else {
        ""
    };
    format!("{even}{BURN}")
}

fn sound(facts: &Facts) -> Sound {
    let mut codecs = facts
        .streams
        .iter()
        .filter(|stream| stream.kind == StreamKind::Audio)
        .map(|stream| stream.codec.as_deref().unwrap_or_default())
        .peekable();
    if codecs.peek().is_none() {
        Sound::None
    } else if codecs.all(|codec| Format::Mp4.holds(StreamKind::Audio, codec)) {
        Sound::Copied
    } else {
        Sound::Encoded
    }
}

/// Copies the captions when they are ASS and nothing but styles and lines: scripts may also carry
/// fonts and pictures, which no caption needs.
pub(crate) fn copy_captions(from: &Path, to: &Path) -> StepResult<()> {
    let refused = |message: String| {
        StepError::fatal("subtitles.not_ass", message)
            .with_hint("use the `ass` file that `subtitles.compose` writes")
    };
    let size = fs::metadata(from)?.len();
    if size > MAX_ASS_BYTES {
        return Err(refused(format!("the captions have {size} bytes, over {MAX_ASS_BYTES}")));
    }
    let text = fs::read_to_string(from)
        .map_err(|error| refused(format!("the captions are no text: {error}")))?;
    check_script(&text).map_err(|message| refused(message.to_owned()))?;
    fs::write(to, text)?;
    Ok(())
}

fn check_script(text: &str) -> Result<(), &'static str> {
    let text = text.trim_start_matches('\u{FEFF}').trim_start();
    if !text.starts_with("[Script Info]") {
        return Err("the captions are not an ASS script");
    }
    let sections =
        text.lines().map(str::trim).filter(|line| line.starts_with('[') && line.ends_with(']'));
    for section in sections {
        if !matches!(section, "[Script Info]" | "[V4+ Styles]" | "[V4 Styles]" | "[Events]") {
            return Err("the captions carry a section that is not styles or lines");
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_of_styles_and_lines_are_taken() {
        for (text, taken) in [
            ("[Script Info]\n\n[V4+ Styles]\n\n[Events]\n", true),
            ("\u{FEFF}[Script Info]\r\n[Events]\r\nDialogue: 0,a,b,,,,,,,[x] y\r\n", true),
            ("[Script Info]\n[Fonts]\nfontname: x\n", false),
            ("[Script Info]\n[Graphics]\n", false),
            ("1\n00:00:01,000 --> 00:00:02,000\na\n", false),
            ("#EXTM3U\n", false),
            ("", false),
        ] {
            assert_eq!(check_script(text).is_ok(), taken, "{text:?}");
        }
    }

    #[test]
    fn filters_hold_only_what_we_wrote() {
        for (width, height, expected) in [
            (Some(640), Some(360), "ass=captions.ass"),
            (Some(641), Some(360), "pad=ceil(iw/2)*2:ceil(ih/2)*2,ass=captions.ass"),
            (Some(640), Some(361), "pad=ceil(iw/2)*2:ceil(ih/2)*2,ass=captions.ass"),
            (None, None, "ass=captions.ass"),
        ] {
            let video = Stream { width, height, ..Stream::default() };
            assert_eq!(filters(&video), expected);
        }
    }

    #[test]
    fn sound_is_copied_where_mp4_holds_it() {
        for (codecs, expected) in [
            (vec![], Sound::None),
            (vec!["aac"], Sound::Copied),
            (vec!["mp3", "ac3"], Sound::Copied),
            (vec!["aac", "vorbis"], Sound::Encoded),
            (vec!["pcm_s16le"], Sound::Encoded),
        ] {
            let stream = |codec: &&str| Stream {
                kind: StreamKind::Audio,
                codec: Some((*codec).to_owned()),
                ..Stream::default()
            };
            let facts = Facts { streams: codecs.iter().map(stream).collect(), ..Facts::default() };
            assert_eq!(sound(&facts), expected, "{codecs:?}");
        }
    }
}
