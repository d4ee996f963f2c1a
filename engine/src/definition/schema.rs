//! JSON Schemas: of a workflow's input and of what step kinds take.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

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
        let errors = self.validator.iter_errors(value);
        let mut misfits: Vec<Misfit> = errors.flat_map(|error| self.describe(&error)).collect();
        // A required field that is there, misspelled, is one mistake and not two.
        let meant: Vec<Place> = misfits.iter().filter_map(Misfit::meant).collect();
        misfits.retain(|misfit| {
            misfit.kind != MisfitKind::MissingField || !meant.contains(&misfit.place)
        });
        misfits
    }

    fn describe(&self, error: &ValidationError<'_>) -> Vec<Misfit> {
        let place = to_place(error.instance_path());
        let whole = |message, hint| {
            vec![Misfit { kind: MisfitKind::Whole, place: place.clone(), message, hint }]
        };
        let value = |message, hint| {
            vec![Misfit { kind: MisfitKind::Value, place: place.clone(), message, hint }]
        };
        let found = cut(&error.instance().to_string());
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
            ValidationErrorKind::Minimum { limit } => {
                value(format!("`{found}` is too small"), format!("at least {limit}"))
            }
            ValidationErrorKind::Maximum { limit } => {
                value(format!("`{found}` is too large"), format!("at most {limit}"))
            }
            ValidationErrorKind::Pattern { pattern } => {
                let hint = format!("it has to match `{}`", cut(pattern));
                value(format!("`{found}` has not the form wanted here"), hint)
            }
            kind => {
                let hint = format!("the schema's `{}` says so", kind.keyword());
                whole(cut(&error.to_string()), hint)
            }
        }
    }

    /// The names of the properties in the schema that a keyword belongs to.
    fn names_beside(&self, keyword: &Location) -> Vec<&str> {
        let around = self.around(keyword);
        let properties = around.and_then(|schema| schema.get("properties")?.as_object());
        properties.into_iter().flat_map(|fields| fields.keys().map(String::as_str)).collect()
    }

    fn field_hint(&self, keyword: &Location, name: &str) -> String {
        let field = self.around(keyword).and_then(|schema| schema.get("properties")?.get(name));
        let about = field.and_then(|field| field.get("description")?.as_str());
        match about.and_then(|about| about.lines().next()) {
            Some(about) => format!("add `{name}`: {}", cut(about)),
            None => format!("add `{name}`"),
        }
    }

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

fn type_names(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(name) => format!("`{name}`"),
        TypeKind::Multiple(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(" or ")
        }
    }
}

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
    let named = schema.get("$ref").and_then(Value::as_str);
    let schema = named.and_then(|name| root.pointer(name.strip_prefix('#')?)).unwrap_or(schema);
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
