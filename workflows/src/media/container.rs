//! What a file is, told from its first bytes: known containers of sound and pictures are taken,
//! everything else is refused before ffmpeg sees it.
//!
//! ffmpeg opens playlists and scripts as gladly as films, whatever the file is called, and a
//! playlist names other files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use callsheet_actors::{StepError, StepResult};

use crate::limits::SNIFF_BYTES;

/// A container that the media steps take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Mp4,
    Matroska,
    Avi,
    Wav,
    Ogg,
    Flac,
    Mp3,
    Aac,
    Flv,
    MpegTs,
    MpegPs,
    Asf,
    Aiff,
    Caf,
}

/// The containers by name, for hints.
pub(crate) const TAKEN: &str =
    "MP4, MOV, MKV, WebM, AVI, WAV, Ogg, FLAC, MP3, AAC, FLV, MPEG-TS, MPEG-PS, WMV, AIFF, CAF";

/// What ffmpeg calls them: no other format is opened, whatever the bytes look like.
pub(crate) const FORMAT_WHITELIST: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,wav,ogg,flac,\
    mp3,aac,flv,mpegts,mpeg,asf,aiff,caf";

impl Container {
    /// What the bytes at the start of a file say.
    pub(crate) fn of_bytes(start: &[u8]) -> Option<Self> {
        let at = |offset: usize, bytes: &[u8]| {
            start.get(offset..offset + bytes.len()).is_some_and(|found| found == bytes)
        };
        let riff = |form: &[u8]| (at(0, b"RIFF") || at(0, b"RF64")) && at(8, form);
        let boxes: [&[u8]; 7] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"];
        let checks = [
            (boxes.iter().any(|name| at(4, name)), Self::Mp4),
            (at(0, b"\x1A\x45\xDF\xA3"), Self::Matroska),
            (riff(b"AVI "), Self::Avi),
            (riff(b"WAVE"), Self::Wav),
            (at(0, b"OggS"), Self::Ogg),
            (at(0, b"fLaC"), Self::Flac),
            (at(0, b"ID3") || is_mp3_frame(start), Self::Mp3),
            (is_aac_frame(start), Self::Aac),
            (at(0, b"FLV\x01"), Self::Flv),
            (at(0, b"G") && at(188, b"G") && at(376, b"G"), Self::MpegTs),
            (at(0, b"\0\0\x01\xBA"), Self::MpegPs),
            (at(0, b"\x30\x26\xB2\x75\x8E\x66\xCF\x11"), Self::Asf),
            (at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")), Self::Aiff),
            (at(0, b"caff\0\x01"), Self::Caf),
        ];
        checks.iter().find(|(found, _)| *found).map(|(_, container)| *container)
    }

    /// What a file is; none when it is nothing that is known.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn of_file(path: &Path) -> StepResult<Option<Self>> {
        Ok(Self::of_bytes(&read_start(path)?))
    }

    /// What a file is.
    ///
    /// # Errors
    /// `media.not_allowed` when it is nothing that the media steps take; says what it looks like.
    pub(crate) fn of_media(path: &Path) -> StepResult<Self> {
        let start = read_start(path)?;
        Self::of_bytes(&start).ok_or_else(|| {
            let message = format!("the file is {}, not sound or pictures", looks_like(&start));
            StepError::fatal("media.not_allowed", message).with_hint(format!("taken are {TAKEN}"))
        })
    }

    /// The usual ending of a file's name.
    pub(crate) fn extension(self) -> &'static str {
        self.words().0
    }

    /// The usual media type.
    pub(crate) fn media_type(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Mp4 => ("mp4", "video/mp4"),
            Self::Matroska => ("mkv", "video/x-matroska"),
            Self::Avi => ("avi", "video/x-msvideo"),
            Self::Wav => ("wav", "audio/wav"),
            Self::Ogg => ("ogg", "audio/ogg"),
            Self::Flac => ("flac", "audio/flac"),
            Self::Mp3 => ("mp3", "audio/mpeg"),
            Self::Aac => ("aac", "audio/aac"),
            Self::Flv => ("flv", "video/x-flv"),
            Self::MpegTs => ("ts", "video/mp2t"),
            Self::MpegPs => ("mpg", "video/mpeg"),
            Self::Asf => ("wmv", "video/x-ms-asf"),
            Self::Aiff => ("aiff", "audio/aiff"),
            Self::Caf => ("caf", "audio/x-caf"),
        }
    }
}

fn read_start(path: &Path) -> StepResult<Vec<u8>> {
    let mut start = Vec::with_capacity(SNIFF_BYTES);
    File::open(path)?.take(SNIFF_BYTES as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Eleven set bits, then a version, a layer and a rate that exist.
fn is_mp3_frame(start: &[u8]) -> bool {
    let [0xFF, b, c, ..] = start else { return false };
    let (version, layer, rate) = (b >> 3 & 3, b >> 1 & 3, c >> 4);
    b >> 5 == 7 && version != 1 && layer != 0 && rate != 15 && rate != 0
}

/// Twelve set bits and layer 0.
fn is_aac_frame(start: &[u8]) -> bool {
    matches!(start, [0xFF, b, ..] if b & 0xF6 == 0xF0)
}

/// What a refused file seems to be, for the message.
fn looks_like(start: &[u8]) -> &'static str {
    if start.is_empty() {
        return "empty";
    }
    let text =
        String::from_utf8_lossy(start).trim_start_matches('\u{FEFF}').trim_start().to_owned();
    let lower = text.to_ascii_lowercase();
    let known = [
        ("#extm3u", "an HLS playlist"),
        ("ffconcat", "an ffconcat script"),
        ("<!doctype html", "a web page"),
        ("<html", "a web page"),
        ("<?xml", "an XML document"),
        ("<mpd", "a DASH playlist"),
        ("v=0", "a session description"),
        ("[script info]", "a subtitle file"),
        ("webvtt", "a subtitle file"),
        ("%pdf", "a PDF document"),
        ("pk\u{3}\u{4}", "a ZIP archive"),
    ];
    if let Some((_, name)) = known.iter().find(|(mark, _)| lower.starts_with(mark)) {
        return name;
    }
    let is_text = !text.chars().any(|c| c == '\u{FFFD}' || (c.is_control() && !c.is_whitespace()));
    if is_text { "a text file" } else { "of an unknown kind" }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn transport_stream() -> Vec<u8> {
        let mut bytes = vec![0; 400];
        for n in [0, 188, 376] {
            bytes[n] = b'G';
        }
        bytes
    }

    #[test]
    fn containers_are_known_by_their_first_bytes() {
        let stream = transport_stream();
        for (bytes, expected) in [
            (&b"\0\0\0\x20ftypisom"[..], Some(Container::Mp4)),
            (b"\0\0\x10\0moov", Some(Container::Mp4)),
            (b"\x1A\x45\xDF\xA3\x01", Some(Container::Matroska)),
            (b"RIFF\0\0\0\0AVI LIST", Some(Container::Avi)),
            (b"RIFF\0\0\0\0WAVEfmt ", Some(Container::Wav)),
            (b"RIFF\0\0\0\0WEBP", None),
            (b"OggS\0", Some(Container::Ogg)),
            (b"fLaC\0", Some(Container::Flac)),
            (b"ID3\x04", Some(Container::Mp3)),
            (b"\xFF\xFB\x90\x64", Some(Container::Mp3)),
            (b"\xFF\xF1\x50\x80", Some(Container::Aac)),
            (b"\xFF\xFE\0\0", None),
            (b"FLV\x01\x05", Some(Container::Flv)),
            (&stream, Some(Container::MpegTs)),
            (b"GGGG", None),
            (b"\0\0\x01\xBA\x44", Some(Container::MpegPs)),
            (b"\x30\x26\xB2\x75\x8E\x66\xCF\x11\xA6\xD9", Some(Container::Asf)),
            (b"FORM\0\0\0\0AIFF", Some(Container::Aiff)),
            (b"caff\0\x01", Some(Container::Caf)),
            (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd", None),
            (b"ffconcat version 1.0\nfile private.mp4", None),
            (b"", None),
            (b"\0", None),
        ] {
            assert_eq!(
                Container::of_bytes(bytes),
                expected,
                "{:?}",
                bytes.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn every_container_has_its_words_and_its_place_in_the_white_list() {
        let all = [
            (Container::Mp4, "mp4"),
            (Container::Matroska, "matroska"),
            (Container::Avi, "avi"),
            (Container::Wav, "wav"),
            (Container::Ogg, "ogg"),
            (Container::Flac, "flac"),
            (Container::Mp3, "mp3"),
            (Container::Aac, "aac"),
            (Container::Flv, "flv"),
            (Container::MpegTs, "mpegts"),
            (Container::MpegPs, "mpeg"),
            (Container::Asf, "asf"),
            (Container::Aiff, "aiff"),
            (Container::Caf, "caf"),
        ];
        let mut endings: Vec<&str> = all.iter().map(|(kind, _)| kind.extension()).collect();
        endings.sort_unstable();
        endings.dedup();
        assert_eq!(endings.len(), all.len());
        for (kind, demuxer) in all {
            assert!(FORMAT_WHITELIST.split(',').any(|name| name == demuxer), "{demuxer}");
            assert!(
                kind.media_type().starts_with("video/") || kind.media_type().starts_with("audio/")
            );
        }
    }

    #[test]
    fn a_refusal_says_what_the_file_looks_like() {
        for (bytes, expected) in [
            (&b""[..], "empty"),
            (b"#EXTM3U\n", "an HLS playlist"),
            (b"\xEF\xBB\xBF \n#extm3u\n", "an HLS playlist"),
            (b"ffconcat version 1.0", "an ffconcat script"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"PK\x03\x04", "a ZIP archive"),
            (b"hello", "a text file"),
            (b"\x7FELF\x02\x01\xFF", "of an unknown kind"),
        ] {
            assert_eq!(looks_like(bytes), expected);
        }
    }
}
