//! From a text or a JSON value to a [`Workflow`], with every problem at once.

use serde_json::Value;

use super::finding::Findings;
use super::node::{Kind, Node};
use super::place::Path;
use super::reader::{Fields, shown};
use super::{Condition, Fallback, OnError, Problems, Retry, Step, Workflow, yaml};
use super::{default_concurrency, default_timeout};
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
        name: fields.required_text("name", "give the workflow a name, such as `name: caption`"),
        description: fields.text("description").unwrap_or_default(),
        input: fields.json("input"),
        output: fields.json("output").unwrap_or_default(),
        steps: steps(&mut fields, &path),
    }
}

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

fn step(node: &Node, path: &Path<'_>, findings: &mut Findings) -> Step {
    const KNOWN: [&str; 11] = [
        "id",
        "uses",
        "with",
        "needs",
        "if",
        "for_each",
        "concurrency",
        "retry",
        "timeout",
        "fallback",
        "on_error",
    ];
    let mut step = Step::new("", "");
    let Some(mut fields) = Fields::open(node, path, &KNOWN, findings) else { return step };
    step.id = fields.required_text("id", "give the step a name, such as `id: fetch`");
    step.uses = fields.required_text("uses", "name a step kind, such as `uses: media.fetch`");
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
    step
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

fn fallback(node: &Node, path: &Path<'_>, findings: &mut Findings) -> Fallback {
    let fields = Fields::open(node, path, &["uses", "with"], findings);
    let Some(mut fields) = fields else { return Fallback { uses: String::new(), with: None } };
    Fallback {
        uses: fields.required_text("uses", "name a step kind, such as `uses: media.fetch`"),
        with: fields.json("with"),
    }
}
