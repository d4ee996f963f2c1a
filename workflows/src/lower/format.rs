//! What each container holds and players play in it. The one list of the media steps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codec::{PictureCodec, SoundCodec};
use crate::media::StreamKind;

/// A container that files are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The usual names, from those with pictures to those of sound alone.
pub enum Format {
    Mp4,
    Mov,
    Mkv,
    Webm,
    M4a,
    Mp3,
    Wav,
    Flac,
    Ogg,
}

/// Codings of pictures that MP4 holds and players play.
const MP4_PICTURES: [&str; 5] = ["h264", "hevc", "av1", "vp9", "mpeg4"];

/// Pictures that ffmpeg writes into Matroska as they are; what is rarer is encoded.
const MKV_PICTURES: [&str; 19] = [
    "av1",
    "ffv1",
    "flv1",
    "h264",
    "hevc",
    "mjpeg",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "msmpeg4v2",
    "msmpeg4v3",
    "prores",
    "theora",
    "vc1",
    "vp8",
    "vp9",
    "wmv1",
    "wmv2",
    "wmv3",
];

/// The same of sound, beside samples that are not coded at all. WavPack loses its end on the way.
const MKV_SOUNDS: [&str; 15] = [
    "aac",
    "ac3",
    "alac",
    "dts",
    "eac3",
    "flac",
    "mp2",
    "mp3",
    "opus",
    "pcm_s16be",
    "pcm_u8",
    "truehd",
    "tta",
    "vorbis",
    "wmav2",
];

/// Codings of sound that MP4 holds and players play.
const MP4_SOUNDS: [&str; 4] = ["aac", "mp3", "ac3", "eac3"];

/// Subtitles that are text, and so can be written as any other text.
const TEXTS: [&str; 6] = ["subrip", "webvtt", "ass", "ssa", "mov_text", "text"];

impl Format {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 9] = [
        Self::Mp4,
        Self::Mov,
        Self::Mkv,
        Self::Webm,
        Self::M4a,
        Self::Mp3,
        Self::Wav,
        Self::Flac,
        Self::Ogg,
    ];

    /// The container that takes pictures of this coding as they are: MP4 where it can, since
    /// everything plays it, else Matroska, which holds all.
    pub(crate) fn of_pictures(codec: &str) -> Self {
        if Self::Mp4.holds(StreamKind::Video, codec) { Self::Mp4 } else { Self::Mkv }
    }

    /// Whether a stream of this coding can be in it as it is, and be played.
    pub(crate) fn holds(self, kind: StreamKind, codec: &str) -> bool {
        match kind {
            StreamKind::Video => self.holds_pictures_of(codec),
            StreamKind::Audio => self.holds_sound_of(codec),
            StreamKind::Subtitle => self.holds_subtitles_of(codec),
            StreamKind::Picture | StreamKind::Other => false,
        }
    }

    fn holds_pictures_of(self, codec: &str) -> bool {
        match self {
            Self::Mp4 => MP4_PICTURES.contains(&codec),
            Self::Mov => ["h264", "hevc", "mpeg4", "prores", "mjpeg", "dnxhd"].contains(&codec),
            Self::Mkv => MKV_PICTURES.contains(&codec),
            Self::Webm => ["vp8", "vp9", "av1"].contains(&codec),
            Self::M4a | Self::Mp3 | Self::Wav | Self::Flac | Self::Ogg => false,
        }
    }

    fn holds_sound_of(self, codec: &str) -> bool {
        let pcm = ["pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"];
        match self {
            Self::Mp4 => MP4_SOUNDS.contains(&codec),
            Self::Mov => {
                ["aac", "mp3", "ac3", "alac", "pcm_s16be"].contains(&codec) || pcm.contains(&codec)
            }
            Self::Mkv => MKV_SOUNDS.contains(&codec) || pcm.contains(&codec),
            Self::Webm => ["opus", "vorbis"].contains(&codec),
            Self::M4a => ["aac", "alac", "ac3"].contains(&codec),
            Self::Mp3 => codec == "mp3",
            Self::Wav => pcm.contains(&codec) || codec == "pcm_u8",
            Self::Flac => codec == "flac",
            Self::Ogg => ["opus", "vorbis", "flac"].contains(&codec),
        }
    }

    fn holds_subtitles_of(self, codec: &str) -> bool {
        match self {
            Self::Mp4 | Self::Mov => codec == "mov_text",
            Self::Mkv => {
                let kept = ["subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle"];
                kept.contains(&codec)
            }
            Self::Webm => codec == "webvtt",
            Self::M4a | Self::Mp3 | Self::Wav | Self::Flac | Self::Ogg => false,
        }
    }

    /// What subtitles of this coding become in it; none when they cannot be in it at all.
    pub(crate) fn rewritten_subtitles(self, codec: &str) -> Option<&'static str> {
        if !TEXTS.contains(&codec) {
            return None;
        }
        match self {
            Self::Mp4 | Self::Mov => Some("mov_text"),
            Self::Mkv => Some("subrip"),
            Self::Webm => Some("webvtt"),
            Self::M4a | Self::Mp3 | Self::Wav | Self::Flac | Self::Ogg => None,
        }
    }

    /// Whether pictures can be in it.
    pub(crate) fn has_pictures(self) -> bool {
        matches!(self, Self::Mp4 | Self::Mov | Self::Mkv | Self::Webm)
    }

    /// Whether it can have more than one track of sound.
    pub(crate) fn has_many_sounds(self) -> bool {
        self.has_pictures()
    }

    /// Its name, which is also the ending of its files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Mkv => "mkv",
            Self::Webm => "webm",
            Self::M4a => "m4a",
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Ogg => "ogg",
        }
    }

    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Mov => "video/quicktime",
            Self::Mkv => "video/x-matroska",
            Self::Webm => "video/webm",
            Self::M4a => "audio/mp4",
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
            Self::Flac => "audio/flac",
            Self::Ogg => "audio/ogg",
        }
    }

    /// What ffmpeg calls it, and what it is told beside: a player can begin before it has it all.
    pub(crate) fn muxer(self) -> &'static [&'static str] {
        match self {
            Self::Mp4 => &["-movflags", "+faststart", "-f", "mp4"],
            Self::Mov => &["-movflags", "+faststart", "-f", "mov"],
            Self::Mkv => &["-f", "matroska"],
            Self::Webm => &["-f", "webm"],
            Self::M4a => &["-movflags", "+faststart", "-f", "ipod"],
            Self::Mp3 => &["-f", "mp3"],
            Self::Wav => &["-f", "wav"],
            Self::Flac => &["-f", "flac"],
            Self::Ogg => &["-f", "ogg"],
        }
    }

    /// The arguments that mark tracks of pictures of these codings as players look for them, where
    /// ffmpeg writes another mark.
    pub(crate) fn tags<'a>(self, codecs: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        // With `hev1`, what ffmpeg writes of itself, Apple's players show nothing.
        let is_marked = |codec| codec == "hevc" && matches!(self, Self::Mp4 | Self::Mov);
        let each = codecs.into_iter().enumerate().filter(|(_, codec)| is_marked(*codec));
        each.flat_map(|(n, _)| [format!("-tag:v:{n}"), "hvc1".to_owned()]).collect()
    }

    /// What pictures are encoded as, unless something else is asked for.
    pub(crate) fn picture_codec(self) -> PictureCodec {
        if self == Self::Webm { PictureCodec::Vp9 } else { PictureCodec::H264 }
    }

    /// What sound is encoded as, unless something else is asked for.
    pub(crate) fn sound_codec(self) -> SoundCodec {
        match self {
            Self::Mp4 | Self::Mov | Self::Mkv | Self::M4a => SoundCodec::Aac,
            Self::Webm | Self::Ogg => SoundCodec::Opus,
            Self::Mp3 => SoundCodec::Mp3,
            Self::Wav => SoundCodec::Pcm,
            Self::Flac => SoundCodec::Flac,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Of what each coding is made here.
    const MAKERS: [(&str, &str); 31] = [
        ("h264", "libx264"),
        ("hevc", "libx265"),
        ("vp8", "libvpx"),
        ("vp9", "libvpx-vp9"),
        ("mpeg4", "mpeg4"),
        ("mpeg2video", "mpeg2video"),
        ("mpeg1video", "mpeg1video"),
        ("mjpeg", "mjpeg"),
        ("prores", "prores"),
        ("theora", "libtheora"),
        ("ffv1", "ffv1"),
        ("flv1", "flv"),
        ("wmv2", "wmv2"),
        ("msmpeg4v3", "msmpeg4"),
        ("aac", "aac"),
        ("mp3", "libmp3lame"),
        ("mp2", "mp2"),
        ("ac3", "ac3"),
        ("eac3", "eac3"),
        ("alac", "alac"),
        ("flac", "flac"),
        ("opus", "libopus"),
        ("vorbis", "libvorbis"),
        ("wmav2", "wmav2"),
        ("tta", "tta"),
        ("dts", "dca"),
        ("truehd", "truehd"),
        ("pcm_s16le", "pcm_s16le"),
        ("pcm_s16be", "pcm_s16be"),
        ("pcm_u8", "pcm_u8"),
        ("pcm_f32le", "pcm_f32le"),
    ];

    fn ffmpeg(words: &str) -> bool {
        let mut ffmpeg = std::process::Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y", "-strict", "-2"]).args(words.split_whitespace());
        ffmpeg.output().unwrap().status.success()
    }

    fn lasts_s(file: &str) -> f64 {
        let mut ffprobe = std::process::Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file]);
        let said = String::from_utf8(ffprobe.output().unwrap().stdout).unwrap();
        said.trim().parse().unwrap_or(0.0)
    }

    /// ffmpeg is asked whether what is said to be held can be copied.
    #[test]
    fn what_is_held_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().display();
        let mut wrong = Vec::new();
        for (codec, maker) in MAKERS {
            let kind = match MKV_PICTURES.contains(&codec) {
                true => StreamKind::Video,
                false => StreamKind::Audio,
            };
            let (source, made) = match kind {
                StreamKind::Video => ("testsrc2=size=64x64:rate=25:duration=1 -c:v", "made.nut"),
                _ => ("sine=duration=2:sample_rate=48000 -ac 2 -c:a", "made.mka"),
            };
            if !ffmpeg(&format!("-f lavfi -i {source} {maker} {dir}/{made}")) {
                eprintln!("NOT TESTED: this ffmpeg does not make `{codec}`");
                continue;
            }
            let least = lasts_s(&format!("{dir}/{made}")) * 0.95;
            for format in Format::ALL.into_iter().filter(|format| format.holds(kind, codec)) {
                let (muxer, to) = (format.muxer().join(" "), format!("{dir}/copy"));
                let copied = ffmpeg(&format!("-i {dir}/{made} -c copy {muxer} {to}"));
                if !copied || lasts_s(&to) < least {
                    wrong.push(format!("{codec} in {}", format.name()));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn what_is_held_and_what_is_not() {
        use StreamKind::{Audio, Subtitle, Video};
        for (format, kind, codec, held) in [
            (Format::Mp4, Video, "h264", true),
            (Format::Mp4, Video, "vp8", false),
            (Format::Mp4, Video, "prores", false),
            (Format::Mp4, Audio, "aac", true),
            (Format::Mp4, Audio, "opus", false),
            (Format::Mp4, Subtitle, "subrip", false),
            (Format::Mov, Video, "prores", true),
            (Format::Mov, Audio, "pcm_s16le", true),
            (Format::Mkv, Video, "theora", true),
            (Format::Mkv, Video, "", false),
            (Format::Mkv, Audio, "nellymoser", false),
            (Format::M4a, Audio, "eac3", false),
            (Format::Mkv, Subtitle, "mov_text", false),
            (Format::Webm, Video, "h264", false),
            (Format::Webm, Video, "vp9", true),
            (Format::Webm, Audio, "aac", false),
            (Format::Webm, Audio, "opus", true),
            (Format::M4a, Audio, "aac", true),
            (Format::M4a, Video, "h264", false),
            (Format::Mp3, Audio, "mp3", true),
            (Format::Mp3, Audio, "aac", false),
            (Format::Wav, Audio, "pcm_s16le", true),
            (Format::Flac, Audio, "flac", true),
            (Format::Ogg, Audio, "vorbis", true),
            (Format::Ogg, Audio, "mp3", false),
        ] {
            assert_eq!(format.holds(kind, codec), held, "{format:?} {codec}");
        }
    }

    #[test]
    fn what_a_format_encodes_it_holds() {
        for format in Format::ALL {
            let sound = format.sound_codec();
            assert!(format.holds(StreamKind::Audio, sound.codec()), "{format:?}");
            assert!(!format.holds(StreamKind::Picture, "png"), "{format:?}");
            if format.has_pictures() {
                let pictures = format.picture_codec();
                assert!(format.holds(StreamKind::Video, pictures.codec()), "{format:?}");
                let text = format.rewritten_subtitles("ass");
                assert!(text.is_some_and(|text| format.holds(StreamKind::Subtitle, text)));
            }
            assert_eq!(format.rewritten_subtitles("dvd_subtitle"), None, "{format:?}");
            assert_eq!(format.muxer().iter().filter(|arg| **arg == "-f").count(), 1);
            let kind = if format.has_pictures() { "video/" } else { "audio/" };
            assert!(format.media_type().starts_with(kind), "{format:?}");
        }
    }

    #[test]
    fn pictures_go_where_they_can_stay_as_they_are() {
        for (codec, format) in [
            ("h264", Format::Mp4),
            ("hevc", Format::Mp4),
            ("vp8", Format::Mkv),
            ("prores", Format::Mkv),
            ("", Format::Mkv),
        ] {
            assert_eq!(Format::of_pictures(codec), format, "{codec}");
        }
    }

    #[test]
    fn each_track_has_the_mark_that_players_look_for() {
        for (format, codecs, expected) in [
            (Format::Mp4, &["hevc"][..], "-tag:v:0 hvc1"),
            (Format::Mov, &["h264", "hevc"], "-tag:v:1 hvc1"),
            (Format::Mov, &["h264"], ""),
            (Format::Mkv, &["hevc"], ""),
        ] {
            assert_eq!(format.tags(codecs.iter().copied()).join(" "), expected, "{codecs:?}");
        }
    }

    #[test]
    fn names_are_what_a_user_writes() {
        for format in Format::ALL {
            assert_eq!(serde_json::to_value(format).ok(), Some(format.name().into()));
        }
    }
}
