//! From the steps of a definition to the nodes of a plan: expressions compiled, edges read from
//! what they refer to.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::finding::Findings;
use super::place::Path;
use super::references::References;
use super::{Catalog, Condition, Step, Workflow};
use crate::expression::{
    Expression, ExpressionError, Seen, Template, is_template, single_expression,
};
use crate::ids::StepIndex;
use crate::limits::MAX_FAN_OUT_ITEMS;
use crate::plan::{Candidate, PlannedStep};
use crate::timer::Timer;

/// Compiles expressions and reports those that do not compile.
pub(super) struct Compiler<'c> {
    workflow: &'c Workflow,
    references: References<'c>,
    findings: &'c mut Findings,
}

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(super) struct Site {
    /// The step that it belongs to; none for the workflow's output.
    pub(super) step: Option<StepIndex>,
    /// Whether it sees `item` and `index`.
    pub(super) sees_item: bool,
}

impl<'c> Compiler<'c> {
    /// A compiler for the expressions of one workflow.
    pub(super) fn new(
        workflow: &'c Workflow,
        index: &'c HashMap<&'c str, StepIndex>,
        catalog: Option<&'c Catalog>,
        findings: &'c mut Findings,
    ) -> Self {
        Self { workflow, references: References::new(workflow, index, catalog), findings }
    }

    /// The job's output: it sees every step, since it is made when all have settled.
    pub(super) fn output(&mut self) -> Template {
        let site = Site { step: None, sees_item: false };
        let path = Path::ROOT.key("output");
        self.template(&self.workflow.output, path, site, &mut BTreeSet::new())
    }

    /// Compiles a tree and adds the edges that its expressions make to `needs`. A string that does
    /// not compile is reported and left out: the plan is not made then.
    fn template(
        &mut self,
        value: &Value,
        path: Path<'_>,
        site: Site,
        needs: &mut BTreeSet<StepIndex>,
    ) -> Template {
        Template::compile_all(value, path, &mut |path, seen| match seen {
            Seen::Names(names) => self.references.check(names, path, site, needs, self.findings),
            Seen::Refused(error) => refuse(error, path, self.findings),
        })
    }

    /// Compiles an expression that is a part of a field's text.
    fn expression(
        &mut self,
        (text, source): (&str, &str),
        path: Path<'_>,
        site: Site,
        needs: &mut BTreeSet<StepIndex>,
    ) -> Option<Expression> {
        match Expression::compile(source) {
            Ok(expression) => {
                self.references.check(expression.names(), path, site, needs, self.findings);
                Some(expression)
            }
            Err(error) => {
                let before = source.as_ptr().addr() - text.as_ptr().addr();
                refuse(error.moved(before), path, self.findings);
                None
            }
        }
    }

    /// The expression of an `if`, with or without braces around all of it. Braces around a part of
    /// it would make a string, and every string but the empty one is true.
    fn condition(
        &mut self,
        condition: &Condition,
        path: Path<'_>,
        site: Site,
        needs: &mut BTreeSet<StepIndex>,
    ) -> Option<Expression> {
        match condition {
            Condition::Constant(truth) => {
                let text = truth.to_string();
                self.expression((&text, &text), path, site, needs)
            }
            Condition::Expression(text) => match single_expression(text.trim()) {
                Some(source) => self.expression((text, source), path, site, needs),
                None if is_template(text) => {
                    let message = format!("`if` mixes text and braces: `{}`", text.trim());
                    let hint = "write one expression without braces: `if: input.count > 3`";
                    self.findings.add("expression.syntax", path, message, hint);
                    None
                }
                None => self.expression((text, text.trim()), path, site, needs),
            },
        }
    }

    /// The list of a `for_each`: a list with templates in it, or an expression with or without
    /// braces.
    fn for_each(
        &mut self,
        list: &Value,
        path: Path<'_>,
        site: Site,
        needs: &mut BTreeSet<StepIndex>,
    ) -> Option<Template> {
        const HINT: &str = "write a list, or an expression such as `{{ steps.split.parts }}`";
        let mut refused = |code: &str, message: String| {
            self.findings.add(code, path, message, HINT);
            None
        };
        match list {
            Value::Array(items) if items.len() > MAX_FAN_OUT_ITEMS => {
                let message = format!("`for_each` has more than {MAX_FAN_OUT_ITEMS} items");
                refused("definition.out_of_range", message)
            }
            Value::Array(_) => Some(self.template(list, path, site, needs)),
            Value::String(text) => match single_expression(text.trim()) {
                None if is_template(text) => {
                    let message = format!("`for_each` gives a string, not a list: `{text}`");
                    refused("definition.wrong_type", message)
                }
                bare => {
                    let source = bare.unwrap_or(text.trim());
                    let source = (text.as_str(), source);
                    self.expression(source, path, site, needs).map(Template::from_expression)
                }
            },
            other => {
                let message = format!("`for_each` is `{other}`, not a list");
                refused("definition.wrong_type", message)
            }
        }
    }
}

/// Compiles one step; its dependents are not known yet.
pub(super) fn compile_step(
    compiler: &mut Compiler<'_>,
    n: usize,
    step: &Step,
    path: &Path<'_>,
) -> PlannedStep {
    let index = StepIndex(u32::try_from(n).unwrap_or(u32::MAX));
    let before = Site { step: Some(index), sees_item: false };
    let inside = Site { sees_item: step.for_each.is_some(), ..before };
    let mut needs = BTreeSet::new();
    let below = path.key("needs");
    for (n, id) in step.needs.iter().enumerate() {
        let path = below.at(n);
        compiler.references.check_need(id, path, before, &mut needs, compiler.findings);
    }
    let condition = step.condition.as_ref();
    let condition =
        condition.and_then(|it| compiler.condition(it, path.key("if"), before, &mut needs));
    let for_each = step.for_each.as_ref();
    let for_each =
        for_each.and_then(|it| compiler.for_each(it, path.key("for_each"), before, &mut needs));
    let timer = timer(compiler, step, path, before, &mut needs);
    let candidates = match timer {
        Some(_) => Vec::new(),
        None => candidates(compiler, step, path, inside, &mut needs),
    };
    PlannedStep {
        id: step.id.clone(),
        needs: needs.into_iter().collect(),
        dependents: Vec::new(),
        condition,
        for_each,
        concurrency: step.concurrency,
        candidates,
        timer,
        retry: step.retry.clone(),
        timeout: step.timeout,
        on_error: step.on_error,
        cache: step.cache.unwrap_or(true),
        weight: step.weight,
    }
}

/// The step's own kind and its fallbacks.
fn candidates(
    compiler: &mut Compiler<'_>,
    step: &Step,
    path: &Path<'_>,
    inside: Site,
    needs: &mut BTreeSet<StepIndex>,
) -> Vec<Candidate> {
    let own = compiler.template(&input_of(&step.with), path.key("with"), inside, needs);
    let (uses, in_doubt) = (step.uses.clone(), step.in_doubt);
    let mut candidates = vec![Candidate { uses, with: own, in_doubt }];
    let below = path.key("fallback");
    for (n, fallback) in step.fallback.iter().enumerate() {
        let (path, inherited) = (below.at(n), path.key("with"));
        let (with, path) = match &fallback.with {
            Some(with) => (with, path.key("with")),
            None => (&step.with, inherited),
        };
        let with = compiler.template(&input_of(with), path, inside, needs);
        let (uses, in_doubt) = (fallback.uses.clone(), fallback.in_doubt);
        candidates.push(Candidate { uses, with, in_doubt });
    }
    candidates
}

/// What a timer waits for.
fn timer(
    compiler: &mut Compiler<'_>,
    step: &Step,
    path: &Path<'_>,
    site: Site,
    needs: &mut BTreeSet<StepIndex>,
) -> Option<Timer> {
    let mut template = |text: &str, word: &str| {
        compiler.template(&Value::from(text.trim()), path.key(word), site, needs)
    };
    match (&step.sleep, &step.until) {
        (Some(time), _) => Some(Timer::Sleep(template(time, "sleep"))),
        (None, Some(instant)) => Some(Timer::Until(template(instant, "until"))),
        (None, None) => None,
    }
}

/// A step without `with` gives its kind an object without fields.
fn input_of(with: &Value) -> Value {
    if with.is_null() { json!({}) } else { with.clone() }
}

/// Reports an expression that does not compile, at the very place in its text.
fn refuse(error: ExpressionError, path: Path<'_>, findings: &mut Findings) {
    let hint = error.hint.unwrap_or_else(|| "see the guide to expressions".to_owned());
    findings.add_within(error.code, path, error.offset, error.message, hint);
}
