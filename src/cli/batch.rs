//! A `batch` succeeds whatever becomes of its items. Whoever started it is told of those that did
//! not, item by item and by the exit code.

use serde_json::Value;

use crate::cli::error::CliError;

/// The shipped workflow that this is about.
const WORKFLOW: &str = "batch";

/// Items told of; the output has all of them.
const MOST_TOLD: usize = 20;

/// The complaint about the items that did not succeed, if the output is that of such a batch.
pub(crate) fn complaint(workflow: &str, output: &Value) -> Option<CliError> {
    let results = output.get("results").filter(|_| workflow == WORKFLOW)?.as_array()?;
    let bad: Vec<_> =
        results.iter().enumerate().filter(|(_, it)| word(it, "status") != "succeeded").collect();
    if bad.is_empty() {
        return None;
    }
    let mut text = format!("{} of {} items did not succeed", bad.len(), results.len());
    for (place, result) in bad.iter().take(MOST_TOLD) {
        text.push_str(&line(*place, result));
    }
    if let Some(more) = bad.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more: `results` of the output has them all"));
    }
    Some(CliError::failed(text))
}

/// One item: its place in the output, its name if it has one, its status and why.
fn line(place: usize, result: &Value) -> String {
    let name = result.get("id").and_then(Value::as_str);
    let name = name.map(|name| format!(" `{name}`")).unwrap_or_default();
    let failure = result.get("failure").unwrap_or(&Value::Null);
    let (status, code, message) =
        (word(result, "status"), word(failure, "code"), word(failure, "message"));
    let mut line = format!("\n  results[{place}]{name} {status}: {message} [{code}]");
    if let Some(hint) = failure.get("hint").and_then(Value::as_str) {
        line.push_str(&format!("\n    hint: {hint}"));
    }
    line
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(id: Option<&str>) -> Value {
        let failure = json!({ "code": "fetch.not_found", "message": "none", "hint": "look" });
        json!({ "id": id, "status": "failed", "failure": failure })
    }

    #[test]
    fn items_that_did_not_succeed_are_told_of_by_place_and_name() {
        let refused = json!({ "id": null, "status": "refused",
            "failure": { "code": "workflow.unknown", "message": "no `x`" } });
        let output = json!({ "results": [
            failed(Some("talk")), { "id": "good", "status": "succeeded" }, refused,
        ] });
        let error = complaint("batch", &output).unwrap();
        assert_eq!(error.exit, crate::cli::error::Exit::Failed);
        let expected = "error: 2 of 3 items did not succeed\n  \
            results[0] `talk` failed: none [fetch.not_found]\n    hint: look\n  \
            results[2] refused: no `x` [workflow.unknown]";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn nothing_is_said_of_other_workflows_or_when_all_is_well() {
        let good = json!({ "results": [{ "id": null, "status": "succeeded" }] });
        for (workflow, output) in [
            ("batch", good),
            ("batch", json!({ "results": 3 })),
            ("batch", Value::Null),
            ("mine", json!({ "results": [failed(None)] })),
        ] {
            assert_eq!(complaint(workflow, &output), None, "{output}");
        }
    }

    #[test]
    fn of_many_items_some_are_told() {
        let results: Vec<_> = (0..MOST_TOLD + 5).map(|_| failed(None)).collect();
        let text = complaint("batch", &json!({ "results": results })).unwrap().to_string();
        assert_eq!(text.matches("fetch.not_found").count(), MOST_TOLD);
        assert!(text.ends_with("and 5 more: `results` of the output has them all"), "{text}");
    }
}
