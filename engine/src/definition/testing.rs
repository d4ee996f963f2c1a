//! What the tests of definitions share.

use serde_json::json;

use super::{Catalog, Effect, KindInfo, Problems};
use crate::Plan;

/// `k` takes and gives anything, `strict` says exactly what, `open` says some of it, and `broken`
/// has a schema that is none. The results of `kept` are kept. `once` and `asked` must not be done
/// twice, `asked` has a probe.
pub(super) fn catalog() -> Catalog {
    let strict = json!({
        "type": "object", "required": ["source"], "additionalProperties": false,
        "properties": {
            "source": { "type": "string", "description": "Where from.\nMore." },
            "count": { "type": "integer", "minimum": 1, "maximum": 9 },
            "mode": { "enum": ["copy", "link"] },
            "tags": { "type": "array", "items": { "$ref": "#/$defs/tag" }, "maxItems": 2 },
            "any": { "anyOf": [{ "type": "array", "items": { "type": "string" } },
                               { "type": "null" }] },
        },
        "$defs": { "tag": { "type": "object", "additionalProperties": false,
                             "properties": { "name": { "type": "string" } } } },
    });
    let output = json!({ "type": "object", "additionalProperties": false,
                         "properties": { "file": {}, "seconds": {} } });
    let mut catalog = Catalog::default();
    for (name, input_schema, output_schema) in [
        ("k", json!({}), json!({})),
        ("once", json!({}), json!({})),
        ("asked", json!({}), json!({})),
        ("strict", strict, output),
        ("open", json!({ "type": "object" }), json!({ "properties": { "file": {} } })),
        ("kept", json!({}), json!({})),
        ("broken", json!({ "type": "objekt" }), json!({})),
    ] {
        let effect = if ["once", "asked"].contains(&name) { Effect::Once } else { Effect::Pure };
        let cache = (name == "kept").then_some(1);
        let (name, description, probes) = (name.to_owned(), String::new(), name == "asked");
        catalog.insert(KindInfo {
            name,
            description,
            effect,
            probes,
            cache,
            input_schema,
            output_schema,
        });
    }
    catalog
}

/// What is said of a definition: `line:column code: message (hint)` each.
pub(super) fn said(text: &str, catalog: &Catalog) -> Vec<String> {
    Plan::load(text, catalog).err().map(|problems| lines(&problems)).unwrap_or_default()
}

pub(super) fn lines(problems: &Problems) -> Vec<String> {
    let lines = problems.0.iter().map(|problem| {
        let place = match (problem.line, problem.column) {
            (Some(line), Some(column)) => format!("{line}:{column} "),
            _ => String::new(),
        };
        let hint = problem.hint.as_deref().expect("every problem has a hint");
        format!("{place}{}: {} ({hint})", problem.code, problem.message)
    });
    lines.collect()
}

/// Checks what is said of a step `a` that begins in line 5 with the given fields, beside the steps
/// `b` of kind `strict` and `each`, which runs once an item. Nothing is said when nothing is
/// expected.
pub(super) fn check_steps(table: &[(&str, &str)]) {
    for (fields, expected) in table {
        let text = format!(
            "name: n
input: {{ type: object, properties: {{ video: {{ type: string }} }} }}
steps:
  - {{ id: b, uses: strict, with: {{ source: x }} }}
  - {fields}
    id: a
{}  - {{ id: each, uses: strict, with: {{ source: x }}, for_each: [1] }}
",
            if fields.starts_with("uses: ") { "" } else { "    uses: k\n" }
        );
        let said = said(&text, &catalog());
        if expected.is_empty() {
            assert!(said.is_empty(), "{fields}: {said:?}");
            continue;
        }
        assert_eq!(said.len(), 1, "{fields}: {said:?}");
        assert!(said[0].contains(expected), "{fields}: {said:?}");
    }
}
