//! A definition made ready to run: steps by position, edges both ways, expressions compiled.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::definition::{
    Catalog, Findings, Graph, InDoubt, Misfit, MisfitKind, OnError, OwnedTurn, Place, Problem,
    Problems, Retry, Schema, Workflow, check, draft, fill_defaults, nests_deeper_than,
};
use crate::expression::{Expression, Template};
use crate::ids::StepIndex;
use crate::limits::{MAX_DATA_NESTING_DEPTH, MAX_INPUT_BYTES, MAX_PROBLEMS_COUNT};
use crate::time::Millis;
use crate::timer::Timer;

/// A workflow's graph, compiled once and shared by all jobs that run it.
pub struct Plan {
    workflow: Arc<Workflow>,
    digest: String,
    steps: Vec<PlannedStep>,
    index: HashMap<String, StepIndex>,
    output: Template,
    input: Option<Schema>,
}

/// One node, compiled.
#[derive(Debug)]
pub struct PlannedStep {
    /// Its name.
    pub id: String,
    /// Steps that must have settled first: written in `needs`, or referred to.
    pub needs: Vec<StepIndex>,
    /// Steps that need this one.
    pub dependents: Vec<StepIndex>,
    /// Its `if`.
    pub condition: Option<Expression>,
    /// Its `for_each`.
    pub for_each: Option<Template>,
    /// Items that run at once.
    pub concurrency: u32,
    /// The step's own kind and input, then its fallbacks; empty for a timer.
    pub candidates: Vec<Candidate>,
    /// What a timer waits for; none for a step that uses a kind.
    pub timer: Option<Timer>,
    /// When a failed attempt is made again.
    pub retry: Retry,
    /// The time that one attempt may take.
    pub timeout: Millis,
    /// What a final failure means for the job.
    pub on_error: OnError,
    /// Whether results of before may be taken, where a kind keeps them.
    pub cache: bool,
    /// Its share of the job's progress.
    pub weight: f64,
}

/// A kind to use and the input to give it.
#[derive(Debug)]
pub struct Candidate {
    /// The step kind.
    pub uses: String,
    /// Its input.
    pub with: Template,
    /// What to do when it is not known whether it was done; none for a kind that may be repeated.
    pub in_doubt: Option<InDoubt>,
}

/// The step kind that runs another job and waits for its end. The engine's own: it is named here
/// because nothing that it waits through can be its fault.
pub const RUN_WORKFLOW: &str = "workflow.run";

impl PlannedStep {
    /// Whether an attempt by this candidate only waits for another job: a process that dies
    /// meanwhile did not die of it, however often it does.
    #[must_use]
    pub(crate) fn only_waits(&self, candidate: u32) -> bool {
        self.candidates.get(candidate as usize).is_some_and(|it| it.uses == RUN_WORKFLOW)
    }

    /// The step's own kind; `sleep` or `until` for a timer.
    #[must_use]
    pub fn uses(&self) -> &str {
        match (&self.timer, self.candidates.first()) {
            (Some(timer), _) => timer.word(),
            (None, own) => own.map_or("", |own| &own.uses),
        }
    }
}

/// Two plans are the same when they come from the same definition.
impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("name", &self.workflow.name)
            .field("digest", &self.digest)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Makes a plan of a definition written as YAML or JSON.
    ///
    /// # Errors
    /// Everything that is wrong with the definition, in the order of its text, each with line,
    /// column and hint.
    pub fn load(text: &str, catalog: &Catalog) -> Result<Self, Problems> {
        let mut findings = Findings::new();
        let Some((root, workflow)) = draft(text, &mut findings) else {
            return Err(findings.into_problems(None));
        };
        let graph = check(&workflow, Some(catalog), &mut findings);
        if findings.is_empty() {
            return Ok(Self::assemble(workflow, graph));
        }
        Err(findings.into_problems(Some(&root)))
    }

    /// Makes a plan of a workflow built in Rust or read from JSON.
    ///
    /// # Errors
    /// Everything that is wrong with the workflow, each with its path and a hint.
    pub fn build(workflow: Workflow, catalog: &Catalog) -> Result<Self, Problems> {
        Self::checked(workflow, Some(catalog))
    }

    /// Makes the plan of an accepted job again, from the definition that was frozen into it. Step
    /// kinds are not looked at: they may have changed since.
    ///
    /// # Errors
    /// Everything that is wrong with the graph or its expressions.
    pub fn recompile(workflow: Workflow) -> Result<Self, Problems> {
        Self::checked(workflow, None)
    }

    /// The steps, in the order of the definition.
    #[must_use]
    pub fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    /// The step at a position.
    ///
    /// # Panics
    /// When the position is not one of this plan.
    #[must_use]
    pub fn step(&self, index: StepIndex) -> &PlannedStep {
        &self.steps[index.at()]
    }

    /// The position of a step.
    #[must_use]
    pub fn index_of(&self, id: &str) -> Option<StepIndex> {
        self.index.get(id).copied()
    }

    /// The definition.
    #[must_use]
    pub fn workflow(&self) -> &Arc<Workflow> {
        &self.workflow
    }

    /// BLAKE3 of the definition in its canonical JSON, as lower-case hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the job answers with.
    #[must_use]
    pub fn output(&self) -> &Template {
        &self.output
    }

    /// Fills in the input's defaults and checks it.
    ///
    /// # Errors
    /// Everything in which the input does not fit the workflow's schema, or that it is too large or
    /// nests too deep.
    pub fn accept_input(&self, input: Value) -> Result<Value, Problems> {
        check_depth(&input)?;
        let Some(schema) = &self.input else {
            return check_size(input);
        };
        let source = self.workflow.input.as_ref().unwrap_or(&Value::Null);
        let mut input = match input {
            Value::Null if source.get("type") == Some(&json!("object")) => json!({}),
            given => given,
        };
        input = check_size(input)?;
        fill_defaults(source, &mut input);
        let misfits = schema.misfits(&input);
        let problems = misfits.into_iter().take(MAX_PROBLEMS_COUNT).map(input_problem).collect();
        Problems(problems).into_result()?;
        check_size(input)
    }

    /// A plan of what is not a text, so that problems have paths and no lines.
    fn checked(workflow: Workflow, catalog: Option<&Catalog>) -> Result<Self, Problems> {
        let mut findings = Findings::new();
        let graph = check(&workflow, catalog, &mut findings);
        if findings.is_empty() {
            return Ok(Self::assemble(workflow, graph));
        }
        Err(findings.into_problems(None))
    }

    /// Puts a plan together from what was checked.
    fn assemble(workflow: Workflow, graph: Graph) -> Self {
        let Graph { steps, index, output, input } = graph;
        let digest = digest(&workflow);
        Self { workflow: Arc::new(workflow), digest, steps, index, output, input }
    }
}

/// Comes first: all that is done with an input goes as deep as it nests.
fn check_depth(input: &Value) -> Result<(), Problems> {
    if !nests_deeper_than(MAX_DATA_NESTING_DEPTH, input) {
        return Ok(());
    }
    let message = format!("the input nests deeper than {MAX_DATA_NESTING_DEPTH}");
    let hint = "flatten it, or pass it as a file";
    Err(Problems(vec![Problem::new("input.too_deep", "input", message).with_hint(hint)]))
}

/// The size counts as JSON, which is how the input is stored and sent.
fn check_size(input: Value) -> Result<Value, Problems> {
    let bytes = input.to_string().len();
    if bytes <= MAX_INPUT_BYTES {
        return Ok(input);
    }
    let message = format!("the input has {bytes} bytes");
    let hint = format!("at most {MAX_INPUT_BYTES} bytes; pass larger data as a file");
    Err(Problems(vec![Problem::new("input.too_large", "input", message).with_hint(hint)]))
}

/// The same problem in the words of a submitter, who sees `input` and not a schema.
fn input_problem(misfit: Misfit) -> Problem {
    let code = match misfit.kind {
        MisfitKind::UnknownField => "input.unknown_field",
        MisfitKind::MissingField => "input.missing_field",
        MisfitKind::Value | MisfitKind::Whole => "input.invalid",
    };
    let place = Place(vec![OwnedTurn::Key("input".to_owned())]).join(misfit.place);
    Problem::new(code, place.to_string(), misfit.message).with_hint(misfit.hint)
}

/// A job finds its frozen definition by this digest, over upgrades as well: so a field that is
/// added to the definition has to be left out of its JSON where it is not used.
fn digest(workflow: &Workflow) -> String {
    let value = serde_json::to_value(workflow)
        .expect("a workflow is JSON: its map keys are strings and its numbers were checked");
    blake3::hash(canonical_json(&value).as_bytes()).to_hex().to_string()
}

/// A value's one spelling: JSON without spaces and with sorted keys, so that equal values have
/// equal bytes whatever order their maps are kept in. What is found by a hash is hashed so.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut canonical = String::new();
    write_canonical(value, &mut canonical);
    canonical
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (n, (key, value)) in fields.into_iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                write_canonical(&Value::String(key.clone()), out);
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::definition::{Step, parse};
    use crate::testing::{permissive, plan};

    #[test]
    fn edges_come_from_needs_and_references() {
        let plan = plan(
            "
name: diamond
steps:
  - { id: d, uses: k, needs: [b], with: { x: '{{ steps.c[0].y }}' } }
  - { id: b, uses: k, if: steps.a.ok }
  - { id: c, uses: k, for_each: '{{ steps.a.list }}', with: '{{ item }}' }
  - { id: a, uses: k }
  - { id: e, uses: k, fallback: [{ uses: k, with: '{{ steps.b }}' }], for_each: steps.a }
output: '{{ steps.d }}'
",
        );
        let ids = |list: &[StepIndex]| -> Vec<&str> {
            list.iter().map(|index| plan.step(*index).id.as_str()).collect()
        };
        let step = |id: &str| plan.step(plan.index_of(id).unwrap());
        assert_eq!(ids(&step("d").needs), ["b", "c"]);
        assert_eq!(ids(&step("e").needs), ["b", "a"]);
        assert_eq!(ids(&step("a").dependents), ["b", "c", "e"]);
        assert_eq!(ids(&step("b").dependents), ["d", "e"]);
        assert!(step("a").needs.is_empty());
        assert_eq!(plan.index_of("zzz"), None);
        assert_eq!(plan.output().references().len(), 1);
    }

    #[test]
    fn equal_definitions_have_equal_digests() {
        let digest = |text: &str| plan(text).digest().to_owned();
        let base = digest("name: n\nsteps: [{ id: a, uses: k, with: { x: 1, y: [2, 3] } }]");
        let same = [
            r#"{"steps":[{"with":{"y":[2,3],"x":1},"uses":"k","id":"a"}],"name":"n"}"#,
            "name: n\nsteps: [{ id: a, uses: k, with: { x: 1, y: [2, 3] }, timeout: 1d, \
             concurrency: 8, weight: 1 }]",
        ];
        for text in same {
            assert_eq!(digest(text), base, "{text}");
        }
        let different = [
            "name: m\nsteps: [{ id: a, uses: k, with: { x: 1, y: [2, 3] } }]",
            "name: n\nsteps: [{ id: a, uses: k, with: { x: 1, y: [3, 2] } }]",
            "name: n\nsteps: [{ id: a, uses: k, with: { x: '1', y: [2, 3] } }]",
            "name: n\nsteps: [{ id: a, uses: k, with: { x: 1.0, y: [2, 3] } }]",
            "name: n\nsteps: [{ id: a, uses: k, with: { x: 1, y: [2, 3] }, weight: 2 }]",
        ];
        for text in different {
            assert_ne!(digest(text), base, "{text}");
        }
        // Frozen definitions are found by their digest: this one may only change with the format.
        assert_eq!(base, "84268469f690a04e1d139a56d553905ba814422db5a0f5b657951fd0c49aebec");
    }

    #[test]
    fn a_stored_definition_compiles_without_its_kinds() {
        let text = "name: n\nsteps: [{ id: a, uses: gone.since, with: { x: '{{ input.y }}' } }]";
        let workflow = parse(text).unwrap();
        let plan = Plan::build(workflow.clone(), &permissive(&workflow)).unwrap();
        let stored = serde_json::to_vec(&workflow).unwrap();
        let again = Plan::recompile(serde_json::from_slice(&stored).unwrap()).unwrap();
        assert_eq!(again, plan);
        assert!(Plan::build(workflow, &Catalog::default()).is_err());
        let broken =
            Workflow::new("n", vec![Step { needs: vec!["b".into()], ..Step::new("a", "k") }]);
        assert!(Plan::recompile(broken).is_err());
    }

    const INPUT: &str = "
name: n
input:
  type: object
  required: [video]
  additionalProperties: false
  properties:
    video: { type: string }
    words_per_line: { type: integer, default: 3, minimum: 1, maximum: 12 }
    style:
      type: object
      default: {}
      properties: { color: { default: white }, size: { $ref: '#/$defs/size' } }
  $defs:
    size: { type: object, properties: { px: { default: 12 } } }
steps: [{ id: a, uses: k }]
";

    #[test]
    fn input_is_accepted_with_its_defaults() {
        let plan = plan(INPUT);
        let accepted = plan.accept_input(json!({ "video": "v", "style": { "size": {} } })).unwrap();
        assert_eq!(
            accepted,
            json!({ "video": "v", "words_per_line": 3,
                    "style": { "color": "white", "size": { "px": 12 } } })
        );
        let given = json!({ "video": "v", "words_per_line": 5, "style": { "color": "red" } });
        assert_eq!(plan.accept_input(given.clone()).unwrap(), given);
    }

    #[test]
    fn input_that_does_not_fit_is_refused_with_all_problems() {
        let table = [
            (
                json!(null),
                "the field `video` is missing [input.missing_field] at `input.video`\n  hint: add \
                 `video`",
            ),
            (json!({ "video": 3 }), "`3` is not of type `string` [input.invalid] at `input.video`"),
            (
                json!({ "video": "v", "words_per_line": 13 }),
                "at `input.words_per_line`\n  hint: at most 12",
            ),
            (
                json!({ "vidoe": "v" }),
                "unknown field `vidoe` [input.unknown_field] at `input.vidoe`\n  hint: did you \
                 mean `video`?",
            ),
            (json!("v"), "`\"v\"` is not of type `object` [input.invalid] at `input`"),
            (json!({ "video": "v".repeat(MAX_INPUT_BYTES) }), "[input.too_large] at `input`"),
            (nested(MAX_DATA_NESTING_DEPTH + 1), "[input.too_deep] at `input`"),
        ];
        let plan = plan(INPUT);
        for (input, expected) in table {
            let problems = plan.accept_input(input).unwrap_err();
            assert_eq!(problems.0.len(), 1, "{problems}");
            assert!(problems.to_string().contains(expected), "{problems}");
        }
        let both = plan.accept_input(json!({ "video": 3, "words_per_line": 0 })).unwrap_err();
        assert_eq!(both.0.len(), 2);
    }

    /// A value inside so many lists and maps.
    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Null, |value, n| match n % 2 {
            0 => json!([value]),
            _ => json!({ "a": value }),
        })
    }

    #[test]
    fn without_a_schema_any_input_is_accepted() {
        let plan = plan("name: n\nsteps: [{ id: a, uses: k }]");
        let deep = nested(MAX_DATA_NESTING_DEPTH);
        for input in [json!(null), json!([1, "x"]), json!({ "a": null }), deep] {
            assert_eq!(plan.accept_input(input.clone()), Ok(input));
        }
        assert!(plan.accept_input(json!("x".repeat(MAX_INPUT_BYTES))).is_err());
    }

    #[test]
    fn schemas_that_refer_to_themselves_end() {
        let plan = plan(
            "
name: n
input: { properties: { more: { $ref: '#', default: {} } } }
steps: [{ id: a, uses: k }]
",
        );
        assert!(plan.accept_input(json!({})).is_ok());
    }
}
