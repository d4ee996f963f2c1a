//! The step kinds as people read them: name, purpose, inputs.

use callsheet::definition::{Catalog, KindInfo};
use serde_json::{Value, json};

/// The catalog as JSON: what programs and editors need to help with a definition.
pub(crate) fn json(catalog: &Catalog) -> Value {
    catalog.iter().map(|kind| json!(kind)).collect()
}

/// The catalog as text: a paragraph a kind.
pub(crate) fn text(catalog: &Catalog) -> String {
    catalog.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

fn paragraph(kind: &KindInfo) -> String {
    let mut text = format!("{}\n", kind.name);
    if !kind.description.is_empty() {
        text.push_str(&format!("  {}\n", kind.description));
    }
    let fields = fields(&kind.input_schema);
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, what) in fields {
        text.push_str(&format!("    {name:<width$}  {what}\n"));
    }
    text
}

/// Each field of an object's schema with its type, whether it may be left out, and its meaning.
fn fields(schema: &Value) -> Vec<(String, String)> {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let describe = |(name, field): (&String, &Value)| {
        let mut what = type_of(field, schema);
        match field.get("default") {
            _ if required.contains(&name.as_str()) => what.push_str(", required"),
            Some(default) if !default.is_null() => what.push_str(&format!(", default {default}")),
            _ => {}
        }
        if let Some(text) = field["description"].as_str() {
            what.push_str(&format!(": {}", first_paragraph(text)));
        }
        (name.clone(), what)
    };
    properties.iter().map(describe).collect()
}

/// The first paragraph, on one line.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// A type in a word or two; what is named elsewhere in the schema is shown by its name.
fn type_of(field: &Value, schema: &Value) -> String {
    if let Some(name) = field["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let target = &schema["$defs"][name];
        return if target.is_object() && !is_object(target) {
            type_of(target, schema)
        } else {
            name.to_owned()
        };
    }
    if let Some(values) = field["enum"].as_array() {
        return values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(value) = field.get("const") {
        return value.to_string();
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        if let Some(parts) = field[choice].as_array() {
            let parts = parts.iter().filter(|part| part["type"] != "null");
            return parts.map(|part| type_of(part, schema)).collect::<Vec<_>>().join(" | ");
        }
    }
    match &field["type"] {
        Value::String(kind) if kind == "array" => format!("[{}]", type_of(&field["items"], schema)),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            kinds.collect::<Vec<_>>().join(" | ")
        }
        _ => "any".to_owned(),
    }
}

fn is_object(schema: &Value) -> bool {
    schema["type"] == "object"
}

#[cfg(test)]
mod tests {
    use callsheet::definition::Effect;

    use super::*;

    #[test]
    fn a_kind_is_shown_with_its_fields() {
        let schema = json!({
            "type": "object",
            "required": ["source"],
            "properties": {
                "source": { "type": "string", "description": "Where\nfrom.\n\nMore." },
                "max_bytes": { "type": ["integer", "null"], "default": 100 },
                "file": { "$ref": "#/$defs/Artifact" },
                "mode": { "$ref": "#/$defs/Mode" },
                "tags": { "type": "array", "items": { "type": "string" } },
                "note": { "anyOf": [{ "type": "string" }, { "type": "null" }], "default": null },
                "any": true,
            },
            "$defs": {
                "Artifact": { "type": "object" },
                "Mode": { "enum": ["a", "b"] },
            },
        });
        let kind = KindInfo {
            name: "media.fetch".into(),
            description: "Gets a file.".into(),
            effect: Effect::Pure,
            probes: false,
            cache: None,
            input_schema: schema,
            output_schema: Value::Null,
        };
        let shown = paragraph(&kind);
        let expected = [
            "media.fetch",
            "  Gets a file.",
            "    any        any",
            "    file       Artifact",
            "    max_bytes  integer, default 100",
            "    mode       \"a\" | \"b\"",
            "    note       string",
            "    source     string, required: Where from.",
            "    tags       [string]",
        ];
        let mut lines: Vec<_> = shown.lines().collect();
        // The order of the fields is the schema's, which depends on how maps are built.
        lines[2..].sort_unstable();
        assert_eq!(lines, expected);
    }
}
