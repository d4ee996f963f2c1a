//! Habits of single files: how they open, what they may panic with, what they keep out.

use crate::lexer::{Line, Literal};
use crate::report::Offence;
use crate::source::{Kind, Source, find_words};

/// The one file that may hold `unsafe`; it says why.
const UNSAFE_FILE: &str = "actors/src/process/death_signal.rs";
/// Words that a reason has at least.
const MIN_REASON_WORDS: usize = 4;
/// Units that may stand last in the name of a limit.
const UNITS: &[&str] = &[
    "BYTES",
    "CHARS",
    "COUNT",
    "DB",
    "DBTP",
    "DEPTH",
    "FUEL",
    "HZ",
    "ITEMS",
    "LINES",
    "LU",
    "LUFS",
    "MS",
    "PERCENT",
    "PIXELS",
    "PORT",
    "RATIO",
    "S",
    "SECONDS",
    "SHARE",
    "THREADS",
    "WORDS",
    "PER_SECOND",
];

/// Files that do not open with a module doc.
pub(crate) fn module_docs(sources: &[Source]) -> Vec<Offence> {
    let silent = sources.iter().filter(|source| !source.text.starts_with("//! "));
    silent
        .map(|source| {
            let remedy = "open it with `//! ` and a sentence on what it is for";
            Offence::new(format!("{}:1", source.path), "no module doc", remedy)
        })
        .collect()
}

/// Panics outside tests that do not say why they cannot happen.
pub(crate) fn panics(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| source.kind == Kind::Code) {
        for call in [".unwrap()", ".unwrap_err()"] {
            offences.extend(source.find_outside_tests(call).into_iter().map(|at| {
                let remedy = "return an error, or `expect` with the reason why it cannot fail";
                Offence::new(source.place(at), format!("`{call}`"), remedy)
            }));
        }
        for call in [".expect(", ".expect_err(", "unreachable!(", "panic!("] {
            let found = source.find_outside_tests(call).into_iter();
            let bare = found.filter(|at| {
                let literal = source.literal_after(at + call.len());
                let is_short = |l: &Literal| l.text.split_whitespace().count() < MIN_REASON_WORDS;
                literal.map_or_else(|| !is_own_method(source, at + call.len()), is_short)
            });
            offences.extend(bare.map(|at| {
                let remedy = "return an error, or say in four words or more why it cannot happen";
                Offence::new(source.place(at), format!("`{call}…)` without a reason"), remedy)
            }));
        }
    }
    offences
}

/// Whether the call whose arguments begin at `at` hands on a `Result`: then it is a method that
/// only has the name of the one that panics.
fn is_own_method(source: &Source, at: usize) -> bool {
    let mut depth = 1_usize;
    let end = source.scan.code[at..].find(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.is_some_and(|end| source.scan.code[at + end..].starts_with(")?"))
}

/// `unsafe` outside its one file.
pub(crate) fn unsafe_code(sources: &[Source]) -> Vec<Offence> {
    let sources = sources.iter().filter(|source| source.path != UNSAFE_FILE);
    let found = sources.flat_map(|source| {
        source.find("unsafe").into_iter().map(|at| {
            let remedy = format!("use a safe crate such as `rustix`; only {UNSAFE_FILE} may");
            Offence::new(source.place(at), "`unsafe`", &remedy)
        })
    });
    found.collect()
}

/// Lints switched off without a word.
pub(crate) fn silenced_lints(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| source.kind != Kind::Test) {
        for form in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            let found = source.scan.code.match_indices(form).map(|(at, _)| at);
            let silent = found.filter(|at| !source.is_test(*at) && !gives_reason(source, *at));
            offences.extend(silent.map(|at| {
                let remedy = "obey the lint, or add `reason = \"…\"` or a `//` comment above it";
                Offence::new(source.place(at), format!("`{form}…` without a reason"), remedy)
            }));
        }
    }
    offences
}

/// A reason inside the attribute, behind it, or in a comment above it. A doc comment above an
/// inner attribute counts, above an item's it speaks of the item.
fn gives_reason(source: &Source, at: usize) -> bool {
    let code = &source.scan.code;
    let end = code[at..].find(']').map_or(code.len(), |n| at + n);
    if !find_words(&code[at..end], "reason").is_empty() {
        return true;
    }
    let number = source.line_of(at);
    let is_remark = |line: &str| line.starts_with("//") && !line.starts_with("///");
    let behind = source.line(number).contains("] //");
    behind || (number > 1 && is_remark(source.line(number - 1).trim_start()))
}

/// `#[cfg(test)]` modules that are not at the foot of their file.
pub(crate) fn tests_at_foot(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| source.kind == Kind::Code) {
        for item in &source.tests {
            let is_inline = source.scan.code[item.clone()].contains("mod tests {");
            let rest = source.scan.code[item.end..].trim();
            if is_inline && !rest.is_empty() {
                let remedy = "files are read from the top: the tests come last";
                offences.push(Offence::new(
                    source.place(item.start),
                    "code after the tests",
                    remedy,
                ));
            }
        }
    }
    offences
}

/// Anything in a `lib.rs` but the crate doc, modules and re-exports.
pub(crate) fn lib_files(sources: &[Source]) -> Vec<Offence> {
    let libs = sources.iter().filter(|source| source.path.ends_with("src/lib.rs"));
    let found = libs.flat_map(|source| {
        ["fn", "struct", "enum", "trait", "impl", "const", "static", "type", "macro_rules!"]
            .iter()
            .flat_map(|word| source.find_outside_tests(word).into_iter().map(move |at| (*word, at)))
            .map(|(word, at)| {
                let remedy = "lib.rs is the table of contents: put it into a module, re-export it";
                Offence::new(source.place(at), format!("`{word}` in lib.rs"), remedy)
            })
    });
    found.collect()
}

/// Files that are named after nothing.
pub(crate) fn file_names(sources: &[Source]) -> Vec<Offence> {
    let vague = ["util", "utils", "helper", "helpers", "misc", "common", "stuff"];
    let named = |source: &&Source| {
        source.kind == Kind::Code && source.path.split(['/', '.']).any(|part| vague.contains(&part))
    };
    let remedy = "name it after its subject";
    let found = sources.iter().filter(named);
    found.map(|source| Offence::new(format!("{}:1", source.path), "a vague name", remedy)).collect()
}

/// Limits without a unit or a reason, and limits outside `limits.rs`.
pub(crate) fn limits(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| source.kind == Kind::Code) {
        let is_limits = source.path.ends_with("/limits.rs");
        for at in source.find_outside_tests("const") {
            let declaration = source.scan.code[at + "const".len()..].trim_start();
            let name = declaration.split([':', ' ', '(']).next().unwrap_or_default();
            let complaint = match is_limits {
                true => limit_complaint(source, at, name, declaration),
                false => name.starts_with("MAX_").then_some((
                    "a limit outside limits.rs",
                    "move it into the crate's limits.rs: one page shows every bound",
                )),
            };
            if let Some((what, remedy)) = complaint {
                offences.push(Offence::new(source.place(at), format!("`{name}`: {what}"), remedy));
            }
        }
    }
    offences
}

fn limit_complaint(
    source: &Source,
    at: usize,
    name: &str,
    declaration: &str,
) -> Option<(&'static str, &'static str)> {
    if name == "_" {
        return None;
    }
    let of_type = declaration.split_once(':').map_or("", |(_, rest)| rest.trim_start());
    let unit = UNITS.iter().any(|unit| name.ends_with(&format!("_{unit}")));
    if !unit && !of_type.starts_with("Duration") {
        let remedy = "end the name in its unit, such as `_BYTES`, `_MS`, `_COUNT`";
        return Some(("no unit in its name", remedy));
    }
    let above = source.line_of(at).checked_sub(1).filter(|line| *line > 0);
    let documented = above.is_some_and(|line| {
        source.scan.lines[line - 1] == Line::Comment
            && source.line(line).trim_start().starts_with("///")
    });
    let remedy = "say why it has this value and what happens beyond it";
    (!documented).then_some(("no doc comment", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, text: &str) -> [Source; 1] {
        [Source::new("actors", path, Kind::Code, text)]
    }

    fn count(check: fn(&[Source]) -> Vec<Offence>, text: &str) -> usize {
        check(&at("actors/src/a.rs", text)).len()
    }

    #[test]
    fn a_file_without_a_module_doc_is_an_offence() {
        assert_eq!(count(module_docs, "//! What it is for.\n"), 0);
        assert_eq!(count(module_docs, "// What it is for.\n"), 1);
        assert_eq!(count(module_docs, "use a;\n//! Too late.\n"), 1);
        assert_eq!(count(module_docs, "//!\n"), 1);
    }

    #[test]
    fn panics_without_a_reason_are_offences() {
        for (text, expected) in [
            ("a.unwrap();", 1),
            ("a.unwrap_or(b); a.unwrap_or_default();", 0),
            ("a.expect(\"works\");", 1),
            ("a.expect(\"the list is never empty\");", 0),
            ("a\n    .expect(\n        \"the list is never empty\",\n    );", 0),
            ("a.expect(&format!(\"the list is never empty\"));", 1),
            ("self.expect_token(b);", 0),
            ("meter.expect(Some(length))?;", 0),
            ("meter.expect(Some(length));", 1),
            ("unreachable!()", 1),
            ("unreachable!(\"a settled step is left: {x}\")", 0),
            ("panic!(\"no\")", 1),
            ("// a.unwrap()\nlet b = \".unwrap()\";", 0),
            ("#[cfg(test)]\nmod tests {\n    fn b() { a.unwrap(); }\n}\n", 0),
        ] {
            assert_eq!(count(panics, text), expected, "{text}");
        }
    }

    #[test]
    fn unsafe_stands_in_one_file() {
        assert_eq!(count(unsafe_code, "unsafe { a() }"), 1);
        assert_eq!(count(unsafe_code, "#![forbid(unsafe_code)] // unsafe"), 0);
        assert_eq!(unsafe_code(&at(UNSAFE_FILE, "unsafe { a() }")), []);
    }

    #[test]
    fn a_silenced_lint_says_why() {
        for (text, expected) in [
            ("#[allow(dead_code)]\nfn a() {}", 1),
            ("/// Doc of the item.\n#[allow(dead_code)]\nfn a() {}", 1),
            ("// Kept for the wire.\n#[allow(dead_code)]\nfn a() {}", 0),
            ("#[allow(dead_code)] // kept for the wire\nfn a() {}", 0),
            ("#[expect(dead_code, reason = \"kept for the wire\")]\nfn a() {}", 0),
            ("//! Why it is needed.\n#![allow(unsafe_code)]\n", 0),
            ("#![allow(unsafe_code)]\n", 1),
            ("#[cfg(test)]\nmod tests {\n    #![allow(clippy::unwrap_used)]\n}\n", 0),
        ] {
            assert_eq!(count(silenced_lints, text), expected, "{text}");
        }
    }

    #[test]
    fn tests_stand_last() {
        let tests = "#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(count(tests_at_foot, &format!("fn a() {{}}\n{tests}")), 0);
        assert_eq!(count(tests_at_foot, &format!("{tests}// the end\n")), 0);
        assert_eq!(count(tests_at_foot, &format!("{tests}fn a() {{}}\n")), 1);
    }

    #[test]
    fn lib_files_hold_a_table_of_contents() {
        let lib = |text| lib_files(&at("actors/src/lib.rs", text)).len();
        assert_eq!(lib("//! A struct.\nmod a;\npub use a::{B, c};\n"), 0);
        assert_eq!(lib("mod a;\npub fn b() {}\n"), 1);
        assert_eq!(count(lib_files, "pub fn b() {}\n"), 0);
    }

    #[test]
    fn vague_names_are_offences() {
        let named = |path| file_names(&at(path, "")).len();
        assert_eq!(named("actors/src/utils.rs"), 1);
        assert_eq!(named("actors/src/common/a.rs"), 1);
        assert_eq!(named("actors/src/clock.rs"), 0);
    }

    #[test]
    fn limits_have_a_unit_a_reason_and_one_place() {
        let limits = |text| {
            let found = limits(&at("actors/src/limits.rs", text));
            found.into_iter().map(|offence| offence.found).collect::<Vec<_>>()
        };
        assert_eq!(
            limits("/// Why.\npub const MAX_A_BYTES: usize = 1;\nconst _: () = b();\n"),
            [""; 0]
        );
        assert_eq!(limits("/// Why.\npub const GRACE: Duration = b;\n"), [""; 0]);
        assert_eq!(
            limits("/// Why.\npub const MAX_A: usize = 1;\n"),
            ["`MAX_A`: no unit in its name"]
        );
        assert_eq!(limits("\npub const A_MS: u64 = 1;\n"), ["`A_MS`: no doc comment"]);
        assert_eq!(count(super::limits, "const MAX_A_MS: u64 = 1;"), 1);
        assert_eq!(count(super::limits, "const fn max() {} const EVENT: &str = \"\";"), 0);
    }
}
