//! What of a JSON Schema says how a text is to be read.

use serde_json::Value;

/// Depth of choices within choices and of references to references; a schema may refer to itself.
const DEEPEST_CHOICE: usize = 8;

/// The forms that a value may have: the schema, or those that it offers a choice of. References
/// within the whole schema are followed.
pub(super) fn forms<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    let mut found = Vec::new();
    collect(root, schema, DEEPEST_CHOICE, &mut found);
    found
}

fn collect<'s>(root: &'s Value, schema: &'s Value, depth: usize, found: &mut Vec<&'s Value>) {
    let name = schema.get("$ref").and_then(Value::as_str);
    let named = name.and_then(|name| root.pointer(name.strip_prefix('#')?));
    let choice = ["anyOf", "oneOf"].iter().find_map(|word| schema.get(word)?.as_array());
    match (named, choice) {
        _ if depth == 0 => {}
        (Some(named), _) => collect(root, named, depth - 1, found),
        (None, Some(choice)) => {
            choice.iter().for_each(|form| collect(root, form, depth - 1, found));
        }
        (None, None) => found.push(schema),
    }
}

/// The types that a form allows: those that it names, or those of the values that it lists.
pub(super) fn types(form: &Value) -> Vec<&str> {
    match form.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => {
            let listed = form.get("enum").and_then(Value::as_array).into_iter().flatten();
            listed.chain(form.get("const")).map(type_of).collect()
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn choices_and_references_are_followed_as_far_as_they_lead() {
        let root = json!({ "$defs": {
            "a": { "type": "string" },
            "b": { "anyOf": [{ "$ref": "#/$defs/a" }, { "const": 1.5 }] },
            "itself": { "$ref": "#/$defs/itself" },
        } });
        for (schema, expected) in [
            (json!({ "type": ["integer", "null"] }), vec!["integer", "null"]),
            (json!({ "$ref": "#/$defs/b" }), vec!["string", "number"]),
            (
                json!({ "oneOf": [{ "enum": ["x", 1, null, true] }, { "$ref": "#/$defs/a" }] }),
                vec!["string", "integer", "null", "boolean", "string"],
            ),
            (json!({ "const": {} }), vec!["object"]),
            (json!({ "enum": [[]] }), vec!["array"]),
            (json!({ "$ref": "#/$defs/itself" }), vec![]),
            (json!({}), vec![]),
        ] {
            let forms = forms(&root, &schema);
            let found: Vec<&str> = forms.iter().flat_map(|form| types(form)).collect();
            assert_eq!(found, expected, "{schema}");
        }
    }
}
