//! Which values an expression names: read once when it is compiled, so that a 10 kB output is not
//! converted for an expression that looks at one field of it.

use std::collections::{BTreeMap, HashSet};

use minijinja::Value as Term;
use serde_json::Value;

use super::Scope;
use super::convert::to_term;

/// What an expression refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// `steps.ID`.
    Step(String),
    /// `steps` as a whole or by a computed name, which says nothing about order.
    AllSteps,
    /// `input.NAME`.
    Input(String),
    /// `input` as a whole.
    WholeInput,
    /// `item`.
    Item,
    /// `index`.
    Index,
    /// `job`.
    Job,
    /// A name that no scope has.
    Unknown(String),
}

/// A tree of names: `steps.a.x` and `steps.b` share their root.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Names {
    /// The value at this place is wanted as a whole.
    whole: bool,
    below: BTreeMap<String, Names>,
}

impl Names {
    /// The tree of dotted paths, as minijinja finds them in a source.
    pub(super) fn new(paths: HashSet<String>) -> Self {
        let mut root = Self::default();
        for path in paths {
            root.insert(path.split('.'));
        }
        root
    }

    /// Adds one path.
    pub(super) fn insert<'p>(&mut self, path: impl Iterator<Item = &'p str>) {
        let mut place = self;
        for name in path {
            place = place.below.entry(name.to_owned()).or_default();
        }
        place.whole = true;
    }

    /// The names below a place, such as the fields that are taken from `steps.a`.
    pub(crate) fn below(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        let place = path.iter().try_fold(self, |place, name| place.below.get(*name));
        place.into_iter().flat_map(|place| place.below.keys().map(String::as_str))
    }

    /// The tree in the words of the language: what a definition can be checked against.
    pub(crate) fn references(&self) -> impl Iterator<Item = Reference> + '_ {
        self.below.iter().flat_map(|(root, names)| match root.as_str() {
            "steps" => names.as_references(Reference::AllSteps, Reference::Step),
            "input" => names.as_references(Reference::WholeInput, Reference::Input),
            "item" => vec![Reference::Item],
            "index" => vec![Reference::Index],
            "job" => vec![Reference::Job],
            "range" => vec![],
            other => vec![Reference::Unknown(other.to_owned())],
        })
    }

    /// A root whose fields are named one by one, as a whole, or both.
    fn as_references(&self, whole: Reference, named: fn(String) -> Reference) -> Vec<Reference> {
        let own = self.whole.then_some(whole);
        own.into_iter().chain(self.below.keys().cloned().map(named)).collect()
    }

    /// The context of an evaluation: the named values, converted, and nothing else.
    pub(super) fn context(&self, scope: &Scope<'_>) -> Term {
        Term::from_pairs(self.below.iter().filter_map(|(root, names)| {
            let term = match root.as_str() {
                "steps" => Term::from_pairs(names.below.iter().filter_map(|(id, names)| {
                    (scope.steps)(id).map(|output| (id.as_str(), names.pick(output)))
                })),
                "input" => names.pick(scope.input),
                "item" => names.pick(scope.item?.0),
                "index" => Term::from(scope.item?.1.0),
                "job" => names.pick(&scope.job.to_json()),
                _ => return None,
            };
            Some((root.as_str(), term))
        }))
    }

    /// The part of a value that these names reach, converted.
    fn pick(&self, value: &Value) -> Term {
        match value {
            Value::Object(map) if !self.whole => {
                Term::from_pairs(self.below.iter().filter_map(|(name, names)| {
                    map.get(name).map(|value| (name.as_str(), names.pick(value)))
                }))
            }
            other => to_term(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::expression::JobFacts;
    use crate::ids::{ItemIndex, JobId};
    use crate::time::Timestamp;

    fn names(paths: &[&str]) -> Names {
        Names::new(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    /// What an expression with these names would be given, as text.
    fn context(paths: &[&str]) -> String {
        let input = json!({ "a": { "b": 1, "c": 2 }, "list": [1, 2], "text": "t" });
        let (first, second) = (json!({ "x": { "y": 3, "z": 4 } }), json!(null));
        let item = json!({ "k": 5, "l": 6 });
        let steps = |id: &str| match id {
            "one" => Some(&first),
            "two" => Some(&second),
            _ => None,
        };
        let scope = Scope {
            input: &input,
            steps: Box::new(steps),
            item: Some((&item, ItemIndex(7))),
            job: JobFacts { id: JobId(Uuid::nil()), submitted_at: Timestamp(8) },
        };
        names(paths).context(&scope).to_string()
    }

    #[test]
    fn only_what_is_named_is_converted() {
        let table: [(&[&str], &str); 12] = [
            (&[], "{}"),
            (&["input.a.b"], r#"{"input": {"a": {"b": 1}}}"#),
            (&["input.a.b", "input.a"], r#"{"input": {"a": {"b": 1, "c": 2}}}"#),
            (&["input.list"], r#"{"input": {"list": [1, 2]}}"#),
            // Not objects are given whole, so that the expression fails as it would anywhere.
            (&["input.list.length"], r#"{"input": {"list": [1, 2]}}"#),
            (&["input.text.x.y"], r#"{"input": {"text": "t"}}"#),
            (&["input.nothing.x"], r#"{"input": {}}"#),
            (&["steps.one.x.y"], r#"{"steps": {"one": {"x": {"y": 3}}}}"#),
            (&["steps.two", "steps.three"], r#"{"steps": {"two": None}}"#),
            (&["item.k", "index"], r#"{"index": 7, "item": {"k": 5}}"#),
            (&["job.submitted_at"], r#"{"job": {"submitted_at": 8}}"#),
            (&["other.x"], "{}"),
        ];
        for (paths, expected) in table {
            assert_eq!(context(paths).replace('\'', "\""), expected, "{paths:?}");
        }
    }

    #[test]
    fn names_below_a_place_are_listed() {
        let names = names(&["steps.a.x.y", "steps.a.z", "steps.b", "input"]);
        let below = |path: &[&str]| names.below(path).collect::<Vec<_>>().join(" ");
        assert_eq!(below(&["steps"]), "a b");
        assert_eq!(below(&["steps", "a"]), "x z");
        assert_eq!(below(&["steps", "b"]), "");
        assert_eq!(below(&["zzz", "b"]), "");
    }
}
