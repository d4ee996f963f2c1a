//! Paths among a job's input: made absolute, because a job may be resumed from another directory.

use std::path::Path;

use callsheet::definition::{forms, of_field};
use serde_json::Value;

/// Whether a form is that of a path.
pub(super) fn is_path(form: &Value) -> bool {
    let format = form.get("format").and_then(Value::as_str);
    matches!(format, Some("path" | "path-or-url"))
}

/// Makes every relative path in an input absolute, wherever its schema says that there is one.
pub(super) fn make_absolute(schema: &Value, input: &mut Value) {
    below(schema, &forms(schema, schema), input);
}

/// Goes as deep as the input nests.
fn below(whole: &Value, of: &[&Value], value: &mut Value) {
    let next = |next: &dyn Fn(&'_ Value) -> Option<&'_ Value>| -> Vec<&Value> {
        of.iter().filter_map(|form| next(form)).flat_map(|inner| forms(whole, inner)).collect()
    };
    match value {
        Value::String(text) if of.iter().any(|form| is_path(form)) => {
            if let Some(path) = absolute(text) {
                *text = path;
            }
        }
        Value::Array(items) => {
            let of_items = next(&|form| form.get("items"));
            items.iter_mut().for_each(|item| below(whole, &of_items, item));
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                below(whole, &next(&|form| of_field(form, name)), inner);
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
