//! Instants as text.

use callsheet_engine::Timestamp;
use chrono::{DateTime, SecondsFormat, Utc};

/// An instant as RFC 3339 text in UTC with milliseconds.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    // Beyond the year 262,000 chrono has no date; the start of 1970 is as good as any then.
    let time = DateTime::<Utc>::from_timestamp_millis(at.0).unwrap_or(DateTime::UNIX_EPOCH);
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_rfc_3339() {
        for (given, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_000_000_000_123, "2001-09-09T01:46:40.123Z"),
            (i64::MAX, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(given)), expected);
        }
    }
}
