//! What the language does not allow although minijinja would: whatever makes much out of little
//! without spending fuel, and whatever would only be found missing when the job runs.

use super::ExpressionError;
use super::environment;
use super::tokens::{Segment, Token, TokenKind, segments, words};

/// `~` and `+` in one string: each may copy all that stands before it.
const MAX_JOINS_COUNT: usize = 64;

/// Values that one expression may name: each may be as large as a step's output, and joining them
/// copies them all.
const MAX_VALUES_COUNT: usize = 256;

/// Statements that templates may use. Names cannot be set, so no value can grow from statement to
/// statement.
const STATEMENTS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "break", "continue"];

/// Words that stand before a bracket without being called.
const KEYWORDS: [&str; 7] = ["and", "or", "not", "in", "is", "if", "else"];

/// Whether a string has anything to compile.
pub(super) fn has_braces(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The expression in a string that is exactly one `{{ … }}`, but for a last line break as YAML's
/// block strings have it.
pub(super) fn single_expression(text: &str) -> Option<&str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if !text.starts_with("{{") || !text.ends_with("}}") || text.len() < 4 {
        return None;
    }
    match segments(text).as_slice() {
        [only] if !only.is_block && only.start == 0 && only.end == text.len() => {
            let inner = text.get(2..text.len() - 2)?;
            let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
            Some(inner.strip_suffix(['-', '+']).unwrap_or(inner).trim())
        }
        _ => None,
    }
}

/// The names of an expression that is nothing but names and dots below one of the roots.
pub(super) fn path(source: &str) -> Option<Vec<String>> {
    let tokens = words(source);
    let root = tokens.first()?;
    if !["input", "steps", "item", "index", "job"].contains(&root.text) {
        return None;
    }
    let is_path = tokens.iter().enumerate().all(|(at, token)| match at % 2 {
        0 => token.kind == TokenKind::Name,
        _ => token.is("."),
    });
    let names = tokens.iter().step_by(2).map(|token| token.text.to_owned());
    (is_path && tokens.len() % 2 == 1).then(|| names.collect())
}

/// Checks a bare expression.
pub(super) fn check_expression(source: &str) -> Result<(), ExpressionError> {
    Checker { source, joins: 0 }.check(&words(source))
}

/// Checks every expression and statement of a template.
pub(super) fn check_template(source: &str) -> Result<(), ExpressionError> {
    let mut checker = Checker { source, joins: 0 };
    segments(source).iter().try_for_each(|segment| checker.check_segment(segment))
}

struct Checker<'s> {
    source: &'s str,
    joins: usize,
}

impl Checker<'_> {
    fn check_segment(&mut self, segment: &Segment<'_>) -> Result<(), ExpressionError> {
        if segment.is_block {
            let Some(statement) = segment.tokens.first() else { return Ok(()) };
            if !STATEMENTS.contains(&statement.text) {
                return Err(self.refused(
                    statement,
                    format!("the statement `{}` is not allowed here", statement.text),
                    "templates have `if` and `for`; compute other values in a step of their own",
                ));
            }
            let grows = |token: &&Token<'_>| ["~", "+", "*"].iter().any(|sign| token.is(sign));
            if statement.text == "for"
                && let Some(token) = segment.tokens.iter().find(grows)
            {
                return Err(self.refused(
                    token,
                    format!("`{}` is not allowed in the list of a `for`", token.text),
                    "loop over a value of a step or of the input",
                ));
            }
        }
        self.check(&segment.tokens)
    }

    fn check(&mut self, tokens: &[Token<'_>]) -> Result<(), ExpressionError> {
        let mut brackets: Vec<Bracket> = Vec::new();
        let mut closed = None;
        let mut values = 0;
        for (at, token) in tokens.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| &tokens[at]);
            let after = tokens.get(at + 1);
            match token.kind {
                TokenKind::Name => {
                    values += usize::from(!before.is_some_and(|it| it.is(".") || it.is("|")));
                    if values > MAX_VALUES_COUNT {
                        let message = format!("more than {MAX_VALUES_COUNT} values are named");
                        return Err(self.refused(token, message, "compute the value in a step"));
                    }
                    self.check_name(tokens, at)?;
                }
                TokenKind::Operator => match token.text {
                    "*" => self.check_product(token, before, after, closed)?,
                    "~" | "+" => self.check_join(token, &brackets)?,
                    "(" | "[" | "{" => brackets
                        .push(Bracket { literal: opens_literal(token, before), data: false }),
                    ")" | "]" | "}" => closed = brackets.pop(),
                    _ => {}
                },
                TokenKind::Text | TokenKind::Number => {}
            }
            let is_data = token.kind == TokenKind::Text
                || matches!(token.text, "]" | "}") && closed.is_some_and(|group| group.literal);
            if is_data && let Some(around) = brackets.last_mut() {
                around.data = true;
            }
        }
        Ok(())
    }

    /// A name that is a filter, a test or a function has to be one that there is.
    fn check_name(&self, tokens: &[Token<'_>], at: usize) -> Result<(), ExpressionError> {
        let name = &tokens[at];
        let before = at.checked_sub(1).map(|at| &tokens[at]);
        let is_called = tokens.get(at + 1).is_some_and(|token| token.is("("));
        let unknown = |what: &str, known: &[&str]| {
            let error = ExpressionError::unknown_name(what, name.text, known.iter().copied());
            Err(error.at(self.source, name.offset))
        };
        match before {
            Some(before) if before.is("|") => {
                let known = environment::filters();
                if known.contains(&name.text) { Ok(()) } else { unknown("filter", known) }
            }
            Some(before) if before.is_name("is") || is_negated_test(tokens, at) => {
                let known = environment::tests();
                let is_test = known.contains(&name.text) || name.text == "not";
                if is_test { Ok(()) } else { unknown("test", known) }
            }
            Some(before) if before.is(".") && is_called => Err(self.refused(
                name,
                format!("`.{}(…)` is not allowed: values have no methods", name.text),
                format!("use a filter, such as `… | {}`", name.text),
            )),
            _ if is_called && !KEYWORDS.contains(&name.text) && name.text != "range" => {
                unknown("function", &["range"])
            }
            _ => Ok(()),
        }
    }

    /// `*` repeats strings and lists, and fuel does not price that.
    fn check_product(
        &self,
        token: &Token<'_>,
        before: Option<&Token<'_>>,
        after: Option<&Token<'_>>,
        closed: Option<Bracket>,
    ) -> Result<(), ExpressionError> {
        let repeats_before = before.is_some_and(|before| match before.text {
            ")" => closed.is_some_and(|group| group.data),
            "]" | "}" => closed.is_some_and(|group| group.literal),
            _ => before.kind == TokenKind::Text,
        });
        let repeats_after =
            after.is_some_and(|after| after.kind == TokenKind::Text || after.is("["));
        if repeats_before || repeats_after {
            return Err(self.refused(
                token,
                "`*` beside a string or a list is not allowed",
                "`*` is for numbers",
            ));
        }
        Ok(())
    }

    fn check_join(
        &mut self,
        token: &Token<'_>,
        brackets: &[Bracket],
    ) -> Result<(), ExpressionError> {
        self.joins += 1;
        if self.joins > MAX_JOINS_COUNT {
            return Err(self.refused(
                token,
                format!("more than {MAX_JOINS_COUNT} times `~` or `+`"),
                "use `join`, or compute the value in a step",
            ));
        }
        if brackets.iter().filter(|bracket| bracket.literal).count() > 1 {
            return Err(self.refused(
                token,
                format!("`{}` is not allowed in a list within a list", token.text),
                "write the list in the definition itself, with a template as each item",
            ));
        }
        Ok(())
    }

    fn refused(
        &self,
        token: &Token<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> ExpressionError {
        ExpressionError::new("expression.refused", message)
            .with_hint(hint)
            .at(self.source, token.offset)
    }
}

#[derive(Clone, Copy)]
struct Bracket {
    /// A list or map literal, not a subscript, a call or a group.
    literal: bool,
    /// Whether a string or a literal stands directly inside.
    data: bool,
}

fn opens_literal(token: &Token<'_>, before: Option<&Token<'_>>) -> bool {
    let follows_value = before.is_some_and(|before| match before.kind {
        TokenKind::Name => !KEYWORDS.contains(&before.text),
        TokenKind::Text | TokenKind::Number => true,
        TokenKind::Operator => matches!(before.text, ")" | "]" | "}"),
    });
    token.is("{") || token.is("[") && !follows_value
}

fn is_negated_test(tokens: &[Token<'_>], at: usize) -> bool {
    at >= 2 && tokens[at - 1].is_name("not") && tokens[at - 2].is_name("is")
}
