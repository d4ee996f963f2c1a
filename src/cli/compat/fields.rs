//! A request's fields, read as the original reads them: defaults where they are absent, unknown
//! ones left alone, all that is wrong reported at once.

use serde_json::{Map, Value, json};

use super::answers::Detail;

/// The fields of one body.
pub(super) struct Fields {
    fields: Map<String, Value>,
    wrong: Vec<Value>,
}

impl Fields {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub(super) fn read(body: &[u8]) -> Result<Self, Detail> {
        let said = match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => return Ok(Self { fields, wrong: Vec::new() }),
            Ok(other) => misfit("dict_type", json!(["body"]), "Input should be an object", &other),
            Err(error) => {
                let message = format!("JSON decode error: {error}");
                misfit("json_invalid", json!(["body"]), &message, &json!({}))
            }
        };
        Err(Detail::unprocessable(vec![said]))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Everything that was wrong.
    pub(super) fn close(self) -> Result<(), Detail> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Detail::unprocessable(self.wrong)) }
    }

    /// An address that has to be there.
    pub(super) fn url(&mut self, name: &str) -> Value {
        match self.fields.get(name).cloned() {
            Some(value) => self.check_url(json!(["body", name]), value),
            None => self.missing(name),
        }
    }

    /// A list of at least one address that has to be there.
    pub(super) fn urls(&mut self, name: &str) -> Value {
        match self.fields.get(name).cloned() {
            Some(Value::Array(items)) if !items.is_empty() => {
                let items = items.into_iter().enumerate();
                items.map(|(n, item)| self.check_url(json!(["body", name, n]), item)).collect()
            }
            Some(Value::Array(items)) => {
                let said = "List should have at least 1 item after validation, not 0";
                self.refuse("too_short", json!(["body", name]), said, &Value::Array(items))
            }
            Some(other) => {
                let said = "Input should be a valid list";
                self.refuse("list_type", json!(["body", name]), said, &other)
            }
            None => self.missing(name),
        }
    }

    /// A text that may be absent.
    pub(super) fn text(&mut self, name: &str, default: &str) -> Value {
        match self.fields.get(name).cloned() {
            None => json!(default),
            Some(Value::String(text)) => json!(text),
            Some(other) => {
                let said = "Input should be a valid string";
                self.refuse("string_type", json!(["body", name]), said, &other)
            }
        }
    }

    /// A number from 0 that may be absent.
    pub(super) fn number(&mut self, name: &str, default: f64, most: f64) -> f64 {
        let Some(value) = self.fields.get(name).cloned() else { return default };
        let said = match numeric(&value) {
            Some(number) if (0.0..=most).contains(&number) => return number,
            Some(number) if number < 0.0 => bound("greater_than_equal", 0.0),
            Some(_) => bound("less_than_equal", most),
            None => ("float_type", "Input should be a valid number".to_owned()),
        };
        self.refuse(said.0, json!(["body", name]), &said.1, &value);
        default
    }

    /// A whole number within bounds that may be absent.
    pub(super) fn whole(&mut self, name: &str, default: u64, least: u64, most: u64) -> u64 {
        let Some(value) = self.fields.get(name).cloned() else { return default };
        let said = match numeric(&value) {
            Some(number) if number.fract() != 0.0 => {
                ("int_type", "Input should be a valid integer".to_owned())
            }
            Some(number) if number < least as f64 => bound("greater_than_equal", least as f64),
            Some(number) if number > most as f64 => bound("less_than_equal", most as f64),
            Some(number) => return number as u64,
            None => ("int_type", "Input should be a valid integer".to_owned()),
        };
        self.refuse(said.0, json!(["body", name]), &said.1, &value);
        default
    }

    /// Whether an address can be fetched at all; whether it may be is seen when it is.
    fn check_url(&mut self, place: Value, value: Value) -> Value {
        let Some((scheme, rest)) = value.as_str().and_then(|text| text.split_once("://")) else {
            return self.refuse("url_parsing", place, "Input should be a valid URL", &value);
        };
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            let said = "URL scheme should be 'http' or 'https'";
            return self.refuse("url_scheme", place, said, &value);
        }
        if rest.is_empty() || rest.starts_with(['/', '?', '#']) {
            let said = "Input should be a valid URL, empty host";
            return self.refuse("url_parsing", place, said, &value);
        }
        value
    }

    fn missing(&mut self, name: &str) -> Value {
        let body = Value::Object(self.fields.clone());
        self.refuse("missing", json!(["body", name]), "Field required", &body)
    }

    fn refuse(&mut self, kind: &str, place: Value, message: &str, input: &Value) -> Value {
        self.wrong.push(misfit(kind, place, message, input));
        Value::Null
    }
}

/// A number as the original takes it: written as one, or as a text that is one.
fn numeric(value: &Value) -> Option<f64> {
    let text = value.as_str().and_then(|text| text.trim().parse().ok());
    value.as_f64().or(text).filter(|number: &f64| number.is_finite())
}

fn bound(kind: &'static str, limit: f64) -> (&'static str, String) {
    let words = kind.replace('_', " ").replace("equal", "or equal to");
    (kind, format!("Input should be {words} {limit}"))
}

/// One thing that is wrong, in the original's shape.
fn misfit(kind: &str, place: Value, message: &str, input: &Value) -> Value {
    json!({ "type": kind, "loc": place, "msg": message, "input": input })
}
