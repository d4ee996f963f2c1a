//! JSON Schemas: of a workflow's input and of what step kinds take.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::forms::without_secrets;
use super::place::{OwnedTurn, Place};
use super::reader::list;
use super::suggest::nearest;
use crate::limits::MAX_NESTING_DEPTH;

/// A schema, compiled. It reaches for no other document, and its patterns take linear time.
#[derive(Debug)]
pub(crate) struct Schema {
    source: Value,
    validator: Validator,
}

/// One way in which a value does not fit a schema.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) kind: MisfitKind,
    /// Where, from the value's root.
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MisfitKind {
    UnknownField,
    MissingField,
    /// The value itself is wrong.
    Value,
    /// The value as a whole is wrong, for a reason that may lie in one of its parts.
    Whole,
}

impl Schema {
    /// Compiles a schema; what is wrong with it comes with its place in the schema.
    pub(crate) fn compile(source: &Value) -> Result<Self, (Place, String)> {
        let options = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true);
        match options.build(source) {
            Ok(validator) => Ok(Self { source: source.clone(), validator }),
            Err(error) => Err((to_place(error.instance_path()), cut(&error.to_string()))),
        }
    }

    /// Everything in which a value does not fit.
    pub(crate) fn misfits(&self, value: &Value) -> Vec<Misfit> {
        let mut errors = self.validator.iter_errors(value).peekable();
        if errors.peek().is_none() {
            return Vec::new();
        }
        let shown = without_secrets(value.clone(), Some(&self.source));
        let mut misfits: Vec<Misfit> =
            errors.flat_map(|error| self.describe(&error, &shown)).collect();
        // A required field that is there, misspelled, is one mistake and not two.
        let meant: Vec<Place> = misfits.iter().filter_map(Misfit::meant).collect();
        misfits.retain(|misfit| {
            misfit.kind != MisfitKind::MissingField || !meant.contains(&misfit.place)
        });
        misfits
    }

    /// What the schema says, in our words, of a value without its secrets. One error may speak of
    /// several fields.
    fn describe(&self, error: &ValidationError<'_>, shown: &Value) -> Vec<Misfit> {
        let place = to_place(error.instance_path());
        let whole = |message, hint| {
            vec![Misfit { kind: MisfitKind::Whole, place: place.clone(), message, hint }]
        };
        let value = |message, hint| {
            vec![Misfit { kind: MisfitKind::Value, place: place.clone(), message, hint }]
        };
        let part = shown.pointer(error.instance_path().as_str());
        let found = part.map_or_else(|| "a secret".to_owned(), |part| cut(&part.to_string()));
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.names_beside(error.schema_path());
                unexpected.iter().map(|name| unknown_field(&place, name, &known)).collect()
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default().to_owned();
                vec![Misfit {
                    kind: MisfitKind::MissingField,
                    message: format!("the field `{name}` is missing"),
                    hint: self.field_hint(error.schema_path(), &name),
                    place: place.join(Place(vec![OwnedTurn::Key(name)])),
                }]
            }
            ValidationErrorKind::Type { kind } => {
                let wanted = type_names(kind);
                value(format!("`{found}` is not of type {wanted}"), format!("expected {wanted}"))
            }
            ValidationErrorKind::Enum { options } => {
                let known: Vec<&str> =
                    options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let near = error.instance().as_str().and_then(|text| nearest(text, known));
                let hint = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("one of {}", cut(&options.to_string())),
                };
                value(format!("`{found}` is not one of the values allowed here"), hint)
            }
            ValidationErrorKind::Pattern { pattern } => {
                let hint = self.form_hint(error.schema_path(), pattern);
                value(format!("`{found}` has not the form wanted here"), hint)
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => match meant_form(error, context) {
                Some(errors) => {
                    errors.iter().flat_map(|error| self.describe(error, shown)).collect()
                }
                None => {
                    let forms = self.forms(error.schema_path(), context.len());
                    let message = format!("`{found}` has none of the forms allowed here");
                    whole(message, format!("expected {}", forms.join(", or ")))
                }
            },
            kind if let Some((message, hint)) = beyond(kind, &found) => value(message, hint),
            kind => {
                let hint = format!("the schema's `{}` says so", kind.keyword());
                let message = match part == Some(error.instance()) {
                    true => error.to_string(),
                    false => error.masked_with(found).to_string(),
                };
                whole(cut(&message), hint)
            }
        }
    }

    /// What the schemas are that one of has to fit, in a few words each.
    fn forms(&self, keyword: &Location, count: usize) -> Vec<String> {
        let forms = self.source.pointer(keyword.as_str()).and_then(Value::as_array);
        let forms = forms.into_iter().flatten().take(count);
        forms.map(|schema| form(named(&self.source, schema))).collect()
    }

    /// The names of the properties in the schema that a keyword belongs to.
    fn names_beside(&self, keyword: &Location) -> Vec<&str> {
        let around = self.around(keyword);
        let properties = around.and_then(|schema| schema.get("properties")?.as_object());
        properties.into_iter().flat_map(|fields| fields.keys().map(String::as_str)).collect()
    }

    /// What a missing field is for, in the first line of its own description.
    fn field_hint(&self, keyword: &Location, name: &str) -> String {
        let field = self.around(keyword).and_then(|schema| schema.get("properties")?.get(name));
        let about = field.and_then(|field| field.get("description")?.as_str());
        match about.and_then(|about| about.lines().next()) {
            Some(about) => format!("add `{name}`: {}", cut(about)),
            None => format!("add `{name}`"),
        }
    }

    /// What a text has to be like: the pattern, and what the field's own description says, for what
    /// is no text may do as well.
    fn form_hint(&self, keyword: &Location, pattern: &str) -> String {
        let field = self.around(keyword);
        let about = field.and_then(|field| field.get("description")?.as_str()?.lines().next());
        let pattern = cut(pattern);
        match about {
            Some(about) => format!("{} A text has to match `{pattern}`", cut(about)),
            None => format!("it has to match `{pattern}`"),
        }
    }

    /// The schema that a keyword belongs to. Paths through `$ref` lead nowhere; then there is no
    /// suggestion.
    fn around(&self, keyword: &Location) -> Option<&Value> {
        let (parent, _) = keyword.as_str().rsplit_once('/')?;
        self.source.pointer(parent)
    }
}

impl Misfit {
    /// The field that an unknown one was probably meant to be.
    fn meant(&self) -> Option<Place> {
        let name = self.hint.strip_prefix("did you mean `")?.strip_suffix("`?")?;
        let (OwnedTurn::Key(_), parent) = self.place.0.split_last()? else { return None };
        let is_field = self.kind == MisfitKind::UnknownField;
        let turns = parent.iter().cloned().chain([OwnedTurn::Key(name.to_owned())]);
        is_field.then(|| Place(turns.collect()))
    }
}

/// A field that the schema does not have.
fn unknown_field(place: &Place, name: &str, known: &[&str]) -> Misfit {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("the fields here are {}", cut(&list(known))),
    };
    Misfit {
        kind: MisfitKind::UnknownField,
        place: place.join(Place(vec![OwnedTurn::Key(name.to_owned())])),
        message: format!("unknown field `{}`", cut(name)),
        hint,
    }
}

/// The types that would do.
fn type_names(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(name) => format!("`{name}`"),
        TypeKind::Multiple(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(" or ")
        }
    }
}

/// What is said of a value beyond a bound.
fn beyond(kind: &ValidationErrorKind, found: &str) -> Option<(String, String)> {
    if let ValidationErrorKind::MultipleOf { multiple_of } = kind {
        let message = format!("`{found}` is not a multiple of {multiple_of}");
        return Some((message, neighbours(found, *multiple_of)));
    }
    let (wrong, hint) = match kind {
        ValidationErrorKind::Minimum { limit } => ("small", format!("at least {limit}")),
        ValidationErrorKind::Maximum { limit } => ("large", format!("at most {limit}")),
        ValidationErrorKind::MinLength { limit } => {
            ("short", format!("at least {}", count(*limit, "character")))
        }
        ValidationErrorKind::MinItems { limit } => {
            ("short", format!("at least {}", count(*limit, "item")))
        }
        ValidationErrorKind::MaxItems { limit } => {
            ("long", format!("at most {}", count(*limit, "item")))
        }
        _ => return None,
    };
    Some((format!("`{found}` is too {wrong}"), hint))
}

/// The multiples on both sides of a number.
fn neighbours(found: &str, step: f64) -> String {
    let below = found.parse::<f64>().map_or(0.0, |number| (number / step).floor() * step);
    format!("such as {below} or {}", below + step)
}

/// Of several forms the one that was meant, as what is wrong with it: the only one whose type is
/// that of the value. What is wrong with the others says nothing: they were not tried.
fn meant_form<'e>(
    error: &ValidationError<'_>,
    forms: &'e [Vec<ValidationError<'static>>],
) -> Option<&'e [ValidationError<'static>]> {
    let is_other_type = |inner: &ValidationError<'_>| {
        matches!(inner.kind(), ValidationErrorKind::Type { .. })
            && inner.instance_path() == error.instance_path()
    };
    let mut fitting = forms.iter().filter(|form| !form.iter().any(is_other_type));
    let meant = fitting.next().filter(|form| !form.is_empty())?;
    fitting.next().is_none().then_some(meant.as_slice())
}

/// A number of things.
fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A schema, or the one in the same document that it refers to.
fn named<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let name = schema.get("$ref").and_then(Value::as_str);
    name.and_then(|name| root.pointer(name.strip_prefix('#')?)).unwrap_or(schema)
}

/// A form that a value may have: its title, or else its type and the fields that it must have.
fn form(schema: &Value) -> String {
    if let Some(title) = schema.get("title").and_then(Value::as_str) {
        return cut(title);
    }
    if let Some(value) = schema.get("const") {
        return format!("`{}`", cut(&value.to_string()));
    }
    if let Some(values) = schema.get("enum") {
        return format!("one of {}", cut(&values.to_string()));
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => format!("`{}`", cut(kind)),
        _ => "a value of another kind".to_owned(),
    };
    let fields = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let fields: Vec<&str> = fields.filter_map(Value::as_str).collect();
    if fields.is_empty() { kind } else { format!("{kind} with {}", cut(&list(&fields))) }
}

/// The same path, in our words.
fn to_place(location: &Location) -> Place {
    let turns = location.iter().map(|segment| match segment {
        LocationSegment::Property(key) => OwnedTurn::Key(key.into_owned()),
        LocationSegment::Index(index) => OwnedTurn::At(index),
    });
    Place(turns.collect())
}

/// The beginning of a text that may be long.
fn cut(text: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Fills in the `default`s of object properties that are not given, at every depth that the
/// schema's `properties` and its references within itself reach.
pub(crate) fn fill_defaults(schema: &Value, value: &mut Value) {
    fill_below(schema, schema, value, MAX_NESTING_DEPTH);
}

/// A schema may refer to itself, so the depth is what ends it.
fn fill_below(root: &Value, schema: &Value, value: &mut Value, depth: usize) {
    let schema = named(root, schema);
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return };
    let Value::Object(map) = value else { return };
    if depth == 0 {
        return;
    }
    for (name, field) in fields {
        if let (None, Some(default)) = (map.get(name), field.get("default")) {
            map.insert(name.clone(), default.clone());
        }
        if let Some(given) = map.get_mut(name) {
            fill_below(root, field, given, depth - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["video", "style"],
            "additionalProperties": false,
            "properties": {
                "video": { "type": "string", "description": "The video.\nLong." },
                "style": { "enum": ["bold", "thin", 3] },
                "words": { "type": ["integer", "null"], "minimum": 1, "maximum": 9 },
                "name": { "pattern": "^[a-z]+$" },
                "long": { "pattern": "^all$", "minimum": 1, "multipleOf": 2,
                          "description": "all, or seconds." },
                "tags": { "uniqueItems": true },
                "near": { "$ref": "#/$defs/near" },
            },
            "$defs": { "near": { "required": ["x"], "properties": { "x": {} },
                                  "additionalProperties": false } },
        })
    }

    /// What is said of a value: `kind place: message (hint)` each.
    fn said(schema: &Value, value: Value) -> Vec<String> {
        let misfits = Schema::compile(schema).unwrap().misfits(&value);
        misfits
            .iter()
            .map(|it| format!("{:?} {}: {} ({})", it.kind, it.place, it.message, it.hint))
            .collect()
    }

    /// Values, and what is said of each.
    fn misfits() -> [(Value, &'static [&'static str]); 15] {
        [
            (json!({ "video": "v", "style": "bold" }), &[]),
            (json!(3), &["Value : `3` is not of type `object` (expected `object`)"]),
            (
                json!({}),
                &[
                    "MissingField video: the field `video` is missing (add `video`: The video.)",
                    "MissingField style: the field `style` is missing (add `style`)",
                ],
            ),
            (
                json!({ "vidoe": "v", "style": 3 }),
                &["UnknownField vidoe: unknown field `vidoe` (did you mean `video`?)"],
            ),
            (
                json!({ "video": "v", "style": 3, "zzz": 1 }),
                &["UnknownField zzz: unknown field `zzz` (the fields here are `long`, `name`, \
                   `near`, `style`, `tags`, `video` and `words`)"],
            ),
            (
                json!({ "video": "v", "style": "blod" }),
                &["Value style: `\"blod\"` is not one of the values allowed here (did you mean \
                   `bold`?)"],
            ),
            (
                json!({ "video": "v", "style": "zzzzzz" }),
                &["Value style: `\"zzzzzz\"` is not one of the values allowed here (one of \
                   [\"bold\",\"thin\",3])"],
            ),
            (
                json!({ "video": "v", "style": 3, "words": "x" }),
                &["Value words: `\"x\"` is not of type `null` or `integer` (expected `null` or \
                   `integer`)"],
            ),
            (
                json!({ "video": "v", "style": 3, "words": 0 }),
                &["Value words: `0` is too small (at least 1)"],
            ),
            (
                json!({ "video": "v", "style": 3, "name": "A" }),
                &["Value name: `\"A\"` has not the form wanted here (it has to match `^[a-z]+$`)"],
            ),
            (
                json!({ "video": "v", "style": 3, "long": "some" }),
                &["Value long: `\"some\"` has not the form wanted here (all, or seconds. A text \
                   has to match `^all$`)"],
            ),
            (
                json!({ "video": "v", "style": 3, "long": 481 }),
                &["Value long: `481` is not a multiple of 2 (such as 480 or 482)"],
            ),
            (
                json!({ "video": "v", "style": 3, "tags": [1, 1] }),
                &["Whole tags: [1,1] has non-unique elements (the schema's `uniqueItems` says so)"],
            ),
            (
                json!({ "video": "v", "style": 3, "near": { "y": 1 } }),
                &[
                    "UnknownField near.y: unknown field `y` (",
                    "MissingField near.x: the field `x` is missing (add `x`)",
                ],
            ),
            (
                json!({ "video": "v".repeat(9_999), "style": "s".repeat(9_999) }),
                &["Value style: `\"sss"],
            ),
        ]
    }

    #[test]
    fn every_misfit_has_its_own_words() {
        for (value, expected) in misfits() {
            let shown: String = value.to_string().chars().take(80).collect();
            let mut found = said(&schema(), value);
            found.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found.len(), expected.len(), "{shown}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected) && found.len() < 700, "{shown}: {found}");
            }
        }
    }

    fn forms() -> Value {
        json!({
            "properties": {
                "file": { "$ref": "#/$defs/file" },
                "files": { "type": "array", "minItems": 1, "maxItems": 2,
                           "items": { "$ref": "#/$defs/file" } },
                "size": { "oneOf": [{ "const": "auto" }, { "enum": [1, 2] }, { "type": "null" }] },
                "side": { "anyOf": [{ "$ref": "#/$defs/a" }, { "not": {} },
                                    { "type": "object", "required": ["b", "c"] }] },
            },
            "$defs": {
                "a": { "type": "object", "required": ["a"] },
                "file": { "anyOf": [
                    { "type": "string", "minLength": 1, "title": "a path" },
                    { "type": "object", "required": ["artifact"], "properties": {
                        "artifact": { "type": "string", "pattern": "^[0-9a-f]{4}$" },
                        "size": { "type": "integer" },
                    } },
                ] },
            },
        })
    }

    /// Of what may have several forms, the one that was meant is spoken of.
    #[test]
    fn a_value_of_several_forms_is_told_what_its_own_form_lacks() {
        for (field, value, expected) in [
            ("file", json!("a.mp4"), ""),
            ("file", json!({ "artifact": "00ff", "name": "a" }), ""),
            ("file", json!(""), "Value file: `\"\"` is too short (at least 1 character)"),
            ("file", json!({}), "MissingField file.artifact: the field `artifact` is missing"),
            (
                "file",
                json!({ "artifact": "no", "size": "x" }),
                "Value file.artifact: `\"no\"` has not the form wanted here (it has to match \
                 `^[0-9a-f]{4}$`); Value file.size: `\"x\"` is not of type `integer`",
            ),
            (
                "file",
                json!(3),
                "Whole file: `3` has none of the forms allowed here (expected a path, or \
                 `object` with `artifact`)",
            ),
            ("files", json!([]), "Value files: `[]` is too short (at least 1 item)"),
            ("files", json!(["a", "b", "c"]), "is too long (at most 2 items)"),
            ("files", json!(["a", {}]), "MissingField files[1].artifact: "),
            ("files", json!(["a", null]), "Whole files[1]: `null` has none of the forms"),
            (
                "size",
                json!("x"),
                "Whole size: `\"x\"` has none of the forms allowed here (expected `\"auto\"`, or \
                 one of [1,2], or `null`)",
            ),
            (
                "side",
                json!({}),
                "Whole side: `{}` has none of the forms allowed here (expected `object` with `a`, \
                 or a value of another kind, or `object` with `b` and `c`)",
            ),
        ] {
            let found = said(&forms(), json!({ field: value })).join("; ");
            assert_eq!(found.is_empty(), expected.is_empty(), "{field}: {value}: {found}");
            assert!(found.contains(expected), "{field}: {value}: {found}");
        }
    }

    #[test]
    fn what_is_write_only_is_not_repeated() {
        let secret = json!({ "type": "string", "pattern": "^k", "writeOnly": true });
        let schema = json!({
            "properties": {
                "key": { "anyOf": [secret, { "type": "null" }] },
                "keys": { "items": { "allOf": [secret] } },
                "env": { "additionalProperties": secret, "maxProperties": 1 },
                "not": { "not": {}, "writeOnly": true },
                "deep": { "properties": { "x": { "type": "integer" } }, "writeOnly": true },
                "hook": { "type": "string", "properties": { "key": secret } },
            },
        });
        for value in [
            json!({ "key": "canary" }),
            json!({ "key": ["canary"] }),
            json!({ "keys": ["ok", "canary", 3] }),
            json!({ "env": { "a": "canary", "b": "canary" } }),
            json!({ "not": "canary" }),
            json!({ "deep": { "x": "canary" } }),
            json!({ "hook": { "key": "canary" } }),
        ] {
            let said = said(&schema, value.clone());
            assert!(!said.is_empty() && !said.concat().contains("canary"), "{value}: {said:?}");
        }
    }

    #[test]
    fn a_schema_that_is_none_says_where() {
        let (place, why) =
            Schema::compile(&json!({ "properties": { "a": { "type": "strnig" } } })).unwrap_err();
        assert_eq!(place.to_string(), "properties.a.type");
        assert!(why.contains("strnig"), "{why}");
    }

    #[test]
    fn nothing_is_fetched_and_patterns_take_linear_time() {
        for source in [
            json!({ "$ref": "https://example.com/schema.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "pattern": "^(?=look)ahead" }),
        ] {
            assert!(Schema::compile(&source).is_err(), "{source}");
        }
        let schema = Schema::compile(&json!({ "pattern": "^(a+)+$" })).unwrap();
        assert_eq!(schema.misfits(&json!(format!("{}b", "a".repeat(20_000)))).len(), 1);
    }

    #[test]
    fn defaults_are_filled_in_where_nothing_is_given() {
        let schema = json!({ "properties": {
            "a": { "default": 1 },
            "b": { "properties": { "c": { "default": [2] } } },
            "d": { "default": {}, "properties": { "e": { "default": null } } },
        } });
        let table = [
            (json!({}), json!({ "a": 1, "d": { "e": null } })),
            (json!({ "a": 5, "b": {} }), json!({ "a": 5, "b": { "c": [2] }, "d": { "e": null } })),
            (json!({ "a": null, "d": 3 }), json!({ "a": null, "d": 3 })),
            (json!([1]), json!([1])),
        ];
        for (mut given, expected) in table {
            fill_defaults(&schema, &mut given);
            assert_eq!(given, expected);
        }
    }
}
