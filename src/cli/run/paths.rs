//! Paths among a job's input: made absolute, because a job may be resumed from another directory.

use std::path::Path;

use serde_json::Value;

use super::schema::forms;

/// Whether a form is that of a path.
pub(super) fn is_path(form: &Value) -> bool {
    let format = form.get("format").and_then(Value::as_str);
    matches!(format, Some("path" | "path-or-url"))
}

/// Makes every relative path in an input absolute, wherever its schema says that there is one.
pub(super) fn make_absolute(schema: &Value, input: &mut Value) {
    below(schema, schema, input);
}

/// Goes as deep as the input nests.
fn below(root: &Value, schema: &Value, value: &mut Value) {
    let forms = forms(root, schema);
    match value {
        Value::String(text) if forms.iter().any(|form| is_path(form)) => {
            if let Some(path) = absolute(text) {
                *text = path;
            }
        }
        Value::Array(items) => {
            let Some(of_items) = forms.iter().find_map(|form| form.get("items")) else { return };
            items.iter_mut().for_each(|item| below(root, of_items, item));
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                let known = forms.iter().find_map(|form| form.get("properties")?.get(name));
                if let Some(known) = known {
                    below(root, known, inner);
                }
            }
        }
        _ => {}
    }
}

/// The absolute path of a relative one; none of what is none.
fn absolute(text: &str) -> Option<String> {
    let is_plain = !text.is_empty() && !text.contains("://");
    let path = is_plain.then(|| std::path::absolute(Path::new(text)).ok())??;
    path.into_os_string().into_string().ok()
}
