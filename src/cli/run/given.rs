//! The files that a job was given: nothing of what it makes is put over them.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

/// What a file is on this machine, whatever the path that leads to it: its device and its number.
type Identity = (u64, u64);

/// The files that an input names, wherever in it.
pub(crate) struct Given(HashSet<Identity>);

impl Given {
    /// Every text of the input that is the path of a file. Schemas are not asked: they may leave
    /// parts open, as that of `batch` does.
    pub(crate) fn find_in(input: &Value) -> Self {
        let mut found = HashSet::new();
        let mut waiting = vec![input];
        while let Some(value) = waiting.pop() {
            match value {
                Value::String(text) => found.extend(identity(Path::new(text))),
                Value::Array(items) => waiting.extend(items),
                // A file of the store has a name too, which is no path of this machine.
                Value::Object(fields) if fields.contains_key("artifact") => {}
                Value::Object(fields) => waiting.extend(fields.values()),
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        Self(found)
    }

    /// Whether a path leads to one of them.
    pub(crate) fn has(&self, path: &Path) -> bool {
        identity(path).is_some_and(|it| self.0.contains(&it))
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let about = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    Some((about.dev(), about.ino()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_known_by_any_path_that_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let text = |name: &str| at(name).display().to_string();
        for name in ["a", "b", "c", "other", "stored"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        std::fs::hard_link(at("b"), at("twin")).unwrap();
        let given = Given::find_in(&json!({
            "video": text("link"), "width": 3, "none": null,
            "items": [{ "input": { "video": format!("{}/./b", dir.path().display()) } }, text("c")],
            "stored": { "artifact": "0", "name": text("stored") },
            "dir": dir.path(), "url": "https://example.org/a", "empty": "",
        }));
        for name in ["a", "link", "b", "twin", "c"] {
            assert!(given.has(&at(name)), "{name}");
        }
        for name in ["other", "stored", "missing", "."] {
            assert!(!given.has(&at(name)), "{name}");
        }
    }
}
