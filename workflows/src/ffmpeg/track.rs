//! Subtitles as a track of their own, which viewers turn on and off.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use callsheet_actors::{StepContext, StepError, StepResult};
use callsheet_storage::Artifact;

use crate::limits::MAX_SRT_BYTES;
use crate::lower::Format;
use crate::speech::language;
use crate::subtitles::{Cue, read_srt, write_srt, write_vtt};

/// What films are tagged with in place of a language that nobody knows.
const UNDETERMINED: &str = "und";

/// Subtitles that are ready to be put into a file.
pub(crate) struct Track {
    path: PathBuf,
    format: Format,
    language: &'static str,
}

impl Track {
    /// Reads `SubRip` and writes it anew into the working directory, as the container wants it.
    ///
    /// # Errors
    /// `subtitles.not_srt` when it is something else.
    pub(crate) async fn open(
        subtitles: &Artifact,
        spoken: Option<&str>,
        format: Format,
        context: &StepContext,
    ) -> StepResult<Self> {
        let cues = read(&context.open(subtitles).await?)?;
        let work = std::path::absolute(context.work_dir()?)?;
        let path = work.join("track");
        std::fs::write(&path, written(&cues, format))?;
        let language = spoken.and_then(language::find).map_or(UNDETERMINED, |known| known.tag);
        Ok(Self { path, format, language })
    }

    /// The arguments that name it as an input.
    pub(crate) fn input(&self) -> Vec<OsString> {
        let kind = if self.is_copied() { "srt" } else { "webvtt" };
        let mut args: Vec<OsString> =
            ["-protocol_whitelist", "file", "-format_whitelist", kind, "-f", kind, "-i"]
                .map(OsString::from)
                .into();
        let mut name = OsString::from("file:");
        name.push(&self.path);
        args.push(name);
        args
    }

    /// The arguments that put it into the file: the number of its input, and how many subtitles
    /// stand before it.
    pub(crate) fn output(&self, input: usize, before: usize) -> Vec<String> {
        let codec = if self.is_copied() { "copy" } else { "mov_text" };
        vec![
            "-map".to_owned(),
            format!("{input}:s:0"),
            format!("-c:s:{before}"),
            codec.to_owned(),
            format!("-metadata:s:s:{before}"),
            format!("language={}", self.language),
            format!("-disposition:s:{before}"),
            "default".to_owned(),
        ]
    }

    fn is_copied(&self) -> bool {
        self.format == Format::Mkv
    }
}

fn read(path: &Path) -> StepResult<Vec<Cue>> {
    let refused = |message: String| {
        StepError::fatal("subtitles.not_srt", message)
            .with_hint("use the `srt` file that `subtitles.compose` writes")
    };
    let size = std::fs::metadata(path)?.len();
    if size > MAX_SRT_BYTES {
        return Err(refused(format!("the subtitles have {size} bytes, over {MAX_SRT_BYTES}")));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| refused(format!("the subtitles are no text: {error}")))?;
    read_srt(&text).map_err(|error| refused(format!("the subtitles are no SubRip: {error}")))
}

/// Matroska takes `SubRip` as it stands. On the way into MP4 ffmpeg reads braces and backslashes as
/// marks, even those that WebVTT would keep, so their wide twins stand in for them.
fn written(cues: &[Cue], format: Format) -> String {
    if format == Format::Mkv {
        return write_srt(cues);
    }
    let plain = |cue: &Cue| {
        let text = cue.text.replace('{', "｛").replace('}', "｝").replace('\\', "＼");
        Cue { text, ..cue.clone() }
    };
    write_vtt(&cues.iter().map(plain).collect::<Vec<_>>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_written_as_the_container_takes_it() {
        let cue = Cue { start_ms: 0, end_ms: 1_000, text: "{\\an8} <b>".to_owned() };
        let srt = written(std::slice::from_ref(&cue), Format::Mkv);
        assert!(srt.contains("\n{\\an8} <b>\n"), "{srt}");
        let vtt = written(&[cue], Format::Mp4);
        assert!(vtt.contains("\n｛＼an8｝ &lt;b&gt;\n"), "{vtt}");
    }

    #[test]
    fn arguments_name_one_file_and_one_format() {
        for (format, kind, codec) in
            [(Format::Mp4, "webvtt", "mov_text"), (Format::Mkv, "srt", "copy")]
        {
            let track = Track { path: PathBuf::from("/w/track"), format, language: "deu" };
            let input = track.input();
            assert_eq!(input.last().unwrap(), "file:/w/track");
            assert!(input.windows(2).any(|pair| pair[0] == "-f" && pair[1] == kind));
            let output = track.output(1, 2).join(" ");
            let expected = format!(
                "-map 1:s:0 -c:s:2 {codec} -metadata:s:s:2 language=deu -disposition:s:2 default"
            );
            assert_eq!(output, expected);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, fits) in [
            ("1\n00:00:00,000 --> 00:00:01,000\na\n", true),
            ("", true),
            ("#EXTM3U\nfile:///etc/passwd\n", false),
            ("[Script Info]\n", false),
        ] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(read(file.path()).is_ok(), fits, "{text}");
        }
    }
}
