//! The words of an expression, as far as the rules in [`super::lint`] need them. minijinja's own
//! lexer is the judge of what is well formed; this one only has to see the same boundaries.

/// One word of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'s> {
    pub(super) kind: TokenKind,
    pub(super) text: &'s str,
    /// Its first byte in the text.
    pub(super) offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Name,
    Number,
    /// A string literal, quotes included.
    Text,
    Operator,
}

impl Token<'_> {
    /// Whether it is this operator.
    pub(super) fn is(&self, operator: &str) -> bool {
        self.kind == TokenKind::Operator && self.text == operator
    }

    /// Whether it is this name.
    pub(super) fn is_name(&self, name: &str) -> bool {
        self.kind == TokenKind::Name && self.text == name
    }
}

/// A part of a template that is not literal text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment<'s> {
    /// `{% … %}` rather than `{{ … }}`.
    pub(super) is_block: bool,
    pub(super) tokens: Vec<Token<'s>>,
    /// The bytes from brace to brace.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The words of a bare expression.
pub(super) fn words(source: &str) -> Vec<Token<'_>> {
    read_words(source, 0, None).0
}

/// The parts of a template that are not literal text, in order; comments and raw text are left out.
pub(super) fn segments(source: &str) -> Vec<Segment<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = source[at..].find('{').map(|found| at + found) {
        at = match source.as_bytes().get(start + 1) {
            Some(b'{') => read_segment(source, start, "}}", &mut found),
            Some(b'%') => read_segment(source, start, "%}", &mut found),
            Some(b'#') => find_end(source, start + 2, "#}"),
            _ => start + 1,
        };
    }
    found
}

/// Reads one pair of braces; answers with the first byte behind it. What is between `raw` and
/// `endraw` is text.
fn read_segment<'s>(
    source: &'s str,
    start: usize,
    close: &str,
    found: &mut Vec<Segment<'s>>,
) -> usize {
    let is_block = close == "%}";
    let mut from = start + 2;
    if matches!(source.as_bytes().get(from), Some(b'-' | b'+')) {
        from += 1;
    }
    let (tokens, end) = read_words(source, from, Some(close));
    if is_block && matches!(tokens.as_slice(), [only] if only.is_name("raw")) {
        let raw_end = source[end..].find("endraw").map_or(source.len(), |at| end + at);
        return find_end(source, raw_end, "%}");
    }
    found.push(Segment { is_block, tokens, start, end });
    end
}

/// The first byte behind the next `close`, or the end.
fn find_end(source: &str, from: usize, close: &str) -> usize {
    let rest = source.get(from..).unwrap_or_default();
    rest.find(close).map_or(source.len(), |at| from + at + close.len())
}

/// Reads words up to `close` outside of all brackets; answers with the first byte behind it.
fn read_words<'s>(source: &'s str, mut at: usize, close: Option<&str>) -> (Vec<Token<'s>>, usize) {
    let mut tokens = Vec::new();
    let mut open = 0usize;
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        if open == 0
            && let Some(close) = close
            && let Some(skipped) = closing(rest, close)
        {
            return (tokens, at + skipped);
        }
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, length) = word(rest, first);
        match &rest[..length] {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" => open = open.saturating_sub(1),
            _ => {}
        }
        tokens.push(Token { kind, text: &rest[..length], offset: at });
        at += length;
    }
    (tokens, source.len())
}

/// Length of a closing brace at the beginning of `rest`, with its whitespace control.
fn closing(rest: &str, close: &str) -> Option<usize> {
    let bare = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    bare.starts_with(close).then(|| rest.len() - bare.len() + close.len())
}

/// The kind and the length of the word at the beginning of `rest`.
fn word(rest: &str, first: char) -> (TokenKind, usize) {
    let run = |belongs: fn(char) -> bool| rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    match first {
        '\'' | '"' => (TokenKind::Text, text_length(rest, first)),
        'a'..='z' | 'A'..='Z' | '_' => {
            (TokenKind::Name, run(|c| c.is_ascii_alphanumeric() || c == '_'))
        }
        '0'..='9' => (TokenKind::Number, run(|c| c.is_ascii_alphanumeric() || c == '_')),
        _ => {
            let two = rest.get(..2).filter(|two| OPERATORS.contains(two));
            (TokenKind::Operator, two.map_or(first.len_utf8(), str::len))
        }
    }
}

/// Operators of two characters, so that `**` is not taken for two `*`.
const OPERATORS: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];

/// The length of a string literal, quotes included; one that is not closed goes to the end.
fn text_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        words(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_are_split_as_jinja_does() {
        let table: [(&str, &[&str]); 6] = [
            ("a.b>=3", &["a", ".", "b", ">=", "3"]),
            ("'it''s' ~ \"a\\\"b\"", &["'it'", "'s'", "~", "\"a\\\"b\""]),
            ("x**2 * y", &["x", "**", "2", "*", "y"]),
            ("l[0]|join(', ')", &["l", "[", "0", "]", "|", "join", "(", "', '", ")"]),
            ("'open", &["'open"]),
            ("é ü", &["é", "ü"]),
        ];
        for (source, expected) in table {
            assert_eq!(texts(source), expected, "{source}");
        }
    }

    #[test]
    fn segments_are_what_is_not_text() {
        let table: [(&str, &[&str]); 8] = [
            ("plain { } text", &[]),
            ("a {{ b }} c", &["{{ b }}"]),
            ("{{- b -}}{% if x %}y{% endif %}", &["{{- b -}}", "{% if x %}", "{% endif %}"]),
            ("{{ {'a': {}} }}!", &["{{ {'a': {}} }}"]),
            ("{{ '}}' }}", &["{{ '}}' }}"]),
            ("{# {{ no }} #}{{ yes }}", &["{{ yes }}"]),
            ("{% raw %}{{ no }}{% endraw %}{{ yes }}", &["{{ yes }}"]),
            ("{{ never closed", &["{{ never closed"]),
        ];
        for (source, expected) in table {
            let found: Vec<&str> = segments(source)
                .iter()
                .map(|segment| &source[segment.start..segment.end])
                .collect();
            assert_eq!(found, expected, "{source}");
        }
    }
}
