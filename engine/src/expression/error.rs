//! Why an expression does not compile, or did not give a value.

use minijinja::ErrorKind;

use crate::definition::nearest;
use crate::failure::Failure;
use crate::limits::{MAX_EXPRESSION_BYTES, MAX_EXPRESSION_FUEL, MAX_EXPRESSION_RESULT_BYTES};

/// What is wrong with an expression, where in its text, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// Stable and dotted, such as `expression.undefined`; listed in `docs/errors.md`.
    pub code: &'static str,
    /// What is wrong, lower case, with the offending text in backticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Line in the expression's text, from 1, where it is known.
    pub line: Option<usize>,
    /// Byte in the expression's text, from 0, where it is known.
    pub offset: Option<usize>,
}

impl ExpressionError {
    /// An error without advice and place.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, line: None, offset: None }
    }

    /// The same error with advice.
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with its place, given as a byte of `text`.
    pub(super) fn at(mut self, text: &str, offset: usize) -> Self {
        let offset = text.floor_char_boundary(offset.min(text.len()));
        self.offset = Some(offset);
        self.line = Some(text[..offset].matches('\n').count() + 1);
        self
    }

    /// The same error, its place counted from `bytes` earlier.
    pub(crate) fn moved(mut self, bytes: usize) -> Self {
        self.offset = self.offset.map(|offset| offset + bytes);
        self
    }

    /// The text is longer than any expression should be.
    pub(super) fn too_long(bytes: usize) -> Self {
        Self::new("expression.too_long", format!("the expression has {bytes} bytes"))
            .with_hint(format!("at most {MAX_EXPRESSION_BYTES} bytes; compute it in a step"))
    }

    /// The value, or something on the way to it, is too large.
    pub(super) fn too_large() -> Self {
        let limit = MAX_EXPRESSION_RESULT_BYTES;
        Self::new("expression.size", format!("the result is larger than {limit} bytes"))
            .with_hint("pass large data between steps as a file")
    }

    /// The value of `source` is not there.
    pub(super) fn undefined(source: &str) -> Self {
        Self::new("expression.undefined", format!("`{}` has no value", shorten(source))).with_hint(
            "check the spelling of every part, or give it a value: `… | default('none')`",
        )
    }

    /// What minijinja says of `source`, in our words.
    pub(super) fn from_engine(error: &minijinja::Error, source: &str) -> Self {
        let detail = error.detail().unwrap_or_default();
        let place = error.range().map(|range| range.start);
        let ours = match error.kind() {
            ErrorKind::SyntaxError => Self::new(
                "expression.syntax",
                format!("`{}` is not an expression: {detail}", shorten(source)),
            )
            .with_hint("an expression is like `steps.fetch.file` or `input.count > 3`"),
            ErrorKind::UndefinedError => {
                Self::undefined(undefined_name(detail).unwrap_or_else(|| culprit(error, source)))
            }
            ErrorKind::InvalidOperation if undefined_name(detail).is_some() => {
                Self::undefined(undefined_name(detail).unwrap_or(source))
            }
            ErrorKind::OutOfFuel => Self::new(
                "expression.fuel",
                format!("`{}` takes more than {MAX_EXPRESSION_FUEL} operations", shorten(source)),
            )
            .with_hint("loop over less, or compute it in a step"),
            ErrorKind::WriteFailure => Self::too_large(),
            ErrorKind::UnknownFilter => Self::unknown("filter", detail),
            ErrorKind::UnknownTest => Self::unknown("test", detail),
            ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => {
                Self::unknown("function", detail)
            }
            kind if detail.is_empty() => Self::mistyped(source, &kind.to_string()),
            _ => Self::mistyped(source, detail),
        };
        match place {
            Some(offset) => ours.at(source, offset),
            None => Self { line: error.line(), ..ours },
        }
    }

    /// The operations of `source` do not fit their values.
    pub(super) fn mistyped(source: &str, detail: &str) -> Self {
        Self::new("expression.type", format!("`{}` cannot be computed: {detail}", shorten(source)))
            .with_hint("check the types of the values that it names")
    }

    /// A name that only shows when it is used, as in `map('nosuch')`.
    fn unknown(what: &str, detail: &str) -> Self {
        Self::new("expression.unknown_function", format!("unknown {what}: {detail}"))
            .with_hint("filters are written `value | name`; there are no other functions")
    }

    /// A filter or test of a name that is not there.
    pub(super) fn unknown_name<'n>(
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let error = Self::new("expression.unknown_function", format!("unknown {what} `{name}`"));
        match nearest(name, known) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("see the list of {what}s in the guide")),
        }
    }
}

impl From<ExpressionError> for Failure {
    fn from(error: ExpressionError) -> Self {
        let failure = Self::fatal(error.code, error.message);
        match error.hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

/// The name in minijinja's "(`steps.a.b` is undefined)".
fn undefined_name(detail: &str) -> Option<&str> {
    let (before, _) = detail.split_once("` is undefined")?;
    before.rsplit_once('`').map(|(_, name)| name)
}

/// The part of the source that minijinja points at, when it is more than a bracket or a name.
fn culprit<'s>(error: &minijinja::Error, source: &'s str) -> &'s str {
    let part = error.range().and_then(|range| source.get(range)).unwrap_or_default();
    if part.trim().is_empty() { source } else { part }
}

/// The beginning of a source, for messages.
fn shorten(source: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    let line = source.trim();
    let mut shown: String = line.chars().take(SHOWN_CHARS).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Expression;

    #[test]
    fn messages_name_what_is_wrong() {
        let table = [
            ("input.n +", "`input.n +` is not an expression: unexpected end of input"),
            ("input.n | uper", "unknown filter `uper`"),
            ("'a' * 3", "`*` beside a string or a list is not allowed"),
        ];
        for (source, expected) in table {
            let message = Expression::compile(source).err().map(|error| error.message);
            assert!(message.is_some_and(|message| message.starts_with(expected)), "{source}");
        }
    }

    #[test]
    fn long_sources_are_cut_in_messages() {
        let message = ExpressionError::undefined(&"ä".repeat(5_000)).message;
        assert!(message.chars().count() < 200 && message.contains("ä…`"), "{message}");
    }

    #[test]
    fn places_are_bytes_at_the_edge_of_a_character() {
        let error = ExpressionError::new("c", "m").at("a\nä", 3);
        assert_eq!((error.line, error.offset), (Some(2), Some(2)));
        assert_eq!(error.moved(10).offset, Some(12));
        assert_eq!(ExpressionError::new("c", "m").at("ab", 99).offset, Some(2));
    }

    #[test]
    fn undefined_names_are_read_from_the_detail() {
        assert_eq!(undefined_name("tried to + (`steps.a.b` is undefined)"), Some("steps.a.b"));
        assert_eq!(undefined_name("tried to +"), None);
    }
}
