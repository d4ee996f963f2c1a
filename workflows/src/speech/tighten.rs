//! Puts the edges of words where the sound is. Recognisers let words reach into the pauses beside
//! them, by up to a quarter of a second; a caption would come too early or stay too long.

use super::levels::{FRAMES_PER_SECOND, Levels};
use crate::subtitles::Word;

/// Distance between words from which on there is a pause between them.
const PAUSE_S: f64 = 0.02;

/// Frames that are kept around the sound of a word: breath and closures of lips are silent.
const KEPT_FRAMES: usize = 1;

/// Silence that no word has in it: lips are closed for half as long.
const SILENCE_FRAMES: usize = 10;

/// Sound beyond such a silence is a part of the word only when it is longer.
const REMNANT_FRAMES: usize = 5;

/// Moves the edges of words that border on a pause to where their sound begins and ends. A word in
/// which there is no sound stays as it is, and none gets longer.
pub(super) fn tighten(words: &mut [Word], levels: &Levels) {
    let given: Vec<(f64, f64)> = words.iter().map(|word| (word.start_s, word.end_s)).collect();
    for (n, word) in words.iter_mut().enumerate() {
        let Some((first, last)) = frame(word.start_s).zip(frame(word.end_s)) else { continue };
        let Some((sound, silence)) = heard(levels, first, last) else { continue };
        let before = n.checked_sub(1).map(|n| given[n].1);
        let after = given.get(n + 1).map(|next| next.0);
        let after_pause = before.is_none_or(|end_s| word.start_s - end_s > PAUSE_S);
        let before_pause = after.is_none_or(|start_s| start_s - word.end_s > PAUSE_S);
        if needs_cut(sound - first, after_pause) {
            word.start_s = seconds(sound - KEPT_FRAMES);
        }
        if needs_cut(last - silence, before_pause) {
            word.end_s = seconds(silence + KEPT_FRAMES);
        }
    }
}

/// Between words that follow each other closely a short silence is a closure of the lips, which
/// belongs to the sound after it.
fn needs_cut(silent_frames: usize, beside_pause: bool) -> bool {
    silent_frames > if beside_pause { KEPT_FRAMES } else { SILENCE_FRAMES }
}

/// Where a word's sound begins, and the end of it. What reaches in from beyond a silence is the end
/// of the word before, or the beginning of the next.
fn heard(levels: &Levels, first: usize, last: usize) -> Option<(usize, usize)> {
    let mut islands = levels.islands(first, last, SILENCE_FRAMES);
    let is_remnant = |island: &(usize, usize)| island.1 - island.0 <= REMNANT_FRAMES;
    while islands.len() > 1 && is_remnant(&islands[0]) {
        islands.remove(0);
    }
    while islands.len() > 1 && is_remnant(&islands[islands.len() - 1]) {
        islands.pop();
    }
    let (from, to) = islands.first().zip(islands.last()).map(|(one, last)| (one.0, last.1))?;
    levels.first_sound(from, to).map(|_| (from, to))
}

fn frame(second: f64) -> Option<usize> {
    let frame = (second * FRAMES_PER_SECOND as f64).round();
    (0.0..1e9).contains(&frame).then_some(frame as usize)
}

fn seconds(frame: usize) -> f64 {
    frame as f64 / FRAMES_PER_SECOND as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::levels::tests::drawn;
    use super::*;

    #[test]
    fn edges_are_moved_to_the_sound() {
        let levels = drawn("...####..-###-....##########.");
        for (given, expected) in [
            // Into the silence on both sides.
            ((0.0, 0.9), (0.29, 0.71)),
            // A soft beginning and end belong to the word.
            ((0.8, 1.7), (0.89, 1.41)),
            // Already where it should be.
            ((1.8, 2.8), (1.8, 2.8)),
            // What reaches in from the words beside it is not its own.
            ((0.66, 1.83), (0.89, 1.41)),
            // A word that is a pause long, with sound of its own on both sides, stays.
            ((0.5, 1.2), (0.5, 1.2)),
            // Nothing is heard, so nothing is known.
            ((1.5, 1.7), (1.5, 1.7)),
            // Beyond the end, and impossible.
            ((9.0, 9.5), (9.0, 9.5)),
            ((-1.0, 0.4), (-1.0, 0.4)),
        ] {
            let mut words = [Word::new("a", given.0, given.1)];
            tighten(&mut words, &levels);
            assert_eq!((words[0].start_s, words[0].end_s), expected, "{given:?}");
        }
    }

    #[test]
    fn where_one_word_follows_another_the_recogniser_is_believed() {
        let levels = drawn("..####.####..");
        let given = [Word::new("a", 0.2, 0.63), Word::new("b", 0.63, 1.1)];
        let mut words = given.clone();
        tighten(&mut words, &levels);
        assert_eq!(words, given, "a short silence between them belongs to the second");
        let levels = drawn("..####....####..");
        let mut words = [Word::new("a", 0.2, 0.63), Word::new("b", 0.63, 1.4)];
        tighten(&mut words, &levels);
        assert_eq!((words[0].end_s, words[1].start_s), (0.63, 0.99));
    }

    proptest! {
        #[test]
        fn no_word_gets_longer_and_none_turns_round(
            picture in "[#.-]{0,40}",
            lengths in proptest::collection::vec((0.0f64..0.5, 0.0f64..0.9), 0..8),
        ) {
            let mut now = 0.0;
            let mut given = Vec::new();
            for (pause, length) in lengths {
                given.push(Word::new("x", now + pause, now + pause + length));
                now += pause + length;
            }
            let mut words = given.clone();
            tighten(&mut words, &drawn(&picture));
            for (word, given) in words.iter().zip(&given) {
                // Edges are moved by whole frames.
                prop_assert!(word.start_s >= given.start_s - 0.006);
                prop_assert!(word.end_s <= given.end_s + 0.006);
                prop_assert!(word.start_s <= word.end_s);
            }
        }
    }
}
