//! From YAML (and JSON, which is nearly YAML) to a tree with places.
//!
//! YAML 1.2 rules: only `true` and `false` are truth values, so `no` stays a string. Built on the
//! parser's events without recursion; nesting, nodes and what aliases unfold to are bounded.

use std::collections::HashMap;

use serde_json::Number;
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use super::finding::Findings;
use super::node::{Key, Kind, Layout, Mark, Node};
use crate::limits::{MAX_DEFINITION_BYTES, MAX_DEFINITION_NODES_COUNT, MAX_NESTING_DEPTH};

/// Reads one document. What is wrong with the text goes to `findings`; a tree is given back as far
/// as the text has one.
pub(super) fn read(text: &str, findings: &mut Findings) -> Option<Node> {
    if text.len() > MAX_DEFINITION_BYTES {
        let message = format!("the definition has {} bytes", text.len());
        let hint = format!("at most {MAX_DEFINITION_BYTES} bytes; split the workflow");
        findings.add_in_text("definition.too_large", None, message, hint);
        return None;
    }
    let mut builder = Builder {
        text,
        findings,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: 0,
        root: None,
    };
    let mut options = Options::default();
    options.set_emit_comments(false);
    for next in Parser::new_from_str_with_options(text, options) {
        let stopped = match next {
            Ok((event, span)) => builder.take(event, span),
            Err(_) if let Some(root) = plain_json(text) => return Some(root),
            Err(error) => {
                let marker = error.marker();
                builder.syntax(mark_of(marker.line(), marker.col()), &error.info(), text);
                Err(Stopped)
            }
        };
        if stopped.is_err() {
            return None;
        }
    }
    if builder.root.is_none() && builder.findings.is_empty() {
        let hint = "a workflow needs at least `name` and `steps`";
        builder.findings.add_in_text("definition.empty", FIRST, "the definition is empty", hint);
    }
    builder.root
}

/// JSON that is not YAML: with control characters in its strings, or with endless keys. It is read
/// without places.
fn plain_json(text: &str) -> Option<Node> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok().map(|value| Node::from_json(&value))
}

/// Where an empty text is said to be empty.
const FIRST: Option<Mark> = Some(Mark { line: 1, column: 1 });

/// Stands for a template that was not quoted, so that nothing else is said about its value.
const UNREADABLE: &str = "{{ none }}";

/// Reading cannot go on; why has been reported.
struct Stopped;

/// Builds the tree from the parser's events, on a stack of its own.
struct Builder<'t, 'f> {
    text: &'t str,
    findings: &'f mut Findings,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

/// A collection whose end has not come.
struct Open {
    node: Node,
    anchor: usize,
    /// In a map: the key whose value is to come.
    key: Option<Key>,
    /// In a map: the keys so far, and where they stand.
    keys: HashMap<String, Option<Mark>>,
    /// In a map: the key is unusable, so its value is dropped.
    drops_value: bool,
    /// In a map: it is not a map but a template without quotes.
    is_unreadable: bool,
}

impl Builder<'_, '_> {
    /// Takes one event.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stopped> {
        let mark = mark_of(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let hint = "keep each workflow in a file of its own; remove the `---`";
                    let message = "the text has more than one document";
                    self.findings.add_in_text("definition.syntax", mark, message, hint);
                    return Err(Stopped);
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let kind = self.scalar(&text, style, tag.as_deref(), mark);
                let layout = layout_of(self.text, &text, style, span);
                self.keep(anchor, Node { kind, mark, layout })?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), mark, "seq");
                self.begin(Kind::List(Vec::new()), anchor, mark)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), mark, "map");
                self.begin(Kind::Map(Vec::new()), anchor, mark)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut done) = self.open.pop() {
                    if done.is_unreadable {
                        done.node.kind = Kind::Text(UNREADABLE.to_owned());
                    }
                    self.keep(done.anchor, done.node)?;
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(mut node) => {
                    let (nodes, depth) = measure(&node);
                    self.nodes += nodes;
                    node.mark = mark;
                    self.check_nodes(mark)?;
                    self.check_depth(self.open.len() + depth, mark)?;
                    self.place(node)?;
                }
                None => {
                    let hint = "an alias cannot stand inside the value that it names";
                    let message = "the alias names a value that has not ended";
                    self.findings.add_in_text("definition.syntax", mark, message, hint);
                    return Err(Stopped);
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// Opens a list or a map.
    fn begin(&mut self, kind: Kind, anchor: usize, mark: Option<Mark>) -> Result<(), Stopped> {
        self.check_depth(self.open.len() + 1, mark)?;
        self.open.push(Open {
            node: Node { kind, mark, layout: Layout::Unknown },
            anchor,
            key: None,
            keys: HashMap::new(),
            drops_value: false,
            is_unreadable: false,
        });
        Ok(())
    }

    /// Puts a finished node where it belongs, and under its anchor if it has one.
    fn keep(&mut self, anchor: usize, node: Node) -> Result<(), Stopped> {
        self.nodes += 1;
        self.check_nodes(node.mark)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    /// Counts what aliases unfold to, so that a few lines cannot become gigabytes.
    fn check_nodes(&mut self, mark: Option<Mark>) -> Result<(), Stopped> {
        if self.nodes <= MAX_DEFINITION_NODES_COUNT {
            return Ok(());
        }
        let message = format!("the definition has more than {MAX_DEFINITION_NODES_COUNT} values");
        let hint = "split the workflow, or use fewer aliases";
        self.findings.add_in_text("definition.too_large", mark, message, hint);
        Err(Stopped)
    }

    /// Every walk over the tree recurses, so nothing may nest deeper than the stack bears.
    fn check_depth(&mut self, depth: usize, mark: Option<Mark>) -> Result<(), Stopped> {
        if depth <= MAX_NESTING_DEPTH {
            return Ok(());
        }
        let message = format!("values nest deeper than {MAX_NESTING_DEPTH}");
        let hint = "flatten the value, or pass it in as a file";
        self.findings.add_in_text("definition.too_deep", mark, message, hint);
        Err(Stopped)
    }

    /// Puts a node where the parser stands: as the document, an item, a key or a value.
    fn place(&mut self, node: Node) -> Result<(), Stopped> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let fields = match &mut open.node.kind {
            Kind::List(items) => {
                items.push(node);
                return Ok(());
            }
            Kind::Map(fields) => fields,
            _ => return Ok(()),
        };
        if open.drops_value {
            open.drops_value = false;
            return Ok(());
        }
        if let Some(key) = open.key.take() {
            fields.push((key, node));
            return Ok(());
        }
        let mark = node.mark;
        let text = match node.kind {
            Kind::Text(text) => text,
            Kind::Number(number) => number.to_string(),
            Kind::Bool(truth) => truth.to_string(),
            Kind::Null => "null".to_owned(),
            Kind::List(_) | Kind::Map(_) => {
                open.drops_value = true;
                open.is_unreadable = true;
                let hint = "a template has to be quoted: `\"{{ input.source }}\"`";
                let message = "a list or a map cannot be the name of a field";
                self.findings.add_in_text("definition.syntax", mark, message, hint);
                return Ok(());
            }
        };
        if let Some(first) = open.keys.get(&text) {
            open.drops_value = true;
            let first = first.map_or(String::new(), |mark| format!(" in line {}", mark.line));
            let hint = format!("it is given first{first}; remove one of the two");
            let message = format!("the field `{text}` is given twice");
            self.findings.add_in_text("definition.duplicate_field", mark, message, hint);
            return Ok(());
        }
        open.keys.insert(text.clone(), mark);
        open.key = Some(Key { text, mark });
        Ok(())
    }

    /// What a scalar means: quoted it is a string, plain it is what the core schema says.
    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        mark: Option<Mark>,
    ) -> Kind {
        if tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str")) {
            return Kind::Text(text.to_owned());
        }
        self.refuse_tag(tag, mark, "");
        if style != ScalarStyle::Plain {
            return Kind::Text(text.to_owned());
        }
        resolve(text).unwrap_or_else(|| {
            let message = format!("the number `{text}` is out of range");
            let hint = "whole numbers have at most 64 bits; quote it to make it a string";
            self.findings.add_in_text("definition.out_of_range", mark, message, hint);
            Kind::Text(text.to_owned())
        })
    }

    /// Tags other than those that say what is so anyway would be dropped in silence.
    fn refuse_tag(&mut self, tag: Option<&Tag>, mark: Option<Mark>, allowed: &str) {
        let Some(tag) = tag else { return };
        if !allowed.is_empty() && tag.is_yaml_core_schema_tag(allowed) {
            return;
        }
        let message = format!("the tag `{tag}` is not supported");
        let hint = "remove the tag; quote a value to make it a string";
        self.findings.add_in_text("definition.syntax", mark, message, hint);
    }

    /// Reports what the parser stopped at, with the line that it was in.
    fn syntax(&mut self, mark: Option<Mark>, info: &str, text: &str) {
        let line = mark.and_then(|mark| {
            let index = usize::try_from(mark.line).ok()?.checked_sub(1)?;
            text.lines().nth(index)
        });
        let line = line.unwrap_or_default().trim();
        let shown: String = line.chars().take(60).collect();
        let message = match shown.is_empty() {
            true => format!("the text is not YAML: {info}"),
            false => format!("the text is not YAML: {info}, at `{shown}`"),
        };
        self.findings.add_in_text("definition.syntax", mark, message, syntax_hint(info, line));
    }
}

/// The likeliest remedy: most texts that are not YAML are so for one of these reasons.
fn syntax_hint(info: &str, line: &str) -> &'static str {
    if info.contains("tab") {
        "indent with spaces, not with tabs"
    } else if line.contains("{{") && !line.contains('"') && !line.contains('\'') {
        "a template has to be quoted: `\"{{ input.source }}\"`"
    } else if info.contains("bracket") || info.contains("flow") {
        "close every `[` with `]` and every `{` with `}`, with commas between the items"
    } else if info.contains("block") || info.contains("indent") {
        "check the indentation of this line and of those above"
    } else if info.contains("quote") {
        "close the quote that was opened"
    } else {
        "quote a value that has `: ` or begins with one of `{ [ & * ! | > % @`"
    }
}

/// How the value of a scalar lies in the text.
fn layout_of(text: &str, value: &str, style: ScalarStyle, span: Span) -> Layout {
    let written = span.byte_range().and_then(|range| text.get(range)).unwrap_or_default();
    let quotes = match style {
        ScalarStyle::Plain => 0,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
        ScalarStyle::Literal => return block_layout(text, value, span),
        ScalarStyle::Folded => return Layout::Unknown,
    };
    let inside = written.get(quotes..written.len().saturating_sub(quotes));
    if inside == Some(value) { Layout::Inline(quotes as u64) } else { Layout::Unknown }
}

/// A block is marked where its first line begins, behind the indentation.
fn block_layout(text: &str, value: &str, span: Span) -> Layout {
    let first = value.lines().next().unwrap_or_default();
    let written = span.byte_range().and_then(|range| text.get(range)).unwrap_or_default();
    match !first.is_empty() && written.starts_with(first) {
        true => Layout::Block(span.start.col() as u64),
        false => Layout::Unknown,
    }
}

/// The parser counts lines from 1 and columns from 0.
fn mark_of(line: usize, column: usize) -> Option<Mark> {
    Some(Mark { line: line.max(1) as u64, column: column as u64 + 1 })
}

/// How many values there are in a tree, and how deep its collections nest.
fn measure(node: &Node) -> (usize, usize) {
    let join = |(nodes, depth): (usize, usize), child: &Node| {
        let (more, below) = measure(child);
        (nodes + more, depth.max(below + 1))
    };
    match &node.kind {
        Kind::List(items) => items.iter().fold((1, 1), join),
        Kind::Map(fields) => fields.iter().map(|(_, value)| value).fold((1, 1), join),
        _ => (1, 0),
    }
}

/// What an unquoted scalar means by the core schema; `None` for a number that JSON cannot hold.
fn resolve(text: &str) -> Option<Kind> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Kind::Null),
        "true" | "True" | "TRUE" => return Some(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Kind::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let special = [".inf", ".Inf", ".INF"].contains(&unsigned);
    if special || [".nan", ".NaN", ".NAN"].contains(&text) {
        return None;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            let number = u64::from_str_radix(digits, radix).ok()?;
            return Some(Kind::Number(number.into()));
        }
    }
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
    if is_digits(unsigned) {
        let whole = text.strip_prefix('+').unwrap_or(text);
        let number = whole.parse::<u64>().map(Number::from);
        return number.or_else(|_| whole.parse::<i64>().map(Number::from)).ok().map(Kind::Number);
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let exponent_fits =
        exponent.is_none_or(|digits| is_digits(digits.strip_prefix(['-', '+']).unwrap_or(digits)));
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, part)) => {
            is_digits(whole) && (part.is_empty() || is_digits(part))
                || whole.is_empty() && is_digits(part)
        }
        None => is_digits(mantissa),
    };
    if mantissa_fits && exponent_fits {
        let number = text.parse::<f64>().ok().and_then(Number::from_f64)?;
        return Some(Kind::Number(number));
    }
    Some(Kind::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn tree(text: &str) -> Result<Value, String> {
        let mut findings = Findings::new();
        let root = read(text, &mut findings);
        if findings.is_empty() {
            return Ok(root.unwrap().to_json());
        }
        Err(findings.into_problems(root.as_ref()).to_string())
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let table = [
            ("no", json!("no")),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("true", json!(true)),
            ("True", json!(true)),
            ("FALSE", json!(false)),
            ("tRUE", json!("tRUE")),
            ("~", json!(null)),
            ("null", json!(null)),
            ("''", json!("")),
            ("'null'", json!("null")),
            ("\"true\"", json!("true")),
            ("!!str true", json!("true")),
            ("12", json!(12)),
            ("+12", json!(12)),
            ("-12", json!(-12)),
            ("012", json!(12)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("0b11", json!("0b11")),
            ("1_000", json!("1_000")),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("1.5", json!(1.5)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("-1.5E-3", json!(-0.0015)),
            ("1.2.3", json!("1.2.3")),
            ("1e", json!("1e")),
            ("e3", json!("e3")),
            (".", json!(".")),
            ("-", json!("-")),
            ("100MiB", json!("100MiB")),
            ("2026-11-21", json!("2026-11-21")),
            ("12:30", json!("12:30")),
            ("|\n  a\n  b\n", json!("a\nb\n")),
            (">\n  a\n  b\n", json!("a b\n")),
        ];
        for (text, expected) in table {
            let found = tree(&format!("v: {text}\n"));
            // A lone dash opens a list.
            let expected = if text == "-" { json!([null]) } else { expected };
            match found {
                Ok(found) => assert_eq!(found, json!({ "v": expected }), "{text}"),
                Err(said) => assert_eq!(text, "-", "{said}"),
            }
        }
    }

    #[test]
    fn json_is_read_as_it_is() {
        let text = "{\n\t\"a\": [1, 2.5, -3e2, true, null, \
         \"\\u00e4\\ud83d\\ude00\\/\\n\"],\n\t\"b\":{},\"c\":[]\n}";
        assert_eq!(tree(text), Ok(serde_json::from_str(text).unwrap()));
    }

    #[test]
    fn json_that_is_not_yaml_is_read_all_the_same() {
        let key = "k".repeat(2_000);
        for text in ["{\"a\": \"\u{7f}\"}".to_owned(), format!("{{\"{key}\": 1}}")] {
            assert_eq!(tree(&text), Ok(serde_json::from_str(&text).unwrap()));
        }
        assert!(tree("{\"a\": \"\u{7f}\"").is_err());
    }

    #[test]
    fn aliases_are_unfolded() {
        assert_eq!(
            tree("a: &x { k: 1 }\nb: *x\n"),
            Ok(json!({ "a": { "k": 1 }, "b": { "k": 1 } }))
        );
        assert_eq!(tree("a: &x 1\nb: &x 2\nc: *x\n"), Ok(json!({ "a": 1, "b": 2, "c": 2 })));
    }

    #[test]
    fn what_is_not_yaml_is_said_with_place_and_hint() {
        let table = [
            ("", "1:1: the definition is empty"),
            ("# only a comment\n", "1:1: the definition is empty"),
            ("a: b: c\n", "1:5: the text is not YAML"),
            ("a: [1, 2\n", "the text is not YAML"),
            ("a: {{ b }}\n", "1:5: a list or a map cannot be the name of a field"),
            ("a:\n\t- 1\n", "2:2: the text is not YAML"),
            ("a: 'open\n", "the text is not YAML"),
            ("a: 1\na: 2\n", "2:1: the field `a` is given twice"),
            ("{\"a\": 1, \"a\": 2}", "1:10: the field `a` is given twice"),
            ("a: 1\n---\nb: 2\n", "the text has more than one document"),
            ("a: *nobody\n", "1:4: the text is not YAML"),
            ("a: &a [*a]\n", "1:8: the alias names a value that has not ended"),
            ("a: !!binary aGk=\n", "the tag `tag:yaml.org,2002:binary` is not supported"),
            ("a: !env HOME\n", "the tag `!env` is not supported"),
            ("a: 99999999999999999999\n", "1:4: the number `99999999999999999999` is out of range"),
            ("a: .nan\n", "1:4: the number `.nan` is out of range"),
            ("a: 1e999\n", "1:4: the number `1e999` is out of range"),
        ];
        for (text, expected) in table {
            let said = tree(text).unwrap_err();
            assert!(said.contains(expected) && said.contains("hint: "), "{text:?}: {said}");
        }
    }

    #[test]
    fn what_would_fill_the_memory_is_refused() {
        let deep = format!("a: {}1{}", "[".repeat(65), "]".repeat(65));
        let block: String = (0..80).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        let mut bomb = String::from("a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
        let mut chain = String::from("a0: &a0 [1]\n");
        for n in 1..10 {
            let before = n - 1;
            let items = vec![format!("*a{before}"); 10].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{items}]\n"));
        }
        for n in 1..100 {
            chain.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
        }
        let long = "x".repeat(MAX_DEFINITION_BYTES + 1);
        let table = [
            (deep, "nest deeper than 64"),
            (block, "nest deeper than 64"),
            (chain, "nest deeper than 64"),
            (bomb, "more than 2000000 values"),
            (long, "the definition has 16777217 bytes"),
        ];
        for (text, expected) in table {
            let said = tree(&text).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn places_within_strings_are_found() {
        use super::super::finding::Spot;
        use super::super::place::Path;
        let text = "a: plain text\nb: 'quoted'\nc: \"es\\tcaped\"\nd: |\n  one\n  two\ne: >\n  f\n";
        let root = read(text, &mut Findings::new()).unwrap();
        let at = |key: &str, offset| {
            let place = Path::ROOT.key(key).to_place();
            let mark = root.locate(&place, Spot::Within(offset)).unwrap();
            (mark.line, mark.column)
        };
        assert_eq!(at("a", 6), (1, 10));
        assert_eq!(at("b", 2), (2, 7));
        assert_eq!(at("c", 4), (3, 4), "an escaped string is shown by its beginning");
        assert_eq!(at("d", 1), (5, 4));
        assert_eq!(at("d", 4), (6, 3));
        assert_eq!(at("e", 1), (8, 3));
    }
}
