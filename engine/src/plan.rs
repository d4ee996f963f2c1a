//! A definition made ready to run: steps by position, edges both ways, expressions compiled.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Value, json};

use crate::definition::{
    Catalog, Findings, Graph, Misfit, MisfitKind, OnError, OwnedTurn, Place, Problem, Problems,
    Retry, Schema, Workflow, check, draft, fill_defaults,
};
use crate::expression::{Expression, Template};
use crate::ids::StepIndex;
use crate::limits::{MAX_INPUT_BYTES, MAX_PROBLEMS_COUNT};
use crate::time::Millis;

/// A workflow's graph, compiled once and shared by all jobs that run it.
pub struct Plan {
    workflow: Workflow,
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
    /// The step's own kind and input, then its fallbacks.
    pub candidates: Vec<Candidate>,
    /// When a failed attempt is made again.
    pub retry: Retry,
    /// The time that one attempt may take.
    pub timeout: Millis,
    /// What a final failure means for the job.
    pub on_error: OnError,
}

/// A kind to use and the input to give it.
#[derive(Debug)]
pub struct Candidate {
    /// The step kind.
    pub uses: String,
    /// Its input.
    pub with: Template,
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
    pub fn workflow(&self) -> &Workflow {
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
    /// Everything in which the input does not fit the workflow's schema, or that it is too large.
    pub fn accept_input(&self, input: Value) -> Result<Value, Problems> {
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

    fn checked(workflow: Workflow, catalog: Option<&Catalog>) -> Result<Self, Problems> {
        let mut findings = Findings::new();
        let graph = check(&workflow, catalog, &mut findings);
        if findings.is_empty() {
            return Ok(Self::assemble(workflow, graph));
        }
        Err(findings.into_problems(None))
    }

    fn assemble(workflow: Workflow, graph: Graph) -> Self {
        let Graph { steps, index, output, input } = graph;
        let digest = digest(&workflow);
        Self { workflow, digest, steps, index, output, input }
    }
}

fn check_size(input: Value) -> Result<Value, Problems> {
    let bytes = input.to_string().len();
    if bytes <= MAX_INPUT_BYTES {
        return Ok(input);
    }
    let message = format!("the input has {bytes} bytes");
    let hint = format!("at most {MAX_INPUT_BYTES} bytes; pass larger data as a file");
    Err(Problems(vec![Problem::new("input.too_large", "input", message).with_hint(hint)]))
}

fn input_problem(misfit: Misfit) -> Problem {
    let code = match misfit.kind {
        MisfitKind::UnknownField => "input.unknown_field",
        MisfitKind::MissingField => "input.missing_field",
        MisfitKind::Value | MisfitKind::Whole => "input.invalid",
    };
    let place = Place(vec![OwnedTurn::Key("input".to_owned())]).join(misfit.place);
    Problem::new(code, place.to_string(), misfit.message).with_hint(misfit.hint)
}

fn digest(workflow: &Workflow) -> String {
    let value = serde_json::to_value(workflow)
        .expect("a workflow is JSON: its map keys are strings and its numbers were checked");
    let mut canonical = String::new();
    write_canonical(&value, &mut canonical);
    blake3::hash(canonical.as_bytes()).to_hex().to_string()
}

/// JSON without spaces and with sorted keys, so that equal definitions have equal bytes whatever
/// order their maps are kept in.
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
    use crate::testing::plan;

    #[test]
    fn edges_come_from_needs_and_references() {
        let plan = plan(
            "
name: diamond
steps:
  - id: d
    uses: k
    needs: [b]
    with: { x: '{{ steps.c[0].y }}' }
  - { id: b, uses: k, if: steps.a.ok }
  - { id: c, uses: k, for_each: '{{ steps.a.list }}', with: '{{ item }}' }
  - { id: a, uses: k }
output: '{{ steps.d }}'
",
        );
        let ids = |list: &[crate::StepIndex]| -> Vec<&str> {
            list.iter().map(|index| plan.step(*index).id.as_str()).collect()
        };
        let step = |id: &str| plan.step(plan.index_of(id).unwrap());
        assert_eq!(ids(&step("d").needs), ["b", "c"]);
        assert_eq!(ids(&step("a").dependents), ["b", "c"]);
        assert_eq!(ids(&step("b").dependents), ["d"]);
        assert!(step("a").needs.is_empty());
    }
}
