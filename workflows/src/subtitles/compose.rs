//! The step kind `subtitles.compose`.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ass::{Look, write_ass};
use super::cue::{Cue, Layout, captions, too_fast};
use super::edit::{Exclusion, Replacement};
use super::pack::Split;
use super::srt::write_srt;
use super::style::Style;
use super::vtt::write_vtt;
use super::word::Word;
use crate::limits::{
    MAX_CUE_TIME_MS, MAX_EXCLUSIONS_COUNT, MAX_LINE_CHARS, MAX_LINES_COUNT, MAX_REPLACEMENT_CHARS,
    MAX_REPLACEMENTS_COUNT, MAX_SIDE_PIXELS, MAX_WORDS_COUNT, MAX_WORDS_PER_LINE_COUNT,
};
use crate::wanted::{self, Wanted};

/// Makes captions of words with times: SubRip, WebVTT and ASS.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compose;

/// Refuses what captions cannot be made with, before there are words.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckCaptions;

/// The input of `subtitles.compose`, and of `subtitles.check`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// The words with their times, as `speech.transcribe` gives them.
    pub words: Vec<Word>,
    /// Whether lines are filled by `words_per_line` or by `max_chars` alone.
    #[serde(default)]
    pub split: Split,
    /// Most words on a line, 1 to 12. In scripts without blanks four letters count as a word.
    #[serde(default = "default_words_per_line")]
    #[schemars(range(min = 1, max = 12))]
    pub words_per_line: usize,
    /// Most characters on a line, 1 to 200; Chinese, Japanese and Korean ones count as two. A word
    /// that is longer stands alone, uncut.
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
    /// Texts that are written in another way, one after another; at most 200.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub replace: Vec<Replacement>,
    /// Stretches of time without captions, at most 1,000.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    pub exclude: Vec<Exclusion>,
    /// When that which is captioned begins, in seconds of the time that `exclude` is counted in: a
    /// scene of a film begins somewhere in it.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub starts_s: f64,
    /// How burned captions look.
    #[serde(default)]
    pub style: Style,
    /// Width of the picture in pixels, for the size of burned letters.
    #[serde(default)]
    pub width: Option<u32>,
    /// Height of the picture in pixels, for the size of burned letters.
    #[serde(default)]
    pub height: Option<u32>,
    /// Length of the media in seconds, which no caption outlasts.
    #[serde(default)]
    pub duration_s: Option<f64>,
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

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Words, context: StepContext) -> StepResult<Composed> {
        check(&input)?;
        let layout = layout(&input);
        let (width, height) = DEFAULT_PICTURE;
        let look = Look {
            width: input.width.unwrap_or(width),
            height: input.height.unwrap_or(height),
            style: input.style,
            max_chars: layout.max_chars,
        };
        let (words, wanted) = (input.words, wanted::by(&context));
        let written = context.blocking(move || write(&words, &layout, &look, &wanted)).await?;
        let Written { srt, vtt, ass, cues, fast_cues } = written;
        let srt = context.put_bytes(srt, "captions.srt", "application/x-subrip").await?;
        let vtt = context.put_bytes(vtt, "captions.vtt", "text/vtt").await?;
        let ass = context.put_bytes(ass, "captions.ass", "text/x-ssa").await?;
        Ok(Composed { srt, vtt, ass, cues, fast_cues })
    }
}

/// Captions that are not stored yet.
struct Written {
    srt: String,
    vtt: String,
    ass: String,
    cues: usize,
    fast_cues: usize,
}

fn write(words: &[Word], layout: &Layout, look: &Look, wanted: Wanted<'_>) -> StepResult<Written> {
    let captions = captions(words, layout, wanted)?;
    let cues: Vec<Cue> = captions.iter().map(|caption| caption.cue.clone()).collect();
    Ok(Written {
        srt: write_srt(&cues),
        vtt: write_vtt(&cues),
        ass: write_ass(&captions, look),
        cues: cues.len(),
        fast_cues: too_fast(&cues, layout),
    })
}

impl Step for CheckCaptions {
    type Input = Words;
    type Output = ();

    fn kind(&self) -> String {
        "subtitles.check".to_owned()
    }

    fn description(&self) -> String {
        "Refuses what `subtitles.compose` would refuse, before there are words.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, input: Words, _: StepContext) -> StepResult<()> {
        check(&input)
    }
}

fn layout(input: &Words) -> Layout {
    // A length of nought is one that the file does not say.
    let end_s = input.duration_s.filter(|s| s.is_finite() && *s > 0.0);
    // What lies before the start becomes 0.
    let at = |s: f64| ((s - input.starts_s) * 1_000.0).round() as u64;
    Layout {
        split: input.split,
        words_per_line: input.words_per_line,
        max_chars: input.max_chars,
        lines: input.lines,
        max_chars_per_second: input.max_chars_per_second,
        end_ms: end_s.map(|s| (s * 1_000.0) as u64),
        replace: input.replace.clone(),
        exclude: input.exclude.iter().map(|range| (at(range.from_s), at(range.to_s))).collect(),
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
    check_edits(input)?;
    input.style.check()
}

fn check_edits(input: &Words) -> StepResult<()> {
    for (name, count, most) in [
        ("replace", input.replace.len(), MAX_REPLACEMENTS_COUNT),
        ("exclude", input.exclude.len(), MAX_EXCLUSIONS_COUNT),
    ] {
        if count > most {
            return Err(refused(format!("`{name}` has {count} items, expected at most {most}")));
        }
    }
    for rule in &input.replace {
        let (find, replace) = (rule.find.chars().count(), rule.replace.chars().count());
        if rule.find.trim().is_empty() || find.max(replace) > MAX_REPLACEMENT_CHARS {
            let message = format!(
                "`find` of `replace` has {find} characters and `replace` {replace}, expected 1 and \
                 0 to {MAX_REPLACEMENT_CHARS}"
            );
            return Err(refused(message));
        }
    }
    for Exclusion { from_s, to_s } in &input.exclude {
        // Written so that what is not a number is refused too.
        if !(0.0 <= *from_s && from_s < to_s && *to_s <= MAX_CUE_TIME_MS / 1_000.0) {
            let message = format!("`exclude` goes from {from_s} s to {to_s} s");
            return Err(refused(message)
                .with_hint("`from_s` is 0 or more, and `to_s` is after it, at most 99 hours"));
        }
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
            (json!({ "words": [], "style": { "font": "Arial,100\n[Events]" } }), Some("font")),
            (json!({ "words": [], "replace": [{ "find": " ", "replace": "" }] }), Some("find")),
            (json!({ "words": [], "exclude": [{ "from_s": 1, "to_s": 1 }] }), Some("exclude")),
            (json!({ "words": [], "exclude": [{ "from_s": -1, "to_s": 1 }] }), Some("exclude")),
            (json!({ "words": [], "exclude": [{ "from_s": 0, "to_s": 1e9 }] }), Some("exclude")),
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
        for (input, named) in [
            (json!({ "words": [], "word_per_line": 3 }), "word_per_line"),
            (json!({ "words": [], "style": { "colour": "#FFFFFF" } }), "colour"),
            (json!({ "words": [], "style": { "color": "red" } }), "`red` is no colour"),
            (json!({ "words": [], "replace": [{ "from": "a", "to": "b" }] }), "from"),
            (json!({ "words": [], "exclude": [{ "from": 0, "to": 1 }] }), "from"),
        ] {
            let error = serde_json::from_value::<Words>(input).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
