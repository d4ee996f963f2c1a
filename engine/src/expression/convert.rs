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
    /// The whole of it.
    pub(super) fn new() -> Self {
        Self(MAX_EXPRESSION_RESULT_BYTES)
    }

    /// Takes some of it, if there is enough left.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), ExpressionError> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(ExpressionError::too_large)?;
        Ok(())
    }

    /// How many bytes are left.
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

/// Converts the value of one expression.
struct Converter<'c> {
    source: &'c str,
    budget: &'c mut Budget,
}

impl Converter<'_> {
    /// The value as JSON. A lazy list is walked here for the first time, so this is where its
    /// errors and its true size come to light.
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
            ValueKind::Invalid => Err(self.invalid(term)),
            other => Err(self.mistyped(&format!("JSON has no {other}"))),
        }
    }

    /// A value of a few bytes.
    fn scalar(&mut self, value: Value) -> Result<Value, ExpressionError> {
        self.budget.spend(4)?;
        Ok(value)
    }

    /// minijinja counts with 128 bits, JSON with 64; what does not fit is an error, for a number
    /// that is nearly right is worse than none.
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

    /// A list, its items counted before they are kept.
    fn list(&mut self, term: &Term, depth: usize) -> Result<Value, ExpressionError> {
        self.budget.spend(2)?;
        let mut items = Vec::new();
        for item in self.iterate(term)? {
            self.budget.spend(1)?;
            items.push(self.convert(&item, depth + 1)?);
        }
        Ok(Value::Array(items))
    }

    /// An object. Keys that are numbers or truth values become text, as Python's `json` does it.
    fn map(&mut self, term: &Term, depth: usize) -> Result<Value, ExpressionError> {
        self.budget.spend(2)?;
        let mut map = Map::new();
        for key in self.iterate(term)? {
            let value = term
                .get_item(&key)
                .map_err(|error| ExpressionError::from_engine(&error, self.source))?;
            let key = match key.kind() {
                ValueKind::String | ValueKind::Number => key.to_string(),
                ValueKind::Bool => key.is_true().to_string(),
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

    /// The error that a value is: an item of a lazy list that could not be made.
    fn invalid(&self, term: &Term) -> ExpressionError {
        let inside = Term::from(vec![term.clone()]);
        match inside.try_iter().map(|items| items.checked().next()) {
            Ok(Some(Err(error))) => ExpressionError::from_engine(&error, self.source),
            _ => self.mistyped("the value is broken"),
        }
    }

    fn mistyped(&self, detail: &str) -> ExpressionError {
        ExpressionError::mistyped(self.source, detail)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn back(term: &Term) -> Result<Value, &'static str> {
        to_json(term, "source", &mut Budget::new()).map_err(|error| error.code)
    }

    #[test]
    fn json_survives_the_way_there_and_back() {
        let values = [
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1.0),
            json!(-0.0),
            json!(0.1),
            json!(f64::MAX),
            json!(5e-324),
            json!(9007199254740993u64),
            json!(""),
            json!("ä\u{0}\n\"{{ x }}"),
            json!([]),
            json!({}),
            json!([null, [1, [2.5]], { "a": { "": [] } }]),
        ];
        for value in values {
            assert_eq!(back(&to_term(&value)), Ok(value));
        }
    }

    #[test]
    fn what_json_has_no_word_for_is_an_error() {
        let table = [
            (Term::UNDEFINED, "expression.undefined"),
            (Term::from(vec![Term::from(1), Term::UNDEFINED]), "expression.undefined"),
            (Term::from(f64::NAN), "expression.type"),
            (Term::from(f64::INFINITY), "expression.type"),
            (Term::from(u128::MAX), "expression.type"),
            (Term::from(i128::MIN), "expression.type"),
            (Term::from_bytes(vec![1]), "expression.type"),
            (Term::from_pairs([(Term::from(vec![1]), 1)]), "expression.type"),
            (
                Term::from(minijinja::Error::from(minijinja::ErrorKind::OutOfFuel)),
                "expression.fuel",
            ),
        ];
        for (term, code) in table {
            assert_eq!(back(&term), Err(code), "{term:?}");
        }
    }

    #[test]
    fn keys_become_text_and_wide_numbers_fit_if_they_can() {
        assert_eq!(back(&Term::from_pairs([(1, "a")])), Ok(json!({ "1": "a" })));
        assert_eq!(back(&Term::from_pairs([(true, "a")])), Ok(json!({ "true": "a" })));
        assert_eq!(back(&Term::from(u128::from(u64::MAX))), Ok(json!(u64::MAX)));
        assert_eq!(back(&Term::from(i128::from(i64::MIN))), Ok(json!(i64::MIN)));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let mut deep = Term::from(1);
        for _ in 0..=MAX_NESTING_DEPTH {
            deep = Term::from(vec![deep]);
        }
        assert_eq!(back(&deep), Err("expression.type"));
        let endless = Term::make_iterable(|| (0u64..).map(Term::from));
        assert_eq!(back(&endless), Err("expression.size"));
        let long = "x".repeat(MAX_EXPRESSION_RESULT_BYTES);
        assert_eq!(back(&Term::from(long.as_str())), Err("expression.size"));
        let wide = Term::from_pairs([(long.as_str(), 1)]);
        assert_eq!(back(&wide), Err("expression.size"));
    }

    #[test]
    fn a_value_costs_the_same_however_it_is_taken_over() {
        let value = json!({ "a": [1, "text", null], "b": { "c": true } });
        let (mut one, mut other) = (Budget::new(), Budget::new());
        spend_json(&value, &mut one).unwrap();
        to_json(&to_term(&value), "source", &mut other).unwrap();
        assert_eq!(one.left(), other.left());
    }
}
