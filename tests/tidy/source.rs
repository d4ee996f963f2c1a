//! One source file as the house rules see it: its lines, functions, modules and tests.

use std::ops::Range;

use crate::lexer::{self, Line, Literal, Scan, is_word_byte};

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Part of a library or of the command.
    Code,
    /// Only ever run by tests.
    Test,
    /// Shown to users.
    Example,
}

/// A Rust file, scanned.
pub(crate) struct Source {
    /// Where, from the root of the house, with `/`.
    pub(crate) path: String,
    /// The folder of its package; empty for the root package.
    pub(crate) package: String,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) scan: Scan,
    /// Offsets of items that exist in tests only.
    pub(crate) tests: Vec<Range<usize>>,
    line_starts: Vec<usize>,
}

/// A function with a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Line of the word `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(crate) length: usize,
    /// Offsets of its body, braces included.
    pub(crate) body: Range<usize>,
}

/// `mod name;`: another file that belongs to the crate.
#[derive(Debug, PartialEq)]
pub(crate) struct ModFile {
    /// Inline modules around it, then its own name.
    pub(crate) names: Vec<String>,
    /// The text of its `#[path]`.
    pub(crate) at: Option<String>,
    /// Whether it exists in tests only.
    pub(crate) test: bool,
}

impl Source {
    pub(crate) fn new(package: &str, path: &str, kind: Kind, text: &str) -> Self {
        let scan = lexer::scan(text);
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let tests = test_items(&scan.code);
        Self {
            path: path.to_owned(),
            package: package.to_owned(),
            kind,
            text: text.to_owned(),
            scan,
            tests,
            line_starts,
        }
    }

    /// Line of an offset, from 1.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// `path:line` of an offset.
    pub(crate) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.line_of(offset))
    }

    /// The text of a line, from 1.
    pub(crate) fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number - 1).unwrap_or_default()
    }

    /// Whether an offset is in code that only tests run.
    pub(crate) fn is_test(&self, offset: usize) -> bool {
        self.kind == Kind::Test || self.tests.iter().any(|item| item.contains(&offset))
    }

    /// Where `needle` stands in the code, not as a part of a longer name.
    pub(crate) fn find(&self, needle: &str) -> Vec<usize> {
        find_words(&self.scan.code, needle)
    }

    /// The same, outside tests.
    pub(crate) fn find_outside_tests(&self, needle: &str) -> Vec<usize> {
        self.find(needle).into_iter().filter(|at| !self.is_test(*at)).collect()
    }

    /// String literals outside tests.
    pub(crate) fn literals_outside_tests(&self) -> impl Iterator<Item = &Literal> {
        self.scan.literals.iter().filter(|literal| !self.is_test(literal.start))
    }

    /// The literal that is the next thing after `offset`, if it is one.
    pub(crate) fn literal_after(&self, offset: usize) -> Option<&Literal> {
        let code = &self.scan.code[offset..];
        let start = offset + (code.len() - code.trim_start().len());
        self.scan.literals.iter().find(|literal| literal.start == start)
    }

    /// Whether a literal is the first argument of one of these calls.
    pub(crate) fn is_argument(&self, literal: &Literal, calls: &[&str]) -> bool {
        let before = self.scan.code[..literal.start].trim_end();
        calls.iter().any(|call| before.ends_with(call))
    }

    /// Lines outside tests (or in them), with what they hold.
    pub(crate) fn lines_where(&self, test: bool) -> impl Iterator<Item = Line> {
        let starts = self.line_starts.iter().zip(&self.scan.lines);
        starts.filter(move |(start, _)| self.is_test(**start) == test).map(|(_, line)| *line)
    }

    /// Length of the file without its tests.
    pub(crate) fn length(&self) -> usize {
        let ends_in_line_end = usize::from(self.text.ends_with('\n'));
        let tests: usize =
            self.tests.iter().map(|item| self.text[item.clone()].lines().count()).sum();
        self.line_starts.len() - ends_in_line_end - tests
    }

    /// All functions with a body, in order.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let code = &self.scan.code;
        let bodies = find_words(code, "fn").into_iter().filter_map(|at| {
            let name = word_at(code, skip_space(code, at + 2))?;
            let body = body_after(code, at)?;
            let line = self.line_of(at);
            let length = self.line_of(body.end - 1) - line + 1;
            Some(Function { name: name.to_owned(), line, length, body })
        });
        bodies.collect()
    }

    /// Every file that this one declares as a module.
    pub(crate) fn mod_files(&self) -> Vec<ModFile> {
        let code = &self.scan.code;
        let mut inline: Vec<(String, Range<usize>)> = Vec::new();
        let mut files = Vec::new();
        for at in find_words(code, "mod") {
            let Some(name) = word_at(code, skip_space(code, at + 3)) else { continue };
            let after = skip_space(code, skip_space(code, at + 3) + name.len());
            match code.as_bytes().get(after) {
                Some(b'{') => inline.push((name.to_owned(), after..matching_brace(code, after))),
                Some(b';') => {
                    let around = inline.iter().filter(|(_, body)| body.contains(&at));
                    let names =
                        around.map(|(name, _)| name.clone()).chain([name.to_owned()]).collect();
                    let path = self.path_attribute(at);
                    files.push(ModFile { names, at: path, test: self.is_test(at) });
                }
                _ => {}
            }
        }
        files
    }

    /// The text of `#[path = "…"]` on the item at `at`.
    fn path_attribute(&self, at: usize) -> Option<String> {
        let before = &self.scan.code[..at];
        let item = before.rfind([';', '{', '}']).map_or(0, |end| end + 1);
        let attribute = item + before[item..].find("#[path")?;
        let literal = self.scan.literals.iter().find(|literal| literal.start > attribute)?;
        Some(literal.text.clone())
    }
}

/// Offsets where `needle` stands and is not a part of a longer name.
pub(crate) fn find_words(code: &str, needle: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let is_word =
        |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|b| is_word_byte(*b));
    let opens = needle.bytes().next().is_some_and(is_word_byte);
    let closes = needle.bytes().last().is_some_and(is_word_byte);
    let whole = |at: usize| {
        let before = opens && is_word(at.checked_sub(1));
        let after = closes && is_word(Some(at + needle.len()));
        !before && !after
    };
    code.match_indices(needle).map(|(at, _)| at).filter(|at| whole(*at)).collect()
}

fn skip_space(code: &str, at: usize) -> usize {
    let rest = &code[at.min(code.len())..];
    code.len() - rest.trim_start().len()
}

fn word_at(code: &str, at: usize) -> Option<&str> {
    let rest = &code[at..];
    let end = rest.bytes().position(|byte| !is_word_byte(byte)).unwrap_or(rest.len());
    (end > 0).then_some(&rest[..end])
}

/// The first `{ … }` after `at` outside brackets; `None` when a `;` comes first.
fn body_after(code: &str, at: usize) -> Option<Range<usize>> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(offset..matching_brace(code, offset)),
            b';' if depth == 0 => return None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

/// The offset after the brace that closes the one at `open`.
fn matching_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return offset + 1;
        }
    }
    code.len()
}

/// Items under `#[cfg(test)]`, attributes included, each to the end of its last line.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    if code.contains("#![cfg(test)]") {
        items.push(0..code.len());
        return items;
    }
    for (at, attribute) in code.match_indices("#[cfg(").filter(|(at, _)| is_test_cfg(code, *at)) {
        if items.last().is_some_and(|item| item.contains(&at)) {
            continue;
        }
        let end = item_end(code, at + attribute.len());
        let line_end = code[end..].find('\n').map_or(code.len(), |n| end + n + 1);
        let line_start = code[..at].rfind('\n').map_or(0, |n| n + 1);
        items.push(line_start..line_end);
    }
    items
}

fn is_test_cfg(code: &str, at: usize) -> bool {
    let condition = &code[at + "#[cfg(".len()..];
    ["test)", "all(test,", "all(test "].iter().any(|form| condition.starts_with(form))
}

/// The end of the item whose attribute's condition begins at `at`.
fn item_end(code: &str, at: usize) -> usize {
    let attribute_end = at + code[at..].find(']').map_or(0, |n| n + 1);
    if let Some(body) = body_after(code, attribute_end) {
        return body.end;
    }
    code[attribute_end..].find(';').map_or(code.len(), |n| attribute_end + n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("engine", "engine/src/a.rs", Kind::Code, text)
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let text = "/// Doc.\npub(crate) async fn one<const N: usize>(a: [u8; { 3 }])\n\
                    where\n    T: X,\n{\n    \
                    let f: fn(u8) = g; // }\n}\ntrait T { fn no_body(&self); fn two(&self) {} }\n";
        let found: Vec<_> =
            source(text).functions().into_iter().map(|f| (f.name, f.line, f.length)).collect();
        assert_eq!(found, [("one".to_owned(), 2, 6), ("two".to_owned(), 8, 1)]);
    }

    #[test]
    fn a_brace_in_a_literal_ends_no_function() {
        let found = source("fn a() {\n    b(\"}\", '}');\n    // }\n}\n").functions();
        assert_eq!(found[0].length, 4);
    }

    #[test]
    fn foot_tests_are_not_counted() {
        let source =
            source("//! Doc.\n\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
        assert_eq!(source.length(), 4);
        let tests: Vec<bool> = source.find("fn").into_iter().map(|at| source.is_test(at)).collect();
        assert_eq!(tests, [false, true]);
        assert_eq!(source.lines_where(false).filter(|line| *line == Line::Code).count(), 1);
        assert_eq!(source.lines_where(true).filter(|line| *line == Line::Code).count(), 4);
    }

    #[test]
    fn test_items_of_all_kinds_are_seen() {
        let cases = [
            ("#[cfg(test)]\nuse a::{b, c};\nfn d() {}", 2),
            ("#[cfg(test)]\nmod tests;\nfn d() {}", 2),
            ("#[cfg(all(test, unix))]\n#[path = \"x.rs\"]\nmod t;\nfn d() {}", 3),
            ("#[cfg(test)]\n#[derive(Debug)]\nstruct S {\n    a: u8,\n}\nfn d() {}", 5),
            ("#[cfg(not(test))]\nfn c() {}\nfn d() {}", 0),
            ("#![cfg(test)]\nfn d() {}", 2),
        ];
        for (text, expected) in cases {
            let source = source(text);
            let lines = (1..=text.lines().count())
                .filter(|line| source.is_test(source.line_starts[line - 1]))
                .count();
            assert_eq!(lines, expected, "{text}");
        }
    }

    #[test]
    fn module_files_are_found_with_their_paths() {
        let source = source(
            "mod a;\npub(crate) mod b { mod c; mod d { mod e; } }\n#[cfg(test)]\nmod f;\n\
             #[path = \"x/y.rs\"]\nmod g;\n// mod h;\nlet module = 1;",
        );
        let found: Vec<_> = source
            .mod_files()
            .into_iter()
            .map(|file| (file.names.join("/"), file.at, file.test))
            .collect();
        let plain = |name: &str| (name.to_owned(), None, false);
        let expected = [
            plain("a"),
            plain("b/c"),
            plain("b/d/e"),
            ("f".to_owned(), None, true),
            ("g".to_owned(), Some("x/y.rs".to_owned()), false),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn words_are_whole() {
        let at = |needle| find_words("x.unwrap() unwrap_or tokio::spawn my_tokio", needle).len();
        assert_eq!((at(".unwrap()"), at("unwrap"), at("tokio")), (1, 1, 1));
    }
}
