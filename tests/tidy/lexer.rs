//! Just enough of Rust's grammar to tell code from comments and from the text in literals.
//!
//! No parser: the house rules ask where a word stands, how long a function is and which lines are
//! comments. The masked text has the same length as the original, byte for byte, so an offset in
//! one is an offset in the other.

/// A text with its comments and literals told apart.
pub(crate) struct Scan {
    /// The text with comments and the insides of literals blanked; quotes and line ends stay.
    pub(crate) code: String,
    /// Every string literal, in order.
    pub(crate) literals: Vec<Literal>,
    /// What each line holds.
    pub(crate) lines: Vec<Line>,
}

/// One string literal, without its quotes.
#[derive(Debug, PartialEq)]
pub(crate) struct Literal {
    /// Offset of its opening quote (or of the `r`, `b`, `c` before it).
    pub(crate) start: usize,
    /// What stands between the quotes, escapes as written.
    pub(crate) text: String,
}

/// What a line holds, first of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing.
    #[default]
    Blank,
    /// A comment and nothing else.
    Comment,
    /// Code, with or without a comment beside it.
    Code,
}

/// Tells comments, literals and code of `text` apart.
pub(crate) fn scan(text: &str) -> Scan {
    let mut lexer = Lexer {
        text: text.as_bytes(),
        code: Vec::with_capacity(text.len()),
        literals: Vec::new(),
        lines: vec![Line::Blank],
    };
    while lexer.step() {}
    let code = String::from_utf8(lexer.code).expect("whole characters are kept or blanked");
    assert_eq!(code.len(), text.len(), "the mask keeps every offset");
    Scan { code, literals: lexer.literals, lines: lexer.lines }
}

struct Lexer<'t> {
    text: &'t [u8],
    code: Vec<u8>,
    literals: Vec<Literal>,
    lines: Vec<Line>,
}

impl Lexer<'_> {
    /// Takes the next piece of text; false at the end.
    fn step(&mut self) -> bool {
        let Some(&byte) = self.rest().first() else { return false };
        let next = self.rest().get(1).copied();
        match (byte, next) {
            (b'/', Some(b'/')) => self.comment(self.line_end()),
            (b'/', Some(b'*')) => self.comment(self.block_end()),
            (b'"', _) => self.string(0, false),
            (b'r' | b'b' | b'c', _) if !self.after_word() => self.prefixed(),
            (b'\'', _) => self.quote(),
            _ => self.keep(1),
        }
        true
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.code.len()..]
    }

    fn after_word(&self) -> bool {
        self.code.last().is_some_and(|byte| is_word_byte(*byte))
    }

    /// Copies bytes as code.
    fn keep(&mut self, count: usize) {
        for _ in 0..count {
            let byte = self.rest()[0];
            self.code.push(byte);
            self.mark(byte, Line::Code);
        }
    }

    /// Blanks bytes that belong to a comment or a literal.
    fn blank(&mut self, count: usize, kind: Line) {
        for _ in 0..count {
            let byte = self.rest()[0];
            self.code.push(if byte == b'\n' { byte } else { b' ' });
            self.mark(byte, kind);
        }
    }

    /// Notes what the current line holds; code beats a comment beside it.
    fn mark(&mut self, byte: u8, kind: Line) {
        if byte == b'\n' {
            self.lines.push(Line::Blank);
        } else if !byte.is_ascii_whitespace() {
            let line = self.lines.last_mut().expect("there is always a current line");
            if *line != Line::Code {
                *line = kind;
            }
        }
    }

    fn comment(&mut self, length: usize) {
        self.blank(length, Line::Comment);
    }

    fn line_end(&self) -> usize {
        let rest = self.rest();
        rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
    }

    /// Length of a block comment; they nest.
    fn block_end(&self) -> usize {
        let rest = self.rest();
        let (mut at, mut depth) = (0, 0);
        while at < rest.len() {
            match &rest[at..] {
                [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
                [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        at
    }

    /// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`; or a word that only begins like one.
    fn prefixed(&mut self) {
        let rest = self.rest();
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let raw = matches!(&rest[..letters], b"r" | b"br" | b"cr");
        let hashes = rest[letters..].iter().take_while(|byte| **byte == b'#').count();
        let quoted = rest.get(letters + hashes) == Some(&b'"');
        let plain = matches!(&rest[..letters], b"b" | b"c") && hashes == 0;
        if quoted && (raw || plain) {
            self.string(letters + hashes, raw);
        } else {
            self.keep(1);
        }
    }

    /// A string literal whose quote comes after `prefix` bytes.
    fn string(&mut self, prefix: usize, raw: bool) {
        let start = self.code.len();
        let hashes = self.rest()[..prefix].iter().filter(|byte| **byte == b'#').count();
        self.keep(prefix + 1);
        let rest = self.rest();
        let mut length = 0;
        while length < rest.len() {
            match rest[length] {
                b'\\' if !raw => length += 2,
                b'"' if rest[length + 1..].iter().take(hashes).all(|byte| *byte == b'#') => break,
                _ => length += 1,
            }
        }
        let length = length.min(rest.len());
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.literals.push(Literal { start, text });
        self.blank(length, Line::Code);
        self.keep(self.rest().len().min(1 + hashes));
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        let rest = self.rest();
        let inside = match rest.get(1) {
            Some(b'\\') => {
                rest[3.min(rest.len())..].iter().position(|byte| *byte == b'\'').map(|n| n + 2)
            }
            Some(lead) => {
                let width = utf8_width(*lead);
                (rest.get(1 + width) == Some(&b'\'')).then_some(width)
            }
            None => None,
        };
        self.keep(1);
        if let Some(inside) = inside {
            self.blank(inside, Line::Code);
            self.keep(1);
        }
    }
}

/// Whether a byte can be part of a name.
pub(crate) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn utf8_width(lead: u8) -> usize {
    match lead {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let cases = [
            ("let a = 1; // fn b", "let a = 1;        "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x // \" y") + 1"#, r#"f("         ") + 1"#),
            (r###"r#"a "b" c"# d"###, r###"r#"       "# d"###),
            (r#"b"x" br"\" c"y" z"#, r#"b" " br" " c" " z"#),
            (r"'a' '\'' '\u{1}' 'ä' z", r"' ' '  ' '     ' '  ' z"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("r#fn bar rb\"x\"", "r#fn bar rb\" \""),
            ("'", "'"),
            ("\"open", "\"    "),
            ("/* open", "       "),
        ];
        for (given, expected) in cases {
            assert_eq!(scan(given).code, expected, "{given}");
        }
    }

    #[test]
    fn lines_are_told_apart() {
        let text =
            "//! doc\n\nfn f() {} // why\n/* a\n\nb */\nlet s = \"x\n\n // no comment\n\";\n";
        let (b, c, k) = (Line::Blank, Line::Comment, Line::Code);
        assert_eq!(scan(text).lines, [c, b, k, c, b, c, k, b, k, k, b]);
    }

    #[test]
    fn literals_are_collected_as_written() {
        let found: Vec<String> = scan(r###"f("a\"b", r#"c"d"#, '"', "é")"###)
            .literals
            .into_iter()
            .map(|l| l.text)
            .collect();
        assert_eq!(found, [r#"a\"b"#, r#"c"d"#, "é"]);
    }
}
