//! From words with times to cues: what is on the screen together, and from when to when.

use callsheet_actors::StepResult;

use super::edit::{Replacement, exclude, replace};
use super::pack::{Split, cut_long, groups, has_blank, lines, phrases};
use super::word::{Spoken, Word, spoken};
use crate::limits::{MAX_CUE_MS, MIN_CUE_MS};
use crate::wanted::Wanted;

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

/// A cue with the words that it is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caption {
    /// What is on the screen, and when.
    pub cue: Cue,
    /// Its words in their order.
    pub words: Vec<Shown>,
}

/// A word of a caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What stands between it and the word before.
    pub before: Before,
    /// The word.
    pub text: String,
    /// When it is said, in milliseconds from the start of the media.
    pub start_ms: u64,
    /// When it has been said.
    pub end_ms: u64,
}

/// What stands between a word and the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: it is the first, or its script has no blanks.
    Nothing,
    /// A blank.
    Blank,
    /// A new line.
    Line,
}

/// How words are put together into cues.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Whether lines are filled by words or by characters.
    pub split: Split,
    /// Most words on a line, when they are filled by words.
    pub words_per_line: usize,
    /// Most characters on a line; a longer word stands alone.
    pub max_chars: usize,
    /// Most lines of one cue.
    pub lines: usize,
    /// The speed of reading that a cue's time is stretched for, where there is room.
    pub max_chars_per_second: f64,
    /// The end of the media, which no cue outlasts.
    pub end_ms: Option<u64>,
    /// Texts that are written in another way.
    pub replace: Vec<Replacement>,
    /// Stretches without captions: from, to.
    pub exclude: Vec<(u64, u64)>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            split: Split::Words,
            words_per_line: 3,
            max_chars: 42,
            lines: 1,
            max_chars_per_second: 20.0,
            end_ms: None,
            replace: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

impl Layout {
    /// Whether an excluded stretch lies between two instants.
    pub(super) fn is_barred_between(&self, end_ms: u64, start_ms: u64) -> bool {
        self.exclude.iter().any(|(from, to)| end_ms <= *from && *to <= start_ms)
    }

    /// The first instant from this one on at which nothing may be on the screen.
    fn barred_from(&self, ms: u64) -> Option<u64> {
        self.exclude.iter().map(|(from, _)| *from).filter(|from| *from >= ms).min()
    }
}

/// Time between two cues that follow each other closely: two frames, so that the eye sees a change.
const GAP_MS: u64 = 80;

/// Step between the starts of two cues: two steps of the coarsest format.
const MIN_STEP_MS: u64 = 20;

/// Puts words together into captions, in order, none overlapping another.
///
/// # Errors
/// `subtitles.input` when there are too many words, once all is replaced; what `wanted` says.
pub fn captions(words: &[Word], layout: &Layout, wanted: Wanted<'_>) -> StepResult<Vec<Caption>> {
    let words = replace(spoken(words), &layout.replace, wanted)?;
    let words = cut_long(exclude(words, &layout.exclude), layout);
    let mut captions: Vec<Caption> = phrases(&words, layout)
        .into_iter()
        .flat_map(|phrase| groups(phrase, layout))
        .map(|group| caption(group, layout))
        .collect();
    set_times(&mut captions, layout);
    Ok(captions)
}

/// Puts words together into cues, in order, none overlapping another.
///
/// # Errors
/// As [`captions`].
pub fn cues(words: &[Word], layout: &Layout) -> StepResult<Vec<Cue>> {
    Ok(captions(words, layout, &|| Ok(()))?.into_iter().map(|caption| caption.cue).collect())
}

/// Cues that ask for a faster reader than the layout has in mind.
#[must_use]
pub fn too_fast(cues: &[Cue], layout: &Layout) -> usize {
    let is_fast = |cue: &&Cue| reading_ms(cue, layout) > cue.end_ms.saturating_sub(cue.start_ms);
    cues.iter().filter(is_fast).count()
}

fn caption(group: &[Spoken], layout: &Layout) -> Caption {
    let mut words: Vec<Shown> = Vec::with_capacity(group.len());
    for line in lines(group, layout) {
        for (n, word) in line.iter().enumerate() {
            let before = match words.last() {
                None => Before::Nothing,
                Some(_) if n == 0 => Before::Line,
                Some(last) if has_blank(&last.text, &word.text) => Before::Blank,
                Some(_) => Before::Nothing,
            };
            let Spoken { text, start_ms, end_ms } = word.clone();
            words.push(Shown { before, text, start_ms, end_ms });
        }
    }
    let cue = Cue {
        start_ms: group.first().map_or(0, |word| word.start_ms),
        end_ms: group.iter().map(|word| word.end_ms).max().unwrap_or(0),
        text: words.iter().flat_map(|word| [word.before.text(), &word.text]).collect(),
    };
    Caption { cue, words }
}

impl Before {
    fn text(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Blank => " ",
            Self::Line => "\n",
        }
    }
}

/// Gives every cue time to be read, without one overlapping the next.
fn set_times(captions: &mut [Caption], layout: &Layout) {
    for n in 1..captions.len() {
        let earliest = captions[n - 1].cue.start_ms + MIN_STEP_MS;
        captions[n].cue.start_ms = captions[n].cue.start_ms.max(earliest);
    }
    for n in 0..captions.len() {
        let next = captions.get(n + 1).map(|next| next.cue.start_ms);
        let cue = &mut captions[n].cue;
        cue.end_ms = end_of(cue, next, layout);
        debug_assert!(cue.start_ms < cue.end_ms && next.is_none_or(|next| cue.end_ms <= next));
    }
}

fn end_of(cue: &Cue, next: Option<u64>, layout: &Layout) -> u64 {
    let wish = (cue.end_ms.saturating_sub(cue.start_ms))
        .max(MIN_CUE_MS)
        .max(reading_ms(cue, layout))
        .min(MAX_CUE_MS);
    let mut end = cue.start_ms + wish;
    for bound in [layout.end_ms, layout.barred_from(cue.start_ms)].into_iter().flatten() {
        end = end.min(bound.max(cue.start_ms + MIN_STEP_MS));
    }
    if let Some(next) = next {
        // The gap is given up where it would take more than half of a short cue.
        let with_gap = next.saturating_sub(GAP_MS).max(cue.start_ms.midpoint(next));
        end = end.min(with_gap.max(cue.start_ms + MIN_STEP_MS / 2));
    }
    end
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
        cues(&speech(text), layout).unwrap().into_iter().map(|cue| cue.text).collect()
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
            ("a abcdefgh b", Layout { max_chars: 3, ..layout() }, vec!["a", "abcdefgh", "b"]),
            ("a b c d", Layout { lines: 2, ..layout() }, vec!["a b\nc d"]),
            (
                "we fill lines by their letters now",
                Layout { split: Split::Characters, max_chars: 20, lines: 2, ..layout() },
                vec!["we fill lines by\ntheir letters now"],
            ),
            ("a b c", Layout { words_per_line: 1, ..layout() }, vec!["a", "b", "c"]),
            ("你 好 ok", layout(), vec!["你好 ok"]),
            ("אני אוהב לקרוא", layout(), vec!["אני אוהב לקרוא"]),
        ] {
            assert_eq!(texts(words, &layout), expected, "{words}");
        }
    }

    #[test]
    fn times_follow_the_rules() {
        let layout =
            Layout { end_ms: Some(40_000), exclude: vec![(30_200, 30_400)], ..Layout::default() };
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
            // Nothing is shown in a stretch that is left out.
            (
                vec![Word::new("a", 29.7, 30.0), Word::new("b", 30.5, 31.0)],
                vec![(29_700, 30_200), (30_500, 31_333)],
            ),
            // Nothing outlasts the media.
            (vec![Word::new("end", 39.8, 39.9)], vec![(39_800, 40_000)]),
        ] {
            let given = cues(&words, &layout).unwrap();
            let times: Vec<_> = given.iter().map(|cue| (cue.start_ms, cue.end_ms)).collect();
            assert_eq!(times, expected, "{words:?}");
        }
    }

    #[test]
    fn fast_speech_is_counted() {
        let words: Vec<Word> =
            (0..6).map(|n| n as f64 * 0.1).map(|s| Word::new("abcdefghij", s, s + 0.1)).collect();
        let layout = Layout { words_per_line: 1, ..Layout::default() };
        let given = cues(&words, &layout).unwrap();
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
            let captions = captions(&words, &layout, &|| Ok(())).unwrap();
            let cues: Vec<Cue> = captions.iter().map(|caption| caption.cue.clone()).collect();
            for pair in cues.windows(2) {
                prop_assert!(pair[0].end_ms <= pair[1].start_ms);
            }
            for cue in &cues {
                prop_assert!(cue.start_ms < cue.end_ms);
                prop_assert!(cue.end_ms - cue.start_ms <= MAX_CUE_MS);
                prop_assert!(cue.text.lines().count() <= lines);
                for line in cue.text.lines() {
                    let fits = line.chars().count() <= max_chars;
                    prop_assert!(fits || !line.contains(' '), "{line}");
                }
            }
            // No word is cut, and none is lost.
            let given: Vec<String> = spoken(&words)
                .iter()
                .flat_map(|word| word.text.split(' '))
                .map(ToOwned::to_owned)
                .collect();
            let shown: Vec<&str> =
                cues.iter().flat_map(|cue| cue.text.split_whitespace()).collect();
            prop_assert_eq!(given, shown);
        }
    }
}
