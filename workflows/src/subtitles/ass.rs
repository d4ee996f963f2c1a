//! Advanced SubStation: what is burned into the picture. Written by us only, from clean text.

use super::clock::{to_centiseconds, write_centiseconds};
use super::cue::{Before, Caption, Cue, Shown};
use super::script::{columns, is_right_to_left};
use super::style::{Effect, Highlight, Style};

/// The picture that captions are burned into, and how they look.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// How the letters look.
    pub style: Style,
    /// Characters that a line may have; a single word that has more gets smaller letters.
    pub max_chars: usize,
}

/// Share of the picture's width that the longest line may take.
const WIDTH_SHARE: f64 = 0.9;

/// Width of a bold letter and of a bold capital, in font sizes; on the safe side for Latin text.
const LETTER_WIDTH: f64 = 0.62;
const CAPITAL_WIDTH: f64 = 0.74;

/// Smallest size that can still be read.
const MIN_FONT_SIZE: u32 = 10;

/// ASS's number for a text whose direction is to be found out, and for one from left to right.
const FIND_OUT_DIRECTION: &str = "-1";
const LEFT_TO_RIGHT: &str = "1";

/// Writes captions as an ASS script for a picture of this size.
#[must_use]
pub fn write_ass(captions: &[Caption], look: &Look) -> String {
    let size = look.font_size(captions);
    let mut text = look.head(captions, size);
    for caption in captions {
        for (start_cs, end_cs, line) in look.events(caption, size) {
            let (start, end) = (write_centiseconds(start_cs), write_centiseconds(end_cs));
            text.push_str(&format!("Dialogue: 0,{start},{end},Default,,0,0,0,,{line}\n"));
        }
    }
    text
}

impl Look {
    fn head(&self, captions: &[Caption], size: u32) -> String {
        let style = &self.style;
        let percent = |share: f64| format!("{:.1}", f64::from(size) * share / 100.0);
        let (letters, before) = match style.preset {
            // The first colour is that of what has been sung.
            Effect::Karaoke => (style.highlight_color, style.color),
            _ => (style.color, style.color),
        };
        let flag = |on: bool| if on { -1 } else { 0 };
        let margin = style.margin.unwrap_or(style.position.margin()) / 100.0;
        let (side, edge) = (self.width / 20, (f64::from(self.height) * margin) as u32);
        let rtl = captions.iter().any(|caption| is_right_to_left(&caption.cue.text));
        format!(
            "[Script Info]\nScriptType: v4.00+\nWrapStyle: 0\nScaledBorderAndShadow: yes\n\
             PlayResX: {}\nPlayResY: {}\n\n\
             [V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, \
             OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, \
             Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, \
             Encoding\n\
             Style: Default,{},{size},{},{},{},{},{},{},0,0,100,100,{},0,1,{},{},{},{side},{side},\
             {edge},{}\n\n\
             [Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, \
             Text\n",
            self.width,
            self.height,
            style.font,
            letters.in_style(),
            before.in_style(),
            style.outline_color.in_style(),
            style.shadow_color.in_style(),
            flag(style.bold),
            flag(style.italic),
            percent(style.spacing),
            percent(style.outline),
            percent(style.shadow),
            style.position.alignment(),
            if rtl { FIND_OUT_DIRECTION } else { LEFT_TO_RIGHT },
        )
    }

    /// The lines of one caption: from, to, text. None overlaps another.
    fn events(&self, caption: &Caption, size: u32) -> Vec<(u64, u64, String)> {
        let Caption { cue, words } = caption;
        let (start, end) = (to_centiseconds(cue.start_ms), to_centiseconds(cue.end_ms));
        let fitted = self.fitted(caption, size);
        let whole = |painted: Option<usize>| format!("{fitted}{}", self.painted(words, painted));
        let events = match (self.style.preset, self.style.highlight) {
            (Effect::Classic, _) => vec![(start, end, whole(None))],
            (Effect::Highlight, Highlight::Last) => {
                vec![(start, end, whole(words.len().checked_sub(1)))]
            }
            (Effect::Highlight, Highlight::Current) => {
                turns(cue, words).map(|(n, from, to)| (from, to, whole(Some(n)))).collect()
            }
            (Effect::WordByWord, _) => {
                let alone = |n: usize| format!("{fitted}{}", self.letters(&words[n]));
                turns(cue, words).map(|(n, from, to)| (from, to, alone(n))).collect()
            }
            (Effect::Karaoke, _) => vec![(start, end, format!("{fitted}{}", self.sung(caption)))],
        };
        events.into_iter().filter(|(start, end, _)| start < end).collect()
    }

    /// All words, one of them in the other colour.
    fn painted(&self, words: &[Shown], painted: Option<usize>) -> String {
        let mut line = String::new();
        for (n, word) in words.iter().enumerate() {
            line.push_str(word.before.in_script());
            let letters = self.letters(word);
            if painted != Some(n) {
                line.push_str(&letters);
                continue;
            }
            line.push_str(&self.style.highlight_color.in_line());
            line.push_str(&letters);
            if n + 1 < words.len() {
                line.push_str(&self.style.color.in_line());
            }
        }
        line
    }

    /// All words with how long each is sung. Every instant is rounded on its own and lengths are
    /// their differences: rounded lengths would add up to another time.
    fn sung(&self, caption: &Caption) -> String {
        let mut line = String::new();
        let mut now = to_centiseconds(caption.cue.start_ms);
        for word in &caption.words {
            let start = to_centiseconds(word.start_ms).max(now);
            let end = to_centiseconds(word.end_ms).max(start);
            if start > now {
                line.push_str(&format!("{{\\k{}}}", start - now));
            }
            line.push_str(word.before.in_script());
            line.push_str(&format!("{{\\k{}}}{}", end - start, self.letters(word)));
            now = end;
        }
        line
    }

    fn letters(&self, word: &Shown) -> String {
        if self.style.uppercase { escape(&word.text.to_uppercase()) } else { escape(&word.text) }
    }

    /// As large as asked for, but so small that the longest line fits.
    fn font_size(&self, captions: &[Caption]) -> u32 {
        let longest = captions.iter().map(|caption| self.longest(caption)).max().unwrap_or(0);
        let wish = f64::from(self.height) * self.style.size / 100.0;
        let size = wish.min(self.fitting(longest.min(self.max_chars))) as u32;
        size.max(MIN_FONT_SIZE)
    }

    /// What makes the letters of a caption smaller that has a word longer than a line.
    fn fitted(&self, caption: &Caption, size: u32) -> String {
        let fitting = (self.fitting(self.longest(caption)) as u32).max(MIN_FONT_SIZE);
        if fitting < size { format!("{{\\fs{fitting}}}") } else { String::new() }
    }

    /// The size of letters of which so many fill a line.
    fn fitting(&self, columns: usize) -> f64 {
        let width = if self.style.uppercase { CAPITAL_WIDTH } else { LETTER_WIDTH };
        let width = width + self.style.spacing / 100.0;
        f64::from(self.width) * WIDTH_SHARE / (columns.max(1) as f64 * width)
    }

    fn longest(&self, caption: &Caption) -> usize {
        let words = caption.words.iter().map(|word| columns(&word.text));
        let lines = caption.cue.text.lines().map(columns);
        let longest = match self.style.preset {
            Effect::WordByWord => words.max(),
            _ => lines.max(),
        };
        longest.unwrap_or(0)
    }
}

/// The words of a cue in turn: which one, from when to when. The first begins with the cue, each
/// lasts until the next one, the last one to the end.
fn turns(cue: &Cue, words: &[Shown]) -> impl Iterator<Item = (usize, u64, u64)> {
    let (start, end) = (to_centiseconds(cue.start_ms), to_centiseconds(cue.end_ms));
    let mut begins: Vec<u64> =
        words.iter().map(|word| to_centiseconds(word.start_ms).clamp(start, end)).collect();
    begins.sort_unstable();
    if let Some(first) = begins.first_mut() {
        *first = start;
    }
    begins.push(end);
    (0..words.len()).map(move |n| (n, begins[n], begins[n + 1]))
}

impl Before {
    fn in_script(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Blank => " ",
            Self::Line => "\\N",
        }
    }
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

    use super::super::cue::{Layout, captions};
    use super::super::word::Word;
    use super::*;

    fn look(width: u32, height: u32, style: serde_json::Value) -> Look {
        let style = serde_json::from_value(style).unwrap();
        Look { width, height, style, max_chars: 42 }
    }

    fn plain() -> serde_json::Value {
        serde_json::json!({ "preset": "classic", "uppercase": false, "spacing": 0 })
    }

    fn speech(words: &[(&str, f64, f64)]) -> Vec<Caption> {
        let words: Vec<Word> =
            words.iter().map(|(text, start, end)| Word::new(*text, *start, *end)).collect();
        captions(&words, &Layout::default(), &|| Ok(())).unwrap()
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
    fn the_script_has_the_size_of_the_picture_and_the_look_of_its_style() {
        let hello = speech(&[("hello", 1.004, 2.006)]);
        let script = write_ass(&hello, &look(640, 360, plain()));
        assert!(script.contains("PlayResX: 640\nPlayResY: 360\n"), "{script}");
        assert!(script.contains("Style: Default,Impact,21,&H00FFFFFF,"), "{script}");
        assert!(script.ends_with("Dialogue: 0,0:00:01.00,0:00:02.01,Default,,0,0,0,,hello\n"));
        let style = serde_json::json!({
            "font": "DejaVu Sans", "size": 10, "color": "#102030", "highlight_color": "#FF000080",
            "outline_color": "#00FF00", "outline": 10, "shadow": 0, "position": "top_left",
            "margin": 5, "bold": false, "italic": true, "spacing": 0,
        });
        let script = write_ass(&hello, &look(2_000, 1_000, style));
        let expected = "Style: Default,DejaVu Sans,100,&H00302010,&H00302010,&H0000FF00,&H00000000,\
                        0,-1,0,0,100,100,0.0,0,1,10.0,0.0,7,100,100,50,1\n";
        assert!(script.contains(expected), "{script}");
        assert!(script.ends_with(",,{\\1c&H0000FF&\\1a&H7F&}HELLO\n"), "{script}");
    }

    #[test]
    fn the_default_is_the_look_that_viewers_know() {
        let script = write_ass(
            &speech(&[("a", 0.0, 0.5), ("b", 0.5, 1.0)]),
            &look(1080, 1920, serde_json::json!({})),
        );
        let expected = "Style: Default,Impact,115,&H00FFFFFF,&H00FFFFFF,&H00000000,&H00000000,\
                        -1,0,0,0,100,100,2.3,0,1,4.6,2.3,2,54,54,370,1\n";
        assert!(script.contains(expected), "{script}");
        assert!(script.ends_with(",,A {\\1c&H00FFFF&\\1a&H00&}B\n"), "{script}");
    }

    #[test]
    fn presets_show_words_as_they_are_said() {
        let said = [("one", 1.0, 1.204), ("two", 1.304, 1.5), ("three", 1.5, 2.0)];
        for (preset, highlight, expected) in [
            ("classic", "last", vec!["1.00-2.00 one two three"]),
            ("highlight", "last", vec!["1.00-2.00 one two <three"]),
            (
                "highlight",
                "current",
                vec![
                    "1.00-1.30 <one> two three",
                    "1.30-1.50 one <two> three",
                    "1.50-2.00 one two <three",
                ],
            ),
            ("word_by_word", "last", vec!["1.00-1.30 one", "1.30-1.50 two", "1.50-2.00 three"]),
            ("karaoke", "last", vec!["1.00-2.00 {\\k20}one{\\k10} {\\k20}two {\\k50}three"]),
        ] {
            let style = serde_json::json!({
                "preset": preset, "highlight": highlight, "uppercase": false,
            });
            let script = write_ass(&speech(&said), &look(640, 360, style));
            let shown: Vec<String> = script
                .lines()
                .filter_map(|line| line.strip_prefix("Dialogue: 0,"))
                .map(|line| {
                    let fields: Vec<&str> = line.splitn(9, ',').collect();
                    let text = fields[8].replace("{\\1c&H00FFFF&\\1a&H00&}", "<");
                    let text = text.replace("{\\1c&HFFFFFF&\\1a&H00&}", ">");
                    format!("{}-{} {text}", &fields[0][6..], &fields[1][6..])
                })
                .collect();
            assert_eq!(shown, expected, "{preset} {highlight}");
        }
    }

    #[test]
    fn long_lines_get_smaller_letters() {
        for (text, width, height, size) in [
            ("short", 1920, 1080, 64),
            ("short", 1080, 1920, 115),
            ("twentycharactersisok", 1080, 1920, 78),
            ("你好你好你好你好你好", 1080, 1920, 78),
            ("x", 16, 16, MIN_FONT_SIZE),
        ] {
            let captions = speech(&[(text, 0.0, 1.0)]);
            let size_given = look(width, height, plain()).font_size(&captions);
            assert_eq!(size_given, size, "{text} {width}");
        }
    }

    #[test]
    fn a_word_that_is_longer_than_a_line_does_not_make_all_letters_small() {
        let long = "x".repeat(84);
        let captions = speech(&[("short.", 0.0, 1.0), (&long, 2.0, 3.0)]);
        let script = write_ass(&captions, &look(1920, 1080, plain()));
        assert!(script.contains("Impact,64,") && script.contains(",,short.\n"), "{script}");
        assert!(script.contains(&format!(",,{{\\fs33}}{long}\n")), "{script}");
    }

    #[test]
    fn right_to_left_text_is_announced_and_stays_whole() {
        let hebrew = speech(&[("שלום", 0.0, 0.4), ("לכולם", 0.4, 1.0)]);
        let script = write_ass(&hebrew, &look(640, 360, plain()));
        assert!(script.contains(",-1\n\n[Events]"), "{script}");
        assert!(script.ends_with(",,שלום לכולם\n"), "{script}");
    }

    /// The times and texts of a script's lines, in milliseconds.
    fn lines(script: &str) -> Vec<(u64, u64, String)> {
        let read = |clock: &str| -> u64 {
            let parts: Vec<u64> = clock.split([':', '.']).map(|n| n.parse().unwrap()).collect();
            ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000 + parts[3] * 10
        };
        let lines = script.lines().filter_map(|line| line.strip_prefix("Dialogue: "));
        lines
            .map(|line| {
                let fields: Vec<&str> = line.splitn(10, ',').collect();
                (read(fields[1]), read(fields[2]), fields[9].to_owned())
            })
            .collect()
    }

    /// Milliseconds from the start of a line to each of its words.
    fn beats(line: &str) -> Vec<u64> {
        let mut now = 0;
        let mut beats = Vec::new();
        for part in line.split("{\\k").skip(1) {
            let (length, text) = part.split_once('}').unwrap();
            if !text.trim().is_empty() {
                beats.push(now * 10);
            }
            now += length.parse::<u64>().unwrap();
        }
        beats
    }

    proptest! {
        #[test]
        fn times_are_within_half_a_step_and_lines_do_not_overlap(
            lengths in proptest::collection::vec((0u64..2_000, 20u64..1_500), 0..40),
            preset in "classic|karaoke|word_by_word|highlight",
            highlight in "last|current",
        ) {
            let mut now = 0;
            let mut words = Vec::new();
            for (pause, length) in lengths {
                let start_ms = now + pause;
                now = start_ms + length;
                words.push(Word::new("x", start_ms as f64 / 1e3, now as f64 / 1e3));
            }
            let captions = captions(&words, &Layout::default(), &|| Ok(())).unwrap();
            let style = serde_json::json!({ "preset": preset, "highlight": highlight });
            let script = write_ass(&captions, &look(640, 360, style));
            let written = lines(&script);
            prop_assert!(written.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            prop_assert!(written.iter().all(|(start, end, _)| start < end));
            for caption in &captions {
                let (from, to) = (caption.cue.start_ms, caption.cue.end_ms);
                let begin = written.iter().find(|line| line.0.abs_diff(from) <= 5);
                prop_assert!(begin.is_some());
                prop_assert!(written.iter().any(|line| line.1.abs_diff(to) <= 5));
                if preset == "karaoke" {
                    let (start, _, line) = begin.unwrap();
                    // No drift: every word begins within half a step, however many came before.
                    for (beat, word) in beats(line).iter().zip(&caption.words) {
                        prop_assert!((start + beat).abs_diff(word.start_ms) <= 10);
                    }
                    prop_assert_eq!(beats(line).len(), caption.words.len());
                }
            }
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
