//! A definition as a tree in which every value and every key knows where it was written.

use serde_json::{Map, Number, Value};

use super::place::{OwnedTurn, Place};

/// A place in a text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Where it begins; unknown for what did not come from a text.
    pub(crate) mark: Option<Mark>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The key of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) mark: Option<Mark>,
}

impl Node {
    /// The tree of a JSON value, its places unknown.
    pub(crate) fn from_json(value: &Value) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(truth) => Kind::Bool(*truth),
            Value::Number(number) => Kind::Number(number.clone()),
            Value::String(text) => Kind::Text(text.clone()),
            Value::Array(items) => Kind::List(items.iter().map(Self::from_json).collect()),
            Value::Object(map) => Kind::Map(
                map.iter()
                    .map(|(text, value)| {
                        (Key { text: text.clone(), mark: None }, Self::from_json(value))
                    })
                    .collect(),
            ),
        };
        Self { kind, mark: None }
    }

    /// The tree as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(truth) => Value::Bool(*truth),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.text.clone(), value.to_json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// What the value is, in words.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a truth value",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// Where a place was written: its value, or its key; the nearest value around it when there is
    /// nothing at the place itself.
    pub(crate) fn locate(&self, place: &Place, wants_key: bool) -> Option<Mark> {
        let mut node = self;
        for (n, turn) in place.0.iter().enumerate() {
            let is_last = n + 1 == place.0.len();
            node = match (turn, &node.kind) {
                (OwnedTurn::At(index), Kind::List(items)) => match items.get(*index) {
                    Some(item) => item,
                    None => break,
                },
                (OwnedTurn::Key(wanted), Kind::Map(fields)) => {
                    match fields.iter().find(|(key, _)| key.text == *wanted) {
                        Some((key, _)) if is_last && wants_key => return key.mark,
                        Some((_, value)) => value,
                        None => break,
                    }
                }
                _ => break,
            };
        }
        node.mark
    }
}
