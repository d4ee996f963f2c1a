//! Puts the edges of words where the sound is. Recognisers let words reach into the pauses beside
//! them, by up to a fifth of a second; a caption would come too early or stay too long.

use super::levels::{FRAMES_PER_SECOND, Levels};
use crate::subtitles::Word;

/// Distance between words from which on there is a pause between them.
const PAUSE_S: f64 = 0.02;

/// Frames that are kept around the sound of a word: breath and closures of lips are silent.
const KEPT_FRAMES: usize = 1;

/// Moves the edges of words that border on a pause to where their sound begins and ends. A word in
/// which there is no sound stays as it is, and none gets longer.
pub(super) fn tighten(words: &mut [Word], levels: &Levels) {
    let ends: Vec<f64> = words.iter().map(|word| word.end_s).collect();
    let starts: Vec<f64> = words.iter().map(|word| word.start_s).collect();
    for (n, word) in words.iter_mut().enumerate() {
        let Some((first, last)) = frame(word.start_s).zip(frame(word.end_s)) else { continue };
        let Some((sound, silence)) = levels.voiced(first, last) else { continue };
        let after_pause = n == 0 || word.start_s - ends[n - 1] > PAUSE_S || is_quiet(levels, first);
        let before_pause = starts.get(n + 1).is_none_or(|next| next - word.end_s > PAUSE_S)
            || is_quiet(levels, last.saturating_sub(1));
        if after_pause && sound > first + KEPT_FRAMES {
            word.start_s = seconds(sound - KEPT_FRAMES);
        }
        if before_pause && silence + 1 + KEPT_FRAMES < last {
            word.end_s = seconds(silence + 1 + KEPT_FRAMES);
        }
    }
}

/// Whether a word's edge lies in silence, so that the word has taken in a pause.
fn is_quiet(levels: &Levels, at: usize) -> bool {
    levels.voiced(at, at + 1).is_none()
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
        let mut words = [Word::new("a", 0.2, 0.63), Word::new("b", 0.63, 1.1)];
        let given = words.clone();
        tighten(&mut words[..], &levels);
        assert_eq!(words[0].start_s, given[0].start_s);
        // The silence between the two is at the first one's end.
        assert!(words[0].end_s <= 0.63 && words[1].start_s >= 0.63);
    }
}
