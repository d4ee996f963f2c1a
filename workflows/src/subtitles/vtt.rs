//! WebVTT: what browsers show, read and written.

use super::clock::write_ms;
use super::cue::Cue;
use super::error::SubtitleError;
use super::srt::read_times;

/// The characters that mean something in a cue's text, and how they are written.
const ESCAPES: [(&str, &str); 3] = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")];

/// Writes cues as WebVTT.
#[must_use]
pub fn write_vtt(cues: &[Cue]) -> String {
    let mut text = String::from("WEBVTT\n\n");
    for cue in cues {
        let (start, end) = (write_ms(cue.start_ms, '.'), write_ms(cue.end_ms, '.'));
        text.push_str(&format!("{start} --> {end}\n{}\n\n", escape(&cue.text)));
    }
    text
}

/// Reads WebVTT. Notes, styles, regions, identifiers and settings are passed over.
///
/// # Errors
/// When the header is missing or a cue has no times; says which line.
pub fn read_vtt(text: &str) -> Result<Vec<Cue>, SubtitleError> {
    let text = text.trim_start_matches('\u{FEFF}');
    let mut lines = text.lines().enumerate().peekable();
    match lines.next() {
        Some((_, header)) if header.split_whitespace().next() == Some("WEBVTT") => {}
        Some((n, other)) => return Err(SubtitleError::new(n, other)),
        None => return Err(SubtitleError::new(0, "")),
    }
    while lines.next_if(|(_, line)| !line.trim().is_empty()).is_some() {}
    let mut cues = Vec::new();
    while let Some((n, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let mut block = vec![(n, line)];
        while let Some(next) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            block.push(next);
        }
        if !is_aside(line) {
            cues.push(read_block(&block)?);
        }
    }
    Ok(cues)
}

fn is_aside(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    !line.contains("-->") && matches!(word, "NOTE" | "STYLE" | "REGION")
}

fn read_block(block: &[(usize, &str)]) -> Result<Cue, SubtitleError> {
    let identified = block.len() > 1 && !block[0].1.contains("-->");
    let (n, times) = block[usize::from(identified)];
    let (start_ms, end_ms) = read_times(times).ok_or_else(|| SubtitleError::new(n, times))?;
    let shown: Vec<&str> =
        block[usize::from(identified) + 1..].iter().map(|(_, line)| *line).collect();
    Ok(Cue { start_ms, end_ms, text: unescape(&shown.join("\n")) })
}

fn escape(text: &str) -> String {
    ESCAPES.iter().fold(text.to_owned(), |text, (plain, written)| text.replace(plain, written))
}

fn unescape(text: &str) -> String {
    // In the other order, so that `&amp;lt;` gives `&lt;` and not `<`.
    ESCAPES
        .iter()
        .rev()
        .fold(text.to_owned(), |text, (plain, written)| text.replace(written, plain))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::srt::{read_srt, write_srt};
    use super::*;

    fn cue(start_ms: u64, end_ms: u64, text: &str) -> Cue {
        Cue { start_ms, end_ms, text: text.to_owned() }
    }

    #[test]
    fn written_as_browsers_expect() {
        assert_eq!(
            write_vtt(&[cue(0, 1_500, "a --> b & <c>")]),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na --&gt; b &amp; &lt;c&gt;\n\n"
        );
        assert_eq!(write_vtt(&[]), "WEBVTT\n\n");
    }

    #[test]
    fn read_as_programs_write() {
        let text = "WEBVTT - made by hand\nKind: captions\n\nNOTE a\nb\n\nSTYLE\n::cue {}\n\n\
                    id 1\n00:01.000 --> 00:02.000 align:start\na &amp;lt; b\n\n\
                    00:00:03.000 --> 00:00:04.000\nc\nd\n";
        let expected = vec![cue(1_000, 2_000, "a &lt; b"), cue(3_000, 4_000, "c\nd")];
        assert_eq!(read_vtt(text), Ok(expected));
        for (text, line) in [("", 1), ("1\n", 1), ("WEBVTT\n\nx\ny\n", 4), ("WEBVTT\n\nx\n", 3)] {
            assert_eq!(read_vtt(text).unwrap_err().line, line, "{text}");
        }
    }

    /// One visible line, as cues have.
    fn any_line() -> impl Strategy<Value = String> {
        "[ -~äß你&<>]{1,30}"
            .prop_filter("visible", |line| !line.trim().is_empty() && !line.contains("-->"))
    }

    fn any_cues() -> impl Strategy<Value = Vec<Cue>> {
        let any_cue =
            (0u64..300_000_000, 0u64..10_000, proptest::collection::vec(any_line(), 1..3))
                .prop_map(|(start, length, lines)| cue(start, start + length, &lines.join("\n")));
        proptest::collection::vec(any_cue, 0..20)
    }

    proptest! {
        #[test]
        fn srt_to_vtt_and_back_loses_nothing(cues in any_cues()) {
            let srt = write_srt(&cues);
            let vtt = write_vtt(&read_srt(&srt).unwrap());
            let back = read_vtt(&vtt).unwrap();
            prop_assert_eq!(&back, &cues);
            prop_assert_eq!(write_srt(&back), srt);
        }

        #[test]
        fn readers_never_panic(
            text in "\\PC{0,80}|[0-9:,.> \\-\n]{0,80}|WEBVTT\n[0-9:,.> \\-\n]{0,80}"
        ) {
            let _ = read_srt(&text);
            let _ = read_vtt(&text);
        }
    }
}
