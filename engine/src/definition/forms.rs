//! What of a JSON Schema speaks of a value, wherever in the schema it stands.

use std::collections::HashSet;

use serde_json::Value;

/// Keywords whose schemas speak of the same value as the one that they stand in.
const BESIDE: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// What stands in the place of a secret.
const HIDDEN: &str = "[secret]";

/// The schemas that speak of a value, and those of them that it may fit or has to: the schema
/// itself, what it refers to within the whole, and the parts of `anyOf`, `oneOf` and `allOf`.
#[must_use]
pub fn forms<'s>(whole: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    // A stack of our own, and each only once: a schema may refer to itself.
    let mut waiting = vec![schema];
    while let Some(schema) = waiting.pop() {
        if !seen.insert(std::ptr::from_ref(schema)) {
            continue;
        }
        found.push(schema);
        let before = waiting.len();
        let name = schema.get("$ref").and_then(Value::as_str);
        waiting.extend(name.and_then(|name| whole.pointer(name.strip_prefix('#')?)));
        let parts = BESIDE.iter().filter_map(|word| schema.get(word)?.as_array());
        waiting.extend(parts.flatten());
        waiting[before..].reverse();
    }
    found
}

/// The schema of a field in a form: that of its name, else that of all which have none.
#[must_use]
pub fn of_field<'s>(form: &'s Value, name: &str) -> Option<&'s Value> {
    let named = form.get("properties").and_then(|fields| fields.get(name));
    named.or_else(|| form.get("additionalProperties"))
}

/// A value without what its schema marks as `writeOnly`, wherever [`forms`] and [`of_field`] lead.
#[must_use]
pub fn without_secrets(mut value: Value, schema: Option<&Value>) -> Value {
    if let Some(schema) = schema {
        hide(schema, &forms(schema, schema), &mut value);
    }
    value
}

/// Goes as deep as the value nests.
fn hide(whole: &Value, of: &[&Value], value: &mut Value) {
    let is_secret = |form: &&Value| form.get("writeOnly") == Some(&Value::Bool(true));
    if of.iter().any(is_secret) && !value.is_null() {
        *value = Value::String(HIDDEN.to_owned());
        return;
    }
    let below = |next: &dyn Fn(&'_ Value) -> Option<&'_ Value>| -> Vec<&Value> {
        of.iter().filter_map(|form| next(form)).flat_map(|inner| forms(whole, inner)).collect()
    };
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                hide(whole, &below(&|form| of_field(form, name)), field);
            }
        }
        Value::Array(items) => {
            let of_items = below(&|form| form.get("items"));
            items.iter_mut().for_each(|item| hide(whole, &of_items, item));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn choices_and_references_are_followed_as_far_as_they_lead() {
        let whole = json!({ "$defs": {
            "a": { "title": "a" },
            "b": { "anyOf": [{ "$ref": "#/$defs/a" }, { "title": "b" }] },
            "itself": { "title": "i", "$ref": "#/$defs/itself" },
        } });
        let choice = json!([{ "title": "x" }, { "$ref": "#/$defs/b" }, { "$ref": "#/$defs/a" }]);
        for (schema, expected) in [
            (json!({ "title": "t" }), vec!["t"]),
            (json!({ "$ref": "#/$defs/b" }), vec!["a", "b"]),
            (json!({ "title": "t", "oneOf": choice.clone() }), vec!["t", "x", "a", "b"]),
            (json!({ "title": "t", "allOf": choice.clone() }), vec!["t", "x", "a", "b"]),
            (json!({ "$ref": "#/$defs/itself" }), vec!["i"]),
            (json!({ "$ref": "#/$defs/none" }), vec![]),
            (json!(true), vec![]),
        ] {
            let forms = forms(&whole, &schema);
            let titles = forms.iter().filter_map(|form| form.get("title")?.as_str());
            assert_eq!(titles.collect::<Vec<_>>(), expected, "{schema}");
        }
    }

    #[test]
    fn what_is_write_only_is_hidden_wherever_it_lies() {
        let secret = json!({ "type": "string", "writeOnly": true });
        let schema = json!({
            "properties": {
                "key": secret, "open": { "type": "string" }, "none": secret, "absent": secret,
                "list": { "items": { "properties": { "key": secret } } },
                "either": { "anyOf": [{ "type": "integer" }, { "properties": { "key": secret } }] },
                "named": { "$ref": "#/$defs/hook" },
                "all": { "allOf": [{ "oneOf": [{ "$ref": "#/$defs/hook" }] }] },
                "env": { "properties": { "open": {} }, "additionalProperties": secret },
                "tree": { "$ref": "#/$defs/tree" },
            },
            "$defs": {
                "hook": { "properties": { "key": secret } },
                "tree": { "properties": { "key": secret, "next": { "$ref": "#/$defs/tree" } } },
            },
        });
        let with = |text: &str| {
            let hook = json!({ "key": text, "open": 1 });
            json!({
                "key": text, "open": "seen", "none": null, "else": 1,
                "list": [{ "key": text }, { "other": 2 }], "either": hook, "named": hook,
                "all": hook, "env": { "open": "seen", "TOKEN": text },
                "tree": { "next": { "next": { "key": text } } },
            })
        };
        let given = with("canary");
        assert_eq!(without_secrets(given.clone(), Some(&schema)), with(HIDDEN));
        assert_eq!(without_secrets(given.clone(), None), given);
        assert_eq!(without_secrets(json!("canary"), Some(&secret)), HIDDEN);
        assert_eq!(without_secrets(json!({ "key": 1 }), Some(&secret)), HIDDEN);
    }
}
