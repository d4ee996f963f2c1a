//! Which types a JSON Schema allows.

use serde_json::Value;

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
    fn types_are_those_that_are_named_or_those_of_the_values() {
        for (form, expected) in [
            (json!({ "type": ["integer", "null"] }), vec!["integer", "null"]),
            (json!({ "type": "string", "const": 1 }), vec!["string"]),
            (json!({ "const": 1.5 }), vec!["number"]),
            (json!({ "enum": ["x", 1, null, true] }), vec!["string", "integer", "null", "boolean"]),
            (json!({ "const": {} }), vec!["object"]),
            (json!({ "enum": [[]] }), vec!["array"]),
            (json!({}), vec![]),
        ] {
            assert_eq!(types(&form), expected, "{form}");
        }
    }
}
