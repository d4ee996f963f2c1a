//! A plan that was lowered, and the arguments of ffmpeg that do it.

use std::ffi::OsString;
use std::path::Path;

use super::codec::{Maker, PictureCodec, Quality, picture_args};
use super::fate::{Fate, Way};
use super::format::Format;
use super::plan::Clip;
use crate::limits::{MAX_WRITTEN_BYTES, SEEK_MARGIN_S};
use crate::media::{StreamKind, input_args};

/// A plan that was lowered: what ffmpeg is to do.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    /// What becomes of each stream, in their order.
    pub(crate) fates: Vec<Fate>,
    /// The part that is wanted, when that is not all.
    pub(crate) clip: Option<Clip>,
    /// How long the result will be, for those who watch; it may be a guess.
    pub(crate) length_s: Option<f64>,
    /// How long the result is to be, where the source is sure of it.
    pub(crate) expected_s: Option<f64>,
    /// The size of the pictures in the result, where that is known.
    pub(crate) size: Option<(u32, u32)>,
    /// What its pictures are encoded as, when they are.
    pub(crate) coding: Coding,
    pub(super) format: Format,
    /// Whether a seek in the source may end behind the place that was sought.
    pub(super) seeks_badly: bool,
    pub(super) picture_filters: Vec<String>,
    pub(super) maker: Maker,
    /// The arguments of each track of sound, in their order.
    pub(super) sounds: Vec<Vec<String>>,
    pub(super) subtitles: Vec<&'static str>,
}

/// What pictures are encoded as, and how well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) codec: PictureCodec,
    pub(crate) quality: Quality,
}

impl Lowered {
    /// Whether the pictures are encoded from end to end.
    pub(crate) fn encodes_pictures(&self) -> bool {
        self.picture_way() == Some(Way::Encoded)
    }

    /// The way of the pictures; none without pictures.
    pub(crate) fn picture_way(&self) -> Option<Way> {
        let used = |fate: &&Fate| fate.kind == StreamKind::Video;
        let way = self.fates.iter().find(used).map(|fate| fate.way);
        way.filter(|way| *way != Way::LeftOut)
    }

    /// How many streams of a kind are in the result.
    pub(crate) fn count(&self, kind: StreamKind) -> usize {
        let used = |fate: &&Fate| fate.kind == kind && fate.way != Way::LeftOut;
        self.fates.iter().filter(used).count()
    }

    /// Encodes the pictures after all, because they cannot be cut.
    pub(crate) fn encode_instead(&mut self, reason: &str) {
        let encoder = self.encoder();
        let codec = self.coding.codec.codec().to_owned();
        for fate in self.fates.iter_mut().filter(|fate| fate.way == Way::Cut) {
            fate.way = Way::Encoded;
            fate.codec = Some(codec.clone());
            fate.encoder.clone_from(&encoder);
            reason.clone_into(&mut fate.reason);
        }
    }

    /// Has the pictures encoded by somebody.
    pub(crate) fn set_maker(&mut self, maker: Maker) {
        self.maker = maker;
        let encoder = self.encoder();
        let encoded = |fate: &&mut Fate| fate.way == Way::Encoded && fate.kind == StreamKind::Video;
        for fate in self.fates.iter_mut().filter(encoded) {
            fate.encoder.clone_from(&encoder);
        }
    }

    pub(super) fn encoder(&self) -> Option<String> {
        self.maker.encoder(self.coding.codec).map(str::to_owned)
    }

    /// The arguments up to the source: it is entered where the clip begins, so that nothing before
    /// is decoded, and left where it ends.
    pub(crate) fn input(&self, path: &Path) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        if self.encodes_pictures() {
            args.extend(self.maker.device().iter().map(OsString::from));
        }
        args.extend(self.seek().iter().map(OsString::from));
        // Old containers give pictures without times; a copy needs them.
        args.extend(["-fflags", "+genpts"].map(OsString::from));
        args.extend(input_args(path));
        args
    }

    /// The arguments that enter a source at the clip.
    pub(crate) fn seek(&self) -> Vec<String> {
        let Some(clip) = self.clip else { return Vec::new() };
        if self.seeks_badly && clip.from_s > 0.0 {
            let early = clip.from_s - SEEK_MARGIN_S;
            return if early > 0.0 { vec!["-ss".to_owned(), seconds(early)] } else { Vec::new() };
        }
        Self::span(clip.from_s, clip.to_s.map(|to| to - clip.from_s))
    }

    /// The arguments that leave out what a seek that was too early brought along.
    fn trim(&self) -> Vec<String> {
        let Some(clip) = self.clip.filter(|clip| self.seeks_badly && clip.from_s > 0.0) else {
            return Vec::new();
        };
        Self::span(clip.from_s.min(SEEK_MARGIN_S), clip.to_s.map(|to| to - clip.from_s))
    }

    fn span(from_s: f64, length_s: Option<f64>) -> Vec<String> {
        let mut args = Vec::new();
        for (name, value) in [("-ss", Some(from_s).filter(|at| *at > 0.0)), ("-t", length_s)] {
            if let Some(value) = value {
                args.extend([name.to_owned(), seconds(value)]);
            }
        }
        args
    }

    /// The arguments between the source and the file to write.
    pub(crate) fn output(&self) -> Vec<String> {
        [self.trim(), self.pictures("0"), self.others("0"), self.container()].concat()
    }

    /// The arguments for pictures that come from an input.
    pub(crate) fn pictures(&self, input: &str) -> Vec<String> {
        let used = |fate: &&Fate| fate.kind == StreamKind::Video && fate.way != Way::LeftOut;
        let Some(fate) = self.fates.iter().find(used) else {
            return vec!["-vn".to_owned()];
        };
        let mut args = vec!["-map".to_owned(), format!("{input}:{}", fate.stream)];
        if fate.way == Way::Copied {
            args.extend(["-c:v".to_owned(), "copy".to_owned()]);
            args.extend(self.format.tags(fate.codec.as_deref()));
            return args;
        }
        let filters: Vec<&str> =
            self.picture_filters.iter().map(String::as_str).chain(self.maker.upload()).collect();
        if !filters.is_empty() {
            args.extend(["-vf".to_owned(), filters.join(",")]);
        }
        // Each picture once: by its rate, one that is late would be shown twice.
        args.extend(["-fps_mode", "vfr"].map(str::to_owned));
        let Coding { codec, quality } = self.coding;
        args.extend(picture_args(codec, quality, self.maker).unwrap_or_default());
        args.extend(self.format.tags([codec.codec()]));
        args
    }

    /// The arguments for sound and subtitles that come from an input.
    pub(crate) fn others(&self, input: &str) -> Vec<String> {
        let mut args = Vec::new();
        let used = |kind| {
            let is = move |fate: &&Fate| fate.kind == kind && fate.way != Way::LeftOut;
            self.fates.iter().filter(is)
        };
        for (fate, how) in used(StreamKind::Audio).zip(&self.sounds) {
            args.extend(["-map".to_owned(), format!("{input}:{}", fate.stream)]);
            args.extend(how.iter().cloned());
        }
        for (n, (fate, codec)) in used(StreamKind::Subtitle).zip(&self.subtitles).enumerate() {
            args.extend(["-map".to_owned(), format!("{input}:{}", fate.stream)]);
            args.extend([format!("-c:s:{n}"), (*codec).to_owned()]);
        }
        for (kind, none) in [(StreamKind::Audio, "-an"), (StreamKind::Subtitle, "-sn")] {
            if used(kind).next().is_none() {
                args.push(none.to_owned());
            }
        }
        args
    }

    /// The arguments that say what is written.
    pub(crate) fn container(&self) -> Vec<String> {
        let mut args = vec!["-dn".to_owned(), "-max_muxing_queue_size".to_owned()];
        args.extend(["4096".to_owned(), "-fs".to_owned(), MAX_WRITTEN_BYTES.to_string()]);
        args.extend(self.format.muxer().iter().map(|arg| (*arg).to_owned()));
        args
    }
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.6}")
}
