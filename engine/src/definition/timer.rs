//! Whether a node that is a timer says a time, and nothing that only a step kind could use.

use serde_json::Value;

use super::finding::Findings;
use super::place::Path;
use super::{Retry, Step, default_concurrency, default_timeout};
use crate::expression::is_template;
use crate::limits::MAX_SLEEP_MS;
use crate::time::{Millis, Timestamp};

/// How an instant is written.
pub(super) const INSTANT_HINT: &str =
    "write it like `2027-01-31T08:00:00Z`, or as an expression in `{{ … }}`";

/// How a length of time is written.
const SPAN_HINT: &str = "write it like `500ms`, `1s`, `1m30s`, `2h` or `7d`, or as an expression \
                         in `{{ … }}`";

/// What a node that runs nothing has no use for.
#[rustfmt::skip]
const STRAYS: [&str; 9] = [
    "uses", "with", "for_each", "concurrency", "retry", "timeout", "fallback", "in_doubt", "cache",
];

/// Checks what needs to know nothing of other steps.
pub(super) fn check(step: &Step, path: &Path<'_>, findings: &mut Findings) {
    report_strays(step, path, findings);
    if let Some(text) = &step.sleep {
        check_sleep(text, path.key("sleep"), findings);
    }
    if let Some(text) = &step.until {
        check_until(text, path.key("until"), findings);
    }
    if step.sleep.is_some() && step.until.is_some() {
        let message = "`until` stands beside `sleep`: only one of them can end the timer";
        let hint = "remove one of them";
        findings.add_on_key("definition.conflict", path.key("until").to_place(), message, hint);
    }
}

/// Reports every field that has no meaning in a timer.
fn report_strays(step: &Step, path: &Path<'_>, findings: &mut Findings) {
    let word = if step.sleep.is_some() { "sleep" } else { "until" };
    for name in STRAYS.into_iter().filter(|name| is_set(step, name)) {
        let message = format!("`{name}` has no meaning beside `{word}`");
        let hint = "a timer takes `if`, `needs` and `on_error`; give the work a step of its own";
        findings.add_on_key("definition.conflict", path.key(name).to_place(), message, hint);
    }
}

/// Whether a field is not as it is by itself: a workflow that was written out by the engine has
/// every number in it.
fn is_set(step: &Step, name: &str) -> bool {
    match name {
        "uses" => !step.uses.is_empty(),
        "with" => step.with != Value::Null,
        "for_each" => step.for_each.is_some(),
        "concurrency" => step.concurrency != default_concurrency(),
        "retry" => step.retry != Retry::default(),
        "timeout" => step.timeout != default_timeout(),
        "fallback" => !step.fallback.is_empty(),
        "in_doubt" => step.in_doubt.is_some(),
        _ => step.cache.is_some(),
    }
}

fn check_sleep(text: &str, path: Path<'_>, findings: &mut Findings) {
    if is_template(text) || findings.covers(path) {
        return;
    }
    match text.parse::<Millis>() {
        Ok(span) if span <= MAX_SLEEP_MS => {}
        Ok(span) => {
            let message = format!("`sleep` is {span}");
            findings.add(
                "definition.out_of_range",
                path,
                message,
                format!("at most {MAX_SLEEP_MS}"),
            );
        }
        Err(_) => {
            let message = format!("`sleep` is the string `{}`, not a length of time", shown(text));
            findings.add("definition.bad_duration", path, message, SPAN_HINT);
        }
    }
}

/// How far ahead the instant lies is not known here: nothing in this crate reads a clock.
fn check_until(text: &str, path: Path<'_>, findings: &mut Findings) {
    if !is_template(text) && !findings.covers(path) && text.parse::<Timestamp>().is_err() {
        let message = format!("`until` is the string `{}`, not an instant", shown(text));
        findings.add("definition.bad_instant", path, message, INSTANT_HINT);
    }
}

fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{catalog, lines, said};
    use super::super::{Workflow, validate};
    use super::*;

    /// Checks what is said of a node that begins in line 4 with the given fields.
    fn check_timers(table: &[(&str, &[&str])]) {
        for (fields, expected) in table {
            let text =
                format!("name: n\nsteps:\n  - {{ id: b, uses: k }}\n  - {fields}\n    id: a\n");
            let said = said(&text, &catalog());
            assert_eq!(said.len(), expected.len(), "{fields}: {said:?}");
            for (said, expected) in said.iter().zip(*expected) {
                assert!(said.contains(expected), "{fields}: {said}");
            }
        }
    }

    #[test]
    fn timers_say_a_time() {
        check_timers(&[
            ("sleep: 1h30m", &[]),
            ("sleep: 0s", &[]),
            ("sleep: '{{ input.delay }}'\n    if: steps.b.ok\n    needs: [b]", &[]),
            ("sleep: '{{ input.minutes }}m'\n    on_error: continue", &[]),
            ("until: 2027-01-31T08:00:00Z", &[]),
            ("until: '2027-01-31T08:00:00.5+01:00'", &[]),
            ("until: '{{ job.submitted_at + 3600000 }}'", &[]),
            (
                "sleep: 90",
                &["4:12 definition.bad_duration: `sleep` is the number `90`, not a length of \
                     time (give the unit: `90s` or `90ms`)"],
            ),
            ("sleep: soon", &["4:12 definition.bad_duration: `sleep` is the string `soon`, not"]),
            ("sleep: ''", &["definition.bad_duration: `sleep` is the string ``"]),
            ("sleep: [1h]", &["definition.bad_duration: `sleep` is a list"]),
            ("sleep: 3651d", &["4:12 definition.out_of_range: `sleep` is 3651d (at most 3650d)"]),
            ("until: noon", &["4:12 definition.bad_instant: `until` is the string `noon`, not an"]),
            ("until: 2027-02-30T08:00:00Z", &["definition.bad_instant"]),
            ("until: 17", &["4:12 definition.wrong_type: `until` is the number `17`, not an"]),
            ("sleep: '{{ }}'", &["expression.syntax"]),
            ("sleep: '{{ steps.zzz }}'", &["4:12 definition.unknown_step"]),
            ("sleep: '{{ item }}'", &["`item` and `index` are seen in `with`"]),
            ("until: '{{ steps.a.due_at }}'", &["step `a` needs itself"]),
        ]);
    }

    #[test]
    fn timers_run_nothing() {
        check_timers(&[
            (
                "sleep: 1h\n    until: 2027-01-31T08:00:00Z",
                &["5:5 definition.conflict: `until` stands beside `sleep`"],
            ),
            (
                "sleep: 1h\n    uses: k\n    retry: { max_attempts: 4 }",
                &[
                    "5:5 definition.conflict: `uses` has no meaning beside `sleep` (a timer takes",
                    "6:5 definition.conflict: `retry` has no meaning beside `sleep`",
                ],
            ),
            (
                "until: 2027-01-31T08:00:00Z\n    timeout: 1h\n    for_each: [1]",
                &["`timeout` has no meaning beside `until`", "6:5 definition.conflict: `for_each`"],
            ),
            (
                "sleep: 1h\n    with: { x: 1 }\n    concurrency: 2\n    fallback: [{ uses: k }]",
                &["5:5 definition.conflict: `with`", "`concurrency`", "`fallback`"],
            ),
        ]);
    }

    #[test]
    fn outputs_of_timers_are_known() {
        let text = "name: n\nsteps:\n  - { id: nap, sleep: 1h }\noutput: '{{ steps.nap.due }}'\n";
        let said = said(text, &catalog());
        assert_eq!(
            said,
            ["4:9 definition.unknown_output: the output of `nap` has no `due` (`a timer` gives \
              `due_at`)"]
        );
    }

    #[test]
    fn timers_built_in_rust_are_checked_as_well() {
        let good = vec![Step::sleep("a", "1h"), Step::until("b", "{{ steps.a.due_at }}")];
        assert_eq!(lines(&validate(&Workflow::new("n", good), &catalog())), [""; 0]);
        let bad = vec![
            Step { uses: "k".to_owned(), timeout: Millis(5), ..Step::sleep("a", "soon") },
            Step { concurrency: 3, ..Step::until("b", "") },
            Step::new("c", ""),
        ];
        let said = lines(&validate(&Workflow::new("n", bad), &catalog()));
        assert_eq!(said.len(), 6, "{said:?}");
    }
}
