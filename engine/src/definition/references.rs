//! What expressions refer to: that it exists, that it can be seen from there, and which edges of
//! the graph it makes.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::compile::Site;
use super::finding::Findings;
use super::place::Path;
use super::reader::list;
use super::{Catalog, Workflow};
use crate::expression::{Names, Reference};
use crate::ids::StepIndex;

/// All that an expression of one workflow may refer to.
pub(super) struct References<'c> {
    workflow: &'c Workflow,
    index: &'c HashMap<&'c str, StepIndex>,
    catalog: Option<&'c Catalog>,
    /// The names of the input's properties, when there can be no others.
    inputs: Option<Vec<&'c str>>,
}

/// What every expression sees.
const ROOTS: [&str; 5] = ["input", "steps", "item", "index", "job"];

/// What the output of a timer has.
const TIMER_FIELDS: [&str; 1] = ["due_at"];

/// What `job` has.
const JOB_FIELDS: [&str; 2] = ["id", "submitted_at"];

impl<'c> References<'c> {
    /// What the expressions of one workflow may refer to.
    pub(super) fn new(
        workflow: &'c Workflow,
        index: &'c HashMap<&'c str, StepIndex>,
        catalog: Option<&'c Catalog>,
    ) -> Self {
        let inputs = workflow.input.as_ref().and_then(|schema| known_fields(schema, true));
        Self { workflow, index, catalog, inputs }
    }

    /// Checks one entry of `needs`.
    pub(super) fn check_need(
        &self,
        id: &str,
        path: Path<'_>,
        site: Site,
        needs: &mut BTreeSet<StepIndex>,
        findings: &mut Findings,
    ) {
        if findings.covers(path) {
            return;
        }
        if let Some(index) = self.find_step(id, path, findings) {
            self.add_edge(index, path, site, needs, findings);
        }
    }

    /// Checks everything that an expression names.
    pub(super) fn check(
        &self,
        names: &Names,
        path: Path<'_>,
        site: Site,
        needs: &mut BTreeSet<StepIndex>,
        findings: &mut Findings,
    ) {
        for reference in names.references() {
            match reference {
                Reference::Step(id) => {
                    if let Some(index) = self.find_step(&id, path, findings) {
                        self.add_edge(index, path, site, needs, findings);
                        self.check_output(index, names, path, findings);
                    }
                }
                Reference::AllSteps => {
                    let message = "`steps` as a whole says nothing about which steps it needs";
                    let hint = "name the step: `steps.fetch.file`";
                    findings.add("definition.unknown_reference", path, message, hint);
                }
                Reference::Input(name) => self.check_input(&name, path, findings),
                Reference::Item | Reference::Index if !site.sees_item => {
                    let message = "`item` and `index` are seen in `with` of a `for_each` only";
                    let hint = "add `for_each` to the step, or name the value itself";
                    findings.add("definition.unknown_reference", path, message, hint);
                }
                Reference::Job => check_job(names, path, findings),
                Reference::Unknown(name) => self.unknown_root(&name, path, findings),
                Reference::WholeInput | Reference::Item | Reference::Index => {}
            }
        }
    }

    /// The step of an id, or else a report.
    fn find_step(&self, id: &str, path: Path<'_>, findings: &mut Findings) -> Option<StepIndex> {
        if let Some(index) = self.index.get(id) {
            return Some(*index);
        }
        let known = self.workflow.steps.iter().map(|step| step.id.as_str());
        let hint = findings.suggest(id, known, "name a step of this workflow by its `id`");
        let message = format!("unknown step `{id}`");
        findings.add("definition.unknown_step", path, message, hint);
        None
    }

    /// Adds an edge of the graph. A step that needs itself is reported here, where the very
    /// expression is known, and makes no edge.
    fn add_edge(
        &self,
        index: StepIndex,
        path: Path<'_>,
        site: Site,
        needs: &mut BTreeSet<StepIndex>,
        findings: &mut Findings,
    ) {
        if site.step == Some(index) {
            let message = format!("step `{}` needs itself", self.workflow.steps[index.at()].id);
            let hint = "a step sees only steps that have ended before it begins";
            findings.add("definition.cycle", path, message, hint);
        } else {
            needs.insert(index);
        }
    }

    /// Checks the first field that is taken from a step's output, when its kind says which fields
    /// there are.
    fn check_output(
        &self,
        index: StepIndex,
        names: &Names,
        path: Path<'_>,
        findings: &mut Findings,
    ) {
        let step = &self.workflow.steps[index.at()];
        for field in names.below(&["steps", &step.id]) {
            if step.for_each.is_some() {
                let message = format!("the output of `{}` is a list, it has no `{field}`", step.id);
                let hint = format!(
                    "`{0}` runs once an item: `steps.{0} | map(attribute='{field}') | list`",
                    step.id
                );
                findings.add("definition.unknown_output", path, message, hint);
                continue;
            }
            let kind = self.catalog.and_then(|catalog| catalog.get(&step.uses));
            let (giver, known) = match kind {
                _ if step.is_timer() => ("a timer", Some(TIMER_FIELDS.to_vec())),
                Some(kind) => (step.uses.as_str(), known_fields(&kind.output_schema, false)),
                None => continue,
            };
            if let Some(known) = known.filter(|known| !known.contains(&field)) {
                let otherwise = format!("`{giver}` gives {}", list(&known));
                let hint = findings.suggest(field, known, otherwise);
                let message = format!("the output of `{}` has no `{field}`", step.id);
                findings.add("definition.unknown_output", path, message, hint);
            }
        }
    }

    /// Checks a field of the input.
    fn check_input(&self, name: &str, path: Path<'_>, findings: &mut Findings) {
        let Some(known) = &self.inputs else { return };
        if known.contains(&name) {
            return;
        }
        let otherwise = match known.as_slice() {
            [] => "the input has no properties; add it to `input`".to_owned(),
            known => format!("the input has {}", list(known)),
        };
        let hint = findings.suggest(name, known.iter().copied(), otherwise);
        let message = format!("the input has no `{name}`");
        findings.add("definition.unknown_input", path, message, hint);
    }

    /// Names that stand alone are most often steps or inputs whose root was forgotten, or texts
    /// whose quotes were.
    fn unknown_root(&self, name: &str, path: Path<'_>, findings: &mut Findings) {
        let hint = if self.index.contains_key(name) {
            format!("did you mean `steps.{name}`?")
        } else if self.inputs.as_ref().is_some_and(|known| known.contains(&name)) {
            format!("did you mean `input.{name}`?")
        } else {
            let otherwise = format!("expressions see {}; quote a text: `'{name}'`", list(&ROOTS));
            findings.suggest(name, ROOTS, otherwise)
        };
        let message = format!("unknown name `{name}`");
        findings.add("definition.unknown_reference", path, message, hint);
    }
}

/// Checks the fields of `job`.
fn check_job(names: &Names, path: Path<'_>, findings: &mut Findings) {
    for field in names.below(&["job"]).filter(|field| !JOB_FIELDS.contains(field)) {
        let otherwise = format!("`job` has {}", list(&JOB_FIELDS));
        let hint = findings.suggest(field, JOB_FIELDS, otherwise);
        let message = format!("`job` has no `{field}`");
        findings.add("definition.unknown_reference", path, message, hint);
    }
}

/// The names of an object's fields, when the schema leaves no others; with `open`, also when it
/// does not speak of others.
fn known_fields(schema: &Value, open: bool) -> Option<Vec<&str>> {
    let closed = match schema.get("additionalProperties") {
        Some(Value::Bool(allowed)) => !allowed,
        Some(_) => false,
        None => open,
    };
    let fields = schema.get("properties")?.as_object()?;
    let simple = ["patternProperties", "anyOf", "oneOf", "allOf", "$ref", "if"]
        .iter()
        .all(|word| schema.get(word).is_none());
    (closed && simple).then(|| fields.keys().map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_steps;

    #[test]
    fn needs_name_other_steps() {
        check_steps(&[
            ("needs: [b, each]", ""),
            ("needs: [bb]", "5:13 definition.unknown_step: unknown step `bb` (did you mean `b`?)"),
            ("needs: [zzz]", "unknown step `zzz` (name a step of this workflow by its `id`)"),
            ("needs: [a]", "5:13 definition.cycle: step `a` needs itself (a step sees only"),
        ]);
    }

    #[test]
    fn expressions_name_steps_that_there_are() {
        check_steps(&[
            ("if: steps.b.file", ""),
            (
                "if: steps.eahc",
                "5:9 definition.unknown_step: unknown step `eahc` (did you mean `each`?)",
            ),
            (
                "with: { x: [1, '{{ steps.zzz }}'] }",
                "5:20 definition.unknown_step: unknown step `zzz`",
            ),
            ("fallback: [{ uses: k, with: '{{ steps.zzz }}' }]", "5:33 definition.unknown_step"),
            ("for_each: steps.zzz", "5:15 definition.unknown_step"),
            ("if: steps.a.ok", "step `a` needs itself"),
            ("if: \"{{ steps['b'].file }}\"", "`steps` as a whole says nothing"),
        ]);
    }

    #[test]
    fn expressions_name_what_can_be_seen() {
        check_steps(&[
            ("if: b.file", "unknown name `b` (did you mean `steps.b`?)"),
            ("if: video", "unknown name `video` (did you mean `input.video`?)"),
            ("if: inptu.video", "unknown name `inptu` (did you mean `input`?)"),
            (
                "if: steps.b.file == done",
                "unknown name `done` (expressions see `input`, `steps`, `item`, `index` and `job`; \
                 quote a text: `'done'`)",
            ),
            ("if: input.video", ""),
            ("if: input", ""),
            (
                "if: input.vidoe",
                "definition.unknown_input: the input has no `vidoe` (did you mean `video`?)",
            ),
            ("if: input.zzz", "the input has no `zzz` (the input has `video`)"),
            ("if: job.id == 'x' and job.submitted_at > 3", ""),
            ("if: job.ip", "`job` has no `ip` (did you mean `id`?)"),
        ]);
    }

    #[test]
    fn items_are_seen_in_with_only() {
        check_steps(&[
            ("for_each: [1]\n    with: '{{ item }}{{ index }}'", ""),
            ("for_each: [1]\n    fallback: [{ uses: k, with: '{{ item }}' }]", ""),
            (
                "with: '{{ index }}'",
                "5:11 definition.unknown_reference: `item` and `index` are seen in `with`",
            ),
            ("if: item", "`item` and `index` are seen"),
            ("for_each: [1]\n    if: item", "`item` and `index` are seen"),
            ("for_each: ['{{ item }}']", "`item` and `index` are seen"),
        ]);
    }

    #[test]
    fn outputs_are_known_when_their_kind_says_all() {
        check_steps(&[
            ("if: steps.b.file.anything", ""),
            (
                "if: steps.b.flie",
                "5:9 definition.unknown_output: the output of `b` has no `flie` (did you mean \
                 `file`?)",
            ),
            ("if: steps.b.zzz", "`b` has no `zzz` (`strict` gives `file` and `seconds`)"),
            ("if: steps.each | length", ""),
            ("if: steps.each[0].file", ""),
            (
                "if: steps.each.file",
                "the output of `each` is a list, it has no `file` (`each` runs once an item: \
                 `steps.each | map(attribute='file') | list`)",
            ),
            ("uses: open\n    if: steps.b", ""),
        ]);
    }
}
