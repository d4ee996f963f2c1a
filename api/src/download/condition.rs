//! Which part of a file a request asks for, and whether it has it already: RFC 9110 §13 and §14.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Outside,
    /// Nothing: the client has it.
    NotModified,
}

/// What these headers ask for of a file of `size` bytes whose entity tag is `etag`.
///
/// A `Range` that is malformed, in another unit or of several parts is as if it were not there,
/// which the RFC allows: the answer is then the whole file.
pub(crate) fn asked(headers: &HeaderMap, etag: &str, size: u64) -> Asked {
    if matches_none(headers, etag) {
        return Asked::NotModified;
    }
    let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Asked::Whole;
    };
    // A date never matches: files are named by their content and have none.
    if headers.get(header::IF_RANGE).is_some_and(|tag| tag.as_bytes() != etag.as_bytes()) {
        return Asked::Whole;
    }
    parse_range(range, size)
}

fn matches_none(headers: &HeaderMap, etag: &str) -> bool {
    let mut tags = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

fn parse_range(text: &str, size: u64) -> Asked {
    let parsed = text
        .split_once('=')
        .filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"))
        .and_then(|(_, spec)| spec.trim().split_once('-'));
    match parsed {
        Some(("", last)) => match digits(last) {
            Some(0) => Asked::Outside,
            Some(_) if size == 0 => Asked::Outside,
            Some(count) => Asked::Part(size.saturating_sub(count)..size),
            None => Asked::Whole,
        },
        Some((first, last)) => match (digits(first), digits(last)) {
            (Some(first), Some(last)) if last < first => Asked::Whole,
            (Some(first), Some(_)) if first >= size => Asked::Outside,
            (Some(first), Some(last)) => Asked::Part(first..last.saturating_add(1).min(size)),
            (Some(first), None) if last.is_empty() && first >= size => Asked::Outside,
            (Some(first), None) if last.is_empty() => Asked::Part(first..size),
            _ => Asked::Whole,
        },
        None => Asked::Whole,
    }
}

/// A number of digits alone; one too large for us is larger than any file.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const ETAG: &str = "\"abc\"";

    fn ask(fields: &[(HeaderName, &str)], size: u64) -> Asked {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        asked(&headers, ETAG, size)
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let part = |range: Range<u64>| Asked::Part(range);
        for (range, size, expected) in [
            ("bytes=0-0", 10, part(0..1)),
            ("bytes=0-9", 10, part(0..10)),
            ("bytes=0-99", 10, part(0..10)),
            ("bytes=3-", 10, part(3..10)),
            ("bytes=9-", 10, part(9..10)),
            ("bytes=-3", 10, part(7..10)),
            ("bytes=-99", 10, part(0..10)),
            ("Bytes=1-2", 10, part(1..3)),
            ("bytes=0-18446744073709551615", 10, part(0..10)),
            ("bytes=10-", 10, Asked::Outside),
            ("bytes=10-12", 10, Asked::Outside),
            ("bytes=-0", 10, Asked::Outside),
            ("bytes=0-", 0, Asked::Outside),
            ("bytes=-1", 0, Asked::Outside),
            ("bytes=99999999999999999999999-", 10, Asked::Outside),
            ("bytes=5-3", 10, Asked::Whole),
            ("bytes=", 10, Asked::Whole),
            ("bytes=-", 10, Asked::Whole),
            ("bytes=a-b", 10, Asked::Whole),
            ("bytes=+1-2", 10, Asked::Whole),
            ("bytes=0-1,3-4", 10, Asked::Whole),
            ("items=0-1", 10, Asked::Whole),
            ("0-1", 10, Asked::Whole),
        ] {
            assert_eq!(ask(&[(header::RANGE, range)], size), expected, "{range} of {size}");
        }
    }

    #[test]
    fn conditions_come_first() {
        let range = (header::RANGE, "bytes=0-1");
        for (fields, expected) in [
            (vec![], Asked::Whole),
            (vec![(header::IF_NONE_MATCH, ETAG)], Asked::NotModified),
            (vec![(header::IF_NONE_MATCH, "\"x\", W/\"abc\"")], Asked::NotModified),
            (vec![(header::IF_NONE_MATCH, "*")], Asked::NotModified),
            (vec![(header::IF_NONE_MATCH, "\"x\""), range.clone()], Asked::Part(0..2)),
            (vec![(header::IF_NONE_MATCH, ETAG), range.clone()], Asked::NotModified),
            (vec![(header::IF_RANGE, ETAG), range.clone()], Asked::Part(0..2)),
            (vec![(header::IF_RANGE, "\"x\""), range.clone()], Asked::Whole),
            (vec![(header::IF_RANGE, "W/\"abc\""), range.clone()], Asked::Whole),
            (vec![(header::IF_RANGE, "Wed, 21 Oct 2015 07:28:00 GMT"), range], Asked::Whole),
        ] {
            assert_eq!(ask(&fields, 10), expected, "{fields:?}");
        }
    }
}
