//! A definition as a tree in which every value and every key knows where it was written.

use serde_json::{Map, Number, Value};

use super::finding::Spot;
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
    /// How a string's value lies in the text.
    pub(crate) layout: Layout,
}

/// How the bytes of a string's value lie in the text, so that a place in the value can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Escaped or folded: only its beginning is known.
    Unknown,
    /// As they are, in one line, so many columns behind the mark.
    Inline(u64),
    /// As they are, line by line from the mark on, each indented by so many columns.
    Block(u64),
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
        Self { kind, mark: None, layout: Layout::Unknown }
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
    pub(crate) fn locate(&self, place: &Place, spot: Spot) -> Option<Mark> {
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
                        Some((key, _)) if is_last && spot == Spot::Key => return key.mark,
                        Some((_, value)) => value,
                        None => break,
                    }
                }
                _ => break,
            };
        }
        match spot {
            Spot::Within(offset) => node.mark_within(offset),
            Spot::Value | Spot::Key => node.mark,
        }
    }

    /// Where a byte of a string's value was written, or else its beginning.
    fn mark_within(&self, offset: usize) -> Option<Mark> {
        let mark = self.mark?;
        let Kind::Text(text) = &self.kind else { return Some(mark) };
        let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
        let columns = |line: &str| line.chars().count() as u64;
        match self.layout {
            Layout::Unknown => Some(mark),
            Layout::Inline(lead) => {
                Some(Mark { column: mark.column + lead + columns(before), ..mark })
            }
            Layout::Block(indent) => {
                let line = mark.line + before.matches('\n').count() as u64;
                let last = before.rsplit('\n').next().unwrap_or_default();
                Some(Mark { line, column: indent + 1 + columns(last) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str, layout: Layout) -> Node {
        let kind = Kind::Text(text.to_owned());
        Node { kind, mark: Some(Mark { line: 3, column: 5 }), layout }
    }

    #[test]
    fn json_survives_the_tree() {
        let value = json!({ "a": [1, 2.5, null, true, "x"], "b": {} });
        assert_eq!(Node::from_json(&value).to_json(), value);
        assert_eq!(Node::from_json(&value).locate(&Place::default(), Spot::Value), None);
    }

    #[test]
    fn places_in_strings_are_counted_in_characters() {
        let table = [
            ("abc", Layout::Unknown, 2, (3, 5)),
            ("abc", Layout::Inline(0), 2, (3, 7)),
            ("abc", Layout::Inline(1), 2, (3, 8)),
            ("äöü", Layout::Inline(0), 4, (3, 7)),
            ("äöü", Layout::Inline(0), 3, (3, 6)),
            ("abc", Layout::Inline(0), 99, (3, 8)),
            ("one\ntwo", Layout::Block(4), 1, (3, 6)),
            ("one\ntwo", Layout::Block(4), 5, (4, 6)),
        ];
        for (value, layout, offset, (line, column)) in table {
            let mark = text(value, layout).locate(&Place::default(), Spot::Within(offset));
            assert_eq!(mark, Some(Mark { line, column }), "{value} {layout:?} {offset}");
        }
    }

    #[test]
    fn what_is_not_there_is_shown_by_what_is_around_it() {
        let mark = |line| Some(Mark { line, column: 1 });
        let leaf = |line| Node { kind: Kind::Null, mark: mark(line), layout: Layout::Unknown };
        let list = Kind::List(vec![leaf(3), leaf(4)]);
        let list = Node { kind: list, mark: mark(2), layout: Layout::Unknown };
        let key = Key { text: "list".to_owned(), mark: mark(9) };
        let fields = Kind::Map(vec![(key, list)]);
        let root = Node { kind: fields, mark: mark(1), layout: Layout::Unknown };
        let (key, at) = (|key: &str| OwnedTurn::Key(key.to_owned()), OwnedTurn::At);
        let table = [
            (vec![], Spot::Value, 1),
            (vec![key("list")], Spot::Value, 2),
            (vec![key("list")], Spot::Key, 9),
            (vec![key("list"), at(1)], Spot::Value, 4),
            (vec![key("list"), at(1)], Spot::Key, 4),
            (vec![key("list"), at(7)], Spot::Value, 2),
            (vec![key("list"), key("x")], Spot::Value, 2),
            (vec![key("zzz"), at(0)], Spot::Value, 1),
        ];
        for (turns, spot, line) in table {
            assert_eq!(root.locate(&Place(turns.clone()), spot), mark(line), "{turns:?} {spot:?}");
        }
    }
}
