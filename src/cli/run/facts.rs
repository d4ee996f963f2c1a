//! What of an output is no file, as rows for people: a name and a short text.

use serde_json::Value;

use super::files::Landed;

/// Rows shown; `--json` has the whole output.
const MOST_ROWS: usize = 40;

/// Objects within objects whose fields are shown.
const DEEPEST: usize = 4;

/// Values of a list that are shown one by one; of a longer one only their number is told.
const MOST_LISTED: usize = 8;

/// Characters of a text that are shown.
const MOST_CHARS: usize = 72;

/// The facts among an output: numbers, words, short lists. Files are told of elsewhere, and what is
/// empty is not told of.
pub(super) fn rows(output: &Value, landed: &Landed) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    collect(String::new(), output, landed, DEEPEST, &mut rows);
    if rows.len() > MOST_ROWS {
        let more = rows.len() - MOST_ROWS;
        rows.truncate(MOST_ROWS);
        rows.push(vec!["...".to_owned(), format!("{more} more; see all with --json")]);
    }
    rows
}

fn collect(
    path: String,
    value: &Value,
    landed: &Landed,
    depth: usize,
    rows: &mut Vec<Vec<String>>,
) {
    let is_file = |path: &str| landed.contains_key(path);
    match value {
        _ if is_file(&path) || is_file(&format!("{path}[0]")) => {}
        Value::Object(fields) if depth > 0 => {
            for (name, inner) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                collect(format!("{path}{dot}{name}"), inner, landed, depth - 1, rows);
            }
        }
        Value::Array(items) => rows.extend(list(path, items)),
        Value::Object(fields) => rows.push(vec![path, format!("{} fields", fields.len())]),
        _ => rows.extend(scalar(value).map(|text| vec![path, text])),
    }
}

/// A list: its values under one another, or how many they are.
fn list(path: String, items: &[Value]) -> Vec<Vec<String>> {
    let texts: Option<Vec<String>> = items.iter().map(scalar).collect();
    match texts {
        Some(texts) if texts.len() <= MOST_LISTED => {
            let names = std::iter::once(path).chain(std::iter::repeat(String::new()));
            names.zip(texts).map(|(name, text)| vec![name, text]).collect()
        }
        _ => vec![vec![path, format!("{} entries", items.len())]],
    }
}

/// A single value on one line; none of what is empty or not single.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(short(text.trim())),
        other => Some(other.to_string()),
    }
}

/// The beginning of a text, in one line.
fn short(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let begin: String = chars.by_ref().take(MOST_CHARS).collect();
    if chars.next().is_some() { format!("{begin} ...") } else { begin }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(output: &Value, files: &[&str]) -> Vec<String> {
        let landed = files.iter().map(|path| ((*path).to_owned(), "x".into())).collect();
        rows(output, &landed).iter().map(|row| row.join(" ").trim().to_owned()).collect()
    }

    #[test]
    fn facts_are_told_and_files_and_what_is_empty_are_not() {
        let output = json!({
            "video": { "artifact": "0", "name": "v.mp4" },
            "clips": [{ "artifact": "1" }],
            "speech": false,
            "message": "no speech found",
            "language": "",
            "at_s": null,
            "none": [],
            "notes": ["one", "two\nlines"],
            "loudness": { "lufs": -16.5, "range": { "lu": 3 } },
            "streams": [{ "codec": "h264" }, { "codec": "aac" }],
            "deep": { "a": { "b": { "c": { "d": 1 } } } },
        });
        let mut lines = told(&output, &["video", "clips[0]"]);
        lines.sort();
        assert_eq!(
            lines,
            [
                "deep.a.b.c 1 fields",
                "loudness.lufs -16.5",
                "loudness.range.lu 3",
                "message no speech found",
                "notes one",
                "speech false",
                "streams 2 entries",
                "two lines",
            ]
        );
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = "x".repeat(MOST_CHARS + 1);
        assert_eq!(told(&json!({ "a": long }), &[]), [format!("a {} ...", "x".repeat(MOST_CHARS))]);
        let list = vec![1; MOST_LISTED + 1];
        assert_eq!(told(&json!({ "a": list }), &[]), [format!("a {} entries", list.len())]);
        let wide: serde_json::Map<_, _> =
            (0..MOST_ROWS + 3).map(|n| (format!("f{n}"), json!(n))).collect();
        let lines = told(&Value::Object(wide), &[]);
        assert_eq!(lines.len(), MOST_ROWS + 1);
        assert_eq!(lines.last().map(String::as_str), Some("... 3 more; see all with --json"));
    }
}
