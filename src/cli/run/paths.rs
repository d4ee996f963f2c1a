//! Paths among a job's input: made absolute, because a job may be resumed from another directory.

use std::path::Path;

use callsheet::definition::{forms, of_field};
use serde_json::Value;

/// The format of an input of the workflow that the field `workflow` beside it names.
const OF_WORKFLOW: &str = "input-of-workflow";

/// Whether a form is that of a path.
pub(super) fn is_path(form: &Value) -> bool {
    matches!(format(form), Some("path" | "path-or-url"))
}

fn format(form: &Value) -> Option<&str> {
    form.get("format").and_then(Value::as_str)
}

/// Makes every relative path in an input absolute, wherever its schema says that there is one.
pub(crate) fn make_absolute(schema: &Value, input: &mut Value) {
    inner_inputs(schema, input, &mut |_, _| {});
}

/// The same, and shows each input of another workflow that is a part of this one, with the name of
/// that workflow: its schema says where paths are in it.
pub(crate) fn inner_inputs(schema: &Value, input: &mut Value, see: See<'_>) {
    below(schema, &forms(schema, schema), input, see);
}

/// Is shown the inputs of other workflows.
type See<'s> = &'s mut dyn FnMut(&str, &mut Value);

/// Goes as deep as the input nests.
fn below(whole: &Value, of: &[&Value], value: &mut Value, see: See<'_>) {
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
            items.iter_mut().for_each(|item| below(whole, &of_items, item, see));
        }
        Value::Object(fields) => {
            let named = fields.get("workflow").and_then(Value::as_str).map(str::to_owned);
            for (name, inner) in fields {
                let of_inner = next(&|form| of_field(form, name));
                let is_input = of_inner.iter().any(|form| format(form) == Some(OF_WORKFLOW));
                if let Some(workflow) = named.as_ref().filter(|_| is_input) {
                    see(workflow, inner);
                }
                below(whole, &of_inner, inner, see);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_items_of_a_batch_are_shown_with_their_workflows() {
        let batch = callsheet::definition::parse(callsheet::media::BATCH).unwrap();
        let convert = json!({ "properties": { "video": { "format": "path-or-url" } } });
        let item = |video: &str| {
            let input = json!({ "video": video, "to": "webm" });
            json!({ "items": [{ "workflow": "convert", "input": input }, { "workflow": "x" }] })
        };
        let mut input = item("a.mp4");
        inner_inputs(&batch.input.unwrap(), &mut input, &mut |name, inner| {
            assert_eq!(name, "convert");
            make_absolute(&convert, inner);
        });
        assert_eq!(input, item(&absolute("a.mp4").unwrap()));
        assert_ne!(input, item("a.mp4"));
    }
}
