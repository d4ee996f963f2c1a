//! What the language does not allow although minijinja would: whatever makes much out of little
//! without spending fuel, and whatever would only be found missing when the job runs.

use super::ExpressionError;
use super::environment;
use super::tokens::{Segment, Token, TokenKind, segments, words};
use crate::limits::{MAX_EXPRESSION_JOINS_COUNT, MAX_EXPRESSION_VALUES_COUNT};

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

/// Walks over the words of one string.
struct Checker<'s> {
    source: &'s str,
    joins: usize,
}

impl Checker<'_> {
    /// Checks one pair of braces. In the list of a `for` nothing may grow: loops nest, and a value
    /// that doubles in each of them costs no fuel.
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

    /// Checks the words of one expression.
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
                    if values > MAX_EXPRESSION_VALUES_COUNT {
                        let message =
                            format!("more than {MAX_EXPRESSION_VALUES_COUNT} values are named");
                        return Err(self.refused(token, message, "compute the value in a step"));
                    }
                    self.check_name(tokens, at)?;
                }
                TokenKind::Operator => match token.text {
                    "*" => self.check_product(token, before, after, closed)?,
                    "~" | "+" => self.check_join(token, &brackets)?,
                    "(" | "[" | "{" => brackets.push(Bracket::open(token, before)),
                    ")" | "]" | "}" => closed = brackets.pop(),
                    _ => {}
                },
                TokenKind::Text | TokenKind::Number => {}
            }
            let is_data = match token.text {
                ")" | "]" | "}" => closed.is_some_and(Bracket::gives_data),
                _ => token.kind == TokenKind::Text,
            };
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
            ")" | "]" | "}" => closed.is_some_and(Bracket::gives_data),
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

    /// `~` writes lists out with escapes, which doubles what was escaped before; so it may not
    /// stand in a list that is written out again.
    fn check_join(
        &mut self,
        token: &Token<'_>,
        brackets: &[Bracket],
    ) -> Result<(), ExpressionError> {
        self.joins += 1;
        if self.joins > MAX_EXPRESSION_JOINS_COUNT {
            return Err(self.refused(
                token,
                format!("more than {MAX_EXPRESSION_JOINS_COUNT} times `~` or `+`"),
                "use `join`, or compute the value in a step",
            ));
        }
        if brackets.iter().filter(|it| it.kind == BracketKind::Literal).count() > 1 {
            return Err(self.refused(
                token,
                format!("`{}` is not allowed in a list within a list", token.text),
                "write the list in the definition itself, with a template as each item",
            ));
        }
        Ok(())
    }

    /// What is not allowed, at its word.
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

/// A pair of brackets, as far as it has been read.
#[derive(Clone, Copy)]
struct Bracket {
    kind: BracketKind,
    /// Whether a string or a literal stands directly inside.
    data: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum BracketKind {
    /// A list or a map.
    Literal,
    /// Parentheses around an expression.
    Group,
    /// A subscript, or the arguments of a filter.
    Other,
}

impl Bracket {
    /// A bracket behind a value is a subscript or a call, any other begins a literal or a group.
    fn open(token: &Token<'_>, before: Option<&Token<'_>>) -> Self {
        let follows_value = before.is_some_and(|before| match before.kind {
            TokenKind::Name => !KEYWORDS.contains(&before.text),
            TokenKind::Text | TokenKind::Number => true,
            TokenKind::Operator => matches!(before.text, ")" | "]" | "}"),
        });
        let kind = match token.text {
            "{" => BracketKind::Literal,
            _ if follows_value => BracketKind::Other,
            "[" => BracketKind::Literal,
            _ => BracketKind::Group,
        };
        Self { kind, data: false }
    }

    /// Whether its value is a string, a list or a map by its very look.
    fn gives_data(self) -> bool {
        match self.kind {
            BracketKind::Literal => true,
            BracketKind::Group => self.data,
            BracketKind::Other => false,
        }
    }
}

/// The name in `x is not NAME`.
fn is_negated_test(tokens: &[Token<'_>], at: usize) -> bool {
    at >= 2 && tokens[at - 1].is_name("not") && tokens[at - 2].is_name("is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_harmless_is_allowed() {
        let allowed = [
            "input.n * 2",
            "2 * input.n",
            "(input.n + 1) * 2",
            "input.list[0] * 3",
            "input['n'] * 2",
            "(input.n | default(1)) * 2",
            "(input.s | int('7')) * 2",
            "input.s | int('7') * 2",
            "{'a': 1}['a'] * 2",
            "2 ** 8",
            "input.a ~ '-' ~ input.b * 2",
            "[input.a ~ '.mp4', input.b ~ '.srt']",
            "{'name': input.a ~ '.mp4'}",
            "input.list[input.i + 1]",
            "not (input.a and input.b) or (input.c)",
            "1 if (input.a) else (2)",
            "input.a in (1, 2)",
            "input.a is not none and input.b is not divisibleby(3)",
            "input.a is in [1, 2]",
            "input.list | map('upper') | join(', ')",
            "input.list | selectattr('n', '>', 3) | list | length",
            "range(3)",
            "'it''s' ~ \"*\"",
            "'a * b'",
            "input.filter",
            "steps.is.not",
        ];
        for source in allowed {
            assert_eq!(check_expression(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn what_could_grow_is_refused_at_its_place() {
        let refused = [
            ("'x' * 2", 4),
            ("2 * 'x'", 2),
            ("[1] * 2", 4),
            ("2 * [1]", 2),
            ("(('x')) * 2", 8),
            ("([1]) * 2", 6),
            ("('a' if input.x else 'b') * 2", 26),
            ("[[input.a ~ '']]", 10),
            ("[{'a': input.a + ''}]", 15),
            ("input.a.upper()", 8),
            ("(input.a).split(',')", 10),
        ];
        for (source, offset) in refused {
            let error = check_expression(source).map_err(|error| (error.code, error.offset));
            assert_eq!(error, Err(("expression.refused", Some(offset))), "{source}");
        }
    }

    #[test]
    fn unknown_names_come_with_the_nearest_known_one() {
        let table = [
            ("input.a | uper", Some("did you mean `upper`?")),
            ("input.a | jion(',')", Some("did you mean `join`?")),
            ("input.a is nonne", Some("did you mean `none`?")),
            ("input.a is not nonne", Some("did you mean `none`?")),
            ("rnage(3)", Some("did you mean `range`?")),
            ("random()", Some("see the list of functions in the guide")),
            ("input.a | zzzzzzzz", Some("see the list of filters in the guide")),
        ];
        for (source, hint) in table {
            let error = check_expression(source).err();
            assert_eq!(error.as_ref().and_then(|it| it.hint.as_deref()), hint, "{source}");
        }
    }

    #[test]
    fn statements_are_if_and_for() {
        let table = [
            ("{% if input.a %}x{% elif input.b %}y{% else %}z{% endif %}", true),
            ("{% for x in input.list %}{{ x ~ '!' }}{% else %}none{% endfor %}", true),
            ("{% for x in input.list if x > 3 %}{% continue %}{% break %}{% endfor %}", true),
            ("{%- if input.a -%}x{%- endif -%}", true),
            ("{% raw %}{% set x = 1 %}{% endraw %}", true),
            ("{# {% set x = 1 %} #}", true),
            ("{% set x = 1 %}", false),
            ("{% with x = 1 %}{% endwith %}", false),
            ("{% filter upper %}x{% endfilter %}", false),
            ("{% block a %}{% endblock %}", false),
            ("{% extends 'a' %}", false),
            ("{% import 'a' as b %}", false),
            ("{% from 'a' import b %}", false),
            ("{% call f() %}{% endcall %}", false),
            ("{% autoescape true %}{% endautoescape %}", false),
            ("{% do f() %}", false),
            ("{%+ set x = 1 %}", false),
            ("{% for x in input.list + input.list %}{% endfor %}", false),
            ("{% for x in [input.a ~ input.a] %}{% endfor %}", false),
            ("{% for x in input.list * 3 %}{% endfor %}", false),
        ];
        for (source, allowed) in table {
            assert_eq!(check_template(source).is_ok(), allowed, "{source}");
        }
    }

    #[test]
    fn a_path_is_names_and_dots() {
        let path = |source: &str| path(source).map(|names| names.join("/"));
        let table = [
            ("steps.a.file", Some("steps/a/file")),
            ("  input . x ", Some("input/x")),
            ("item", Some("item")),
            ("other.x", None),
            ("input.x.0", None),
            ("input.", None),
            ("input.x | upper", None),
            ("input['x']", None),
            ("input.x.y()", None),
            ("-input.x", None),
            ("", None),
        ];
        for (source, expected) in table {
            assert_eq!(path(source).as_deref(), expected, "{source}");
        }
    }
}
