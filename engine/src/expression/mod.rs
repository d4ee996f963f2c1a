//! Expressions: how one step's output becomes another step's input.
//!
//! The language is minijinja's, with no clock, no randomness, no files and a bound on work and
//! size. Data is never evaluated a second time.

mod convert;
mod environment;
mod error;
mod filters;
mod lint;
mod names;
mod template;
mod tokens;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

pub use error::ExpressionError;
pub use names::Reference;
pub(crate) use template::Seen;
pub use template::Template;

use crate::ids::{ItemIndex, JobId};
use crate::limits::MAX_EXPRESSION_BYTES;
use crate::time::Timestamp;
use convert::{Budget, spend_json, to_json};
pub(crate) use names::Names;

/// What an expression can see.
pub struct Scope<'a> {
    /// `input`: the job's input.
    pub input: &'a Value,
    /// `steps.ID`: the output of a step that has settled.
    pub steps: Box<dyn Fn(&str) -> Option<&'a Value> + 'a>,
    /// `item` and `index` inside a `for_each`.
    pub item: Option<(&'a Value, ItemIndex)>,
    /// `job.id` and `job.submitted_at`.
    pub job: JobFacts,
}

/// What an expression can see of its own job.
#[derive(Clone, Copy, Debug)]
pub struct JobFacts {
    /// `job.id`, as text.
    pub id: JobId,
    /// `job.submitted_at`, milliseconds since 1970.
    pub submitted_at: Timestamp,
}

impl JobFacts {
    fn to_json(self) -> Value {
        json!({ "id": self.id.to_string(), "submitted_at": self.submitted_at.0 })
    }
}

/// One expression, compiled: `steps.fetch.seconds > 60 and input.tier == 'pro'`.
pub struct Expression {
    source: String,
    names: Names,
    form: Form,
}

enum Form {
    /// Nothing but names and dots: looked up in the JSON itself, so that nothing is converted and
    /// nothing can change on the way.
    Path(Vec<String>),
    Compiled(minijinja::Expression<'static, 'static>),
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// The expression in a string that is exactly one `{{ … }}`.
pub(crate) fn single_expression(text: &str) -> Option<&str> {
    lint::single_expression(text)
}

/// Whether a string is rendered rather than taken as it is.
pub(crate) fn is_template(text: &str) -> bool {
    lint::has_braces(text)
}

impl Expression {
    /// Compiles an expression, without braces around it.
    ///
    /// # Errors
    /// When the text is too long, is not an expression, or uses what is not allowed.
    pub fn compile(source: impl Into<String>) -> Result<Self, ExpressionError> {
        let source = source.into();
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(ExpressionError::too_long(source.len()));
        }
        lint::check_expression(&source)?;
        let compiled = environment::shared()
            .compile_expression_owned(source.clone())
            .map_err(|error| ExpressionError::from_engine(&error, &source))?;
        let names = Names::new(compiled.undeclared_variables(true));
        let form = match lint::path(&source) {
            Some(path) => Form::Path(path),
            None => Form::Compiled(compiled),
        };
        Ok(Self { source, names, form })
    }

    /// The expression's text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Everything that the expression refers to.
    #[must_use]
    pub fn references(&self) -> BTreeSet<Reference> {
        self.names.references().collect()
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// The expression's value.
    ///
    /// # Errors
    /// When a name has no value, the types do not fit, or the work or the result is too large.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        self.evaluate_within(scope, &mut Budget::new())
    }

    /// Whether the expression's value counts as true: not `false`, `none`, zero or empty.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn is_true(&self, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        Ok(match self.evaluate(scope)? {
            Value::Null => false,
            Value::Bool(truth) => truth,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
        })
    }

    fn evaluate_within(
        &self,
        scope: &Scope<'_>,
        budget: &mut Budget,
    ) -> Result<Value, ExpressionError> {
        match &self.form {
            Form::Path(path) => {
                let found = self.look_up(path, scope)?;
                spend_json(&found, budget)?;
                Ok(found)
            }
            Form::Compiled(compiled) => {
                let term = compiled
                    .eval(self.names.context(scope))
                    .map_err(|error| ExpressionError::from_engine(&error, &self.source))?;
                to_json(&term, &self.source, budget)
            }
        }
    }

    fn look_up(&self, path: &[String], scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        let job;
        let (root, rest): (Option<&Value>, &[String]) = match path {
            [root, rest @ ..] if root == "input" => (Some(scope.input), rest),
            [root, id, rest @ ..] if root == "steps" => ((scope.steps)(id), rest),
            [root, rest @ ..] if root == "item" => (scope.item.map(|(item, _)| item), rest),
            [root] if root == "index" => {
                let index = scope.item.map(|(_, index)| Value::from(index.0));
                return index.ok_or_else(|| ExpressionError::undefined(&self.source));
            }
            [root, rest @ ..] if root == "job" => {
                job = scope.job.to_json();
                (Some(&job), rest)
            }
            _ => (None, &[]),
        };
        root.and_then(|root| rest.iter().try_fold(root, |value, name| value.get(name)))
            .cloned()
            .ok_or_else(|| ExpressionError::undefined(&self.source))
    }
}
