//! SubRip: the plainest format, read and written.

use super::clock::{read_ms, write_ms};
use super::cue::Cue;
use super::error::SubtitleError;

/// Writes cues as SubRip.
#[must_use]
pub fn write_srt(cues: &[Cue]) -> String {
    let mut text = String::new();
    for (n, cue) in cues.iter().enumerate() {
        let (start, end) = (write_ms(cue.start_ms, ','), write_ms(cue.end_ms, ','));
        text.push_str(&format!("{}\n{start} --> {end}\n{}\n\n", n + 1, cue.text));
    }
    text
}

/// Reads SubRip. Numbers are optional, as some programs leave them out.
///
/// # Errors
/// When a block has no line with two times; says which line.
pub fn read_srt(text: &str) -> Result<Vec<Cue>, SubtitleError> {
    let text = text.trim_start_matches('\u{FEFF}');
    let mut lines = text.lines().enumerate().peekable();
    let mut cues = Vec::new();
    while let Some((n, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let (n, times) = match lines.peek() {
            Some((_, next)) if is_number(line) && next.contains("-->") => {
                lines.next().unwrap_or((n, line))
            }
            _ => (n, line),
        };
        let (start_ms, end_ms) = read_times(times).ok_or_else(|| SubtitleError::new(n, times))?;
        let mut shown: Vec<&str> = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            shown.push(line);
        }
        cues.push(Cue { start_ms, end_ms, text: shown.join("\n") });
    }
    Ok(cues)
}

fn is_number(line: &str) -> bool {
    line.trim().parse::<u64>().is_ok()
}

/// `start --> end`, with whatever settings after the end.
pub(super) fn read_times(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = line.split_once("-->")?;
    let end = rest.split_whitespace().next()?;
    let (start, end) = (read_ms(start)?, read_ms(end)?);
    (start <= end).then_some((start, end))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cue(start_ms: u64, end_ms: u64, text: &str) -> Cue {
        Cue { start_ms, end_ms, text: text.to_owned() }
    }

    #[test]
    fn written_as_players_expect() {
        let cues = [cue(0, 1_500, "Hello <b>& you</b>"), cue(61_000, 62_004, "two\nlines")];
        assert_eq!(
            write_srt(&cues),
            "1\n00:00:00,000 --> 00:00:01,500\nHello <b>& you</b>\n\n\
             2\n00:01:01,000 --> 00:01:02,004\ntwo\nlines\n\n"
        );
        assert_eq!(write_srt(&[]), "");
    }

    #[test]
    fn read_as_programs_write() {
        let expected = Ok(vec![cue(1_000, 2_000, "a"), cue(3_000, 4_000, "12\nb")]);
        for text in [
            "1\n00:00:01,000 --> 00:00:02,000\na\n\n2\n00:00:03,000 --> 00:00:04,000\n12\nb\n",
            "\u{FEFF}1\r\n00:00:01,000 --> 00:00:02,000\r\na\r\n\r\n\r\n\
             00:00:03.000 --> 00:00:04.000 X1:0\r\n12\r\nb",
        ] {
            assert_eq!(read_srt(text), expected, "{text}");
        }
        assert_eq!(read_srt(""), Ok(vec![]));
    }

    #[test]
    fn a_broken_block_is_named() {
        for (text, line) in [
            ("hello\n", 1),
            ("1\n00:00:01 --> 00:00:02\na\n", 2),
            ("1\n00:00:05,000 --> 00:00:02,000\na\n", 2),
            ("1\n00:00:01,000 --> 00:00:02,000\na\n\n2\nno times\n", 5),
        ] {
            assert_eq!(read_srt(text).unwrap_err().line, line, "{text}");
        }
    }
}
