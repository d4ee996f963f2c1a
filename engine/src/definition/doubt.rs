//! Whether a use of a step kind says what to do when nobody knows if its deed was done.

use super::finding::Findings;
use super::place::Path;
use super::{Effect, InDoubt, KindInfo};

/// Checks one use of a kind. `path` is that of the step or the fallback.
pub(super) fn check(
    kind: &KindInfo,
    in_doubt: Option<InDoubt>,
    path: &Path<'_>,
    findings: &mut Findings,
) {
    let (name, place) = (&kind.name, path.key("in_doubt"));
    if findings.covers(place) {
        return;
    }
    match (kind.effect, in_doubt) {
        (Effect::Once, None) => {
            let message = format!("`{name}` must not be done twice, and `in_doubt` is missing");
            let probe = if kind.probes { "`probe`, " } else { "" };
            let hint = format!(
                "say what to do when a crash leaves it unknown: `in_doubt: hold` waits for a \
                 person; or {probe}`fail` or `retry`"
            );
            findings.add("definition.missing_field", place, message, hint);
        }
        (Effect::Once, Some(InDoubt::Probe)) if !kind.probes => {
            let message = format!("`{name}` cannot be asked whether it was done");
            let hint = "write `hold`, `fail` or `retry`; or give the kind a probe (`Step::probe`)";
            findings.add("definition.no_probe", place, message, hint);
        }
        (Effect::Pure | Effect::Idempotent, Some(_)) => {
            let message = format!("`in_doubt` has no meaning here: `{name}` may be repeated");
            let hint = "remove it: an attempt without an answer is simply made again";
            findings.add_on_key("definition.conflict", place.to_place(), message, hint);
        }
        (Effect::Once, Some(_)) | (Effect::Pure | Effect::Idempotent, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_steps;

    #[test]
    fn what_is_done_once_has_a_policy() {
        check_steps(&[
            ("uses: once\n    in_doubt: hold", ""),
            ("uses: once\n    in_doubt: retry", ""),
            ("uses: once\n    in_doubt: fail", ""),
            ("uses: asked\n    in_doubt: probe", ""),
            (
                "uses: once",
                "5:5 definition.missing_field: `once` must not be done twice, and `in_doubt` is \
                 missing (say what to do when a crash leaves it unknown: `in_doubt: hold` waits \
                 for a person; or `fail` or `retry`)",
            ),
            ("uses: asked", "`in_doubt: hold` waits for a person; or `probe`, `fail` or `retry`)"),
            (
                "uses: once\n    in_doubt: probe",
                "6:15 definition.no_probe: `once` cannot be asked whether it was done (write",
            ),
            ("uses: once\n    in_doubt: holt", "6:15 definition.unknown_value: `holt` is not a"),
        ]);
    }

    #[test]
    fn what_may_be_repeated_has_none() {
        check_steps(&[
            (
                "in_doubt: hold",
                "5:5 definition.conflict: `in_doubt` has no meaning here: `k` may be repeated \
                 (remove it",
            ),
            ("uses: strict\n    with: { source: x }\n    in_doubt: retry", "definition.conflict"),
        ]);
    }

    #[test]
    fn fallbacks_have_policies_of_their_own() {
        check_steps(&[
            ("fallback: [{ uses: once, in_doubt: hold }]", ""),
            ("uses: once\n    in_doubt: fail\n    fallback: [{ uses: k }]", ""),
            (
                "fallback: [{ uses: once }]",
                "5:16 definition.missing_field: `once` must not be done",
            ),
            ("fallback: [{ uses: k, in_doubt: hold }]", "5:27 definition.conflict: `in_doubt` has"),
            ("fallback: [{ uses: once, in_doubt: probe }]", "definition.no_probe"),
        ]);
    }
}
