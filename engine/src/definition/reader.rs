//! Reads the fields of a map by type, and reports everything that is wrong with them instead of
//! stopping at the first.

use std::str::FromStr;

use serde_json::Value;

use super::finding::Findings;
use super::node::{Kind, Node};
use super::place::Path;
use crate::time::Millis;

/// The fields of one map.
pub(super) struct Fields<'n, 'f> {
    fields: &'n [(super::node::Key, Node)],
    path: &'n Path<'n>,
    findings: &'f mut Findings,
    /// Known names that unknown fields were probably meant to be.
    meant: Vec<String>,
}

impl<'n, 'f> Fields<'n, 'f> {
    /// Takes a node as a map whose fields are all among `known`; every other is reported.
    pub(super) fn open(
        node: &'n Node,
        path: &'n Path<'n>,
        known: &[&str],
        findings: &'f mut Findings,
    ) -> Option<Self> {
        let Kind::Map(fields) = &node.kind else {
            let message = format!("expected a map, found {}", shown(node));
            let hint = format!("write it with the fields {}", list(known));
            findings.add("definition.wrong_type", *path, message, hint);
            return None;
        };
        let mut meant: Vec<String> = Vec::new();
        for (key, _) in fields {
            if !known.contains(&key.text.as_str()) {
                let hint = unknown_hint(&key.text, known, findings);
                let near = known.iter().find(|name| hint.ends_with(&format!("`{name}`?")));
                meant.extend(near.map(|name| (*name).to_owned()));
                let message = format!("unknown field `{}`", key.text);
                let place = path.key(&key.text).to_place();
                findings.add_on_key("definition.unknown_field", place, message, hint);
            }
        }
        Some(Self { fields, path, findings, meant })
    }

    /// Where problems with what is below these fields go.
    pub(super) fn findings(&mut self) -> &mut Findings {
        self.findings
    }

    /// The value of a field; a field that is there without a value counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        let field = self.fields.iter().find(|(key, _)| key.text == name);
        field.map(|(_, value)| value).filter(|value| value.kind != Kind::Null)
    }

    /// The text of a field that has to be there.
    pub(super) fn required_text(&mut self, name: &str, hint: &str) -> String {
        match self.get(name) {
            Some(_) => self.text(name).unwrap_or_default(),
            None => {
                self.missing(name, hint);
                String::new()
            }
        }
    }

    /// Reports a field that has to be there and is not.
    pub(super) fn missing(&mut self, name: &str, hint: &str) {
        if self.meant.iter().any(|meant| meant == name) {
            // It is there, misspelled: one mistake, one problem.
            return self.findings.cover(self.path.key(name));
        }
        let message = format!("the field `{name}` is missing");
        self.findings.add("definition.missing_field", self.path.key(name), message, hint);
    }

    /// A field that is a string and not empty.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let node = self.get(name)?;
        match &node.kind {
            Kind::Text(text) if !text.is_empty() => Some(text.clone()),
            Kind::Text(_) => {
                self.wrong(name, format!("`{name}` is empty"), "give it a value".to_owned());
                None
            }
            _ => {
                let hint = format!("write `{name}: \"…\"`");
                self.wrong(name, format!("`{name}` is {}, not a string", shown(node)), hint);
                None
            }
        }
    }

    /// A field of any type.
    pub(super) fn json(&self, name: &str) -> Option<Value> {
        self.get(name).map(Node::to_json)
    }

    /// A length of time. A bare number is refused because nobody can tell seconds from
    /// milliseconds by looking at it.
    pub(super) fn duration(&mut self, name: &str) -> Option<Millis> {
        let node = self.get(name)?;
        let hint = match &node.kind {
            Kind::Text(text) => match Millis::from_str(text) {
                Ok(span) => return Some(span),
                Err(_) => "write it like `500ms`, `1s`, `1m30s`, `2h` or `7d`".to_owned(),
            },
            Kind::Number(number) => format!("give the unit: `{number}s` or `{number}ms`"),
            _ => "write it like `500ms`, `1s`, `1m30s`, `2h` or `7d`".to_owned(),
        };
        let message = format!("`{name}` is {}, not a length of time", shown(node));
        self.findings.add("definition.bad_duration", self.path.key(name), message, hint);
        None
    }

    /// A whole number; its bounds are for the validation.
    pub(super) fn whole(&mut self, name: &str) -> Option<u32> {
        let node = self.get(name)?;
        if let Kind::Number(number) = &node.kind
            && let Some(whole) = number.as_u64().and_then(|whole| u32::try_from(whole).ok())
        {
            return Some(whole);
        }
        let message = format!("`{name}` is {}, not a whole number from 1", shown(node));
        self.wrong(name, message, format!("write `{name}: 3`"));
        None
    }

    /// A truth value.
    pub(super) fn truth(&mut self, name: &str) -> Option<bool> {
        let node = self.get(name)?;
        if let Kind::Bool(truth) = node.kind {
            return Some(truth);
        }
        let message = format!("`{name}` is {}, not a truth value", shown(node));
        self.wrong(name, message, format!("write `{name}: false` or `{name}: true`"));
        None
    }

    /// A number; its bounds are for the validation.
    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        let node = self.get(name)?;
        if let Kind::Number(number) = &node.kind {
            return number.as_f64();
        }
        let message = format!("`{name}` is {}, not a number", shown(node));
        self.wrong(name, message, format!("write `{name}: 0.5`"));
        None
    }

    /// A field whose text is one of a few words.
    pub(super) fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meant);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let otherwise = format!("write one of {}", list(&known));
        let hint = self.findings.suggest(&text, known, otherwise);
        let message = format!("`{text}` is not a value of `{name}`");
        self.findings.add("definition.unknown_value", self.path.key(name), message, hint);
        None
    }

    /// The items of a field that is a list.
    pub(super) fn list(&mut self, name: &str, hint: &str) -> Option<&'n [Node]> {
        let node = self.get(name)?;
        match &node.kind {
            Kind::List(items) => Some(items),
            _ => {
                let message = format!("`{name}` is {}, not a list", shown(node));
                self.wrong(name, message, hint.to_owned());
                None
            }
        }
    }

    /// Reports a field of the wrong type.
    pub(super) fn wrong(&mut self, name: &str, message: String, hint: String) {
        self.findings.add("definition.wrong_type", self.path.key(name), message, hint);
    }
}

/// A value in words, with its text where it has one.
pub(super) fn shown(node: &Node) -> String {
    match &node.kind {
        Kind::Text(text) => format!("the string `{}`", text.chars().take(60).collect::<String>()),
        Kind::Number(number) => format!("the number `{number}`"),
        Kind::Bool(truth) => format!("`{truth}`"),
        _ => node.kind_name().to_owned(),
    }
}

/// Names in a row: `a`, `b` and `c`.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}

/// Words of the design that this version does not know yet.
#[rustfmt::skip]
const PLANNED: [&str; 11] = [
    "workflow", "signal", "switch", "repeat", "heartbeat", "queue", "priority",
    "slots", "undo", "version", "schedule",
];

/// Words of other systems and what they are called here.
const SYNONYMS: [(&str, &str); 20] = [
    ("depends_on", "needs"),
    ("dependsOn", "needs"),
    ("after", "needs"),
    ("when", "if"),
    ("condition", "if"),
    ("loop", "for_each"),
    ("with_items", "for_each"),
    ("matrix", "for_each"),
    ("max_parallel", "concurrency"),
    ("type", "uses"),
    ("kind", "uses"),
    ("action", "uses"),
    ("args", "with"),
    ("params", "with"),
    ("inputs", "input"),
    ("outputs", "output"),
    ("jobs", "steps"),
    ("tasks", "steps"),
    ("retries", "retry"),
    ("attempts", "max_attempts"),
];

/// What to write instead of a field that there is not: the word of another system translated, then
/// a word of the design that has to wait, then the nearest of the known ones.
fn unknown_hint(name: &str, known: &[&str], findings: &mut Findings) -> String {
    if let Some((_, ours)) = SYNONYMS.iter().find(|(theirs, _)| *theirs == name)
        && known.contains(ours)
    {
        return format!("did you mean `{ours}`?");
    }
    if PLANNED.contains(&name) {
        return format!("`{name}` is not supported yet; remove it");
    }
    findings.suggest(name, known.iter().copied(), format!("the fields here are {}", list(known)))
}
