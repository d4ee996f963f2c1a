//! Amounts as people write them: sizes such as `100MiB` and times such as `10m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use callsheet_engine::Millis;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A number of bytes: a number, or text such as `500kB`, `100MiB`, `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time: text such as `30s`, `10m`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 10] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let unit = trimmed[digits..].trim().to_ascii_lowercase();
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let count = trimmed[..digits].parse::<u64>().ok();
        factor
            .zip(count)
            .and_then(|(factor, count)| count.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a size; write it like `500kB` or `100MiB`"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor;
        let binary = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match binary.iter().find(fits) {
            Some((name, factor)) if self.0.is_multiple_of(*factor) => {
                write!(f, "{} {name}", self.0 / factor)
            }
            Some((name, factor)) => write!(f, "{:.1} {name}", self.0 as f64 / *factor as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a size such as `100MiB`")
            }
            fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a number of bytes, or a size such as `100MiB`",
            "type": ["integer", "string"],
            "minimum": 0,
        })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Millis::deserialize(deserializer).map(|span| Self(span.into()))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a length of time such as `30s`, `10m` or `1h30m`",
            "type": "string",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn sizes_are_read() {
        for (given, bytes) in [
            (json!(5), 5),
            (json!("5"), 5),
            (json!("1kB"), 1_000),
            (json!("100MiB"), 104_857_600),
            (json!(" 2 GiB "), 2_147_483_648),
            (json!("3gb"), 3_000_000_000),
        ] {
            assert_eq!(from_value::<ByteSize>(given.clone()).unwrap(), ByteSize(bytes), "{given}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for given in [
            json!("MiB"),
            json!("-1"),
            json!("1.5MiB"),
            json!("9999999999TiB"),
            json!(-1),
            json!("5 parsecs"),
            json!(""),
            json!(null),
        ] {
            assert!(from_value::<ByteSize>(given.clone()).is_err(), "{given}");
        }
    }

    #[test]
    fn sizes_and_times_are_shown_and_read() {
        for (bytes, text) in
            [(12, "12 bytes"), (2_048, "2 KiB"), (1_572_864, "1.5 MiB"), (2 << 30, "2 GiB")]
        {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!(from_value::<Span>(json!("1m30s")).unwrap(), Span(Duration::from_secs(90)));
        assert!(from_value::<Span>(json!(90)).is_err());
    }
}
