//! Where a file comes from, as a job's author names it: a text or a reference.

use callsheet_storage::Digest;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Where a file comes from.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum Origin {
    /// An address that starts with `https://` or `http://`, or a path of this machine where the
    /// operator allows it.
    Named(String),
    /// A file that the engine has already: the reference of an upload or of a step's output.
    Stored(Stored),
}

/// A file that the engine has already. Whatever else its reference holds (its name, its size) is
/// for people: what the file is, its content says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Stored {
    /// The hash of its content.
    pub artifact: Digest,
}

impl<'de> Deserialize<'de> for Origin {
    /// By hand, because the error for a choice of forms names none of them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Named(text)),
            reference @ Value::Object(_) => {
                let stored = serde_json::from_value(reference);
                stored.map(Self::Stored).map_err(|error| {
                    D::Error::custom(format!("`source` is no reference of a file: {error}"))
                })
            }
            _ => Err(D::Error::custom(
                "`source` is neither a text nor an object with the field `artifact`",
            )),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_is_a_text_or_a_reference() {
        let digest = Digest::of(b"a film");
        let stored = Origin::Stored(Stored { artifact: digest });
        for (given, expected) in [
            (json!("a.mp4"), Ok(Origin::Named("a.mp4".to_owned()))),
            (json!({ "artifact": digest }), Ok(stored.clone())),
            (
                json!({ "artifact": digest, "name": "a", "media_type": "b", "size": 1, "url": "" }),
                Ok(stored),
            ),
            (json!({}), Err("missing field `artifact`")),
            (json!({ "artifact": "abc" }), Err("`source` is no reference of a file: ")),
            (json!({ "artifact": 3 }), Err("`source` is no reference of a file: ")),
            (json!(null), Err("neither a text nor an object")),
            (json!(["a.mp4"]), Err("neither a text nor an object")),
        ] {
            let found = serde_json::from_value::<Origin>(given.clone());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, _) => panic!("{given}: {found:?}"),
            }
        }
    }
}
