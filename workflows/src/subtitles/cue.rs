//! From words with times to cues: what is on the screen together, and from when to when.

use super::word::{Spoken, Word, spoken};
use crate::limits::{MAX_CUE_MS, MIN_CUE_MS};

/// A text that is on the screen from one instant to another. Its lines are divided by `\n`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cue {
    /// When it appears, in milliseconds from the start of the media.
    pub start_ms: u64,
    /// When it disappears.
    pub end_ms: u64,
    /// What is shown.
    pub text: String,
}

/// How words are put together into cues.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Most words on a line.
    pub words_per_line: usize,
    /// Most characters on a line.
    pub max_chars: usize,
    /// Most lines of one cue.
    pub lines: usize,
    /// The speed of reading that a cue's time is stretched for, where there is room.
    pub max_chars_per_second: f64,
    /// Whether the text is shown in capitals.
    pub uppercase: bool,
    /// The end of the media, which no cue outlasts.
    pub end_ms: Option<u64>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            words_per_line: 3,
            max_chars: 42,
            lines: 1,
            max_chars_per_second: 20.0,
            uppercase: false,
            end_ms: None,
        }
    }
}

/// Pause between words that ends a cue: nobody speaks, so nothing new is shown.
const PAUSE_MS: u64 = 700;

/// Time between two cues that follow each other closely: two frames, so that the eye sees a change.
const GAP_MS: u64 = 80;

/// Step between the starts of two cues: two steps of the coarsest format.
const MIN_STEP_MS: u64 = 20;

/// Puts words together into cues, in order, none overlapping another.
#[must_use]
pub fn cues(words: &[Word], layout: &Layout) -> Vec<Cue> {
    let words = fit_words(spoken(words, layout.uppercase), layout.max_chars);
    let mut cues: Vec<Cue> = phrases(&words)
        .into_iter()
        .flat_map(|phrase| pack(phrase, layout))
        .map(|group| group_cue(group, layout))
        .collect();
    set_times(&mut cues, layout);
    cues
}

/// Cues that ask for a faster reader than the layout has in mind.
#[must_use]
pub fn too_fast(cues: &[Cue], layout: &Layout) -> usize {
    let is_fast = |cue: &&Cue| reading_ms(cue, layout) > cue.end_ms.saturating_sub(cue.start_ms);
    cues.iter().filter(is_fast).count()
}

/// Cuts words that are longer than a line; each part gets its share of the time.
fn fit_words(words: Vec<Spoken>, max_chars: usize) -> Vec<Spoken> {
    let max_chars = max_chars.max(1);
    let mut fitted = Vec::with_capacity(words.len());
    for word in words {
        let chars: Vec<char> = word.text.chars().collect();
        if chars.len() <= max_chars {
            fitted.push(word);
            continue;
        }
        let (span, count) = (word.end_ms - word.start_ms, chars.len() as u64);
        for (n, part) in chars.chunks(max_chars).enumerate() {
            let first = (n * max_chars) as u64;
            fitted.push(Spoken {
                text: part.iter().collect(),
                start_ms: word.start_ms + span * first / count,
                end_ms: word.start_ms + span * (first + part.len() as u64) / count,
            });
        }
    }
    fitted
}

/// Divides words where a speaker pauses or ends a sentence, and where a cue would get too long.
fn phrases(words: &[Spoken]) -> Vec<&[Spoken]> {
    let mut phrases = Vec::new();
    let mut first = 0;
    for n in 1..words.len() {
        let (before, next) = (&words[n - 1], &words[n]);
        let pause = next.start_ms.saturating_sub(before.end_ms) >= PAUSE_MS;
        let long = next.end_ms.saturating_sub(words[first].start_ms) > MAX_CUE_MS;
        if pause || long || ends_sentence(&before.text) {
            phrases.push(&words[first..n]);
            first = n;
        }
    }
    if first < words.len() {
        phrases.push(&words[first..]);
    }
    phrases
}

fn ends_sentence(text: &str) -> bool {
    text.trim_end_matches(['"', '\'', '”', '’', ')', ']'])
        .ends_with(['.', '!', '?', '…', '。', '！', '？'])
}

/// Divides a phrase into groups that fit on the screen: of even size when that fits, so that no
/// word is left alone at the end, else as many words as fit.
fn pack<'a>(phrase: &'a [Spoken], layout: &Layout) -> Vec<&'a [Spoken]> {
    let most = (layout.words_per_line * layout.lines).max(1);
    let groups = phrase.len().div_ceil(most).max(1);
    let (size, larger) = (phrase.len() / groups, phrase.len() % groups);
    let mut rest = phrase;
    let mut even = Vec::with_capacity(groups);
    for n in 0..groups {
        let (group, after) = rest.split_at(size + usize::from(n < larger));
        even.push(group);
        rest = after;
    }
    if even.iter().all(|group| fits(group, layout)) { even } else { pack_greedily(phrase, layout) }
}

fn pack_greedily<'a>(phrase: &'a [Spoken], layout: &Layout) -> Vec<&'a [Spoken]> {
    let mut groups = Vec::new();
    let mut first = 0;
    for n in 1..phrase.len() {
        if !fits(&phrase[first..=n], layout) {
            groups.push(&phrase[first..n]);
            first = n;
        }
    }
    groups.push(&phrase[first..]);
    groups
}

fn fits(group: &[Spoken], layout: &Layout) -> bool {
    break_lines(group, layout).len() <= layout.lines.max(1)
}

fn group_cue(group: &[Spoken], layout: &Layout) -> Cue {
    Cue {
        start_ms: group.first().map_or(0, |word| word.start_ms),
        end_ms: group.iter().map(|word| word.end_ms).max().unwrap_or(0),
        text: break_lines(group, layout).join("\n"),
    }
}

fn break_lines(group: &[Spoken], layout: &Layout) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut on_line = 0;
    for word in group {
        let longer = lines.last().map(|line| join(line, &word.text));
        match longer {
            Some(longer)
                if on_line < layout.words_per_line
                    && longer.chars().count() <= layout.max_chars =>
            {
                on_line += 1;
                lines.pop();
                lines.push(longer);
            }
            _ => {
                on_line = 1;
                lines.push(word.text.clone());
            }
        }
    }
    lines
}

/// Scripts without blanks between words are joined without one.
fn join(line: &str, word: &str) -> String {
    let blank = !(line.ends_with(is_unspaced) && word.starts_with(is_unspaced));
    if blank { format!("{line} {word}") } else { format!("{line}{word}") }
}

fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF00}'..='\u{FFEF}' | '\u{0E00}'..='\u{0E7F}')
}

/// Gives every cue time to be read, without one overlapping the next.
fn set_times(cues: &mut [Cue], layout: &Layout) {
    for n in 1..cues.len() {
        cues[n].start_ms = cues[n].start_ms.max(cues[n - 1].start_ms + MIN_STEP_MS);
    }
    for n in 0..cues.len() {
        let next = cues.get(n + 1).map(|next| next.start_ms);
        let cue = &mut cues[n];
        let wish = (cue.end_ms.saturating_sub(cue.start_ms))
            .max(MIN_CUE_MS)
            .max(reading_ms(cue, layout))
            .min(MAX_CUE_MS);
        let mut end = cue.start_ms + wish;
        if let Some(media_end) = layout.end_ms {
            end = end.min(media_end.max(cue.start_ms + MIN_STEP_MS));
        }
        if let Some(next) = next {
            // The gap is given up where it would take more than half of a short cue.
            let with_gap = next.saturating_sub(GAP_MS).max(cue.start_ms.midpoint(next));
            end = end.min(with_gap.max(cue.start_ms + MIN_STEP_MS / 2));
        }
        cue.end_ms = end;
        debug_assert!(cue.start_ms < cue.end_ms && next.is_none_or(|next| cue.end_ms <= next));
    }
}

/// The time that reading the cue takes.
fn reading_ms(cue: &Cue, layout: &Layout) -> u64 {
    let chars = cue.text.chars().filter(|c| *c != '\n').count();
    (chars as f64 * 1_000.0 / layout.max_chars_per_second.max(1.0)) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words of 0.3 s each, one after another; `|` is a pause of a second.
    fn speech(text: &str) -> Vec<Word> {
        let mut now = 0.0;
        let mut words = Vec::new();
        for part in text.split_whitespace() {
            if part == "|" {
                now += 1.0;
                continue;
            }
            words.push(Word::new(part, now, now + 0.3));
            now += 0.3;
        }
        words
    }

    fn texts(text: &str, layout: &Layout) -> Vec<String> {
        cues(&speech(text), layout).into_iter().map(|cue| cue.text).collect()
    }

    #[test]
    fn words_are_put_together() {
        let layout = Layout::default;
        for (words, layout, expected) in [
            ("", layout(), vec![]),
            ("one", layout(), vec!["one"]),
            ("a b c d e f", layout(), vec!["a b c", "d e f"]),
            ("a b c d", layout(), vec!["a b", "c d"]),
            ("a b | c", layout(), vec!["a b", "c"]),
            ("Yes. I am", layout(), vec!["Yes.", "I am"]),
            ("He \"left.\" Then", layout(), vec!["He \"left.\"", "Then"]),
            ("aaaa bbbb cc", Layout { max_chars: 7, ..layout() }, vec!["aaaa", "bbbb cc"]),
            ("abcdefgh", Layout { max_chars: 3, ..layout() }, vec!["abc", "def", "gh"]),
            ("a b c d", Layout { lines: 2, ..layout() }, vec!["a b c\nd"]),
            ("a b", Layout { uppercase: true, ..layout() }, vec!["A B"]),
            ("a b c", Layout { words_per_line: 1, ..layout() }, vec!["a", "b", "c"]),
            ("你 好 ok", layout(), vec!["你好 ok"]),
        ] {
            assert_eq!(texts(words, &layout), expected, "{words}");
        }
    }

    #[test]
    fn times_follow_the_rules() {
        let layout = Layout { end_ms: Some(20_000), ..Layout::default() };
        for (words, expected) in [
            // A lone short word stays long enough to be read.
            (vec![Word::new("hi", 1.0, 1.1)], vec![(1_000, 1_833)]),
            // A word that is held for ten seconds does not stay that long.
            (vec![Word::new("ooooh", 1.0, 11.0)], vec![(1_000, 8_000)]),
            // The next cue ends the one before, with two frames between.
            (
                vec![Word::new("Hi.", 1.0, 1.4), Word::new("Yes.", 1.5, 2.0)],
                vec![(1_000, 1_420), (1_500, 2_333)],
            ),
            // Reading 30 characters takes 1.5 s.
            (vec![Word::new("a".repeat(30), 1.0, 1.2)], vec![(1_000, 2_500)]),
            // Nothing outlasts the media.
            (vec![Word::new("end", 19.8, 19.9)], vec![(19_800, 20_000)]),
        ] {
            let given = cues(&words, &layout);
            let times: Vec<_> = given.iter().map(|cue| (cue.start_ms, cue.end_ms)).collect();
            assert_eq!(times, expected, "{words:?}");
        }
    }

    #[test]
    fn fast_speech_is_counted() {
        let words: Vec<Word> =
            (0..6).map(|n| n as f64 * 0.1).map(|s| Word::new("abcdefghij", s, s + 0.1)).collect();
        let layout = Layout { words_per_line: 1, ..Layout::default() };
        let given = cues(&words, &layout);
        // All but the last, which has room behind it.
        assert_eq!(too_fast(&given, &layout), 5);
    }

    fn any_word() -> impl Strategy<Value = Word> {
        ("[a-zA-Z0-9.,!? <>&{}\\\\]{0,12}", -1.0..400.0f64, -1.0..3.0f64)
            .prop_map(|(text, start, length)| Word::new(text, start, start + length))
    }

    proptest! {
        #[test]
        fn cues_are_in_order_within_bounds_and_keep_every_word(
            words in proptest::collection::vec(any_word(), 0..60),
            words_per_line in 1usize..12,
            max_chars in 1usize..50,
            lines in 1usize..3,
        ) {
            let layout = Layout { words_per_line, max_chars, lines, ..Layout::default() };
            let cues = cues(&words, &layout);
            for pair in cues.windows(2) {
                prop_assert!(pair[0].end_ms <= pair[1].start_ms);
            }
            for cue in &cues {
                prop_assert!(cue.start_ms < cue.end_ms);
                prop_assert!(cue.end_ms - cue.start_ms <= MAX_CUE_MS);
                prop_assert!(cue.text.lines().count() <= lines);
                for line in cue.text.lines() {
                    prop_assert!(line.chars().count() <= max_chars, "{line}");
                }
            }
            let letters = |text: &str| -> Vec<char> {
                let mut letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
                letters.sort_unstable();
                letters
            };
            let given: String = spoken(&words, false).into_iter().map(|word| word.text).collect();
            let shown: String = cues.iter().map(|cue| cue.text.as_str()).collect();
            prop_assert_eq!(letters(&given), letters(&shown));
        }
    }
}
