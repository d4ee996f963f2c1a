//! Which words are on the screen together, and on which line.

use super::cue::Layout;
use super::script::{atoms, columns, is_unspaced, may_be_cut};
use super::word::Spoken;
use crate::limits::{LETTERS_PER_WORD_COUNT, MAX_CUE_MS};

/// How words are put onto lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// So many words on a line, as long as `max_chars` has room for them.
    #[default]
    Words,
    /// As many words on a line as `max_chars` has room for.
    Characters,
}

/// Pause between words that ends a cue: nobody speaks, so nothing new is shown.
const PAUSE_MS: u64 = 700;

/// Divides words where a speaker pauses or ends a sentence, and where a cue would get too long.
pub(super) fn phrases<'a>(words: &'a [Spoken], layout: &Layout) -> Vec<&'a [Spoken]> {
    let mut phrases = Vec::new();
    let mut first = 0;
    for n in 1..words.len() {
        let (before, next) = (&words[n - 1], &words[n]);
        let pause = next.start_ms.saturating_sub(before.end_ms) >= PAUSE_MS;
        let long = next.end_ms.saturating_sub(words[first].start_ms) > MAX_CUE_MS;
        let barred = layout.is_barred_between(before.end_ms, next.start_ms);
        if pause || long || barred || ends_sentence(&before.text) {
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
    text.trim_end_matches(['"', '\'', '”', '’', ')', ']', '」', '』'])
        .ends_with(['.', '!', '?', '…', '。', '！', '？', '؟', '۔', '।'])
}

/// Divides a phrase into groups that fit on the screen: of even size when that fits, so that no
/// word is left alone at the end, else as many words as fit.
pub(super) fn groups<'a>(phrase: &'a [Spoken], layout: &Layout) -> Vec<&'a [Spoken]> {
    let most = layout.capacity().saturating_mul(layout.lines.max(1));
    let count = total(phrase, layout).div_ceil(most).max(1);
    let even = divide(phrase, count, layout);
    let fits = |group: &[Spoken]| lines(group, layout).len() <= layout.lines.max(1);
    if even.iter().all(|group| fits(group)) { even } else { fill(phrase, fits) }
}

/// The words of each line of a group: lines of even length when that fits.
pub(super) fn lines<'a>(group: &'a [Spoken], layout: &Layout) -> Vec<&'a [Spoken]> {
    let fits = |line: &[Spoken]| fits_line(line, layout);
    let filled = fill(group, fits);
    if (2..=layout.lines).contains(&filled.len()) {
        let even = divide(group, filled.len(), layout);
        if even.iter().all(|line| fits(line)) {
            return even;
        }
    }
    filled
}

/// A word alone fits in any case: it is not cut.
fn fits_line(line: &[Spoken], layout: &Layout) -> bool {
    let wide = line.iter().map(|word| columns(&word.text)).sum::<usize>();
    let blanks = line.windows(2).filter(|pair| has_blank(&pair[0].text, &pair[1].text)).count();
    line.len() <= 1
        || (wide + blanks <= layout.max_chars && total(line, layout) <= layout.capacity())
}

/// Puts as many words into each part as fit.
fn fill(words: &[Spoken], fits: impl Fn(&[Spoken]) -> bool) -> Vec<&[Spoken]> {
    let mut parts = Vec::new();
    let mut first = 0;
    for n in 1..words.len() {
        if !fits(&words[first..=n]) {
            parts.push(&words[first..n]);
            first = n;
        }
    }
    if !words.is_empty() {
        parts.push(&words[first..]);
    }
    parts
}

/// Divides words into so many parts, each as near to its share of what is left as whole words
/// allow, none empty.
fn divide<'a>(words: &'a [Spoken], count: usize, layout: &Layout) -> Vec<&'a [Spoken]> {
    let mut rest = words;
    let mut whole = total(rest, layout);
    let mut parts = Vec::with_capacity(count);
    for left in (1..=count.min(words.len())).rev() {
        let most = rest.len() - (left - 1);
        let mut taken = if left == 1 { rest.len() } else { 1 };
        let mut sum = total(&rest[..taken], layout);
        while taken < most {
            let next = size(&rest[taken], layout);
            // Nearer to the share with the word than without it.
            if (2 * sum + next) * left > 2 * whole {
                break;
            }
            sum += next;
            taken += 1;
        }
        let (part, after) = rest.split_at(taken);
        parts.push(part);
        rest = after;
        whole -= sum;
    }
    parts
}

fn total(words: &[Spoken], layout: &Layout) -> usize {
    words.iter().map(|word| size(word, layout)).sum()
}

/// How much of a line's capacity a word takes; never nothing, or a line would have no end.
fn size(word: &Spoken, layout: &Layout) -> usize {
    match layout.split {
        Split::Characters => (columns(&word.text) + usize::from(!may_be_cut(&word.text))).max(1),
        Split::Words if may_be_cut(&word.text) => atoms(&word.text).len(),
        Split::Words => LETTERS_PER_WORD_COUNT,
    }
}

impl Layout {
    /// What a line holds, in the measure of `size`.
    fn capacity(&self) -> usize {
        match self.split {
            Split::Characters => self.max_chars.max(1) + 1,
            Split::Words => self.words_per_line.max(1) * LETTERS_PER_WORD_COUNT,
        }
    }
}

/// Cuts what recognisers give as one word in scripts without blanks where it is longer than a line;
/// each part gets its share of the time. Words of other scripts are never cut.
pub(super) fn cut_long(words: Vec<Spoken>, layout: &Layout) -> Vec<Spoken> {
    let mut cut = Vec::with_capacity(words.len());
    for word in words {
        let fits =
            columns(&word.text) <= layout.max_chars && size(&word, layout) <= layout.capacity();
        if fits || !may_be_cut(&word.text) {
            cut.push(word);
            continue;
        }
        let atoms: Vec<Spoken> = with_times(&word, &atoms(&word.text));
        cut.extend(fill(&atoms, |part| fits_line(part, layout)).into_iter().map(|part| Spoken {
            text: part.iter().map(|atom| atom.text.as_str()).collect(),
            start_ms: part[0].start_ms,
            end_ms: part[part.len() - 1].end_ms,
        }));
    }
    cut
}

/// Parts of a word, each with its share of the word's time by its letters.
pub(super) fn with_times(word: &Spoken, parts: &[String]) -> Vec<Spoken> {
    let letters = |text: &str| text.chars().count() as u64;
    let whole = parts.iter().map(|part| letters(part)).sum::<u64>().max(1);
    let span = word.end_ms - word.start_ms;
    let mut done = 0;
    let mut timed = Vec::with_capacity(parts.len());
    for part in parts {
        let start_ms = word.start_ms + span * done / whole;
        done += letters(part);
        let end_ms = word.start_ms + span * done / whole;
        timed.push(Spoken { text: part.clone(), start_ms, end_ms });
    }
    timed
}

/// Scripts without blanks between words are joined without one.
pub(super) fn has_blank(before: &str, next: &str) -> bool {
    !(before.ends_with(is_unspaced) && next.starts_with(is_unspaced))
}

/// Texts one after another, with blanks between them where their script has blanks.
pub(crate) fn join_text<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    texts.fold(String::new(), |mut joined, text| {
        if !joined.is_empty() && has_blank(&joined, text) {
            joined.push(' ');
        }
        joined + text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn speech(words: &[&str]) -> Vec<Spoken> {
        let word = |(n, text): (usize, &&str)| Spoken {
            text: (*text).to_owned(),
            start_ms: n as u64 * 300,
            end_ms: n as u64 * 300 + 300,
        };
        words.iter().enumerate().map(word).collect()
    }

    fn sizes(parts: &[&[Spoken]]) -> Vec<usize> {
        parts.iter().map(|part| part.len()).collect()
    }

    #[test]
    fn words_are_divided_evenly() {
        let words = speech(&["a"; 7]);
        for (count, expected) in [(1, vec![7]), (2, vec![4, 3]), (7, vec![1; 7]), (9, vec![1; 7])] {
            assert_eq!(sizes(&divide(&words, count, &Layout::default())), expected, "{count}");
        }
    }

    #[test]
    fn long_words_of_scripts_without_blanks_are_cut_and_others_are_not() {
        let layout = Layout { max_chars: 6, ..Layout::default() };
        let words = speech(&["internationalization", "我们今天来看看", "ok"]);
        let cut = cut_long(words, &layout);
        let texts: Vec<&str> = cut.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["internationalization", "我们今", "天来看", "看", "ok"]);
        assert_eq!((cut[1].start_ms, cut[1].end_ms), (300, 428));
        assert_eq!((cut[3].start_ms, cut[3].end_ms), (557, 600));
    }

    #[test]
    fn three_words_are_twelve_letters_where_there_are_no_blanks() {
        let words = speech(&["我们", "今天", "来", "看看", "这个", "新的", "城市", "吧"]);
        let groups = groups(&words, &Layout::default());
        let shown: Vec<String> = groups
            .iter()
            .map(|group| group.iter().map(|word| word.text.as_str()).collect())
            .collect();
        assert_eq!(shown, ["我们今天来看看", "这个新的城市吧"]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost_cut_or_moved(
            words in proptest::collection::vec("[a-z]{1,14}|[一-十]{1,9}", 0..40),
            words_per_line in 1usize..6,
            max_chars in 1usize..30,
            count in 1usize..4,
            by_characters: bool,
        ) {
            let split = if by_characters { Split::Characters } else { Split::Words };
            let layout = Layout {
                split, words_per_line, max_chars, lines: count, ..Layout::default()
            };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let words = cut_long(speech(&words), &layout);
            let mut back = Vec::new();
            for group in groups(&words, &layout) {
                prop_assert!(!group.is_empty());
                let lines = lines(group, &layout);
                prop_assert!(lines.len() <= count);
                for line in lines {
                    prop_assert!(fits_line(line, &layout) && !line.is_empty());
                    back.extend_from_slice(line);
                }
            }
            prop_assert_eq!(back, words);
        }
    }
}
