//! Inputs that a schema marks as `writeOnly` are taken and never shown.

use serde_json::Value;

/// What stands in the place of a secret.
const HIDDEN: &str = "[secret]";

/// A value without what its schema marks as `writeOnly`. Looked for in properties and items; a
/// schema that leads there by a reference is not followed.
pub(super) fn without_secrets(mut value: Value, schema: Option<&Value>) -> Value {
    if let Some(schema) = schema {
        hide(&mut value, schema);
    }
    value
}

fn hide(value: &mut Value, schema: &Value) {
    if schema.get("writeOnly").and_then(Value::as_bool) == Some(true) && !value.is_null() {
        *value = Value::String(HIDDEN.to_owned());
        return;
    }
    match value {
        Value::Object(fields) => {
            let known = schema.get("properties").and_then(Value::as_object);
            for (name, schema) in known.into_iter().flatten() {
                fields.get_mut(name).into_iter().for_each(|field| hide(field, schema));
            }
        }
        Value::Array(items) => {
            let of_items = schema.get("items");
            of_items.into_iter().for_each(|schema| {
                items.iter_mut().for_each(|item| hide(item, schema));
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_write_only_is_hidden_wherever_it_lies() {
        let secret = json!({ "type": "string", "writeOnly": true });
        let schema = json!({ "properties": {
            "key": secret, "open": { "type": "string" }, "none": secret, "absent": secret,
            "list": { "items": { "properties": { "key": secret } } },
        } });
        let given = json!({
            "key": "canary", "open": "seen", "none": null, "else": 1,
            "list": [{ "key": { "deep": "canary" } }, { "other": 2 }],
        });
        let shown = json!({
            "key": HIDDEN, "open": "seen", "none": null, "else": 1,
            "list": [{ "key": HIDDEN }, { "other": 2 }],
        });
        assert_eq!(without_secrets(given.clone(), Some(&schema)), shown);
        assert_eq!(without_secrets(given.clone(), None), given);
        assert_eq!(without_secrets(json!("canary"), Some(&secret)), HIDDEN);
    }
}
