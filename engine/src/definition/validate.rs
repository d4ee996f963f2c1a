//! Whether a workflow makes sense: its names, its bounds, the kinds it uses, what its expressions
//! refer to, and that its graph has an order.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::compile::{Compiler, compile_step};
use super::finding::Findings;
use super::kinds::Kinds;
use super::place::Path;
use super::schema::{MisfitKind, Schema, fill_defaults};
use super::{Catalog, Problems, Workflow, bounds, cycles};
use crate::expression::Template;
use crate::ids::StepIndex;
use crate::plan::PlannedStep;

/// Everything that is wrong with a workflow, given the step kinds that there are; empty when a plan
/// can be made of it.
#[must_use]
pub fn validate(workflow: &Workflow, catalog: &Catalog) -> Problems {
    let mut findings = Findings::new();
    check(workflow, Some(catalog), &mut findings);
    findings.into_problems(None)
}

/// A workflow's graph, compiled. Only to be used when nothing was found.
pub(crate) struct Graph {
    pub(crate) steps: Vec<PlannedStep>,
    pub(crate) index: HashMap<String, StepIndex>,
    pub(crate) output: Template,
    pub(crate) input: Option<Schema>,
}

/// Checks and compiles a workflow in one go. Without a catalog nothing is said about step kinds: so
/// the definition of an accepted job stays good when kinds change.
pub(crate) fn check(
    workflow: &Workflow,
    catalog: Option<&Catalog>,
    findings: &mut Findings,
) -> Graph {
    bounds::check(workflow, findings);
    let input = input_schema(workflow, findings);
    let index = index_of_steps(workflow, findings);
    let path = Path::ROOT.key("steps");
    if let Some(catalog) = catalog {
        let mut kinds = Kinds::new(catalog);
        for (n, step) in workflow.steps.iter().enumerate() {
            kinds.check_step(step, &path.at(n), findings);
        }
    }
    let mut compiler = Compiler::new(workflow, &index, catalog, findings);
    let mut steps: Vec<PlannedStep> = Vec::with_capacity(workflow.steps.len());
    for (n, step) in workflow.steps.iter().enumerate() {
        steps.push(compile_step(&mut compiler, n, step, &path.at(n)));
    }
    let output = compiler.output();
    link_dependents(&mut steps);
    cycles::check(&steps, findings);
    let index = index.into_iter().map(|(id, index)| (id.to_owned(), index)).collect();
    Graph { steps, index, output, input }
}

/// The steps by id. An id that is taken names the first step that has it.
fn index_of_steps<'w>(
    workflow: &'w Workflow,
    findings: &mut Findings,
) -> HashMap<&'w str, StepIndex> {
    let path = Path::ROOT.key("steps");
    let mut index: HashMap<&str, StepIndex> = HashMap::with_capacity(workflow.steps.len());
    for (n, step) in (0u32..).zip(&workflow.steps) {
        let Some(first) = index.get(step.id.as_str()) else {
            index.insert(&step.id, StepIndex(n));
            continue;
        };
        let at = path.at(n as usize);
        if !findings.covers(at.key("id")) {
            let message = format!("the step id `{}` is taken", step.id);
            let hint = format!("`steps[{}]` has it already; give this one another", first.0);
            findings.add("definition.duplicate_step", at.key("id"), message, hint);
        }
    }
    index
}

/// Turns the edges round: whoever needs a step is one of its dependents.
fn link_dependents(steps: &mut [PlannedStep]) {
    for n in 0..steps.len() {
        let needs = std::mem::take(&mut steps[n].needs);
        for need in &needs {
            let index = StepIndex(u32::try_from(n).unwrap_or(u32::MAX));
            steps[need.at()].dependents.push(index);
        }
        steps[n].needs = needs;
    }
}

/// Words that a schema begins with; others are ignored by JSON Schema, which hides mistakes.
#[rustfmt::skip]
const SCHEMA_WORDS: [&str; 36] = [
    "type", "properties", "required", "additionalProperties", "title", "description", "default",
    "examples", "enum", "const", "anyOf", "oneOf", "allOf", "not", "if", "then", "else",
    "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired",
    "dependentSchemas", "unevaluatedProperties", "items", "minItems", "maxItems", "minLength",
    "maxLength", "pattern", "format", "minimum", "maximum", "definitions", "deprecated",
    "readOnly",
];

/// The schema of the input. Its words are checked one by one, because JSON Schema takes an unknown
/// word for a remark: `propertys` would allow anything.
fn input_schema(workflow: &Workflow, findings: &mut Findings) -> Option<Schema> {
    const CODE: &str = "definition.bad_schema";
    const HINT: &str = "write `input: { type: object, properties: { source: { type: string } } }`";
    let source = workflow.input.as_ref()?;
    let path = Path::ROOT.key("input");
    let Value::Object(map) = source else {
        findings.add(CODE, path, "`input` is not a JSON Schema", HINT);
        return None;
    };
    for word in map.keys().filter(|word| !word.starts_with('$') && !word.starts_with("x-")) {
        if !SCHEMA_WORDS.contains(&word.as_str()) {
            let hint = findings.suggest(word, SCHEMA_WORDS, HINT);
            let message = format!("`{word}` is not a word of JSON Schema");
            findings.add_on_key(CODE, path.key(word).to_place(), message, hint);
        }
    }
    match Schema::compile(source) {
        Ok(schema) => {
            check_defaults(&schema, source, findings);
            Some(schema)
        }
        Err((place, why)) => {
            let message = format!("`input` is not a JSON Schema: {why}");
            findings.add_at(CODE, path.to_place().join(place), message, HINT);
            None
        }
    }
}

/// A default that the schema itself refuses would be noticed at the first submit only.
fn check_defaults(schema: &Schema, source: &Value, findings: &mut Findings) {
    let mut defaults = json!({});
    fill_defaults(source, &mut defaults);
    for misfit in schema.misfits(&defaults) {
        if misfit.kind == MisfitKind::Value && !misfit.place.0.is_empty() {
            let message =
                format!("the default of `{}` does not fit: {}", misfit.place, misfit.message);
            let path = Path::ROOT.key("input");
            findings.add("definition.bad_schema", path, message, misfit.hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{catalog, said};

    /// Checks what is said of an input schema, which begins at 2:8.
    fn check_input(table: &[(&str, &[&str])]) {
        for (input, expected) in table {
            let text = format!("name: n\ninput: {input}\nsteps: [{{ id: a, uses: k }}]\n");
            let said = said(&text, &catalog());
            assert_eq!(said.len(), expected.len(), "{input}: {said:?}");
            for (said, expected) in said.iter().zip(*expected) {
                assert!(said.contains(expected), "{input}: {said}");
            }
        }
    }

    #[test]
    fn the_input_is_a_json_schema() {
        check_input(&[
            ("{ type: object }", &[]),
            ("{ $schema: 'https://json-schema.org/draft/2020-12/schema', x-ui: 1 }", &[]),
            ("3", &["2:8 definition.bad_schema: `input` is not a JSON Schema (write `input: {"]),
            ("{ type: objekt }", &["2:16 definition.bad_schema: `input` is not a JSON Schema: "]),
            ("{ properties: { a: { type: 3 } } }", &["2:35 definition.bad_schema: "]),
            (
                "{ propertys: {} }",
                &["2:10 definition.bad_schema: `propertys` is not a word of JSON \
                Schema (did you mean `properties`?)"],
            ),
            (
                "{ video: { type: string } }",
                &["`video` is not a word of JSON Schema (write `input: {"],
            ),
            ("{ $ref: 'https://example.com/x.json' }", &["definition.bad_schema"]),
            ("{ $ref: 'file:///etc/passwd' }", &["definition.bad_schema"]),
        ]);
    }

    #[test]
    fn defaults_fit_their_own_schema() {
        check_input(&[
            ("{ properties: { n: { type: integer, default: 3 } } }", &[]),
            ("{ required: [m], properties: { n: { type: integer, default: 3 } } }", &[]),
            (
                "{ properties: { n: { type: integer, default: three } } }",
                &["the default of `n` does not fit: `\"three\"` is not of type `integer`"],
            ),
            (
                "{ properties: { n: { maximum: 12, default: 13 } } }",
                &["the default of `n` does not fit: `13` is too large (at most 12)"],
            ),
        ]);
    }

    #[test]
    fn step_ids_are_taken_once() {
        let text = "name: n\nsteps:\n  - { id: a, uses: k }\n  - { id: b, uses: k }\n  - { id: a, \
         uses: k }\n";
        assert_eq!(
            said(text, &catalog()),
            ["5:11 definition.duplicate_step: the step id `a` is taken (`steps[0]` has it \
                 already; \
             give this one another)"]
        );
    }
}
