//! From minijinja's values back to JSON: exact for what came from JSON, bounded in size and depth,
//! and an error for what JSON has no word for.

use minijinja::Value as Term;
use minijinja::value::ValueKind;
use serde_json::{Map, Number, Value};

use super::ExpressionError;
use crate::limits::{MAX_EXPRESSION_RESULT_BYTES, MAX_NESTING_DEPTH};

/// What is left of the size that one rendering may have.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Self {
        Self(MAX_EXPRESSION_RESULT_BYTES)
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), ExpressionError> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(ExpressionError::too_large)?;
        Ok(())
    }

    pub(super) fn left(&self) -> usize {
        self.0
    }
}

/// A JSON value as minijinja has it.
pub(super) fn to_term(value: &Value) -> Term {
    match value {
        Value::Null => Term::from(()),
        Value::Bool(truth) => Term::from(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(unsigned), _, _) => Term::from(unsigned),
            (_, Some(signed), _) => Term::from(signed),
            (_, _, float) => Term::from(float.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Term::from(text.as_str()),
        Value::Array(items) => Term::from(items.iter().map(to_term).collect::<Vec<_>>()),
        Value::Object(map) => {
            Term::from_pairs(map.iter().map(|(key, value)| (key.as_str(), to_term(value))))
        }
    }
}

/// The value of `source` as JSON.
pub(super) fn to_json(
    term: &Term,
    source: &str,
    budget: &mut Budget,
) -> Result<Value, ExpressionError> {
    Converter { source, budget }.convert(term, 0)
}

/// Counts a value that is taken over as it is.
pub(super) fn spend_json(value: &Value, budget: &mut Budget) -> Result<(), ExpressionError> {
    match value {
        Value::String(text) => budget.spend(text.len() + 2),
        Value::Array(items) => {
            budget.spend(2 + items.len())?;
            items.iter().try_for_each(|item| spend_json(item, budget))
        }
        Value::Object(map) => {
            budget.spend(2)?;
            map.iter().try_for_each(|(key, value)| {
                budget.spend(key.len() + 4)?;
                spend_json(value, budget)
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => budget.spend(4),
    }
}

struct Converter<'c> {
    source: &'c str,
    budget: &'c mut Budget,
}

impl Converter<'_> {
    fn convert(&mut self, term: &Term, depth: usize) -> Result<Value, ExpressionError> {
        if depth > MAX_NESTING_DEPTH {
            return Err(self.mistyped(&format!("it nests deeper than {MAX_NESTING_DEPTH}")));
        }
        match term.kind() {
            ValueKind::None => self.scalar(Value::Null),
            ValueKind::Bool => self.scalar(Value::Bool(term.is_true())),
            ValueKind::Number => {
                let number = self.number(term)?;
                self.scalar(Value::Number(number))
            }
            ValueKind::String => {
                let text = term.as_str().unwrap_or_default();
                self.budget.spend(text.len() + 2)?;
                Ok(Value::String(text.to_owned()))
            }
            ValueKind::Seq | ValueKind::Iterable => self.list(term, depth),
            ValueKind::Map => self.map(term, depth),
            ValueKind::Undefined => Err(ExpressionError::undefined(self.source)),
            // A value that is itself an error: reading it gives the error.
            ValueKind::Invalid => match term.try_iter() {
                Err(error) => Err(ExpressionError::from_engine(&error, self.source)),
                Ok(_) => Err(self.mistyped("the value is broken")),
            },
            other => Err(self.mistyped(&format!("JSON has no {other}"))),
        }
    }

    fn scalar(&mut self, value: Value) -> Result<Value, ExpressionError> {
        self.budget.spend(4)?;
        Ok(value)
    }

    fn number(&self, term: &Term) -> Result<Number, ExpressionError> {
        if !term.is_integer() {
            let float = f64::try_from(term.clone()).ok().and_then(Number::from_f64);
            return float.ok_or_else(|| self.mistyped("the number is not finite"));
        }
        let unsigned = u64::try_from(term.clone()).map(Number::from);
        unsigned
            .or_else(|_| i64::try_from(term.clone()).map(Number::from))
            .map_err(|_| self.mistyped("the whole number does not fit 64 bits"))
    }

    fn list(&mut self, term: &Term, depth: usize) -> Result<Value, ExpressionError> {
        self.budget.spend(2)?;
        let mut items = Vec::new();
        for item in self.iterate(term)? {
            self.budget.spend(1)?;
            items.push(self.convert(&item, depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, term: &Term, depth: usize) -> Result<Value, ExpressionError> {
        self.budget.spend(2)?;
        let mut map = Map::new();
        for key in self.iterate(term)? {
            let value = term
                .get_item(&key)
                .map_err(|error| ExpressionError::from_engine(&error, self.source))?;
            let key = match key.kind() {
                ValueKind::String | ValueKind::Number | ValueKind::Bool => key.to_string(),
                other => return Err(self.mistyped(&format!("a key of an object is a {other}"))),
            };
            self.budget.spend(key.len() + 4)?;
            map.insert(key, self.convert(&value, depth + 1)?);
        }
        Ok(Value::Object(map))
    }

    fn iterate(&self, term: &Term) -> Result<minijinja::value::ValueIter, ExpressionError> {
        term.try_iter().map_err(|error| ExpressionError::from_engine(&error, self.source))
    }

    fn mistyped(&self, detail: &str) -> ExpressionError {
        ExpressionError::mistyped(self.source, detail)
    }
}
