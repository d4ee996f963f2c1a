//! The step kind `speech.cut`.

use std::path::{Path, PathBuf};

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::levels::{FRAMES_PER_SECOND, Levels};
use super::pieces::{Lengths, pieces};
use crate::limits::{LOCAL_PIECE_S, PIECE_RANGE_S};
use crate::wanted::{self, Wanted};
use crate::wav::Wav;

/// Cuts a recording at its pauses.
#[derive(Clone, Copy, Debug, Default)]
pub struct CutSpeech;

/// The input of `speech.cut`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The sound, as `media.extract_audio` gives it.
    pub audio: Artifact,
    /// A piece is not ended before so many seconds, where there is a pause later; 1 to 3,600.
    #[serde(default = "default_min")]
    #[schemars(range(min = 1.0, max = 3_600.0))]
    pub min_piece_s: f64,
    /// A piece is ended after so many seconds, pause or not; 1 to 3,600.
    #[serde(default = "default_max")]
    #[schemars(range(min = 1.0, max = 3_600.0))]
    pub max_piece_s: f64,
}

fn default_min() -> f64 {
    LOCAL_PIECE_S.0
}

fn default_max() -> f64 {
    LOCAL_PIECE_S.1
}

/// The output of `speech.cut`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Cut {
    /// The pieces in their order. Where there is no sound there is none.
    pub pieces: Vec<Piece>,
    /// Length of the whole recording in seconds.
    pub duration_s: f64,
}

/// A piece of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Its sound.
    pub audio: Artifact,
    /// Seconds from the start of the recording to the start of the piece.
    pub start_s: f64,
    /// Seconds from the start of the recording to the end of the piece.
    pub end_s: f64,
}

impl Step for CutSpeech {
    type Input = Recording;
    type Output = Cut;

    fn kind(&self) -> String {
        "speech.cut".to_owned()
    }

    fn description(&self) -> String {
        "Cuts a recording at pauses into pieces that can be recognised side by side.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Recording, context: StepContext) -> StepResult<Cut> {
        let lengths = lengths(&input)?;
        let audio = context.open(&input.audio).await?;
        let wav = Wav::of_file(&audio)?;
        let (source, work) = (audio.clone(), context.work_dir()?.to_owned());
        let wanted = wanted::by(&context);
        let work = move || cut(&source, &wav, lengths, &work, &wanted);
        let files = context.blocking(work).await?;
        let mut pieces = Vec::with_capacity(files.len());
        for File { path, start_s, end_s } in files {
            let audio = match path {
                Some(path) => context.put_file(path, "piece.wav", "audio/wav").await?,
                None => input.audio.clone(),
            };
            pieces.push(Piece { audio, start_s, end_s });
        }
        Ok(Cut { pieces, duration_s: wav.duration_s() })
    }
}

/// A piece that is not stored yet; without a path it is the whole recording.
struct File {
    path: Option<PathBuf>,
    start_s: f64,
    end_s: f64,
}

fn cut(
    audio: &Path,
    wav: &Wav,
    lengths: Lengths,
    work: &Path,
    wanted: Wanted<'_>,
) -> StepResult<Vec<File>> {
    let duration_s = wav.duration_s();
    let Some(levels) = Levels::of_file(audio, wav, wanted)? else {
        let message = format!("the audio has {} bits a sample; expected 16", wav.bits);
        return Err(StepError::fatal("speech.audio", message)
            .with_hint("take the sound out with `media.extract_audio` first"));
    };
    let found = pieces(&levels, lengths);
    let is_short = duration_s <= lengths.max_s;
    let mut files = Vec::with_capacity(found.len());
    for (n, (from, to)) in found.into_iter().enumerate() {
        if is_short {
            // Nothing is gained by a copy that is a little shorter.
            return Ok(vec![File { path: None, start_s: 0.0, end_s: duration_s }]);
        }
        let seconds = |frame: usize| (frame as f64 / FRAMES_PER_SECOND as f64).min(duration_s);
        let (start_s, end_s) = (seconds(from), seconds(to));
        let path = work.join(format!("{n}.wav"));
        wanted()?;
        wav.copy_part(audio, (start_s, end_s), &path)?;
        files.push(File { path: Some(path), start_s, end_s });
    }
    Ok(files)
}

fn lengths(input: &Recording) -> StepResult<Lengths> {
    let (min_s, max_s) = (input.min_piece_s, input.max_piece_s);
    let (least, most) = PIECE_RANGE_S;
    if least <= min_s && min_s <= max_s && max_s <= most {
        return Ok(Lengths { min_s, max_s });
    }
    let message = format!("pieces of {min_s} s to {max_s} s cannot be cut");
    Err(StepError::fatal("speech.input", message).with_hint(format!(
        "`min_piece_s` and `max_piece_s` are {least} to {most}, the first no larger than the second"
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wav::tests::of_samples;

    const RATE: u32 = 1_000;

    /// Seconds of sound (`#`) and silence (`.`).
    fn recording(picture: &str) -> Vec<i16> {
        let tone = |c, n: i32| if c == '#' { 4_000 * (n % 2 * 2 - 1) as i16 } else { 0 };
        picture.chars().flat_map(|c| (0..RATE as i32).map(move |n| tone(c, n))).collect()
    }

    fn cut_up(picture: &str, lengths: Lengths) -> Vec<(Option<Vec<u8>>, f64, f64)> {
        let work = tempfile::tempdir().unwrap();
        let audio = work.path().join("audio");
        std::fs::write(&audio, of_samples(RATE, &recording(picture))).unwrap();
        let wav = Wav::of_file(&audio).unwrap();
        let files = cut(&audio, &wav, lengths, work.path(), &|| Ok(())).unwrap();
        let read = |path: PathBuf| std::fs::read(path).unwrap();
        files.into_iter().map(|file| (file.path.map(read), file.start_s, file.end_s)).collect()
    }

    #[test]
    fn pieces_are_parts_of_the_recording() {
        let lengths = Lengths { min_s: 2.0, max_s: 5.0 };
        let picture = "..###.#####...#";
        let samples = recording(picture);
        let pieces = cut_up(picture, lengths);
        let times: Vec<_> = pieces.iter().map(|(_, start, end)| (*start, *end)).collect();
        assert_eq!(times, [(1.5, 5.5), (5.5, 10.49), (10.49, 15.0)]);
        for (bytes, start, end) in pieces {
            let part = (start * 1e3) as usize..(end * 1e3) as usize;
            assert_eq!(bytes.unwrap(), of_samples(RATE, &samples[part]), "{start}");
        }
    }

    #[test]
    fn a_short_recording_stays_whole_and_a_silent_one_has_no_piece() {
        let lengths = Lengths { min_s: 2.0, max_s: 5.0 };
        assert_eq!(cut_up(".###.", lengths), [(None, 0.0, 5.0)]);
        assert_eq!(cut_up(".....", lengths), []);
        assert_eq!(cut_up("..........", lengths), []);
        assert_eq!(cut_up("", lengths), []);
    }

    #[test]
    fn lengths_are_checked() {
        let audio = serde_json::json!({
            "artifact": "0".repeat(64), "name": "a", "media_type": "b", "size": 1,
        });
        for (min, max, fits) in [
            (15.0, 30.0, true),
            (30.0, 30.0, true),
            (30.0, 15.0, false),
            (0.0, 30.0, false),
            (1.0, 4_000.0, false),
            (f64::NAN, 30.0, false),
        ] {
            let input = serde_json::json!({ "audio": audio });
            let mut input: Recording = serde_json::from_value(input).unwrap();
            (input.min_piece_s, input.max_piece_s) = (min, max);
            assert_eq!(lengths(&input).is_ok(), fits, "{min} {max}");
        }
    }
}
