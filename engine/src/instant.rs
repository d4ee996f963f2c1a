//! Instants as people write them: RFC 3339, such as `2027-01-31T08:00:00Z`.

use std::str::FromStr;

use crate::time::Timestamp;

/// The text is not an instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instant; write it like `2027-01-31T08:00:00Z`")]
pub struct NotAnInstant(pub String);

impl FromStr for Timestamp {
    type Err = NotAnInstant;

    /// Reads RFC 3339 with any offset. Digits beyond the millisecond are dropped; a leap second is
    /// the first of the next minute.
    fn from_str(text: &str) -> Result<Self, NotAnInstant> {
        read(text.trim()).map(Timestamp).ok_or_else(|| NotAnInstant(text.to_owned()))
    }
}

/// Milliseconds since the start of 1970.
fn read(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, offset_minutes) = split_offset(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1_000 + millis(fraction)?)
}

/// The time of day and the minutes that it is ahead of UTC.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let sign = time.rfind(['+', '-'])?;
    let (time, offset) = time.split_at(sign);
    let [hours, minutes] = numbers(&offset[1..], ':', [2, 2])?;
    let ahead = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
    Some((time, if offset.starts_with('-') { -ahead } else { ahead }))
}

/// Numbers of so many digits each, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (number, length) in found.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length && is_digits(part))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first three digits of a fraction of a second.
fn millis(fraction: &str) -> Option<i64> {
    if !is_digits(fraction) {
        return None;
    }
    let digits = fraction.bytes().chain([b'0'; 3]).take(3);
    Some(digits.fold(0, |total, digit| total * 10 + i64::from(digit - b'0')))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leaps),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days in the proleptic Gregorian calendar. Years are taken to begin in March, so that the leap
/// day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // March to January have 31, 30, 31, 30, 31 days, twice and a bit: 153 in five months.
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    const DAYS_BEFORE_1970: i64 = 719_468;
    365 * year + leap_days + day_of_year - DAYS_BEFORE_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T23:59:59.999z", -1),
            ("2001-09-09t01:46:40.123456789Z", 1_000_000_000_123),
            ("2001-09-08 18:46:40.1-07:00", 1_000_000_000_100),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            (" 2027-01-31T08:00:00Z ", 1_801_382_400_000),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp(millis)), "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut expected, mut counted) = (0, 0);
        for year in 1970..2500 {
            for month in 1..=12 {
                for day in 1..=days_of_month(year, month) {
                    assert_eq!(days_since_1970(year, month, day), expected);
                    (expected, counted) = (expected + 1, counted + 1);
                }
            }
        }
        assert_eq!(counted, 193_579);
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "noon",
            "2027-01-31",
            "2027-01-31T08:00:00",
            "2027-01-31T08:00Z",
            "2027-1-31T08:00:00Z",
            "2027-02-29T08:00:00Z",
            "1900-02-29T08:00:00Z",
            "2027-13-01T08:00:00Z",
            "2027-00-01T08:00:00Z",
            "2027-01-00T08:00:00Z",
            "2027-01-31T24:00:00Z",
            "2027-01-31T08:60:00Z",
            "2027-01-31T08:00:61Z",
            "2027-01-31T08:00:00.Z",
            "2027-01-31T08:00:00.-1Z",
            "2027-01-31T08:00:00+1:00",
            "2027-01-31T08:00:00+24:00",
            "2027-01-31T08:00:00+",
            "+027-01-31T08:00:00Z",
            "2027-01-31T+8:00:00Z",
            "2027-01-31T08:00:00ZZ",
            "20270-01-31T08:00:00Z",
            "2027-01-31-01T08:00:00Z",
            "２027-01-31T08:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotAnInstant(text.to_owned())));
        }
    }
}
