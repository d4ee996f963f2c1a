//! Where a long recording is cut, so that its pieces can be recognised side by side: at pauses.

use super::levels::{FRAMES_PER_SECOND, Levels};
use crate::limits::{MIN_CUT_PAUSE_S, PIECE_PADDING_S};

/// Stretch before the longest end of a piece in which the quietest instant is looked for when there
/// is no pause.
const LAST_RESORT_S: f64 = 2.0;

/// How long a piece may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lengths {
    /// It is not ended before, where there is a pause later.
    pub(super) min_s: f64,
    /// It is ended here, pause or not.
    pub(super) max_s: f64,
}

/// The pieces in which there is sound, from frame to frame: in order, none overlapping another.
pub(super) fn pieces(levels: &Levels, lengths: Lengths) -> Vec<(usize, usize)> {
    let (min, max) = (frames(lengths.min_s), frames(lengths.max_s).max(1));
    let pauses = levels.pauses(frames(MIN_CUT_PAUSE_S));
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(sound) = levels.first_sound(start, levels.len()) {
        // Silence before a piece costs time, and some services hear words in it.
        start = start.max(sound.saturating_sub(frames(PIECE_PADDING_S)));
        let end = if levels.len() - start <= max {
            levels.len()
        } else {
            cut(levels, &pauses, start + min, start + max)
        };
        let last = levels.last_sound(start, end).unwrap_or(end);
        pieces.push((start, end.min(last + 1 + frames(PIECE_PADDING_S))));
        start = end;
    }
    pieces
}

/// The middle of the longest pause within bounds; without one the quietest instant shortly before
/// the later bound.
fn cut(levels: &Levels, pauses: &[(usize, usize)], from: usize, to: usize) -> usize {
    let within = pauses.iter().filter_map(|(begin, end)| {
        let middle = begin.midpoint(*end).clamp(from, to);
        // Of a pause that reaches out of the bounds the part within them counts.
        let inside = (*begin).max(from)..(*end).min(to + 1);
        inside.contains(&middle).then(|| (end - begin, middle))
    });
    let at_a_pause = within.max().map(|(_, middle)| middle);
    let quietest = || levels.quietest(to.saturating_sub(frames(LAST_RESORT_S)).max(from), to);
    at_a_pause.or_else(quietest).unwrap_or(to).max(1)
}

fn frames(seconds: f64) -> usize {
    (seconds * FRAMES_PER_SECOND as f64).round() as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::levels::tests::drawn;
    use super::*;

    fn cut_at(picture: &str, min_s: f64, max_s: f64) -> Vec<(usize, usize)> {
        pieces(&drawn(picture), Lengths { min_s, max_s })
    }

    #[test]
    fn cuts_are_in_the_middle_of_pauses() {
        for (picture, expected) in [
            ("", vec![]),
            ("....................................", vec![]),
            ("##########", vec![(0, 100)]),
            // The longest pause between one and two seconds.
            ("########..#####....##########", vec![(0, 170), (170, 290)]),
            // The one before a second does not count; one that is too short is a last resort.
            ("###....####.##########..########", vec![(0, 117), (117, 230), (230, 320)]),
            // Silence at the edges is left out but for half a second.
            (".........##########.........####", vec![(40, 235), (235, 320)]),
        ] {
            assert_eq!(cut_at(picture, 1.0, 2.0), expected, "{picture}");
        }
    }

    #[test]
    fn without_a_pause_the_quietest_instant_before_the_end_is_taken() {
        let mut levels: Vec<f32> = vec![-20.0; 1_000];
        levels[..100].fill(-80.0);
        levels[548..553].fill(-25.0);
        let levels = Levels::test(levels);
        let found = pieces(&levels, Lengths { min_s: 3.0, max_s: 6.0 });
        assert_eq!(found[0], (50, 550));
        assert!(found.iter().all(|(from, to)| to - from <= 600), "{found:?}");
    }

    proptest! {
        #[test]
        fn all_sound_is_in_a_piece_and_none_is_too_long(picture in "[#.]{0,300}") {
            let levels = drawn(&picture);
            let found = pieces(&levels, Lengths { min_s: 1.5, max_s: 3.0 });
            prop_assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            prop_assert!(found.iter().all(|(from, to)| from < to && to - from <= 300));
            prop_assert!(found.iter().all(|(from, to)| levels.first_sound(*from, *to).is_some()));
            for n in 0..levels.len() {
                if levels.first_sound(n, n + 1).is_some() {
                    prop_assert!(found.iter().any(|(from, to)| (*from..*to).contains(&n)), "{n}");
                }
            }
        }

        #[test]
        fn where_there_are_pauses_no_cut_is_within_a_word(
            words in proptest::collection::vec((1usize..9, 3usize..6), 1..60),
        ) {
            // Words of up to 0.8 s with pauses of 0.3 s and more: there is one in every 1.5 s.
            let picture: String = words
                .iter()
                .map(|(word, pause)| "#".repeat(*word) + &".".repeat(*pause))
                .collect();
            let levels = drawn(&picture);
            for (from, to) in pieces(&levels, Lengths { min_s: 1.5, max_s: 3.0 }) {
                let is_sound = |n: usize| levels.first_sound(n, n + 1).is_some();
                prop_assert!(from == 0 || !is_sound(from - 1) || !is_sound(from));
                prop_assert!(to == levels.len() || !is_sound(to - 1) || !is_sound(to));
            }
        }
    }
}
