//! The step kind `ffmpeg.mux_subtitles`.

use callsheet_actors::{Step, StepContext, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run::Run;
use super::track::Track;
use crate::lower::Format;
use crate::media::{Facts, OpenMedia, Stream, StreamKind, input_args};
use crate::slots::Slots;

/// Puts subtitles beside pictures and sound that stay as they are.
#[derive(Clone)]
pub struct Mux {
    slots: Slots,
}

/// The input of `ffmpeg.mux_subtitles`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subtitled {
    /// The video. Everything in it is copied, nothing is decoded.
    pub video: Artifact,
    /// The subtitles as `SubRip`, as `subtitles.compose` writes them; absent: the video alone.
    #[serde(default)]
    pub subtitles: Option<Artifact>,
    /// The language that the track is tagged with: two letters or an English name.
    #[serde(default)]
    pub language: Option<String>,
}

/// The output of `ffmpeg.mux_subtitles`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Muxed {
    /// The video: `video.mp4`, or `video.mkv` where MP4 does not hold all that is in it.
    pub video: Artifact,
    /// Whether a track was put in.
    pub track: bool,
}

impl Mux {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for Mux {
    type Input = Subtitled;
    type Output = Muxed;

    fn kind(&self) -> String {
        "ffmpeg.mux_subtitles".to_owned()
    }

    fn description(&self) -> String {
        "Puts subtitles into a video as a track of their own; all else is copied.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Subtitled, context: StepContext) -> StepResult<Muxed> {
        let media = OpenMedia::open(&input.video, &context).await?;
        media.facts.video()?;
        let format = format(&media.facts);
        let language = input.language.as_deref();
        let track = match &input.subtitles {
            Some(subtitles) => Some(Track::open(subtitles, language, format, &context).await?),
            None => None,
        };
        let to = context.work_dir()?.join("video");
        // Some old containers say of pictures only their order, not their time.
        let mut run = Run::new(&context, media.facts.duration_s).args(["-fflags", "+genpts"]);
        run = run.args(input_args(&media.path));
        if let Some(track) = &track {
            run = run.args(track.input());
        }
        run = run.args(copied(&media.facts, format));
        if let Some(track) = &track {
            let before = kept(&media.facts).filter(|stream| stream.kind == StreamKind::Subtitle);
            run = run.args(track.output(1, before.count()));
        }
        run.args(format.muxer()).output(&to).run(&self.slots).await?;
        let name = format!("video.{}", format.name());
        let video = context.put_file(to, name, format.media_type()).await?;
        Ok(Muxed { video, track: track.is_some() })
    }
}

/// MP4 where it holds everything as it is, since everything plays it, else Matroska.
fn format(facts: &Facts) -> Format {
    let held = |stream: &Stream| {
        Format::Mp4.holds(stream.kind, stream.codec.as_deref().unwrap_or_default())
    };
    if kept(facts).all(held) { Format::Mp4 } else { Format::Mkv }
}

/// The streams that are taken over. Covers, time codes and fonts are of the old container.
fn kept(facts: &Facts) -> impl Iterator<Item = &Stream> {
    facts.streams.iter().filter(|stream| {
        let codec = stream.codec.as_deref().unwrap_or_default();
        match stream.kind {
            StreamKind::Video | StreamKind::Audio => true,
            StreamKind::Subtitle => {
                Format::Mp4.holds(stream.kind, codec) || Format::Mkv.holds(stream.kind, codec)
            }
            StreamKind::Picture | StreamKind::Other => false,
        }
    })
}

fn copied(facts: &Facts, format: Format) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    for stream in kept(facts) {
        args.extend(["-map".to_owned(), format!("0:{}", stream.index)]);
    }
    args.extend(["-c:v", "copy", "-c:a", "copy"].map(str::to_owned));
    let subtitles = kept(facts).filter(|stream| stream.kind == StreamKind::Subtitle);
    for (n, stream) in subtitles.enumerate() {
        let codec = stream.codec.as_deref().unwrap_or_default();
        let copy = if format.holds(stream.kind, codec) { "copy" } else { "subrip" };
        args.extend([format!("-c:s:{n}"), copy.to_owned()]);
    }
    let pictures = kept(facts).filter(|stream| stream.kind == StreamKind::Video);
    args.extend(format.tags(pictures.map(|stream| stream.codec.as_deref().unwrap_or_default())));
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(streams: &[(StreamKind, &str)]) -> Facts {
        let streams = streams.iter().enumerate().map(|(n, (kind, codec))| Stream {
            index: u32::try_from(n).unwrap_or_default(),
            kind: *kind,
            codec: Some((*codec).to_owned()),
            ..Stream::default()
        });
        Facts { streams: streams.collect(), ..Facts::default() }
    }

    #[test]
    fn all_is_copied_into_the_container_that_holds_it() {
        use StreamKind::{Audio, Other, Picture, Subtitle, Video};
        for (streams, expected, args) in [
            (
                vec![(Video, "h264"), (Audio, "aac")],
                Format::Mp4,
                "-map 0:0 -map 0:1 -c:v copy -c:a copy",
            ),
            (
                vec![(Video, "hevc"), (Other, "bin_data"), (Audio, "mp3"), (Picture, "png")],
                Format::Mp4,
                "-map 0:0 -map 0:2 -c:v copy -c:a copy -tag:v:0 hvc1",
            ),
            (
                vec![(Video, "vp8"), (Audio, "opus")],
                Format::Mkv,
                "-map 0:0 -map 0:1 -c:v copy -c:a copy",
            ),
            (
                vec![(Video, "h264"), (Subtitle, "mov_text")],
                Format::Mp4,
                "-map 0:0 -map 0:1 -c:v copy -c:a copy -c:s:0 copy",
            ),
            (
                vec![(Video, "h264"), (Subtitle, "mov_text"), (Subtitle, "subrip")],
                Format::Mkv,
                "-map 0:0 -map 0:1 -map 0:2 -c:v copy -c:a copy -c:s:0 subrip -c:s:1 copy",
            ),
        ] {
            let facts = facts(&streams);
            assert_eq!(format(&facts), expected, "{streams:?}");
            assert_eq!(copied(&facts, expected).join(" "), args);
        }
    }
}
