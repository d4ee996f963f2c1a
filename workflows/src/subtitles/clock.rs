//! Instants as the subtitle formats write them.

/// `HH:MM:SS` and milliseconds after `mark`.
pub(super) fn write_ms(ms: u64, mark: char) -> String {
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{h:02}:{m:02}:{s:02}{mark}{:03}", ms % 1_000)
}

/// Hundredths of a second, rounded: cut off, cues would drift by up to 10 ms.
pub(super) fn to_centiseconds(ms: u64) -> u64 {
    (ms + 5) / 10
}

/// Hundredths of a second as `H:MM:SS.cc`.
pub(super) fn write_centiseconds(cs: u64) -> String {
    let (h, m, s) = (cs / 360_000, cs / 6_000 % 60, cs / 100 % 60);
    format!("{h}:{m:02}:{s:02}.{:02}", cs % 100)
}

/// Reads `[HH:]MM:SS` and milliseconds after `,` or `.`.
pub(super) fn read_ms(text: &str) -> Option<u64> {
    let (clock, fraction) = text.trim().rsplit_once([',', '.'])?;
    if fraction.len() != 3 || !is_number(fraction) {
        return None;
    }
    let parts: Vec<&str> = clock.split(':').collect();
    if !parts.iter().all(|part| is_number(part)) {
        return None;
    }
    let numbers: Vec<u64> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    let (h, m, s) = match numbers[..] {
        [h, m, s] => (h, m, s),
        [m, s] => (0, m, s),
        _ => return None,
    };
    if m > 59 || s > 59 || h > 9_999 {
        return None;
    }
    Some(((h * 60 + m) * 60 + s) * 1_000 + fraction.parse::<u64>().ok()?)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written() {
        for (ms, srt, ass) in [
            (0, "00:00:00,000", "0:00:00.00"),
            (4, "00:00:00,004", "0:00:00.00"),
            (5, "00:00:00,005", "0:00:00.01"),
            (59_999, "00:00:59,999", "0:01:00.00"),
            (3_723_456, "01:02:03,456", "1:02:03.46"),
            (360_000_000, "100:00:00,000", "100:00:00.00"),
        ] {
            assert_eq!(write_ms(ms, ','), srt);
            assert_eq!(write_centiseconds(to_centiseconds(ms)), ass);
            assert_eq!(read_ms(srt), Some(ms));
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        assert_eq!(read_ms("02:03.456"), Some(123_456));
        for text in [
            "",
            "1",
            "00:00:00",
            "00:00:00,1",
            "00:60:00,000",
            "00:00:61,000",
            "a:b:c,000",
            "00:00:00,-12",
            "1:2:3:4,000",
            ":00:00,000",
            "99999:00:00,000",
        ] {
            assert_eq!(read_ms(text), None, "{text}");
        }
    }
}
