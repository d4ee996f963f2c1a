//! What the sources and the pages say of each other: error codes, and paths of one machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::Offence;
use crate::source::{Kind, Source};

/// Calls whose first argument is an error code.
const MAKERS: &[&str] = &[
    "Failure::fatal(",
    "Failure::retryable(",
    "StepError::fatal(",
    "StepError::retryable(",
    "Problem::new(",
    "ExpressionError::new(",
    "findings.add(",
    "findings.add_at(",
    "findings.add_in_text(",
    "findings.add_on_key(",
    "Self::fatal(",
    "Self::retryable(",
];

/// Calls that take the name of a file: `store.new` among their arguments is one, not a code.
const FILE_NAMES: &[&str] = &[".join("];

/// Where folders of one machine would begin. Put together here so that this file has none.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// The page that lists every code.
pub(crate) const ERROR_PAGE: &str = "docs/errors.md";

/// Codes that the page does not have, and codes of the page that nothing gives.
pub(crate) fn error_codes(sources: &[Source], page: &str) -> Vec<Offence> {
    let listed = listed_codes(page);
    let mut offences = Vec::new();
    for (code, place) in given_codes(sources, &listed) {
        if !listed.contains_key(&code) {
            let found = format!("`{code}` is not in {ERROR_PAGE}");
            let remedy = "add it: meaning, causes, what to do";
            offences.push(Offence::new(place, found, remedy));
        }
    }
    for (code, line) in &listed {
        let said = sources.iter().filter(|source| source.kind == Kind::Code);
        let mut said = said.flat_map(Source::literals_outside_tests);
        if !said.any(|literal| literal.text == *code) {
            let found = format!("no code gives `{code}`");
            let remedy = "take it out of the page, or give it";
            offences.push(Offence::new(format!("{ERROR_PAGE}:{line}"), found, remedy));
        }
    }
    offences
}

/// Codes that the sources give, each with the first place: those that are given openly, and every
/// literal that looks like one of their families.
fn given_codes(sources: &[Source], listed: &BTreeMap<String, usize>) -> BTreeMap<String, String> {
    let mut codes = openly_given_codes(sources);
    let family = |code: &str| code.split('.').next().unwrap_or_default().to_owned();
    let families: BTreeSet<String> =
        codes.keys().chain(listed.keys()).map(|code| family(code)).collect();
    let kinds = literals_in(sources, "kind");
    let points = first_arguments(sources, &["fail_point!("]);
    for source in sources.iter().filter(|source| source.kind == Kind::Code) {
        for literal in source.literals_outside_tests() {
            let text = literal.text.as_str();
            let is_file = text.ends_with(".rs") || text.ends_with(".md");
            let is_file = is_file || source.is_argument(literal, FILE_NAMES);
            let looks = is_code(text) && !is_file && families.contains(&family(text));
            if looks && !kinds.contains_key(text) && !points.contains_key(text) {
                codes.entry(text.to_owned()).or_insert_with(|| source.place(literal.start));
            }
        }
    }
    codes
}

/// First arguments of the makers, and literals in functions called `code`.
fn openly_given_codes(sources: &[Source]) -> BTreeMap<String, String> {
    let mut codes = literals_in(sources, "code");
    codes.append(&mut first_arguments(sources, MAKERS));
    codes
}

/// Literals that are the first argument of one of these calls.
fn first_arguments(sources: &[Source], calls: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for source in sources.iter().filter(|source| source.kind == Kind::Code) {
        let literals = calls.iter().flat_map(|call| {
            let places = source.find_outside_tests(call).into_iter();
            places.filter_map(|at| source.literal_after(at + call.len()))
        });
        for literal in literals {
            found.entry(literal.text.clone()).or_insert_with(|| source.place(literal.start));
        }
    }
    found
}

/// Dotted literals in functions of this name.
fn literals_in(sources: &[Source], function: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for source in sources.iter().filter(|source| source.kind == Kind::Code) {
        let named = source.functions().into_iter().filter(|f| f.name == function);
        let bodies: Vec<_> = named.map(|function| function.body).collect();
        for literal in source.literals_outside_tests().filter(|literal| is_code(&literal.text)) {
            if bodies.iter().any(|body| body.contains(&literal.start)) {
                found.entry(literal.text.clone()).or_insert_with(|| source.place(literal.start));
            }
        }
    }
    found
}

/// Codes that head a section or a row of the page, with their lines.
fn listed_codes(page: &str) -> BTreeMap<String, usize> {
    let mut codes = BTreeMap::new();
    for (number, line) in (1..).zip(page.lines()) {
        let head = match line.strip_prefix('|') {
            Some(row) => row.split('|').next().unwrap_or_default(),
            None if line.starts_with('#') => line,
            None => continue,
        };
        for code in head.split('`').skip(1).step_by(2).filter(|text| is_code(text)) {
            codes.entry(code.to_owned()).or_insert(number);
        }
    }
    codes
}

/// Whether a text has the shape of a code: family and case, lower case, a dot between them.
fn is_code(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    text.split_once('.').is_some_and(|(family, case)| is_part(family) && is_part(case))
}

/// Paths of one machine in a file.
pub(crate) fn machine_paths(path: &str, text: &str) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let starts_path = |at: usize| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && !"/}_-.~)*$>".contains(c))
        };
        for folder in MACHINE {
            if line.match_indices(folder).any(|(at, _)| starts_path(at)) {
                let found = format!("a path under `{folder}`");
                let remedy = "say it relative to the project, or take it from the environment";
                offences.push(Offence::new(format!("{path}:{number}"), found, remedy));
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, page: &str) -> Vec<String> {
        let source = Source::new("engine", "engine/src/a.rs", Kind::Code, text);
        let offences = error_codes(&[source], page);
        offences
            .into_iter()
            .map(|offence| format!("{}: {}", offence.place, offence.found))
            .collect()
    }

    #[test]
    fn a_code_without_a_page_is_an_offence() {
        let texts = [
            "Failure::fatal(\"a.b\", c)",
            "StepError::retryable(\n    \"a.b\",\n    c)",
            "self.findings.add_at(\"a.b\", place, message, hint)",
            "fn code(&self) -> &'static str {\n    match self { A => \"a.b\", B => \"text\" }\n}",
        ];
        for text in texts {
            let offences = found(text, "# Errors\n\nNot `a.b` in a sentence.\n");
            assert_eq!(offences.len(), 1, "{text}: {offences:?}");
            assert!(offences[0].ends_with("`a.b` is not in docs/errors.md"), "{offences:?}");
            for page in ["## `a.b`\n", "| `a.b` | meaning |\n"] {
                assert_eq!(found(text, page), [""; 0]);
            }
        }
    }

    #[test]
    fn a_literal_of_a_known_family_is_a_code() {
        let text = "fn kind(&self) { \"a.kind\" }\n\
                    fn f() { g(\"a.b\", \"b.c\", \"a.b.c\", \"a.rs\") }\n\
                    fn h() { fail_point!(\"a.point\"); }";
        assert_eq!(found(text, ""), [""; 0]);
        let text = format!("Failure::fatal(\"a.x\", y); {text}");
        let page = "| `a.x` | known |\n";
        assert_eq!(found(&text, page), ["engine/src/a.rs:2: `a.b` is not in docs/errors.md"]);
    }

    #[test]
    fn the_name_of_a_file_is_no_code_there_and_only_there() {
        let page = "| `a.x` | known |\n";
        let text = "Failure::fatal(\"a.x\", y); dir.join(\"a.new\"); dir.join( \"a.old\")";
        assert_eq!(found(text, page), [""; 0]);
        let text = format!("{text};\nlet code = \"a.new\";");
        assert_eq!(found(&text, page), ["engine/src/a.rs:2: `a.new` is not in docs/errors.md"]);
    }

    #[test]
    fn a_page_without_a_code_is_an_offence() {
        let text = "#[cfg(test)]\nmod tests { fn a() { Failure::fatal(\"a.b\", c); } }";
        assert_eq!(
            found(text, "x\n| `a.b` | `c.d` |\n"),
            ["docs/errors.md:2: no code gives `a.b`"]
        );
    }

    #[test]
    fn codes_are_dotted_and_lower_case() {
        let cases = [
            ("a.b_c", true),
            ("a", false),
            ("a.", false),
            ("a.b.c", false),
            ("A.b", false),
            ("a.b c", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_code(text), expected, "{text}");
        }
    }

    #[test]
    fn a_path_of_the_machine_is_an_offence() {
        let (work, home) = (MACHINE[0], MACHINE[1]);
        for (text, expected) in [
            (format!("see {work}main"), 1),
            (format!("\"{home}me/x\""), 1),
            (format!("{{data}}{work}job"), 0),
            (format!("$HOME{work}x or a{work}b"), 0),
        ] {
            assert_eq!(machine_paths("a.md", &text).len(), expected, "{text}");
        }
    }
}
