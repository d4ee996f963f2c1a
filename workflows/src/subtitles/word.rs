//! A spoken word with its place in time: what recognisers give and captions are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pack::with_times;
use crate::limits::MAX_CUE_TIME_MS;

/// A spoken word and when it is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// The word as it is to be shown, with the punctuation that belongs to it.
    pub text: String,
    /// Seconds from the start of the media to the start of the word.
    pub start_s: f64,
    /// Seconds from the start of the media to the end of the word.
    pub end_s: f64,
    /// How sure the recogniser is, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

impl Word {
    /// A word without a confidence.
    pub fn new(text: impl Into<String>, start_s: f64, end_s: f64) -> Self {
        Self { text: text.into(), start_s, end_s, confidence: None }
    }
}

/// A word that captions can be made of: clean text, times in milliseconds, `start < end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) text: String,
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
}

/// Shortest time that a word is given: two steps of the coarsest format, which counts in 10 ms.
const MIN_WORD_MS: u64 = 20;

/// Cleans what a recogniser gave: words without text or with impossible times are left out, the
/// rest is put in order.
pub(super) fn spoken(words: &[Word]) -> Vec<Spoken> {
    let words = words.iter().filter_map(clean_word);
    // What a recogniser gives as one word may be several.
    let mut spoken: Vec<Spoken> = words.flat_map(|word| with_times(&word, &parts(&word))).collect();
    spoken.sort_by_key(|word| (word.start_ms, word.end_ms));
    spoken
}

fn clean_word(word: &Word) -> Option<Spoken> {
    let text = clean_text(&word.text);
    let (start_ms, end_ms) = (to_ms(word.start_s)?, to_ms(word.end_s)?);
    (!text.is_empty()).then(|| Spoken {
        text,
        start_ms,
        end_ms: end_ms.max(start_ms + MIN_WORD_MS),
    })
}

fn parts(word: &Spoken) -> Vec<String> {
    word.text.split(' ').map(ToOwned::to_owned).collect()
}

fn to_ms(seconds: f64) -> Option<u64> {
    let ms = (seconds * 1_000.0).round();
    // A little before the start is a rounding of the recogniser.
    (ms.is_finite() && ms <= MAX_CUE_TIME_MS).then_some(ms.max(0.0) as u64)
}

/// One line of visible text: no control characters, no marks that turn the direction of writing,
/// white space as single blanks, and no `-->`, which separates times in two of the formats.
pub(super) fn clean_text(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|c| if c.is_whitespace() || is_line_break(c) { ' ' } else { c })
        .filter(|c| !c.is_control() && !turns_direction(*c))
        .collect();
    let mut line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    while line.contains("-->") {
        line = line.replace("-->", "->");
    }
    line
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}')
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_visible_line() {
        for (given, clean) in [
            ("hello", "hello"),
            ("  a \t b\r\n\r\nc ", "a b c"),
            ("a\u{0}b\u{1b}[2J", "ab[2J"),
            ("\u{202E}abc\u{FEFF}", "abc"),
            ("1 --> 2", "1 -> 2"),
            ("----->", "->"),
            ("\u{2028}", ""),
            ("\u{85}x", "x"),
        ] {
            assert_eq!(clean_text(given), clean, "{given:?}");
        }
    }

    #[test]
    fn impossible_words_are_left_out_and_the_rest_is_put_in_order() {
        let words = [
            Word::new("b", 2.0, 2.5),
            Word::new("", 0.0, 1.0),
            Word::new("\n", 0.0, 1.0),
            Word::new("nan", f64::NAN, 1.0),
            Word::new("endless", 1.0, f64::INFINITY),
            Word::new("far", 1e12, 1e12),
            Word::new("a", -0.01, -0.5),
        ];
        let given = spoken(&words);
        assert_eq!(
            given,
            [
                Spoken { text: "a".into(), start_ms: 0, end_ms: MIN_WORD_MS },
                Spoken { text: "b".into(), start_ms: 2_000, end_ms: 2_500 },
            ]
        );
    }
}
