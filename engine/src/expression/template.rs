//! Templates: a JSON tree whose strings may hold expressions.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use minijinja::Environment;
use serde_json::{Map, Value};

use super::convert::{Budget, spend_json};
use super::names::Names;
use super::{Expression, ExpressionError, Reference, Scope, environment, lint};
use crate::definition::Path;
use crate::limits::MAX_EXPRESSION_BYTES;

/// A JSON tree with `{{ … }}` in its strings, compiled.
///
/// A string that is exactly one `{{ … }}` keeps the type of its value; any other string with braces
/// renders to a string; everything else stands for itself.
#[derive(Debug)]
pub struct Template {
    root: Part,
}

/// Is told of every expression in a tree.
pub(crate) type See<'s> = dyn FnMut(Path<'_>, Seen<'_>) + 's;

/// What became of one string of a tree.
pub(crate) enum Seen<'n> {
    /// It compiled, and names these values.
    Names(&'n Names),
    /// It does not compile.
    Refused(ExpressionError),
}

#[derive(Debug)]
enum Part {
    Constant(Value),
    Whole(Expression),
    Mixed(Mixed),
    List(Vec<Part>),
    Map(Vec<(String, Part)>),
}

/// A string with text and expressions. It owns an environment because minijinja lets a template
/// borrow its source from nowhere else; all but the template itself is shared.
struct Mixed {
    environment: Environment<'static>,
    source: String,
    names: Names,
}

impl fmt::Debug for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mixed").field(&self.source).finish()
    }
}

impl Template {
    /// Compiles every string of a tree.
    ///
    /// # Errors
    /// The first string that does not compile.
    pub fn compile(value: &Value) -> Result<Self, ExpressionError> {
        let mut first = None;
        let template = Self::compile_all(value, Path::ROOT, &mut |_, seen| {
            if let Seen::Refused(error) = seen {
                first.get_or_insert(error);
            }
        });
        first.map_or(Ok(template), Err)
    }

    /// Compiles every string of a tree and tells of each expression, where it stands and what it
    /// names; a string that does not compile is told of as well and left out.
    pub(crate) fn compile_all(value: &Value, path: Path<'_>, see: &mut See<'_>) -> Self {
        Self { root: Part::compile(value, path, see) }
    }

    /// The template whose value is that of an expression.
    #[must_use]
    pub fn from_expression(expression: Expression) -> Self {
        Self { root: Part::Whole(expression) }
    }

    /// A template that stands for itself.
    #[must_use]
    pub fn constant(value: Value) -> Self {
        Self { root: Part::Constant(value) }
    }

    /// Everything that the tree's expressions refer to.
    #[must_use]
    pub fn references(&self) -> BTreeSet<Reference> {
        let mut found = BTreeSet::new();
        self.root.visit_names(&mut |names| found.extend(names.references()));
        found
    }

    /// The tree with every expression replaced by its value.
    ///
    /// # Errors
    /// The first expression that gives no value, or a result that is too large.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        self.root.render(scope, &mut Budget::new())
    }
}

impl Part {
    /// A tree without expressions is kept as it is, so that rendering it is a copy.
    fn compile(value: &Value, path: Path<'_>, see: &mut See<'_>) -> Self {
        match value {
            Value::String(text) => match Self::compile_text(text) {
                Ok(part) => {
                    part.visit_names(&mut |names| see(path, Seen::Names(names)));
                    part
                }
                Err(error) => {
                    see(path, Seen::Refused(error));
                    Self::Constant(Value::Null)
                }
            },
            Value::Array(items) => {
                let parts = items.iter().enumerate();
                let parts: Vec<Self> =
                    parts.map(|(n, item)| Self::compile(item, path.at(n), see)).collect();
                match parts.iter().all(Self::is_constant) {
                    true => Self::Constant(value.clone()),
                    false => Self::List(parts),
                }
            }
            Value::Object(map) => {
                let parts: Vec<(String, Self)> = map
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::compile(value, path.key(key), see)))
                    .collect();
                match parts.iter().all(|(_, part)| part.is_constant()) {
                    true => Self::Constant(value.clone()),
                    false => Self::Map(parts),
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Constant(value.clone()),
        }
    }

    /// One string.
    fn compile_text(text: &str) -> Result<Self, ExpressionError> {
        if let Some(expression) = lint::single_expression(text) {
            let before = expression.as_ptr().addr() - text.as_ptr().addr();
            let refused = |error: ExpressionError| error.moved(before);
            return Expression::compile(expression).map(Self::Whole).map_err(refused);
        }
        if lint::has_braces(text) {
            return Mixed::compile(text).map(Self::Mixed);
        }
        Ok(Self::Constant(Value::String(text.to_owned())))
    }

    /// Whether the part stands for itself.
    fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// Calls back with the names of every expression in this part.
    fn visit_names(&self, visit: &mut dyn FnMut(&Names)) {
        match self {
            Self::Constant(_) => {}
            Self::Whole(expression) => visit(expression.names()),
            Self::Mixed(mixed) => visit(&mixed.names),
            Self::List(parts) => parts.iter().for_each(|part| part.visit_names(visit)),
            Self::Map(parts) => parts.iter().for_each(|(_, part)| part.visit_names(visit)),
        }
    }

    /// The part with every expression replaced by its value, within what is left of the budget.
    fn render(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<Value, ExpressionError> {
        Ok(match self {
            Self::Constant(value) => {
                spend_json(value, budget)?;
                value.clone()
            }
            Self::Whole(expression) => expression.evaluate_within(scope, budget)?,
            Self::Mixed(mixed) => Value::String(mixed.render(scope, budget)?),
            Self::List(parts) => {
                let items = parts.iter().map(|part| part.render(scope, budget));
                Value::Array(items.collect::<Result<Vec<_>, _>>()?)
            }
            Self::Map(parts) => {
                let entries =
                    parts.iter().map(|(key, part)| Ok((key.clone(), part.render(scope, budget)?)));
                Value::Object(entries.collect::<Result<Map<_, _>, _>>()?)
            }
        })
    }
}

impl Mixed {
    /// The only template of its environment.
    const NAME: &'static str = "template";

    /// Compiles the string, and reads what it names.
    fn compile(source: &str) -> Result<Self, ExpressionError> {
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(ExpressionError::too_long(source.len()));
        }
        lint::check_template(source)?;
        let mut environment = environment::shared().clone();
        let refused = |error| ExpressionError::from_engine(&error, source);
        environment.add_template_owned(Self::NAME, source.to_owned()).map_err(refused)?;
        let names = environment.get_template(Self::NAME).map_err(refused)?;
        let names = Names::new(names.undeclared_variables(true));
        Ok(Self { environment, source: source.to_owned(), names })
    }

    /// Writes the text, up to the budget. A value that is not there is an error: strict mode
    /// refuses to print it.
    fn render(&self, scope: &Scope<'_>, budget: &mut Budget) -> Result<String, ExpressionError> {
        let mut written = Bounded { text: Vec::new(), limit: budget.left() };
        let refused = |error| ExpressionError::from_engine(&error, &self.source);
        let template = self.environment.get_template(Self::NAME).map_err(refused)?;
        template.render_captured_to(self.names.context(scope), &mut written).map_err(refused)?;
        budget.spend(written.text.len())?;
        String::from_utf8(written.text)
            .map_err(|_| ExpressionError::mistyped(&self.source, "the text is not UTF-8"))
    }
}

/// Takes what a template writes, up to a limit.
struct Bounded {
    text: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.limit {
            return Err(io::Error::other("the text is too long"));
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
