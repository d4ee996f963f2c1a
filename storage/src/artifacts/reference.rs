//! The JSON object that steps pass to one another in place of a file.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Digest;
use crate::limits::MAX_ARTIFACT_NAME_BYTES;

/// A reference to a stored file. Wherever an output holds an object of exactly this shape, it is
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The content's hash, which is where it is stored.
    pub artifact: Digest,
    /// A plain file name for people, such as `captions.srt`; never a path.
    #[serde(deserialize_with = "plain_name")]
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// What the content is, such as `video/mp4`.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
}

impl Artifact {
    /// All artifacts in an output, in the order of the document, each with its path such as
    /// `files[0].video`; the path of the output itself is empty.
    #[must_use]
    pub fn find_in(output: &Value) -> Vec<(String, Self)> {
        let mut found = Vec::new();
        // A stack of our own: however deep the value is, the thread's stack is not used up.
        let mut waiting = vec![(String::new(), output)];
        while let Some((path, value)) = waiting.pop() {
            match value {
                Value::Object(fields) => match Self::from_fields(value) {
                    Some(artifact) => found.push((path, artifact)),
                    None => waiting.extend(
                        fields.iter().rev().map(|(key, inner)| (field_path(&path, key), inner)),
                    ),
                },
                Value::Array(items) => waiting.extend(
                    items.iter().enumerate().rev().map(|(n, item)| (format!("{path}[{n}]"), item)),
                ),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        found
    }

    fn from_fields(value: &Value) -> Option<Self> {
        value.get("artifact")?;
        Self::deserialize(value).ok()
    }
}

/// Whether a name is a plain file name: no path, nothing a terminal or a file system takes amiss.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    let forbidden = |c: char| c == '/' || c == '\\' || c.is_control();
    !name.is_empty()
        && name.len() <= MAX_ARTIFACT_NAME_BYTES
        && name != "."
        && name != ".."
        && !name.contains(forbidden)
}

/// A name comes out of a step and ends as a file in somebody's directory: paths stop here.
fn plain_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_plain_name(&name) {
        return Ok(name);
    }
    Err(serde::de::Error::custom(format!("`{name}` is not a plain file name")))
}

fn field_path(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key:?}]"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn artifact(name: &str) -> Value {
        json!({
            "artifact": Digest::of(name.as_bytes()),
            "name": name,
            "media_type": "text/plain",
            "size": 3,
        })
    }

    #[test]
    fn artifacts_are_found_wherever_they_are() {
        let output = json!({
            "a": { "deep": [1, artifact("one"), [artifact("two")]] },
            "odd key": artifact("three"),
            "text": "no",
        });
        let found: Vec<_> =
            Artifact::find_in(&output).into_iter().map(|(path, it)| (path, it.name)).collect();
        let expected = [
            ("a.deep[1]".to_owned(), "one".to_owned()),
            ("a.deep[2][0]".to_owned(), "two".to_owned()),
            ("[\"odd key\"]".to_owned(), "three".to_owned()),
        ];
        assert_eq!(found, expected);
        assert_eq!(Artifact::find_in(&artifact("x"))[0].0, "");
    }

    #[test]
    fn an_object_of_another_shape_is_no_artifact() {
        let mut more = artifact("a");
        more["extra"] = json!(1);
        let mut less = artifact("a");
        less.as_object_mut().unwrap().remove("size");
        let mut negative = artifact("a");
        negative["size"] = json!(-1);
        let mut upper = artifact("a");
        upper["artifact"] = json!("AB");
        for value in [more, less, negative, upper, json!({ "artifact": 1 }), json!(null)] {
            assert_eq!(Artifact::find_in(&value), [], "{value}");
        }
    }

    #[test]
    fn a_name_is_never_a_path() {
        for name in ["", ".", "..", "a/b", "../x", "/etc/passwd", "a\\b", "a\0", "a\nb"] {
            assert!(!is_plain_name(name), "{name:?}");
            assert_eq!(Artifact::find_in(&artifact(name)), [], "{name:?}");
        }
        assert!(!is_plain_name(&"x".repeat(256)));
        for name in ["a", ".hidden", "Vidéo 1.mp4", "a..b"] {
            assert!(is_plain_name(name), "{name:?}");
        }
    }

    #[test]
    fn depth_does_not_exhaust_the_stack() {
        let mut value = artifact("deep");
        for _ in 0..20_000 {
            value = Value::Array(vec![value]);
        }
        assert_eq!(Artifact::find_in(&value).len(), 1);
        // Dropping it the usual way would recurse as deep.
        while let Value::Array(mut items) = value {
            value = items.pop().unwrap();
        }
    }

    #[test]
    fn the_schema_names_all_fields() {
        let schema = serde_json::to_value(schemars::schema_for!(Artifact)).unwrap();
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["required"], json!(["artifact", "name", "media_type", "size"]));
    }
}
