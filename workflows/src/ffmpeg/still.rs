//! Pictures taken out of films: what they are written as, and from when they are.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// What a picture is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Still {
    /// Small, and shown everywhere.
    #[default]
    Jpeg,
    /// Without loss.
    Png,
    /// Smaller still, and shown by every browser.
    Webp,
}

impl Still {
    /// The usual ending of a file's name.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
        }
    }

    /// The media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
        }
    }

    /// The arguments that write one picture.
    pub(super) fn args(self) -> &'static [&'static str] {
        match self {
            Self::Jpeg => &["-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p", "-f", "image2"],
            Self::Png => &["-c:v", "png", "-pix_fmt", "rgb24", "-f", "image2"],
            Self::Webp => &["-c:v", "libwebp", "-quality", "85", "-f", "image2"],
        }
    }
}

/// From when a picture is: a second, a share of the film, or the most telling one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Moment {
    /// Seconds from the start.
    Second(f64),
    /// Percent of the length.
    Percent(f64),
    /// The one that stands for most of the others.
    #[default]
    Best,
}

impl Moment {
    fn read(text: &str) -> Option<Self> {
        let number = |text: &str| {
            text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
        };
        match text.trim() {
            "best" => Some(Self::Best),
            text => match text.strip_suffix('%') {
                Some(share) => number(share).filter(|share| *share <= 100.0).map(Self::Percent),
                None if text.contains(':') => clock(text).map(Self::Second),
                None => number(text.trim_end_matches('s')).map(Self::Second),
            },
        }
    }
}

/// A time as players show it: `00:01:30`, `1:30.5`.
fn clock(text: &str) -> Option<f64> {
    let is_digits = |part: &&str| part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let parts: Vec<f64> = text
        .split(':')
        .map(|part| Some(part).filter(is_digits)?.parse().ok())
        .collect::<Option<_>>()?;
    let [first, rest @ ..] = &parts[..] else { return None };
    let is_time = rest.len() <= 2 && rest.iter().all(|part| *part < 60.0);
    is_time.then(|| rest.iter().fold(*first, |sum, part| sum * 60.0 + part))
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Moment;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`best`, seconds such as `12.5`, a time such as `1:30`, or a share as `50%`",
                )
            }
            fn visit_f64<E: Error>(self, second: f64) -> Result<Moment, E> {
                let wrong = || E::invalid_value(Unexpected::Float(second), &self);
                Some(second).filter(|at| *at >= 0.0).map(Moment::Second).ok_or_else(wrong)
            }
            fn visit_u64<E: Error>(self, second: u64) -> Result<Moment, E> {
                Ok(Moment::Second(second as f64))
            }
            fn visit_i64<E: Error>(self, second: i64) -> Result<Moment, E> {
                self.visit_f64(second as f64)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                let wrong = || E::invalid_value(Unexpected::Str(text), &self);
                Moment::read(text).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`best`, seconds such as `12.5`, a time such as `00:01:30`, or a share \
                such as `50%`",
            "type": ["number", "string"],
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn moments_are_read() {
        for (given, expected) in [
            (json!("best"), Moment::Best),
            (json!(12), Moment::Second(12.0)),
            (json!(1.5), Moment::Second(1.5)),
            (json!("1.5"), Moment::Second(1.5)),
            (json!("2s"), Moment::Second(2.0)),
            (json!("00:00:03"), Moment::Second(3.0)),
            (json!("1:30.5"), Moment::Second(90.5)),
            (json!("100:00"), Moment::Second(6_000.0)),
            (json!("1:00:01"), Moment::Second(3_601.0)),
            (json!("50%"), Moment::Percent(50.0)),
            (json!("100 %"), Moment::Percent(100.0)),
        ] {
            assert_eq!(from_value::<Moment>(given.clone()).unwrap(), expected, "{given}");
        }
        for given in [
            json!("soon"),
            json!(-1),
            json!(-0.5),
            json!("101%"),
            json!("inf"),
            json!(""),
            json!("1:60"),
            json!("1:2:3:4"),
            json!("1:-2"),
            json!("1::2"),
        ] {
            let refused = from_value::<Moment>(given.clone()).unwrap_err().to_string();
            assert!(refused.contains("50%"), "{given}: {refused}");
        }
    }

    #[test]
    fn each_kind_has_its_words() {
        for still in [Still::Jpeg, Still::Png, Still::Webp] {
            let ending = if still == Still::Jpeg { "jpeg" } else { still.extension() };
            assert_eq!(still.media_type(), format!("image/{ending}"));
            assert_eq!(still.args()[0], "-c:v");
        }
    }
}
