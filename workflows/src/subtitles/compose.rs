//! The step kind `subtitles.compose`.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ass::{DEFAULT_FONT, Look, write_ass};
use super::cue::{Layout, cues, too_fast};
use super::srt::write_srt;
use super::vtt::write_vtt;
use super::word::Word;
use crate::limits::{
    MAX_LINE_CHARS, MAX_LINES_COUNT, MAX_SIDE_PIXELS, MAX_WORDS_COUNT, MAX_WORDS_PER_LINE_COUNT,
};

/// Makes captions of words with times: SubRip, WebVTT and ASS.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compose;

/// The input of `subtitles.compose`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// The words with their times, as `speech.transcribe` gives them.
    pub words: Vec<Word>,
    /// Most words on a line, 1 to 12.
    #[serde(default = "default_words_per_line")]
    #[schemars(range(min = 1, max = 12))]
    pub words_per_line: usize,
    /// Most characters on a line, 1 to 200.
    #[serde(default = "default_max_chars")]
    #[schemars(range(min = 1, max = 200))]
    pub max_chars: usize,
    /// Most lines on the screen at once, 1 to 3.
    #[serde(default = "default_lines")]
    #[schemars(range(min = 1, max = 3))]
    pub lines: usize,
    /// The speed of reading that cues are stretched for where there is room, 5 to 60.
    #[serde(default = "default_speed")]
    #[schemars(range(min = 5.0, max = 60.0))]
    pub max_chars_per_second: f64,
    /// Whether the captions are shown in capitals.
    #[serde(default)]
    pub uppercase: bool,
    /// Width of the picture in pixels, for the size of burned letters.
    #[serde(default)]
    pub width: Option<u32>,
    /// Height of the picture in pixels, for the size of burned letters.
    #[serde(default)]
    pub height: Option<u32>,
    /// Length of the media in seconds, which no caption outlasts.
    #[serde(default)]
    pub duration_s: Option<f64>,
    /// Font of burned captions: letters, digits, blanks and `-`.
    #[serde(default = "default_font")]
    pub font: String,
}

fn default_words_per_line() -> usize {
    Layout::default().words_per_line
}

fn default_max_chars() -> usize {
    Layout::default().max_chars
}

fn default_lines() -> usize {
    Layout::default().lines
}

fn default_speed() -> f64 {
    Layout::default().max_chars_per_second
}

fn default_font() -> String {
    DEFAULT_FONT.to_owned()
}

/// The size of the picture where none is given.
const DEFAULT_PICTURE: (u32, u32) = (1280, 720);

/// The output of `subtitles.compose`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Composed {
    /// The captions as SubRip, `captions.srt`.
    pub srt: Artifact,
    /// The captions as WebVTT, `captions.vtt`.
    pub vtt: Artifact,
    /// The captions as ASS, `captions.ass`, for burning into the picture.
    pub ass: Artifact,
    /// How many captions there are; none when nothing is spoken.
    pub cues: usize,
    /// How many of them ask for faster reading than `max_chars_per_second`, for want of room.
    pub fast_cues: usize,
}

impl Step for Compose {
    type Input = Words;
    type Output = Composed;

    fn kind(&self) -> String {
        "subtitles.compose".to_owned()
    }

    fn description(&self) -> String {
        "Makes SubRip, WebVTT and ASS captions of words with times.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, input: Words, context: StepContext) -> StepResult<Composed> {
        check(&input)?;
        let layout = layout(&input);
        let (width, height) = DEFAULT_PICTURE;
        let look = Look {
            width: input.width.unwrap_or(width),
            height: input.height.unwrap_or(height),
            font: input.font.clone(),
        };
        let cues = cues(&input.words, &layout);
        let (srt, vtt, ass) = (write_srt(&cues), write_vtt(&cues), write_ass(&cues, &look));
        let srt = context.put_bytes(srt, "captions.srt", "application/x-subrip").await?;
        let vtt = context.put_bytes(vtt, "captions.vtt", "text/vtt").await?;
        let ass = context.put_bytes(ass, "captions.ass", "text/x-ssa").await?;
        Ok(Composed { srt, vtt, ass, cues: cues.len(), fast_cues: too_fast(&cues, &layout) })
    }
}

fn layout(input: &Words) -> Layout {
    // A length of nought is one that the file does not say.
    let end_ms = input.duration_s.filter(|s| s.is_finite() && *s > 0.0).map(|s| s * 1_000.0);
    Layout {
        words_per_line: input.words_per_line,
        max_chars: input.max_chars,
        lines: input.lines,
        max_chars_per_second: input.max_chars_per_second,
        uppercase: input.uppercase,
        end_ms: end_ms.map(|ms| ms as u64),
    }
}

/// Refuses what no captions can be made of, and what would get out of the ASS header.
fn check(input: &Words) -> StepResult<()> {
    let range = |name: &str, value: usize, most: usize| {
        if (1..=most).contains(&value) {
            return Ok(());
        }
        Err(refused(format!("`{name}` is {value}, expected 1 to {most}")))
    };
    range("words_per_line", input.words_per_line, MAX_WORDS_PER_LINE_COUNT)?;
    range("max_chars", input.max_chars, MAX_LINE_CHARS)?;
    range("lines", input.lines, MAX_LINES_COUNT)?;
    for (name, side) in [("width", input.width), ("height", input.height)] {
        range(name, side.unwrap_or(1) as usize, MAX_SIDE_PIXELS)?;
    }
    if !(5.0..=60.0).contains(&input.max_chars_per_second) {
        let speed = input.max_chars_per_second;
        return Err(refused(format!("`max_chars_per_second` is {speed}, expected 5 to 60")));
    }
    if input.words.len() > MAX_WORDS_COUNT {
        let count = input.words.len();
        return Err(refused(format!("`words` has {count} items, expected {MAX_WORDS_COUNT}")));
    }
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-');
    if input.font.is_empty() || input.font.len() > 64 || !input.font.chars().all(is_name) {
        return Err(refused(format!("`font` is `{}`, which is no name of a font", input.font))
            .with_hint("use letters, digits, blanks and `-`, such as `DejaVu Sans`"));
    }
    Ok(())
}

fn refused(message: String) -> StepError {
    StepError::fatal("subtitles.input", message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_are_checked() {
        for (input, field) in [
            (json!({ "words": [] }), None),
            (json!({ "words": [], "words_per_line": 12, "width": 1080, "height": 1920 }), None),
            (json!({ "words": [], "words_per_line": 0 }), Some("words_per_line")),
            (json!({ "words": [], "words_per_line": 13 }), Some("words_per_line")),
            (json!({ "words": [], "max_chars": 0 }), Some("max_chars")),
            (json!({ "words": [], "lines": 4 }), Some("lines")),
            (json!({ "words": [], "width": 0 }), Some("width")),
            (json!({ "words": [], "height": 4_000_000 }), Some("height")),
            (json!({ "words": [], "max_chars_per_second": 0 }), Some("max_chars_per_second")),
            (json!({ "words": [], "font": "Arial,100\n[Events]" }), Some("font")),
            (json!({ "words": [], "font": "" }), Some("font")),
        ] {
            let words: Words = serde_json::from_value(input.clone()).unwrap();
            match (check(&words), field) {
                (Ok(()), None) => {}
                (Err(StepError(failure)), Some(field)) => {
                    assert_eq!(failure.code, "subtitles.input");
                    assert!(failure.message.contains(field), "{}", failure.message);
                    assert!(!failure.retryable);
                }
                (other, _) => panic!("{input}: {other:?}"),
            }
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        let input = json!({ "words": [], "word_per_line": 3 });
        let error = serde_json::from_value::<Words>(input).unwrap_err();
        assert!(error.to_string().contains("word_per_line"), "{error}");
    }
}
