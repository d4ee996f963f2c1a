//! From a text or a JSON value to a [`Workflow`], with every problem at once.

use serde_json::Value;

use super::finding::Findings;
use super::node::{Kind, Node};
use super::place::Path;
use super::reader::{Fields, shown};
use super::{Condition, Fallback, InDoubt, OnError, Problems, Retry, Step, Workflow, timer, yaml};
use super::{default_concurrency, default_timeout, default_weight};
use crate::limits::MAX_STEPS_COUNT;

/// Reads a definition written as YAML or JSON.
///
/// What the definition refers to is not looked at: see [`super::validate`], or
/// [`crate::Plan::load`], which does both.
///
/// # Errors
/// Everything that is wrong with the text, in its order, each with line, column and hint.
pub fn parse(text: &str) -> Result<Workflow, Problems> {
    let mut findings = Findings::new();
    let draft = draft(text, &mut findings);
    conclude(draft, findings)
}

/// Reads a definition from a JSON value.
///
/// # Errors
/// Everything that is wrong with it, each with its path and a hint.
pub fn parse_json(value: &Value) -> Result<Workflow, Problems> {
    let mut findings = Findings::new();
    let root = Node::from_json(value);
    let workflow = workflow(&root, &mut findings);
    conclude(Some((root, workflow)), findings)
}

/// The workflow if nothing was found, or else what was found.
fn conclude(draft: Option<(Node, Workflow)>, findings: Findings) -> Result<Workflow, Problems> {
    match draft {
        Some((_, workflow)) if findings.is_empty() => Ok(workflow),
        draft => Err(findings.into_problems(draft.as_ref().map(|(root, _)| root))),
    }
}

/// The tree of a text and as much of a workflow as it gives.
pub(crate) fn draft(text: &str, findings: &mut Findings) -> Option<(Node, Workflow)> {
    let root = yaml::read(text, findings)?;
    let workflow = workflow(&root, findings);
    Some((root, workflow))
}

/// Reads the whole definition. What is wrong is reported and gets the value of a field that is not
/// there, so that the rest can be read and checked.
fn workflow(root: &Node, findings: &mut Findings) -> Workflow {
    const KNOWN: [&str; 5] = ["name", "description", "input", "steps", "output"];
    let path = Path::ROOT;
    let empty = Workflow {
        name: String::new(),
        description: String::new(),
        input: None,
        steps: Vec::new(),
        output: Value::Null,
    };
    let Some(mut fields) = Fields::open(root, &path, &KNOWN, findings) else { return empty };
    Workflow {
        name: fields.required_text("name", "give the workflow a name, such as `name: nightly`"),
        description: fields.text("description").unwrap_or_default(),
        input: fields.json("input"),
        output: fields.json("output").unwrap_or_default(),
        steps: steps(&mut fields, &path),
    }
}

/// Reads the steps; one that cannot be read keeps its place, so that paths stay right.
fn steps(fields: &mut Fields<'_, '_>, path: &Path<'_>) -> Vec<Step> {
    const HINT: &str = "write `steps:` and below it a list of steps, each with `id` and `uses`";
    if fields.get("steps").is_none() {
        fields.missing("steps", HINT);
        return Vec::new();
    }
    let Some(items) = fields.list("steps", HINT) else { return Vec::new() };
    let path = path.key("steps");
    // A list that is too long is reported by the validation; no more is read than it takes.
    let read = items.iter().take(MAX_STEPS_COUNT + 1).enumerate();
    read.map(|(n, item)| step(item, &path.at(n), fields.findings())).collect()
}

/// Reads one step.
fn step(node: &Node, path: &Path<'_>, findings: &mut Findings) -> Step {
    const KNOWN: [&str; 16] = [
        "id",
        "uses",
        "sleep",
        "until",
        "with",
        "needs",
        "if",
        "for_each",
        "concurrency",
        "retry",
        "timeout",
        "fallback",
        "on_error",
        "in_doubt",
        "cache",
        "weight",
    ];
    let mut step = Step::new("", "");
    let Some(mut fields) = Fields::open(node, path, &KNOWN, findings) else { return step };
    step.id = fields.required_text("id", "give the step a name, such as `id: fetch`");
    step.sleep = sleep(&mut fields);
    step.until = until(&mut fields);
    step.uses = match step.is_timer() {
        true => fields.text("uses").unwrap_or_default(),
        false => fields.required_text("uses", "name a step kind, such as `uses: media.fetch`"),
    };
    step.with = fields.json("with").unwrap_or_default();
    step.needs = needs(&mut fields, path);
    step.condition = condition(&mut fields);
    step.for_each = fields.json("for_each");
    step.concurrency = fields.whole("concurrency").unwrap_or_else(default_concurrency);
    if let Some(node) = fields.get("retry") {
        step.retry = retry(node, &path.key("retry"), fields.findings());
    }
    step.timeout = fields.duration("timeout").unwrap_or_else(default_timeout);
    let alternatives = fields.list("fallback", "write a list: `fallback: [{ uses: kind }]`");
    let below = path.key("fallback");
    for (n, node) in alternatives.unwrap_or_default().iter().enumerate() {
        step.fallback.push(fallback(node, &below.at(n), fields.findings()));
    }
    let words = [("fail", OnError::Fail), ("continue", OnError::Continue)];
    step.on_error = fields.one_of("on_error", &words).unwrap_or_default();
    step.in_doubt = in_doubt(&mut fields);
    step.cache = fields.truth("cache");
    step.weight = fields.number("weight").unwrap_or_else(default_weight);
    step
}

/// The text of a `sleep`, to be judged by the validation.
fn sleep(fields: &mut Fields<'_, '_>) -> Option<String> {
    match &fields.get("sleep")?.kind {
        Kind::Text(text) => Some(text.clone()),
        // Whatever else stands there is no length of time, and is reported as such.
        _ => fields.duration("sleep").map_or_else(|| Some(String::new()), |_| None),
    }
}

/// The text of an `until`, to be judged by the validation.
fn until(fields: &mut Fields<'_, '_>) -> Option<String> {
    let node = fields.get("until")?;
    if let Kind::Text(text) = &node.kind {
        return Some(text.clone());
    }
    let message = format!("`until` is {}, not an instant", shown(node));
    fields.wrong("until", message, timer::INSTANT_HINT.to_owned());
    Some(String::new())
}

/// `needs` is a list of step ids; a single one may stand alone.
fn needs(fields: &mut Fields<'_, '_>, path: &Path<'_>) -> Vec<String> {
    const HINT: &str = "write a list of step ids: `needs: [fetch, probe]`";
    let items = match fields.get("needs") {
        Some(Node { kind: Kind::Text(only), .. }) if !only.is_empty() => {
            return vec![only.clone()];
        }
        Some(_) => fields.list("needs", HINT).unwrap_or_default(),
        None => &[],
    };
    let path = path.key("needs");
    let mut ids = Vec::new();
    for (n, item) in items.iter().enumerate() {
        match &item.kind {
            Kind::Text(id) => ids.push(id.clone()),
            _ => {
                let message = format!("{} is not a step id", shown(item));
                fields.findings().add("definition.wrong_type", path.at(n), message, HINT);
                // Keeps the places of those that follow.
                ids.push(String::new());
            }
        }
    }
    ids
}

/// `if: true` is a truth value in YAML, everything else an expression.
fn condition(fields: &mut Fields<'_, '_>) -> Option<Condition> {
    let node = fields.get("if")?;
    match &node.kind {
        Kind::Bool(truth) => Some(Condition::Constant(*truth)),
        Kind::Text(text) if !text.trim().is_empty() => Some(Condition::Expression(text.clone())),
        _ => {
            let message = format!("`if` is {}, not an expression", shown(node));
            let hint = "write `true`, `false` or an expression such as `input.burn`";
            fields.wrong("if", message, hint.to_owned());
            None
        }
    }
}

/// Reads a retry policy; what it does not say is as usual.
fn retry(node: &Node, path: &Path<'_>, findings: &mut Findings) -> Retry {
    const KNOWN: [&str; 5] = ["max_attempts", "initial", "factor", "max", "jitter"];
    let usual = Retry::default();
    let Some(mut fields) = Fields::open(node, path, &KNOWN, findings) else { return usual };
    Retry {
        max_attempts: fields.whole("max_attempts").unwrap_or(usual.max_attempts),
        initial: fields.duration("initial").unwrap_or(usual.initial),
        factor: fields.number("factor").unwrap_or(usual.factor),
        max: fields.duration("max").unwrap_or(usual.max),
        jitter: fields.number("jitter").unwrap_or(usual.jitter),
    }
}

/// Reads one alternative.
fn fallback(node: &Node, path: &Path<'_>, findings: &mut Findings) -> Fallback {
    let fields = Fields::open(node, path, &["uses", "with", "in_doubt"], findings);
    let Some(mut fields) = fields else {
        return Fallback { uses: String::new(), with: None, in_doubt: None };
    };
    Fallback {
        uses: fields.required_text("uses", "name a step kind, such as `uses: media.fetch`"),
        with: fields.json("with"),
        in_doubt: in_doubt(&mut fields),
    }
}

/// What to do about an attempt without an answer.
fn in_doubt(fields: &mut Fields<'_, '_>) -> Option<InDoubt> {
    let words = [
        ("retry", InDoubt::Retry),
        ("probe", InDoubt::Probe),
        ("fail", InDoubt::Fail),
        ("hold", InDoubt::Hold),
    ];
    fields.one_of("in_doubt", &words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::super::testing::lines;
    use super::*;
    use crate::time::Millis;

    #[test]
    fn every_field_is_read() {
        let workflow = parse(
            "
name: all
description: everything
input: { type: object }
steps:
  - id: a
    uses: k.one
    with: { x: 1, y: [no, '{{ input }}'] }
    needs: b
    if: input.go
    for_each: [1, 2]
    concurrency: 3
    retry: { max_attempts: 5, initial: 2s, factor: 1.5, max: 1m30s, jitter: 0 }
    timeout: 10m
    fallback: [{ uses: k.two, in_doubt: hold }, { uses: k.three, with: { z: 1 } }]
    on_error: continue
    in_doubt: probe
  - { id: b, uses: k, needs: [], if: false }
output: '{{ steps.a }}'
",
        )
        .unwrap();
        let mut a = Step::new("a", "k.one");
        a.with = json!({ "x": 1, "y": ["no", "{{ input }}"] });
        a.needs = vec!["b".to_owned()];
        a.condition = Some(Condition::Expression("input.go".to_owned()));
        a.for_each = Some(json!([1, 2]));
        a.concurrency = 3;
        let (initial, max) = (Millis(2_000), Millis(90_000));
        a.retry = Retry { max_attempts: 5, initial, factor: 1.5, max, jitter: 0.0 };
        a.timeout = Millis(600_000);
        a.fallback = vec![
            Fallback { uses: "k.two".to_owned(), with: None, in_doubt: Some(InDoubt::Hold) },
            Fallback { uses: "k.three".to_owned(), with: Some(json!({ "z": 1 })), in_doubt: None },
        ];
        a.on_error = OnError::Continue;
        a.in_doubt = Some(InDoubt::Probe);
        let mut b = Step::new("b", "k");
        b.condition = Some(Condition::Constant(false));
        let expected = Workflow {
            description: "everything".to_owned(),
            input: Some(json!({ "type": "object" })),
            output: json!("{{ steps.a }}"),
            ..Workflow::new("all", vec![a, b])
        };
        assert_eq!(workflow, expected);
        let json = serde_json::to_value(&workflow).unwrap();
        assert_eq!(parse_json(&json), Ok(workflow.clone()));
        assert_eq!(serde_json::from_value::<Workflow>(json).unwrap(), workflow);
    }

    /// One line of a step, and what is said of it.
    const WRONG_FIELDS: &[(&str, &str)] = &[
        (
            "timeuot: 5m",
            "4:5 definition.unknown_field: unknown field `timeuot` (did you mean `timeout`?)",
        ),
        ("depends_on: [b]", "unknown field `depends_on` (did you mean `needs`?)"),
        ("queue: fast", "unknown field `queue` (`queue` is not supported yet; remove it)"),
        ("zzz: 1", "unknown field `zzz` (the fields here are `id`, `uses`,"),
        ("with:", ""),
        (
            "timeout: 90",
            "4:14 definition.bad_duration: `timeout` is the number `90`, not a length of time \
                 (give the unit: `90s` or `90ms`)",
        ),
        (
            "timeout: soon",
            "`timeout` is the string `soon`, not a length of time (write it like `500ms`",
        ),
        ("timeout: [1s]", "`timeout` is a list, not a length of time"),
        ("concurrency: many", "`concurrency` is the string `many`, not a whole number from 1"),
        ("concurrency: -1", "`concurrency` is the number `-1`, not a whole number from 1"),
        ("concurrency: 1.5", "`concurrency` is the number `1.5`, not a whole number from 1"),
        ("concurrency: 99999999999", "`concurrency` is the number `99999999999`, not a whole"),
        ("needs: 3", "definition.wrong_type: `needs` is the number `3`, not a list"),
        ("needs: [b, 3]", "4:16 definition.wrong_type: the number `3` is not a step id"),
        ("if: 3", "`if` is the number `3`, not an expression"),
        ("if: ''", "`if` is the string ``, not an expression"),
        (
            "retry: 3",
            "4:12 definition.wrong_type: expected a map, found the number `3` (write it with \
                 the fields `max_attempts`,",
        ),
        (
            "retry: { max_attempt: 3 }",
            "4:14 definition.unknown_field: unknown field `max_attempt` (did you mean \
                 `max_attempts`?)",
        ),
        ("retry: { initial: 1 }", "4:23 definition.bad_duration: `initial` is the number `1`"),
        ("retry: { factor: two }", "`factor` is the string `two`, not a number"),
        ("retry: { jitter: '0.2' }", "`jitter` is the string `0.2`, not a number"),
        ("fallback: other", "`fallback` is the string `other`, not a list"),
        (
            "fallback: [other]",
            "4:16 definition.wrong_type: expected a map, found the string `other`",
        ),
        ("fallback: [{ with: {} }]", "4:16 definition.missing_field: the field `uses` is missing"),
        ("fallback: [{ uses: k, when: 1 }]", "unknown field `when`"),
        (
            "on_error: contniue",
            "4:15 definition.unknown_value: `contniue` is not a value of `on_error` (did you \
                 mean `continue`?)",
        ),
        ("on_error: explode", "is not a value of `on_error` (write one of `fail` and `continue`)"),
        ("on_error: true", "`on_error` is `true`, not a string"),
        (
            "in_doubt: holt",
            "4:15 definition.unknown_value: `holt` is not a value of `in_doubt` (did you mean \
                 `hold`?)",
        ),
    ];

    #[test]
    fn every_wrong_field_is_said_in_its_own_words() {
        for (line, expected) in WRONG_FIELDS {
            let text = format!(
                "name: n\nsteps:\n  - {{ id: b, uses: k }}\n  - {line}\n    id: a\n    uses: k\n"
            );
            let said = parse(&text).err().map(|problems| lines(&problems)).unwrap_or_default();
            match *expected {
                "" => assert!(said.is_empty(), "{line}: {said:?}"),
                _ => {
                    assert_eq!(said.len(), 1, "{line}: {said:?}");
                    assert!(said[0].contains(expected), "{line}: {said:?}");
                }
            }
        }
    }

    #[test]
    fn whole_documents_of_the_wrong_form_are_said() {
        let table = [
            ("[]", "1:1 definition.wrong_type: expected a map, found a list"),
            ("text", "expected a map, found the string `text`"),
            (
                "steps: [{ id: a, uses: k }]",
                "1:1 definition.missing_field: the field `name` is missing",
            ),
            (
                "nmae: x\nsteps: [{ id: a, uses: k }]",
                "1:1 definition.unknown_field: unknown field `nmae` (did you mean `name`?)",
            ),
            (
                "name: 3\nsteps: [{ id: a, uses: k }]",
                "1:7 definition.wrong_type: `name` is the number `3`, not a string",
            ),
            ("name: ''\nsteps: [{ id: a, uses: k }]", "1:7 definition.wrong_type: `name` is empty"),
            ("name: x", "the field `steps` is missing"),
            ("name: x\nsteps: {}", "2:8 definition.wrong_type: `steps` is a map, not a list"),
            (
                "name: x\nsteps: [3]",
                "2:9 definition.wrong_type: expected a map, found the number `3`",
            ),
            (
                "name: x\nsteps: [{ uses: k }]",
                "2:9 definition.missing_field: the field `id` is missing",
            ),
            (
                "name: x\nsteps: [{ id: a, use: k }]",
                "2:18 definition.unknown_field: unknown field `use` (did you mean `uses`?)",
            ),
        ];
        for (text, expected) in table {
            let said = lines(&parse(text).unwrap_err());
            assert_eq!(said.len(), 1, "{text}: {said:?}");
            assert!(said[0].contains(expected), "{text}: {said:?}");
        }
    }

    #[test]
    fn problems_of_json_have_paths_and_no_lines() {
        let said = lines(&parse_json(&json!({ "name": "n", "steps": [{ "id": 3 }] })).unwrap_err());
        assert_eq!(
            said,
            [
                "definition.wrong_type: `id` is the number `3`, not a string (write `id: \"…\"`)",
                "definition.missing_field: the field `uses` is missing (name a step kind, such as \
                 `uses: media.fetch`)",
            ]
        );
    }
}
