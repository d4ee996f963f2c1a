//! Advanced SubStation: what is burned into the picture. Written by us only, from clean text.

use super::clock::write_centiseconds;
use super::cue::Cue;

/// How burned captions look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// Name of the font; where it is not installed another one is taken.
    pub font: String,
}

/// The font that is asked for unless another is named: what a bare system has.
pub(super) const DEFAULT_FONT: &str = "DejaVu Sans";

/// Share of the picture's height that a line takes.
const LINE_SHARE: f64 = 0.06;

/// Share of the picture's width that the longest line may take.
const WIDTH_SHARE: f64 = 0.9;

/// Width of a bold letter, in font sizes; on the safe side for Latin text.
const LETTER_WIDTH: f64 = 0.62;

/// Smallest size that can still be read.
const MIN_FONT_SIZE: u32 = 10;

/// Writes cues as an ASS script for a picture of this size.
#[must_use]
pub fn write_ass(cues: &[Cue], look: &Look) -> String {
    let size = font_size(cues, look);
    let (outline, shadow) = ((size / 14).max(1), size / 28);
    let (side, bottom) = (look.width / 20, look.height / 14);
    let mut text = format!(
        "[Script Info]\nScriptType: v4.00+\nWrapStyle: 0\nScaledBorderAndShadow: yes\n\
         PlayResX: {}\nPlayResY: {}\n\n\
         [V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, \
         OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, \
         Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n\
         Style: Default,{},{size},&H00FFFFFF,&H00FFFFFF,&H00000000,&H80000000,-1,0,0,0,100,100,0,\
         0,1,{outline},{shadow},2,{side},{side},{bottom},1\n\n\
         [Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, \
         Text\n",
        look.width, look.height, look.font
    );
    for cue in cues {
        let (start, end) = (write_centiseconds(cue.start_ms), write_centiseconds(cue.end_ms));
        text.push_str(&format!(
            "Dialogue: 0,{start},{end},Default,,0,0,0,,{}\n",
            escape(&cue.text)
        ));
    }
    text
}

/// Large enough to read, small enough that the longest line fits.
fn font_size(cues: &[Cue], look: &Look) -> u32 {
    let longest = cues.iter().flat_map(|cue| cue.text.lines()).map(|line| line.chars().count());
    let longest = longest.max().unwrap_or(0).max(1);
    let by_height = f64::from(look.height) * LINE_SHARE;
    let by_width = f64::from(look.width) * WIDTH_SHARE / (longest as f64 * LETTER_WIDTH);
    let size = by_height.min(by_width) as u32;
    size.max(MIN_FONT_SIZE)
}

/// Text that is shown as it stands: no override block, no `\N` but our own. A backslash has no
/// escape of its own, so an invisible joiner keeps it from meaning anything.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\N"),
            '\\' => escaped.push_str("\\\u{2060}"),
            '{' => escaped.push_str("\\{"),
            '}' => escaped.push_str("\\}"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(width: u32, height: u32) -> Look {
        Look { width, height, font: DEFAULT_FONT.to_owned() }
    }

    fn cue(text: &str) -> Cue {
        Cue { start_ms: 1_004, end_ms: 2_006, text: text.to_owned() }
    }

    #[test]
    fn text_means_nothing_but_itself() {
        for (given, written) in [
            ("plain, with: commas", "plain, with: commas"),
            ("two\nlines", "two\\Nlines"),
            ("{\\an8}top", "\\{\\\u{2060}an8\\}top"),
            ("a\\Nb", "a\\\u{2060}Nb"),
            ("\u{7}\r", ""),
        ] {
            assert_eq!(escape(given), written);
        }
    }

    #[test]
    fn the_script_has_the_size_of_the_picture() {
        let script = write_ass(&[cue("hello")], &look(640, 360));
        assert!(script.contains("PlayResX: 640\nPlayResY: 360\n"), "{script}");
        assert!(script.contains("Style: Default,DejaVu Sans,21,"), "{script}");
        assert!(script.ends_with("Dialogue: 0,0:00:01.00,0:00:02.01,Default,,0,0,0,,hello\n"));
    }

    #[test]
    fn long_lines_get_smaller_letters() {
        for (text, width, height, size) in [
            ("short", 1920, 1080, 64),
            ("short", 1080, 1920, 115),
            ("twenty characters ok", 1080, 1920, 78),
            ("x", 16, 16, MIN_FONT_SIZE),
        ] {
            assert_eq!(font_size(&[cue(text)], &look(width, height)), size, "{text} {width}");
        }
    }

    /// The times of a script's lines, in milliseconds.
    fn times(script: &str) -> Vec<(u64, u64)> {
        let read = |clock: &str| -> u64 {
            let parts: Vec<u64> = clock.split([':', '.']).map(|n| n.parse().unwrap()).collect();
            ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000 + parts[3] * 10
        };
        let lines = script.lines().filter_map(|line| line.strip_prefix("Dialogue: "));
        lines
            .map(|line| {
                let fields: Vec<&str> = line.splitn(10, ',').collect();
                (read(fields[1]), read(fields[2]))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn times_are_within_half_a_step_and_cues_still_do_not_overlap(
            lengths in proptest::collection::vec((0u64..5_000, 20u64..7_000), 0..40),
        ) {
            let mut now = 0;
            let mut cues = Vec::new();
            for (pause, length) in lengths {
                let start_ms = now + pause;
                now = start_ms + length;
                cues.push(Cue { start_ms, end_ms: now, text: "x".to_owned() });
            }
            let written = times(&write_ass(&cues, &look(640, 360)));
            prop_assert_eq!(written.len(), cues.len());
            for (cue, (start, end)) in cues.iter().zip(&written) {
                prop_assert!(cue.start_ms.abs_diff(*start) <= 5 && cue.end_ms.abs_diff(*end) <= 5);
                prop_assert!(start < end);
            }
            prop_assert!(written.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        }

        #[test]
        fn no_text_opens_an_override_block_or_a_line(text in "[\\x00-\\x7f]{0,40}") {
            let written = escape(&text);
            prop_assert!(!written.chars().any(char::is_control));
            let mut before = ' ';
            for c in written.chars() {
                let opens = matches!(c, '{' | '}') && before != '\\';
                let breaks = before == '\\' && matches!(c, 'n' | 'h');
                prop_assert!(!opens && !breaks, "{:?}", written);
                before = c;
            }
        }
    }
}
