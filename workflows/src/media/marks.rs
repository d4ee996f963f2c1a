//! Moments that ffmpeg's filters mark, as they write them into a file: a line of a picture or a
//! piece of sound, then a line for each mark in it.

use schemars::JsonSchema;
use serde::Serialize;

/// A part of a sound in which nothing is heard.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Silence {
    /// When it begins, in seconds.
    pub start_s: f64,
    /// When it ends, in seconds.
    pub end_s: f64,
}

/// A picture that is unlike the one before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Scene {
    /// When it is shown, in seconds.
    pub at_s: f64,
    /// How unlike it is, 0 to 1.
    pub score: f64,
}

/// Reads what `silencedetect` marks. A silence that lasts until the end has no end of its own.
pub(super) fn silences(text: &str, end_s: f64) -> Vec<Silence> {
    let mut found = Vec::new();
    let mut open = None;
    for line in text.lines() {
        if let Some(start) = mark(line, "lavfi.silence_start=") {
            open = Some(f64::max(start, 0.0));
        } else if let Some(end_s) = mark(line, "lavfi.silence_end=")
            && let Some(start_s) = open.take()
        {
            found.push(Silence { start_s, end_s });
        }
    }
    let last = open.filter(|start| *start < end_s).map(|start_s| Silence { start_s, end_s });
    found.extend(last);
    found
}

/// When a silence ended that lasted until the end: `silencedetect` says it when it is closed, too
/// late for a mark.
pub(super) fn last_silence(said: &[String]) -> Option<f64> {
    let told = said.iter().rev().find(|line| line.starts_with("[silencedetect @ "))?;
    told.split("silence_end:").nth(1)?.split_whitespace().next()?.parse().ok()
}

/// Reads what `select` marks.
pub(super) fn scenes(text: &str) -> Vec<Scene> {
    let mut found = Vec::new();
    let mut shown = None;
    for line in text.lines() {
        if line.starts_with("frame:") {
            shown = line.split("pts_time:").nth(1).and_then(|time| time.trim().parse().ok());
        } else if let Some(score) = mark(line, "lavfi.scene_score=")
            && let Some(at_s) = shown
        {
            found.push(Scene { at_s, score });
        }
    }
    found
}

fn mark(line: &str, name: &str) -> Option<f64> {
    line.trim().strip_prefix(name)?.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_are_read_and_the_last_one_ends_with_the_sound() {
        let text = "frame:0 pts:0 pts_time:0\nlavfi.silence_start=-0.01\n\
            frame:54 pts:110592 pts_time:2.5\nlavfi.silence_end=2.25\n\
            lavfi.silence_duration=2.26\nframe:204 pts:1 pts_time:9.5\nlavfi.silence_start=9\n";
        let silence = |start_s, end_s| Silence { start_s, end_s };
        assert_eq!(silences(text, 12.0), [silence(0.0, 2.25), silence(9.0, 12.0)]);
        assert_eq!(silences(text, 9.0), [silence(0.0, 2.25)]);
        assert_eq!(silences("lavfi.silence_end=3\nlavfi.silence_start=x\n", 9.0), []);
    }

    #[test]
    fn the_end_of_the_last_silence_is_what_is_said_last() {
        let line = |who: &str, end: &str| format!("[{who} @ 0x5] [info] silence_end: {end} | x");
        let (first, last) = (line("silencedetect", "2"), line("silencedetect", "4.5"));
        for (said, expected) in [
            (vec![first.clone(), last, "Peak: -1".to_owned()], Some(4.5)),
            (vec![first, line("silencedetect", "x")], None),
            (vec![line("title", "3")], None),
            (vec![], None),
        ] {
            assert_eq!(last_silence(&said), expected, "{said:?}");
        }
    }

    #[test]
    fn scenes_are_read_with_their_time() {
        let text = "frame:0    pts:51200   pts_time:2\nlavfi.scene_score=0.451\n\
            frame:1 pts:1 pts_time:4.04\nlavfi.scene_score=1.000000\n";
        let scene = |at_s, score| Scene { at_s, score };
        assert_eq!(scenes(text), [scene(2.0, 0.451), scene(4.04, 1.0)]);
        assert_eq!(scenes("lavfi.scene_score=0.5\n"), []);
    }
}
