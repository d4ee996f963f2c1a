//! "Did you mean …?": the known name that is nearest to what was written.

use crate::limits::MAX_COMPARED_CHARS;
use std::cmp::min;

/// The candidate that is nearest to `wanted`, if one is near enough to be what was meant: at most a
/// third of its letters changed, left out, added or swapped with their neighbour.
#[must_use]
pub fn nearest<'c>(wanted: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let wanted: Vec<char> = wanted.chars().take(MAX_COMPARED_CHARS + 1).collect();
    if wanted.is_empty() || wanted.len() > MAX_COMPARED_CHARS {
        return None;
    }
    // One letter for another is no mistake of typing when there is only one.
    let most = if wanted.len() == 1 { 0 } else { wanted.len().div_ceil(3) };
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let allowed = best.map_or(most, |(distance, _)| distance - 1);
        if let Some(distance) = distance_within(&wanted, candidate, allowed) {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The number of edits between two names (optimal string alignment), ignoring case; `None` when
/// there are more than `allowed`.
fn distance_within(wanted: &[char], candidate: &str, allowed: usize) -> Option<usize> {
    if candidate.len() > 4 * MAX_COMPARED_CHARS {
        return None;
    }
    let candidate: Vec<char> = candidate.chars().collect();
    if wanted.len().abs_diff(candidate.len()) > allowed {
        return None;
    }
    let same = |a: char, b: char| a.eq_ignore_ascii_case(&b);
    let mut older: Vec<usize> = Vec::new();
    let mut old: Vec<usize> = (0..=candidate.len()).collect();
    for (row, &letter) in wanted.iter().enumerate() {
        let mut new = vec![row + 1];
        for (column, &other) in candidate.iter().enumerate() {
            let replaced = old[column] + usize::from(!same(letter, other));
            let mut fewest = min(replaced, min(old[column + 1], new[column]) + 1);
            if row > 0
                && column > 0
                && same(letter, candidate[column - 1])
                && same(wanted[row - 1], other)
            {
                fewest = min(fewest, older[column - 1] + 1);
            }
            new.push(fewest);
        }
        if new.iter().min().is_some_and(|fewest| *fewest > allowed) {
            return None;
        }
        older = std::mem::replace(&mut old, new);
    }
    old.last().copied().filter(|distance| *distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_when_it_is_near() {
        const KNOWN: [&str; 6] = ["timeout", "retry", "with", "needs", "for_each", "if"];
        let table = [
            ("timeuot", Some("timeout")),
            ("time_out", Some("timeout")),
            ("Timeout", Some("timeout")),
            ("retries", Some("retry")),
            ("retyr", Some("retry")),
            ("foreach", Some("for_each")),
            ("wiht", Some("with")),
            ("need", Some("needs")),
            ("queue", None),
            ("", None),
            ("x", None),
            ("fi", Some("if")),
        ];
        for (wanted, expected) in table {
            assert_eq!(nearest(wanted, KNOWN), expected, "{wanted}");
        }
    }

    #[test]
    fn an_exact_match_beats_all_and_ties_go_to_the_first() {
        assert_eq!(nearest("ab", ["aa", "ab"]), Some("ab"));
        assert_eq!(nearest("x", ["y", "X"]), Some("X"));
        assert_eq!(nearest("abc", ["abd", "abe"]), Some("abd"));
    }

    #[test]
    fn endless_names_are_not_compared() {
        let long = "a".repeat(10_000);
        assert_eq!(nearest(&long, [long.as_str()]), None);
        assert_eq!(nearest("aaa", [long.as_str()]), None);
    }
}
