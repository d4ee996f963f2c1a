//! What is wished of a media file.

use super::codec::{PictureCodec, Quality, SoundCodec};
use super::format::Format;
use crate::media::Facts;

/// What is wished of one media file.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    /// What a probe found in it.
    pub(crate) facts: &'a Facts,
    /// The part that is wanted; all of it when there is none.
    pub(crate) clip: Option<Clip>,
    /// What is wished of its pictures; none leaves them out.
    pub(crate) picture: Option<Picture>,
    /// What is wished of its sound; none leaves it out.
    pub(crate) sound: Option<Sound>,
    /// Whether subtitles come along where they can.
    pub(crate) subtitles: bool,
    /// What it is written into.
    pub(crate) format: Format,
}

/// A part of a file, in seconds from its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clip {
    pub(crate) from_s: f64,
    pub(crate) to_s: Option<f64>,
}

impl Clip {
    /// How long it is in a file of this length.
    pub(crate) fn length_s(&self, file_s: Option<f64>) -> Option<f64> {
        let to = match (self.to_s, file_s) {
            (Some(to), Some(end)) => Some(to.min(end)),
            (to, end) => to.or(end),
        };
        to.map(|to| to - self.from_s)
    }
}

/// What is wished of pictures. The default keeps them as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Picture {
    /// What they are to be coded as.
    pub(crate) codec: Option<PictureCodec>,
    /// A quality that is asked for is encoded, whatever the source has.
    pub(crate) quality: Option<Quality>,
    /// The box that they are to fit into: a width, if one is wished, and a height.
    pub(crate) fit: Option<(Option<u32>, u32)>,
    /// Pictures a second.
    pub(crate) fps: Option<f64>,
    /// Filters that draw into them, such as captions; of our own writing.
    pub(crate) filters: Option<String>,
}

/// What is wished of sound. The default keeps it as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sound {
    /// What it is to be coded as.
    pub(crate) codec: Option<SoundCodec>,
    /// Kilobits a second.
    pub(crate) kbps: Option<u32>,
    /// Channels.
    pub(crate) channels: Option<u32>,
    /// Samples a second.
    pub(crate) sample_rate: Option<u32>,
    /// Filters that change it, such as a mix; of our own writing.
    pub(crate) filters: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_ends_with_its_file() {
        for (from_s, to_s, file_s, expected) in [
            (1.0, Some(3.0), Some(10.0), Some(2.0)),
            (1.0, Some(30.0), Some(10.0), Some(9.0)),
            (1.0, None, Some(10.0), Some(9.0)),
            (1.0, Some(3.0), None, Some(2.0)),
            (1.0, None, None, None),
        ] {
            assert_eq!(Clip { from_s, to_s }.length_s(file_s), expected);
        }
    }
}
