//! Names and numbers of a definition: well formed and within their bounds.

use super::finding::Findings;
use super::place::Path;
use super::{Step, Workflow, default_concurrency};
use crate::limits::{
    MAX_ATTEMPTS_COUNT, MAX_FALLBACKS_COUNT, MAX_NAME_BYTES, MAX_OPEN_ATTEMPTS_COUNT,
    MAX_STEPS_COUNT,
};
use crate::time::Millis;

pub(super) fn check(workflow: &Workflow, findings: &mut Findings) {
    let path = Path::ROOT;
    check_name(&workflow.name, path.key("name"), findings);
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

fn bad_name(what: &str, name: &str, path: Path<'_>, hint: String, findings: &mut Findings) {
    if !findings.covers(path) {
        let shown: String = name.chars().take(MAX_NAME_BYTES).collect();
        let message = format!("{what} `{shown}` is not well formed");
        findings.add("definition.bad_name", path, message, hint);
    }
}

fn check_step(step: &Step, path: &Path<'_>, findings: &mut Findings) {
    check_id(&step.id, path.key("id"), findings);
    let mut out = |path: Path<'_>, message: String, hint: String| {
        if !findings.covers(path) {
            findings.add("definition.out_of_range", path, message, hint);
        }
    };
    let retry = path.key("retry");
    let attempts = step.retry.max_attempts;
    if !(1..=MAX_ATTEMPTS_COUNT).contains(&attempts) {
        let message = format!("`max_attempts` is {attempts}");
        out(retry.key("max_attempts"), message, format!("from 1 to {MAX_ATTEMPTS_COUNT}"));
    }
    let factor = step.retry.factor;
    if !factor.is_finite() || factor < 1.0 {
        out(retry.key("factor"), format!("`factor` is {factor}"), "at least 1".to_owned());
    }
    let jitter = step.retry.jitter;
    if !(0.0..=1.0).contains(&jitter) {
        out(retry.key("jitter"), format!("`jitter` is {jitter}"), "from 0 to 1".to_owned());
    }
    if step.retry.max < step.retry.initial {
        let message = format!("`max` is {}, less than `initial`", step.retry.max);
        out(retry.key("max"), message, format!("at least {}", step.retry.initial));
    }
    if step.timeout == Millis(0) {
        let hint = "give the time that an attempt may take, such as `10m`".to_owned();
        out(path.key("timeout"), "`timeout` is 0".to_owned(), hint);
    }
    let items = step.concurrency;
    if items == 0 || items as usize > MAX_OPEN_ATTEMPTS_COUNT {
        let message = format!("`concurrency` is {items}");
        out(path.key("concurrency"), message, format!("from 1 to {MAX_OPEN_ATTEMPTS_COUNT}"));
    } else if items != default_concurrency() && step.for_each.is_none() {
        let message = "`concurrency` has no meaning without `for_each`".to_owned();
        out(path.key("concurrency"), message, "remove it, or add `for_each`".to_owned());
    }
    let count = step.fallback.len();
    if count > MAX_FALLBACKS_COUNT {
        let message = format!("the step has {count} fallbacks");
        out(path.key("fallback"), message, format!("at most {MAX_FALLBACKS_COUNT}"));
    }
}
