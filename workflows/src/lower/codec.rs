//! Who encodes what, and how each encoder is told of a quality.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What pictures are encoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The usual names, from what everything plays to what is newest.
pub enum PictureCodec {
    H264,
    H265,
    Vp9,
    Av1,
}

/// What sound is encoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The usual names; `pcm` is sound as it is, with 16 bits.
pub enum SoundCodec {
    Aac,
    Mp3,
    Opus,
    Flac,
    Pcm,
}

/// How much of the picture is kept, and for how much work and room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// To look at, as quickly as it goes.
    Draft,
    /// A small file that can still be watched.
    Small,
    /// For delivery.
    #[default]
    Standard,
    /// Hard to tell from the source, in a larger file.
    High,
    /// The very same pictures, in a much larger file.
    Lossless,
}

/// Who encodes the pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Maker {
    /// The processor.
    #[default]
    Software,
    /// A graphics card of NVIDIA.
    Nvenc,
    /// A processor of Intel with a graphics part.
    Qsv,
    /// Whatever Linux calls a video device.
    Vaapi,
}

impl PictureCodec {
    /// ffmpeg's name of the coding.
    pub(crate) fn codec(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "hevc",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
        }
    }

    /// Whether it has a mode without any loss.
    pub(crate) fn can_be_lossless(self) -> bool {
        self != Self::Av1
    }
}

impl SoundCodec {
    /// ffmpeg's name of the coding.
    pub(crate) fn codec(self) -> &'static str {
        match self {
            Self::Aac => "aac",
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Flac => "flac",
            Self::Pcm => "pcm_s16le",
        }
    }

    fn encoder(self) -> &'static str {
        match self {
            Self::Mp3 => "libmp3lame",
            Self::Opus => "libopus",
            Self::Aac | Self::Flac | Self::Pcm => self.codec(),
        }
    }

    /// Usual kilobits a second of one channel; none where nothing is lost.
    fn kbps_per_channel(self) -> Option<u32> {
        match self {
            Self::Aac | Self::Mp3 => Some(96),
            Self::Opus => Some(64),
            Self::Flac | Self::Pcm => None,
        }
    }
}

impl Maker {
    /// All that are not the processor, in the order in which they are tried.
    pub(crate) const HARDWARE: [Self; 3] = [Self::Nvenc, Self::Qsv, Self::Vaapi];

    /// ffmpeg's name of the encoder; none where there is no such encoder.
    pub(crate) fn encoder(self, codec: PictureCodec) -> Option<&'static str> {
        use PictureCodec::{Av1, H264, H265, Vp9};
        match (self, codec) {
            (Self::Software, H264) => Some("libx264"),
            (Self::Software, H265) => Some("libx265"),
            (Self::Software, Vp9) => Some("libvpx-vp9"),
            (Self::Software, Av1) => Some("libsvtav1"),
            (Self::Nvenc, H264) => Some("h264_nvenc"),
            (Self::Nvenc, H265) => Some("hevc_nvenc"),
            (Self::Nvenc, Av1) => Some("av1_nvenc"),
            (Self::Nvenc, Vp9) => None,
            (Self::Qsv, H264) => Some("h264_qsv"),
            (Self::Qsv, H265) => Some("hevc_qsv"),
            (Self::Qsv, Vp9) => Some("vp9_qsv"),
            (Self::Qsv, Av1) => Some("av1_qsv"),
            (Self::Vaapi, H264) => Some("h264_vaapi"),
            (Self::Vaapi, H265) => Some("hevc_vaapi"),
            (Self::Vaapi, Vp9) => Some("vp9_vaapi"),
            (Self::Vaapi, Av1) => Some("av1_vaapi"),
        }
    }

    /// What stands before the inputs: the device.
    pub(crate) fn device(self) -> &'static [&'static str] {
        if self == Self::Vaapi { &["-vaapi_device", "/dev/dri/renderD128"] } else { &[] }
    }

    /// What the pictures go through last, on their way into the device.
    pub(crate) fn upload(self) -> Option<&'static str> {
        (self == Self::Vaapi).then_some("format=nv12,hwupload")
    }
}

/// The arguments that encode pictures; none when this maker has no such encoder.
pub(crate) fn picture_args(
    codec: PictureCodec,
    quality: Quality,
    maker: Maker,
) -> Option<Vec<String>> {
    let encoder = maker.encoder(codec)?;
    let mut args = vec!["-c:v".to_owned(), encoder.to_owned()];
    let level = level(codec, quality);
    let more = match maker {
        Maker::Software => return Some([args, software(codec, quality)].concat()),
        Maker::Nvenc => format!("-preset p5 -rc vbr -cq {level} -b:v 0 -pix_fmt yuv420p"),
        Maker::Qsv => format!("-global_quality {level} -pix_fmt nv12"),
        Maker::Vaapi => format!("-rc_mode CQP -qp {level}"),
    };
    args.extend(more.split(' ').map(str::to_owned));
    // Hardware has no mode without loss; the plan never asks it for one.
    (quality != Quality::Lossless).then_some(args)
}

/// The number that an encoder is told: the lower, the better, on a scale of its own.
fn level(codec: PictureCodec, quality: Quality) -> u8 {
    let column = match codec {
        PictureCodec::H264 => [28, 28, 23, 18, 0],
        PictureCodec::H265 => [32, 30, 26, 20, 0],
        PictureCodec::Vp9 => [40, 38, 32, 24, 0],
        PictureCodec::Av1 => [45, 42, 35, 25, 0],
    };
    column[quality as usize]
}

fn software(codec: PictureCodec, quality: Quality) -> Vec<String> {
    let level = level(codec, quality);
    let lossless = quality == Quality::Lossless;
    let row = quality as usize;
    let text = match codec {
        PictureCodec::H264 => {
            let preset = ["ultrafast", "medium", "veryfast", "medium", "veryfast"][row];
            let rate = if lossless { "-qp 0".to_owned() } else { format!("-crf {level}") };
            format!("-preset {preset} {rate}")
        }
        PictureCodec::H265 => {
            let preset = ["ultrafast", "medium", "veryfast", "medium", "veryfast"][row];
            let rate = if lossless {
                "-x265-params log-level=error:lossless=1".to_owned()
            } else {
                format!("-crf {level} -x265-params log-level=error")
            };
            format!("-preset {preset} {rate}")
        }
        PictureCodec::Vp9 => {
            let speed = ["8", "2", "4", "2", "4"][row];
            let pace = if quality == Quality::Draft { "realtime" } else { "good" };
            let rate =
                if lossless { "-lossless 1".to_owned() } else { format!("-crf {level} -b:v 0") };
            format!("-deadline {pace} -cpu-used {speed} -row-mt 1 {rate}")
        }
        PictureCodec::Av1 => {
            let preset = ["12", "6", "9", "6", "6"][row];
            format!("-preset {preset} -crf {level}")
        }
    };
    let mut args: Vec<String> = text.split(' ').map(str::to_owned).collect();
    if !lossless {
        // What every player takes; pictures without loss keep the colours that they have.
        args.extend(["-pix_fmt".to_owned(), "yuv420p".to_owned()]);
    }
    args
}

impl SoundCodec {
    /// What of a number of channels and of samples a second it cannot have; none when it can.
    pub(crate) fn refusal(self, channels: Option<u32>, rate: Option<u32>) -> Option<String> {
        let name = self.codec();
        // Those of the encoders: libmp3lame, aac, libopus.
        let (most_channels, rates): (u32, &[u32]) = match self {
            Self::Mp3 => (2, &MP3_RATES),
            Self::Aac => (8, &AAC_RATES),
            Self::Opus => (8, &OPUS_RATES),
            Self::Flac | Self::Pcm => (8, &[]),
        };
        if let Some(channels) = channels.filter(|channels| *channels > most_channels) {
            return Some(format!("`{name}` has up to {most_channels} channels, not {channels}"));
        }
        let rate = rate.filter(|rate| !rates.is_empty() && !rates.contains(rate))?;
        let known: Vec<String> = rates.iter().map(u32::to_string).collect();
        let known = known.join(", ");
        Some(format!("`{name}` has {known} samples a second, not {rate}"))
    }
}

const MP3_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
const AAC_RATES: [u32; 12] =
    [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000];
const OPUS_RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];

/// The arguments that encode sound.
pub(crate) fn sound_args(codec: SoundCodec, kbps: Option<u32>, channels: u32) -> Vec<String> {
    let mut args = vec!["-c:a".to_owned(), codec.encoder().to_owned()];
    let usual = codec.kbps_per_channel();
    if let Some(usual) = usual {
        // MP3 has two channels at most, and no more than 320 kbit/s.
        let heard = if codec == SoundCodec::Mp3 { channels.min(2) } else { channels };
        args.extend(["-b:a".to_owned(), format!("{}k", kbps.unwrap_or(usual * heard.max(1)))]);
    }
    args
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CODECS: [PictureCodec; 4] =
        [PictureCodec::H264, PictureCodec::H265, PictureCodec::Vp9, PictureCodec::Av1];
    const QUALITIES: [Quality; 5] =
        [Quality::Draft, Quality::Small, Quality::Standard, Quality::High, Quality::Lossless];

    #[test]
    fn each_quality_is_better_than_the_one_before() {
        for codec in CODECS {
            let levels: Vec<u8> = QUALITIES.iter().map(|quality| level(codec, *quality)).collect();
            assert!(levels.is_sorted_by(|a, b| a >= b), "{codec:?}: {levels:?}");
        }
    }

    #[test]
    fn every_software_encoder_is_told_its_quality() {
        for (codec, quality, expected) in [
            (PictureCodec::H264, Quality::Standard, "-preset veryfast -crf 23 -pix_fmt yuv420p"),
            (PictureCodec::H264, Quality::Lossless, "-preset veryfast -qp 0"),
            (
                PictureCodec::Vp9,
                Quality::Draft,
                "-deadline realtime -cpu-used 8 -row-mt 1 -crf 40 -b:v 0 -pix_fmt yuv420p",
            ),
            (PictureCodec::Av1, Quality::High, "-preset 6 -crf 25 -pix_fmt yuv420p"),
        ] {
            let args = picture_args(codec, quality, Maker::Software).unwrap();
            assert_eq!(args[0], "-c:v");
            assert_eq!(args[1], Maker::Software.encoder(codec).unwrap());
            assert_eq!(args[2..].join(" "), expected);
        }
    }

    #[test]
    fn hardware_is_never_asked_for_what_it_has_not() {
        for maker in Maker::HARDWARE {
            for codec in CODECS {
                assert_eq!(picture_args(codec, Quality::Lossless, maker), None);
                let args = picture_args(codec, Quality::Standard, maker);
                assert_eq!(args.is_some(), maker.encoder(codec).is_some());
            }
            assert_eq!(maker.upload().is_some(), !maker.device().is_empty(), "{maker:?}");
        }
        assert_eq!(Maker::Nvenc.encoder(PictureCodec::Vp9), None);
    }

    #[test]
    fn the_rate_of_sound_goes_by_its_channels() {
        for (codec, kbps, channels, expected) in [
            (SoundCodec::Aac, None, 2, "-c:a aac -b:a 192k"),
            (SoundCodec::Aac, None, 6, "-c:a aac -b:a 576k"),
            (SoundCodec::Mp3, None, 6, "-c:a libmp3lame -b:a 192k"),
            (SoundCodec::Opus, None, 1, "-c:a libopus -b:a 64k"),
            (SoundCodec::Opus, Some(96), 2, "-c:a libopus -b:a 96k"),
            (SoundCodec::Flac, Some(96), 2, "-c:a flac"),
            (SoundCodec::Pcm, None, 2, "-c:a pcm_s16le"),
        ] {
            assert_eq!(sound_args(codec, kbps, channels).join(" "), expected);
        }
    }
}
