//! Captions of parts become captions of the whole: moved to where each part begins, and cut where
//! it ends.

use super::clock::{to_centiseconds, write_centiseconds};
use super::cue::Cue;

/// A part of something longer: when it begins and when it ends there, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// When the part begins.
    pub start_ms: u64,
    /// When it ends, and the next may begin.
    pub end_ms: u64,
}

/// Moves cues of a part, with times from its start, to its place.
#[must_use]
pub fn chain_cues(parts: &[(Vec<Cue>, Place)]) -> Vec<Cue> {
    let moved = parts.iter().flat_map(|(cues, place)| {
        cues.iter().map(|cue| Cue {
            start_ms: cue.start_ms + place.start_ms,
            end_ms: (cue.end_ms + place.start_ms).min(place.end_ms),
            text: cue.text.clone(),
        })
    });
    moved.filter(|cue| cue.start_ms < cue.end_ms).collect()
}

/// Makes one ASS script of those of the parts, as `write_ass` writes them: one picture, and as many
/// looks as they have among them.
#[must_use]
pub fn chain_ass(parts: &[(String, Place)]) -> String {
    let mut looks: Vec<&str> = Vec::new();
    let mut lines = String::new();
    for (script, place) in parts {
        let look = script.lines().find_map(|line| line.strip_prefix(LOOK));
        let name = look.map_or(0, |look| number(&mut looks, look));
        let events = script.lines().filter_map(|line| line.strip_prefix(EVENT));
        for event in events.filter_map(|event| moved(event, *place, name)) {
            lines.push_str(&event);
        }
    }
    let Some((first, _)) = parts.first() else { return String::new() };
    let mut whole = String::with_capacity(first.len() + lines.len());
    for line in first.lines().filter(|line| !line.starts_with(EVENT)) {
        if line.starts_with(LOOK) {
            for (n, look) in looks.iter().enumerate() {
                whole.push_str(&format!("Style: {}{look}\n", name(n)));
            }
        } else {
            whole.push_str(line);
            whole.push('\n');
        }
    }
    whole + &lines
}

/// How a look and a line begin.
const LOOK: &str = "Style: Default";
const EVENT: &str = "Dialogue: ";

/// The number of a look among those that are there already, or a new one.
fn number<'a>(looks: &mut Vec<&'a str>, look: &'a str) -> usize {
    looks.iter().position(|known| *known == look).unwrap_or_else(|| {
        looks.push(look);
        looks.len() - 1
    })
}

fn name(look: usize) -> String {
    if look == 0 { "Default".to_owned() } else { format!("Default{}", look + 1) }
}

/// A line at its place; none when nothing of it is left there, or when it is no line of ours.
fn moved(event: &str, place: Place, look: usize) -> Option<String> {
    let mut fields = event.splitn(5, ',');
    let (layer, start, end) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, rest) = (fields.next()?, fields.next()?);
    let at = |clock: &str| Some(read_centiseconds(clock)? + to_centiseconds(place.start_ms));
    let (start, end) = (at(start)?, at(end)?.min(to_centiseconds(place.end_ms)));
    let (from, to) = (write_centiseconds(start), write_centiseconds(end));
    (start < end).then(|| format!("{EVENT}{layer},{from},{to},{},{rest}\n", name(look)))
}

/// Reads `H:MM:SS.cc`.
fn read_centiseconds(clock: &str) -> Option<u64> {
    let (clock, cs) = clock.split_once('.')?;
    let parts: Option<Vec<u64>> = clock.split(':').map(|part| part.parse().ok()).collect();
    let [h, m, s] = parts?[..] else { return None };
    Some(((h * 60 + m) * 60 + s) * 100 + cs.parse::<u64>().ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cue(start_ms: u64, end_ms: u64, text: &str) -> Cue {
        Cue { start_ms, end_ms, text: text.to_owned() }
    }

    fn place(start_ms: u64, end_ms: u64) -> Place {
        Place { start_ms, end_ms }
    }

    #[test]
    fn cues_are_moved_and_cut_where_their_part_ends() {
        let parts = [
            (vec![cue(0, 900, "a"), cue(900, 1_800, "b"), cue(1_600, 1_900, "c")], place(0, 1_500)),
            (vec![], place(1_500, 2_000)),
            (vec![cue(100, 400, "d")], place(2_000, 3_000)),
        ];
        let expected = [cue(0, 900, "a"), cue(900, 1_500, "b"), cue(2_100, 2_400, "d")];
        assert_eq!(chain_cues(&parts), expected);
    }

    fn script(size: u32, lines: &[&str]) -> String {
        let events: String = lines.iter().map(|line| format!("Dialogue: 0,{line}\n")).collect();
        format!(
            "[Script Info]\nPlayResX: 640\n\n[V4+ Styles]\nFormat: Name\n\
             Style: Default,Impact,{size}\n\n[Events]\nFormat: Layer\n{events}"
        )
    }

    #[test]
    fn scripts_share_a_head_and_keep_their_looks() {
        let parts = [
            (script(20, &["0:00:00.00,0:00:01.00,Default,,0,0,0,,one, two"]), place(0, 1_004)),
            (script(18, &["0:00:00.10,0:00:09.00,Default,,0,0,0,,three"]), place(1_004, 61_006)),
            (script(20, &["0:00:00.00,0:00:00.50,Default,,0,0,0,,four"]), place(61_006, 62_000)),
            (script(20, &["0:00:05.00,0:00:06.00,Default,,0,0,0,,gone"]), place(62_000, 63_000)),
        ];
        assert_eq!(
            chain_ass(&parts),
            "[Script Info]\nPlayResX: 640\n\n[V4+ Styles]\nFormat: Name\n\
             Style: Default,Impact,20\nStyle: Default2,Impact,18\n\n[Events]\nFormat: Layer\n\
             Dialogue: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,one, two\n\
             Dialogue: 0,0:00:01.10,0:00:10.00,Default2,,0,0,0,,three\n\
             Dialogue: 0,0:01:01.01,0:01:01.51,Default,,0,0,0,,four\n"
        );
        assert_eq!(chain_ass(&[]), "");
    }

    #[test]
    fn what_is_no_line_of_ours_is_left_out() {
        for event in ["", "0,a,b,Default,x", "0,0:00:00.00,0:00:01.00", "0,1,2,Default,x"] {
            assert_eq!(moved(event, place(0, 9_000), 0), None, "{event}");
        }
    }
}
