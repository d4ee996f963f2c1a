//! What a person changes about a transcript before it becomes captions: words that are written in
//! another way, and stretches of time that are to have no captions.

use callsheet_actors::{StepError, StepResult};
use schemars::JsonSchema;
use serde::Deserialize;

use super::pack::{has_blank, with_times};
use super::script::is_unspaced;
use super::word::{Spoken, clean_text};
use crate::limits::{MAX_TEXT_CHARS, MAX_WORDS_COUNT};
use crate::wanted::Wanted;

/// A text that is written in another way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// What was heard: a word or several, 1 to 200 characters.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"\S"))]
    pub find: String,
    /// What is written instead, at most 200 characters; nothing leaves it out.
    #[schemars(length(max = 200))]
    pub replace: String,
    /// Whether capitals and small letters are told apart.
    #[serde(default)]
    pub match_case: bool,
    /// Whether it may also be a part of a word.
    #[serde(default)]
    pub parts: bool,
}

/// A stretch of time that has no captions.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// Where it begins, in seconds from the start of the media.
    #[schemars(range(min = 0.0))]
    pub from_s: f64,
    /// Where it ends, in seconds from the start of the media; after `from_s`.
    #[schemars(range(min = 0.0))]
    pub to_s: f64,
}

/// Makes the replacements, one after another over all the words. A text that is found in several
/// words becomes one that has the time of all of them.
///
/// # Errors
/// `subtitles.input` when there are too many words, or when a rule makes too many of them: each may
/// make a hundred of one, and the next one a hundred of each of those.
pub(super) fn replace(
    words: Vec<Spoken>,
    replacements: &[Replacement],
    wanted: Wanted<'_>,
) -> StepResult<Vec<Spoken>> {
    check_size(words.len(), words.iter().map(|word| word.text.chars().count()).sum())?;
    replacements.iter().try_fold(words, |words, replacement| {
        wanted()?;
        let words = replace_one(words, replacement)?;
        check_size(words.len(), 0)?;
        Ok(words)
    })
}

fn check_size(words: usize, letters: usize) -> StepResult<()> {
    let refused = |message: String| {
        Err(StepError::fatal("subtitles.input", message)
            .with_hint("leave out the rules of `replace` that make much of little"))
    };
    if words > MAX_WORDS_COUNT {
        return refused(format!("`words` has {words} words, expected at most {MAX_WORDS_COUNT}"));
    }
    if letters > MAX_TEXT_CHARS {
        return refused(format!("`words` has {letters} letters, at most {MAX_TEXT_CHARS}"));
    }
    Ok(())
}

fn replace_one(words: Vec<Spoken>, replacement: &Replacement) -> StepResult<Vec<Spoken>> {
    let wanted = letters(&clean_text(&replacement.find), replacement.match_case);
    if wanted.is_empty() {
        return Ok(words);
    }
    let text = Text::of(&words, replacement.match_case);
    let found = text.find(&wanted, replacement.parts);
    // Known before any of it is written.
    let put_in = found.len() * replacement.replace.chars().count();
    check_size(0, text.plain.len() - found.len() * wanted.len() + put_in)?;
    let mut edited = Vec::with_capacity(words.len());
    let mut next_word = 0;
    for places in together(&text, &found) {
        let (first, last) = (places[0].0, places[places.len() - 1].1 - 1);
        let (first, last) = (text.word_of[first], text.word_of[last]);
        edited.extend_from_slice(&words[next_word..first]);
        edited.extend(rewrite(&words[first..=last], &text, (first, last), places, replacement));
        next_word = last + 1;
    }
    edited.extend_from_slice(&words[next_word..]);
    Ok(edited)
}

/// Places that touch the same word, which is written anew once.
fn together<'p>(text: &Text, places: &'p [(usize, usize)]) -> Vec<&'p [(usize, usize)]> {
    places.chunk_by(|one, next| text.word_of[one.1 - 1] == text.word_of[next.0]).collect()
}

/// Words with the places in them replaced, and the whole of their time.
fn rewrite(
    words: &[Spoken],
    text: &Text,
    (first, last): (usize, usize),
    places: &[(usize, usize)],
    replacement: &Replacement,
) -> Vec<Spoken> {
    let begin = text.word_of.partition_point(|word| *word < first);
    let end = text.word_of.partition_point(|word| *word <= last);
    let mut written = String::new();
    let mut at = begin;
    for (from, to) in places {
        written.extend(&text.plain[at..*from]);
        written.push_str(&replacement.replace);
        at = *to;
    }
    written.extend(&text.plain[at..end]);
    let written = clean_text(&written);
    let parts = written.split_whitespace().map(ToOwned::to_owned);
    // A mark that is left of a word that was taken out is no word.
    let is_left = |part: &String| replacement.replace.trim().is_empty() && is_mark(part);
    let parts: Vec<String> = parts.filter(|part| !is_left(part)).collect();
    let whole = Spoken {
        text: String::new(),
        start_ms: words[0].start_ms,
        end_ms: words.iter().map(|word| word.end_ms).max().unwrap_or(words[0].end_ms),
    };
    with_times(&whole, &parts)
}

fn is_mark(part: &str) -> bool {
    part.chars().all(|c| c.is_ascii() && !c.is_ascii_alphanumeric())
}

/// All words as one text, with the word that each letter belongs to.
struct Text {
    plain: Vec<char>,
    folded: Vec<char>,
    word_of: Vec<usize>,
}

impl Text {
    fn of(words: &[Spoken], match_case: bool) -> Self {
        let (mut plain, mut word_of) = (Vec::new(), Vec::new());
        for (n, word) in words.iter().enumerate() {
            if n > 0 && has_blank(&words[n - 1].text, &word.text) {
                // The blank belongs to the word before it.
                plain.push(' ');
                word_of.push(n - 1);
            }
            plain.extend(word.text.chars());
            word_of.resize(plain.len(), n);
        }
        let folded = plain.iter().map(|c| fold(*c, match_case)).collect();
        Self { plain, folded, word_of }
    }

    /// Where a text stands: from, to; none overlapping another.
    fn find(&self, wanted: &[char], parts: bool) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at + wanted.len() <= self.folded.len() {
            let to = at + wanted.len();
            let is_here = self.folded[at] == wanted[0] && self.folded[at..to] == *wanted;
            if is_here && (parts || self.is_whole(at, to)) {
                found.push((at, to));
                at = to;
            } else {
                at += 1;
            }
        }
        found
    }

    /// Whether a place begins and ends where words do. Scripts without blanks do not show where.
    fn is_whole(&self, from: usize, to: usize) -> bool {
        let parted = |left: Option<&char>, right: Option<&char>| match (left, right) {
            (Some(left), Some(right)) => {
                let in_word = |c: &char| c.is_alphanumeric() && !is_unspaced(*c);
                !(in_word(left) && in_word(right))
            }
            _ => true,
        };
        let before = from.checked_sub(1).and_then(|n| self.plain.get(n));
        parted(before, self.plain.get(from)) && parted(self.plain.get(to - 1), self.plain.get(to))
    }
}

fn letters(text: &str, match_case: bool) -> Vec<char> {
    text.chars().map(|c| fold(c, match_case)).collect()
}

/// A letter as a small one, where that is a single letter too.
fn fold(c: char, match_case: bool) -> char {
    let mut small = c.to_lowercase();
    match (small.next(), small.next()) {
        (Some(one), None) if !match_case => one,
        _ => c,
    }
}

/// Leaves out the words of which the middle is in an excluded stretch, and cuts the others off at
/// its edges.
pub(super) fn exclude(words: Vec<Spoken>, barred: &[(u64, u64)]) -> Vec<Spoken> {
    let keep = |mut word: Spoken| {
        let middle = word.start_ms.midpoint(word.end_ms);
        let is_instant = word.start_ms == word.end_ms;
        for (from, to) in barred {
            if (*from..*to).contains(&middle) {
                return None;
            }
            if middle < *from {
                word.end_ms = word.end_ms.min(*from);
            } else {
                word.start_ms = word.start_ms.max(*to);
            }
        }
        (is_instant || word.start_ms < word.end_ms).then_some(word)
    };
    words.into_iter().filter_map(keep).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn speech(text: &str) -> Vec<Spoken> {
        let words = text.split_whitespace().enumerate();
        words
            .map(|(n, text)| Spoken {
                text: text.to_owned(),
                start_ms: n as u64 * 100,
                end_ms: n as u64 * 100 + 100,
            })
            .collect()
    }

    fn rule(find: &str, replace: &str) -> Replacement {
        Replacement {
            find: find.to_owned(),
            replace: replace.to_owned(),
            match_case: false,
            parts: false,
        }
    }

    fn shown(words: &[Spoken]) -> String {
        words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_replaced_whole() {
        for (given, find, replace, expected) in [
            ("call sheet is good", "call sheet", "Callsheet", "Callsheet is good"),
            ("Call sheet, yes", "call sheet", "Callsheet", "Callsheet, yes"),
            ("the cat concatenates", "cat", "dog", "the dog concatenates"),
            ("Cat cat CAT!", "cat", "dog", "dog dog dog!"),
            ("cat-like", "cat", "dog", "dog-like"),
            ("a b c", "b", "", "a c"),
            ("a b, c", "b", "", "a c"),
            ("a b c", "b", "two words", "a two words c"),
            ("a b c", "b", "& +", "a & + c"),
            ("a b", "c", "d", "a b"),
            ("a b", "  ", "d", "a b"),
            ("我们 今天", "们今", "X", "我X天"),
            ("ÄPFEL sind rot", "äpfel", "Birnen", "Birnen sind rot"),
            ("a+b", "+", "plus", "aplusb"),
        ] {
            let edited = replace_one(speech(given), &rule(find, replace)).unwrap();
            assert_eq!(shown(&edited), expected, "{given}: {find}");
        }
    }

    #[test]
    fn case_and_parts_are_told_apart_when_asked() {
        let exact = Replacement { match_case: true, ..rule("us", "U.S.") };
        assert_eq!(shown(&replace_one(speech("us US"), &exact).unwrap()), "U.S. US");
        let parts = Replacement { parts: true, ..rule("cat", "dog") };
        assert_eq!(shown(&replace_one(speech("concatcat cat"), &parts).unwrap()), "condogdog dog");
    }

    #[test]
    fn rules_come_one_after_another_and_times_are_shared() {
        let rules = [rule("a", "b"), rule("b", "c d")];
        let edited = replace(speech("x a y"), &rules, &|| Ok(())).unwrap();
        let times: Vec<_> = edited.iter().map(|word| (word.start_ms, word.end_ms)).collect();
        assert_eq!(shown(&edited), "x c d y");
        assert_eq!(times, [(0, 100), (100, 150), (150, 200), (200, 300)]);
        let edited = replace_one(speech("x new york y"), &rule("new york", "NYC")).unwrap();
        assert_eq!((edited[1].start_ms, edited[1].end_ms), (100, 300));
    }

    #[test]
    fn rules_that_make_much_of_little_are_refused() {
        let refused = |replaced: StepResult<Vec<Spoken>>| {
            let StepError(failure) = replaced.unwrap_err();
            assert_eq!((failure.code.as_str(), failure.retryable), ("subtitles.input", false));
            failure.message
        };
        let hundred = vec!["a"; 100].join(" ");
        let grow = |rules: usize, wanted: Wanted<'_>| {
            replace(speech("a"), &vec![rule("a", &hundred); rules], wanted)
        };
        assert_eq!(grow(2, &|| Ok(())).unwrap().len(), 10_000);
        assert!(refused(grow(200, &|| Ok(()))).contains("1000000 words"));
        let long = Replacement { parts: true, ..rule("a", &"a".repeat(200)) };
        assert!(refused(replace(speech("a"), &vec![long; 200], &|| Ok(()))).contains("letters"));
        let many = vec![speech("a")[0].clone(); MAX_WORDS_COUNT + 1];
        assert!(refused(replace(many, &[], &|| Ok(()))).contains("400001 words"));
        // One that is no longer wanted ends at the next rule.
        let asked = std::cell::Cell::new(0);
        let wanted = || {
            asked.set(asked.get() + 1);
            if asked.get() < 2 { Ok(()) } else { Err(StepError::fatal("over", "")) }
        };
        assert_eq!(grow(200, &wanted).unwrap_err().0.code, "over");
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn stretches_are_left_out() {
        for (barred, expected) in [
            (vec![], "a b c d"),
            (vec![(100, 300)], "a d"),
            (vec![(0, 400)], ""),
            (vec![(140, 160)], "a c d"),
            (vec![(160, 400)], "a b"),
            (vec![(0, 140), (260, 400)], "b c"),
        ] {
            assert_eq!(shown(&exclude(speech("a b c d"), &barred)), expected, "{barred:?}");
        }
        let cut = exclude(speech("a b"), &[(160, 400)]);
        assert_eq!((cut[1].start_ms, cut[1].end_ms), (100, 160));
        let cut = exclude(speech("a b"), &[(0, 140)]);
        assert_eq!((cut[0].start_ms, cut[0].end_ms), (140, 200));
    }

    proptest! {
        #[test]
        fn a_replacement_keeps_the_order_and_the_rest(
            words in proptest::collection::vec("[abAB,一二]{1,3}", 0..20),
            find in "[ab一]{1,2}",
            to in "[x ,]{0,4}",
            match_case: bool,
            parts: bool,
        ) {
            let words = speech(&words.join(" "));
            let rule = Replacement { find, replace: to, match_case, parts };
            let edited = replace_one(words.clone(), &rule).unwrap();
            for pair in edited.windows(2) {
                prop_assert!(pair[0].end_ms <= pair[1].start_ms);
            }
            prop_assert!(edited.iter().all(|word| !word.text.is_empty()));
            let last = words.iter().map(|word| word.end_ms).max().unwrap_or(0);
            prop_assert!(edited.iter().all(|word| word.end_ms <= last));
        }
    }
}
