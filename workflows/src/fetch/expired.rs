//! Addresses that were signed for a time: whether theirs is over.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Url;

/// What stores write into a refusal because the time of a signature is over.
const SAID: [&str; 5] = [
    "Request has expired",
    "ExpiredToken",
    "ExpiredRequest",
    "Signature not valid in the specified time frame",
    "The provided token has expired",
];

/// Whether a refused address was signed for a time that is over, as the address says or as the
/// store does.
pub(super) fn is_expired(url: &Url, said: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    SAID.iter().any(|words| said.contains(words)) || ends_at(url).is_some_and(|end| end < now)
}

/// When the signature of an address ends, in seconds since 1970.
fn ends_at(url: &Url) -> Option<u64> {
    let field = |wanted: &str| {
        let mut fields = url.query_pairs();
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    for vendor in ["Amz", "Goog"] {
        let name = |what: &str| format!("X-{vendor}-{what}");
        if let (Some(from), Some(time)) = (field(&name("Date")), field(&name("Expires"))) {
            return Some(read_time(&from)?.saturating_add(time.parse().ok()?));
        }
    }
    if field("Signature").is_some() {
        return field("Expires")?.parse().ok();
    }
    if field("sig").is_some() {
        return read_time(&field("se")?);
    }
    None
}

/// Reads `20260131T080000Z`, `2026-01-31T08:00:00Z` and `2026-01-31`, all in UTC.
fn read_time(text: &str) -> Option<u64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).take(14).collect();
    let is_utc = text.ends_with('Z') || digits.len() == 8;
    if !is_utc || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("0").parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the odd day comes last.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day;
    let since = days.checked_sub(719_469)?;
    Some(((since * 24 + part(8, 10)?) * 60 + part(10, 12)?) * 60 + part(12, 14)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_stores_write_them() {
        for (text, expected) in [
            ("19700101T000000Z", Some(0)),
            ("20240229T120000Z", Some(1_709_208_000)),
            ("2024-02-29T12:00:00Z", Some(1_709_208_000)),
            ("2024-02-29T12:00Z", Some(1_709_208_000)),
            ("2024-03-01", Some(1_709_251_200)),
            ("2000-12-31T23:59:59Z", Some(978_307_199)),
            ("2024-13-01", None),
            ("2024-02-29T12:00:00+02:00", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(read_time(text), expected, "{text}");
        }
    }

    #[test]
    fn a_signature_whose_time_is_over_is_known() {
        for (query, said, expected) in [
            ("X-Amz-Date=20200101T000000Z&X-Amz-Expires=3600&X-Amz-Signature=a", "", true),
            ("X-Amz-Date=29990101T000000Z&X-Amz-Expires=3600&X-Amz-Signature=a", "", false),
            ("X-Goog-Date=20200101T000000Z&X-Goog-Expires=3600", "", true),
            ("Expires=1500000000&Signature=a&AWSAccessKeyId=b", "", true),
            ("Expires=32500000000&Signature=a&GoogleAccessId=b", "", false),
            ("Expires=1500000000", "", false),
            ("sv=2020&se=2020-01-01T00%3A00%3A00Z&sig=a", "", true),
            ("sv=2020&se=2999-01-01T00%3A00%3A00Z&sig=a", "", false),
            ("", "<Code>AccessDenied</Code><Message>Request has expired</Message>", true),
            ("", "<Code>ExpiredToken</Code>", true),
            ("", "<Code>AccessDenied</Code><Message>Access Denied</Message>", false),
        ] {
            let url = Url::parse(&format!("https://store.example/film.mp4?{query}")).unwrap();
            assert_eq!(is_expired(&url, said), expected, "{query} {said}");
        }
    }
}
