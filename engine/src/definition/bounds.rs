//! Names and numbers of a definition: well formed and within their bounds.

use serde_json::Value;

use super::finding::Findings;
use super::place::Path;
use super::{Retry, Step, Workflow, default_concurrency, timer};
use crate::limits::{
    MAX_ATTEMPTS_COUNT, MAX_FALLBACKS_COUNT, MAX_NAME_BYTES, MAX_NESTING_DEPTH,
    MAX_OPEN_ATTEMPTS_COUNT, MAX_STEPS_COUNT, MAX_WEIGHT_SHARE,
};
use crate::time::Millis;

/// Checks what needs to know nothing of kinds or of other steps. It runs on what is built in Rust
/// as well, so it repeats nothing that only a text can get wrong.
pub(super) fn check(workflow: &Workflow, findings: &mut Findings) {
    let path = Path::ROOT;
    check_name(&workflow.name, path.key("name"), findings);
    check_depth(&workflow.output, path.key("output"), findings);
    if let Some(input) = &workflow.input {
        check_depth(input, path.key("input"), findings);
    }
    let (path, count) = (path.key("steps"), workflow.steps.len());
    if count == 0 && !findings.covers(path) {
        let hint = "add a step with `id` and `uses`";
        findings.add("definition.missing_field", path, "the workflow has no steps", hint);
    }
    if count > MAX_STEPS_COUNT {
        let message = format!("the workflow has more than {MAX_STEPS_COUNT} steps");
        findings.add("definition.out_of_range", path, message, "split it, or use `for_each`");
    }
    for (n, step) in workflow.steps.iter().enumerate() {
        check_step(step, &path.at(n), findings);
    }
}

/// A workflow's name stands in URLs and in file names.
fn check_name(name: &str, path: Path<'_>, findings: &mut Findings) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if name.len() <= MAX_NAME_BYTES && begins && name.chars().all(allowed) {
        return;
    }
    let hint = format!(
        "a letter or digit, then letters, digits, `-`, `_` and `.`, at most {MAX_NAME_BYTES}"
    );
    bad_name("the workflow's name", name, path, hint, findings);
}

/// A step's id is a name of the expression language: `steps.ID`.
fn check_id(id: &str, path: Path<'_>, findings: &mut Findings) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if id.len() <= MAX_NAME_BYTES && begins && id.chars().all(allowed) {
        return;
    }
    let mended: String = id.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    let hint = match mended.starts_with(|c: char| c.is_ascii_alphabetic()) && mended != id {
        true if mended.len() <= MAX_NAME_BYTES => format!("write `{mended}`"),
        _ => format!("a letter or `_`, then letters, digits and `_`, at most {MAX_NAME_BYTES}"),
    };
    bad_name("the step id", id, path, hint, findings);
}

/// A name that is missing or of the wrong type has been reported where it was read.
fn bad_name(what: &str, name: &str, path: Path<'_>, hint: String, findings: &mut Findings) {
    if !findings.covers(path) {
        let shown: String = name.chars().take(MAX_NAME_BYTES).collect();
        let message = format!("{what} `{shown}` is not well formed");
        findings.add("definition.bad_name", path, message, hint);
    }
}

/// Every walk over a value recurses as deep as the value nests.
fn check_depth(value: &Value, path: Path<'_>, findings: &mut Findings) {
    if nests_deeper_than(MAX_NESTING_DEPTH, value) && !findings.covers(path) {
        let message = format!("the value nests deeper than {MAX_NESTING_DEPTH}");
        let hint = "flatten the value, or pass it in as a file";
        findings.add("definition.too_deep", path, message, hint);
    }
}

/// Whether more than `limit` lists and maps lie around an innermost value. Looks no deeper, so the
/// look itself needs little stack whatever the value is.
pub(crate) fn nests_deeper_than(limit: usize, value: &Value) -> bool {
    let below = |inner: &Value| limit == 0 || nests_deeper_than(limit - 1, inner);
    match value {
        Value::Array(items) => limit == 0 || items.iter().any(below),
        Value::Object(map) => limit == 0 || map.values().any(below),
        _ => false,
    }
}

/// The numbers of one step. What is out of bounds is said with the bounds.
fn check_step(step: &Step, path: &Path<'_>, findings: &mut Findings) {
    check_id(&step.id, path.key("id"), findings);
    if !(0.0..=MAX_WEIGHT_SHARE).contains(&step.weight) {
        let message = format!("`weight` is {}", step.weight);
        out_of_range(
            path.key("weight"),
            message,
            format!("from 0 to {MAX_WEIGHT_SHARE}"),
            findings,
        );
    }
    if step.is_timer() {
        return timer::check(step, path, findings);
    }
    if step.uses.is_empty() && !findings.covers(path.key("uses")) {
        let hint = "name a step kind, or a time: `sleep: 1h`";
        findings.add("definition.missing_field", path.key("uses"), "the step does nothing", hint);
    }
    check_depth(&step.with, path.key("with"), findings);
    if let Some(list) = &step.for_each {
        check_depth(list, path.key("for_each"), findings);
    }
    let below = path.key("fallback");
    for (n, fallback) in step.fallback.iter().enumerate() {
        let path = below.at(n);
        fallback.with.iter().for_each(|with| check_depth(with, path.key("with"), findings));
    }
    check_retry(&step.retry, path.key("retry"), findings);
    if step.timeout == Millis(0) {
        let hint = "give the time that an attempt may take, such as `10m`";
        out_of_range(path.key("timeout"), "`timeout` is 0".to_owned(), hint, findings);
    }
    let items = step.concurrency;
    if items == 0 || items as usize > MAX_OPEN_ATTEMPTS_COUNT {
        let message = format!("`concurrency` is {items}");
        let hint = format!("from 1 to {MAX_OPEN_ATTEMPTS_COUNT}");
        out_of_range(path.key("concurrency"), message, hint, findings);
    } else if items != default_concurrency() && step.for_each.is_none() {
        let message = "`concurrency` has no meaning without `for_each`".to_owned();
        let hint = "remove it, or add `for_each`";
        out_of_range(path.key("concurrency"), message, hint, findings);
    }
    let count = step.fallback.len();
    if count > MAX_FALLBACKS_COUNT {
        let message = format!("the step has {count} fallbacks");
        out_of_range(below, message, format!("at most {MAX_FALLBACKS_COUNT}"), findings);
    }
}

/// A policy out of these bounds would never retry, or never stop to.
fn check_retry(retry: &Retry, path: Path<'_>, findings: &mut Findings) {
    let attempts = retry.max_attempts;
    if !(1..=MAX_ATTEMPTS_COUNT).contains(&attempts) {
        let message = format!("`max_attempts` is {attempts}");
        let hint = format!("from 1 to {MAX_ATTEMPTS_COUNT}");
        out_of_range(path.key("max_attempts"), message, hint, findings);
    }
    if !retry.factor.is_finite() || retry.factor < 1.0 {
        let message = format!("`factor` is {}", retry.factor);
        out_of_range(path.key("factor"), message, "at least 1", findings);
    }
    if !(0.0..=1.0).contains(&retry.jitter) {
        let message = format!("`jitter` is {}", retry.jitter);
        out_of_range(path.key("jitter"), message, "from 0 to 1", findings);
    }
    if retry.max < retry.initial {
        let message = format!("`max` is {}, less than `initial`", retry.max);
        out_of_range(path.key("max"), message, format!("at least {}", retry.initial), findings);
    }
}

/// A number that could not be read has been reported, and stands here as its default.
fn out_of_range(path: Path<'_>, message: String, hint: impl Into<String>, findings: &mut Findings) {
    if !findings.covers(path) {
        findings.add("definition.out_of_range", path, message, hint);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{catalog, check_steps, lines, said};
    use super::super::{OnError, validate};
    use super::*;
    use crate::limits::MAX_PROBLEMS_COUNT;

    #[test]
    fn numbers_have_bounds() {
        check_steps(&[
            ("retry: { max_attempts: 1000, factor: 1, jitter: 1, initial: 1m, max: 1m }", ""),
            (
                "retry: { max_attempts: 0 }",
                "5:28 definition.out_of_range: `max_attempts` is 0 (from 1 to 1000)",
            ),
            ("retry: { max_attempts: 1001 }", "`max_attempts` is 1001 (from 1 to 1000)"),
            (
                "retry: { factor: 0.5 }",
                "5:22 definition.out_of_range: `factor` is 0.5 (at least 1)",
            ),
            ("retry: { jitter: 1.5 }", "`jitter` is 1.5 (from 0 to 1)"),
            ("retry: { jitter: -0.1 }", "`jitter` is -0.1 (from 0 to 1)"),
            ("retry: { initial: 2m }", "`max` is 1m, less than `initial` (at least 2m)"),
            ("timeout: 0s", "5:14 definition.out_of_range: `timeout` is 0"),
            ("weight: 0", ""),
            ("weight: 2.5", ""),
            ("weight: -1", "5:13 definition.out_of_range: `weight` is -1 (from 0 to 1000000)"),
            ("weight: 1000001", "`weight` is 1000001 (from 0 to 1000000)"),
            ("weight: heavy", "`weight` is the string `heavy`, not a number"),
            ("concurrency: 3", "`concurrency` has no meaning without `for_each`"),
            ("concurrency: 3\n    for_each: [1]", ""),
            ("concurrency: 0\n    for_each: [1]", "`concurrency` is 0 (from 1 to 1024)"),
            ("concurrency: 1025\n    for_each: [1]", "`concurrency` is 1025 (from 1 to 1024)"),
            (
                "fallback: [{uses: k},{uses: k},{uses: k},{uses: k},{uses: k},{uses: k},{uses: k},\
                 {uses: k},{uses: k}]",
                "the step has 9 fallbacks (at most 8)",
            ),
            ("for_each: 3", "5:15 definition.wrong_type: `for_each` is `3`, not a list"),
            ("for_each: 'a{{ input.video }}'", "`for_each` gives a string, not a list"),
            ("if: 'a {{ input.video }}'", "5:9 expression.syntax: `if` mixes text and braces"),
        ]);
    }

    #[test]
    fn names_are_well_formed() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let table = [
            ("ok", "ok_1", ""),
            ("a.b-c_1", "_a", ""),
            ("a b", "ok", "1:7 definition.bad_name: the workflow's name `a b` is not well formed"),
            ("-a", "ok", "the workflow's name `-a`"),
            ("ä", "ok", "the workflow's name `ä`"),
            (&long, "ok", "the workflow's name `xxx"),
            (
                "ok",
                "a-b",
                "2:15 definition.bad_name: the step id `a-b` is not well formed (write `a_b`)",
            ),
            ("ok", "1a", "the step id `1a` is not well formed (a letter or `_`, then letters,"),
            ("ok", "a.b", "(write `a_b`)"),
            ("ok", &long, "the step id `xxx"),
        ];
        for (name, id, expected) in table {
            let said =
                said(&format!("name: {name}\nsteps: [{{ id: {id}, uses: k }}]\n"), &catalog());
            let found = said.first().map_or("", String::as_str);
            assert!(said.len() < 2 && found.contains(expected), "{name} {id}: {said:?}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{name} {id}: {said:?}");
        }
    }

    #[test]
    fn what_is_built_in_rust_is_checked_as_well() {
        let mut step = Step::new("", "k");
        step.retry = Retry { factor: f64::NAN, jitter: f64::INFINITY, ..Retry::default() };
        step.on_error = OnError::Continue;
        step.weight = f64::NAN;
        let said = lines(&validate(&Workflow::new("n", vec![step]), &catalog()));
        assert_eq!(said.len(), 4, "{said:?}");
        let none = lines(&validate(&Workflow::new("n", vec![]), &catalog()));
        assert_eq!(
            none,
            ["definition.missing_field: the workflow has no steps (add a step with `id` and \
                 `uses`)"]
        );
        let mut deep = serde_json::json!(1);
        for _ in 0..=MAX_NESTING_DEPTH {
            deep = serde_json::json!([deep]);
        }
        let step = Step { with: deep.clone(), for_each: Some(deep.clone()), ..Step::new("a", "k") };
        let workflow = Workflow { output: deep, ..Workflow::new("n", vec![step]) };
        let said = lines(&validate(&workflow, &catalog()));
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|said| said.starts_with("definition.too_deep")), "{said:?}");
        let mut steps = vec![Step::new("a", "k"); MAX_STEPS_COUNT];
        let same = validate(&Workflow::new("n", steps.clone()), &catalog());
        assert_eq!(same.0.len(), MAX_PROBLEMS_COUNT + 1);
        assert!(same.to_string().contains("99799 more problems are not shown"));
        steps.push(Step::new("a", "k"));
        let said = lines(&validate(&Workflow::new("n", steps), &catalog()));
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("more than 100000 steps"), "{}", said[0]);
    }
}
