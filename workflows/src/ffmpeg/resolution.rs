//! A size of pictures as people write it: `keep`, a height such as `720`, or `1280x720`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::limits::{MAX_ASKED_HEIGHT_PIXELS, MAX_ASKED_WIDTH_PIXELS, MIN_ASKED_SIDE_PIXELS};

/// The box that pictures are to fit into: a width, if one is named, and a height. None keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolution(pub(crate) Option<(Option<u32>, u32)>);

impl Resolution {
    fn of(width: Option<u64>, height: u64) -> Option<Self> {
        let side = |pixels: u64, most: u32| {
            u32::try_from(pixels).ok().filter(|side| (MIN_ASKED_SIDE_PIXELS..=most).contains(side))
        };
        let width = match width {
            Some(width) => Some(side(width, MAX_ASKED_WIDTH_PIXELS)?),
            None => None,
        };
        Some(Self(Some((width, side(height, MAX_ASKED_HEIGHT_PIXELS)?))))
    }

    fn read(text: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        match text.trim() {
            "keep" => Some(Self(None)),
            text => match text.split_once('x') {
                Some((width, height)) => Self::of(Some(number(width)?), number(height)?),
                None => Self::of(None, number(text.trim_end_matches('p'))?),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Resolution;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (least, most) = (MIN_ASKED_SIDE_PIXELS, MAX_ASKED_HEIGHT_PIXELS);
                write!(f, "`keep`, a height of {least} to {most}, or a size such as `1280x720`")
            }
            fn visit_u64<E: Error>(self, height: u64) -> Result<Resolution, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Unsigned(height), &self);
                Resolution::of(None, height).ok_or_else(wrong)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Resolution, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                Resolution::read(text).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Resolution {
    fn schema_name() -> Cow<'static, str> {
        "Resolution".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`keep`, a height such as `720`, or a size such as `1280x720`",
            "type": ["integer", "string"],
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
        for (given, expected) in [
            (json!("keep"), None),
            (json!(720), Some((None, 720))),
            (json!("720"), Some((None, 720))),
            (json!("1080p"), Some((None, 1080))),
            (json!("1280x720"), Some((Some(1280), 720))),
            (json!("3840x2160"), Some((Some(3840), 2160))),
        ] {
            assert_eq!(from_value::<Resolution>(given.clone()).unwrap().0, expected, "{given}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for given in [
            json!("large"),
            json!(143),
            json!(2161),
            json!("3841x720"),
            json!("x720"),
            json!("1280x"),
            json!("-720"),
            json!("1280x720,scale=9:9"),
            json!(null),
        ] {
            let refused = from_value::<Resolution>(given.clone()).unwrap_err().to_string();
            assert!(refused.contains("keep"), "{given}: {refused}");
        }
    }
}
