//! The measures of the house and the targets that they must meet.

use std::fmt::Write;

use crate::lexer::Line;
use crate::report::Offence;
use crate::source::{Kind, Source};

/// Lines of one function, at most. A function is read in one piece, on one screen.
const MAX_FUNCTION_LINES: usize = 70;
/// Lines of one file without the tests at its foot, at most.
const MAX_FILE_LINES: usize = 600;
/// Characters of one line, at most.
const MAX_LINE_CHARS: usize = 100;

/// A measure and what it should be.
pub(crate) struct Target {
    pub(crate) what: &'static str,
    value: f64,
    bound: Bound,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
    Within(f64, f64),
}

impl Target {
    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.value <= most,
            Bound::AtLeast(least) => self.value >= least,
            Bound::Within(least, most) => (least..=most).contains(&self.value),
        }
    }

    fn wanted(&self) -> String {
        match self.bound {
            Bound::AtMost(most) => format!("at most {most}"),
            Bound::AtLeast(least) => format!("at least {least}"),
            Bound::Within(least, most) => format!("{least} to {most}"),
        }
    }

    /// The offence, when the target is missed.
    pub(crate) fn offence(&self, remedy: &str) -> Option<Offence> {
        let found = format!("{} is {:.2}, wanted {}", self.what, self.value, self.wanted());
        (!self.is_met()).then(|| Offence::new("the whole house", found, remedy))
    }
}

/// Median and 90th percentile of function and file lengths.
pub(crate) fn lengths(sources: &[Source]) -> Vec<Target> {
    let (functions, files) = (function_lengths(sources), file_lengths(sources));
    let target = |what, lengths: &[usize], share, most| Target {
        what,
        value: percentile(lengths, share),
        bound: Bound::AtMost(most),
    };
    vec![
        target("function length, median", &functions, 50, 9.0),
        target("function length, 90th percentile", &functions, 90, 35.0),
        target("function length, longest", &functions, 100, MAX_FUNCTION_LINES as f64),
        target("file length, median", &files, 50, 200.0),
        target("file length, 90th percentile", &files, 90, 400.0),
        target("file length, longest", &files, 100, MAX_FILE_LINES as f64),
    ]
}

/// Share of comments in the lines that are not blank, outside tests.
pub(crate) fn comment_share(sources: &[Source]) -> Target {
    let count = Count::of(sources.iter());
    let lines = (count.comments + count.code).max(1);
    Target {
        what: "comment lines in 100 lines of comment and code",
        value: 100.0 * count.comments as f64 / lines as f64,
        bound: Bound::Within(15.0, 25.0),
    }
}

/// Lines of test code for one line of code.
pub(crate) fn test_ratios(sources: &[Source]) -> Vec<Target> {
    let ratio = |what, package: Option<&str>, least| {
        let count = Count::of(in_package(sources, package));
        let value = count.test_code as f64 / count.code.max(1) as f64;
        Target { what, value, bound: Bound::AtLeast(least) }
    };
    vec![
        ratio("lines of test code a line of code", None, 0.8),
        ratio("lines of test code a line of code in `engine`", Some("engine"), 1.0),
    ]
}

/// Assertions in 1,000 lines of a crate, blank lines, comments and tests included on both sides:
/// the way the projects were counted that the target is taken from.
pub(crate) fn assertions(sources: &[Source]) -> Vec<Target> {
    let density = |what, package| {
        let count = Count::of(in_package(sources, Some(package)));
        let value = 1_000.0 * count.assertions as f64 / count.lines.max(1) as f64;
        Target { what, value, bound: Bound::AtLeast(10.0) }
    };
    vec![
        density("assertions in 1,000 lines of `engine`", "engine"),
        density("assertions in 1,000 lines of `storage`", "storage"),
    ]
}

/// Functions, files and lines that are too long, each with its place.
pub(crate) fn too_long(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources {
        for function in source.functions().iter().filter(|f| f.length > MAX_FUNCTION_LINES) {
            let place = format!("{}:{}", source.path, function.line);
            let found = format!("`fn {}` has {} lines", function.name, function.length);
            let remedy = format!("at most {MAX_FUNCTION_LINES}: give its parts names of their own");
            offences.push(Offence::new(place, found, &remedy));
        }
        let length = source.length();
        if length > MAX_FILE_LINES {
            let found = format!("{length} lines without the tests at its foot");
            let remedy = format!("at most {MAX_FILE_LINES}: split it where the subject changes");
            offences.push(Offence::new(format!("{}:1", source.path), found, &remedy));
        }
        for (number, line) in (1..).zip(source.text.lines()) {
            let chars = line.chars().count();
            if chars > MAX_LINE_CHARS {
                let place = format!("{}:{number}", source.path);
                let remedy = format!("at most {MAX_LINE_CHARS}: break the line");
                offences.push(Offence::new(place, format!("{chars} characters"), &remedy));
            }
        }
    }
    offences
}

/// All measures in one table, then the counts of every package.
pub(crate) fn table(sources: &[Source]) -> String {
    let all =
        [lengths(sources), vec![comment_share(sources)], test_ratios(sources), assertions(sources)];
    let mut text = format!("{:<50}{:>10}   {:<14}\n", "measure", "found", "wanted");
    for target in all.iter().flatten() {
        let mark = if target.is_met() { "" } else { "  <-- missed" };
        let row = format!("{:<50}{:>10.1}   {:<14}", target.what, target.value, target.wanted());
        writeln!(text, "{row}{mark}").expect("writing into a string cannot fail");
    }
    text.push('\n');
    text.push_str(&packages(sources));
    text
}

fn packages(sources: &[Source]) -> String {
    let mut names: Vec<&str> = sources.iter().map(|source| source.package.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut text =
        "package      code  comments   share  test code  tests:code  asserts/1000\n".to_owned();
    for name in names {
        let count = Count::of(in_package(sources, Some(name)));
        let per = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let share = 100.0 * per(count.comments, count.comments + count.code);
        let ratio = per(count.test_code, count.code);
        let density = 1_000.0 * per(count.assertions, count.lines);
        let shown = if name.is_empty() { "(root)" } else { name };
        let Count { code, comments, test_code, .. } = count;
        write!(text, "{shown:<10}{code:>7}{comments:>10}{share:>7.1}%")
            .and_then(|()| writeln!(text, "{test_code:>11}{ratio:>12.2}{density:>14.1}"))
            .expect("writing into a string cannot fail");
    }
    text
}

/// What a set of files holds.
#[derive(Default)]
struct Count {
    lines: usize,
    code: usize,
    comments: usize,
    test_code: usize,
    assertions: usize,
}

impl Count {
    /// Counts all but this test itself: it holds the rules, it does not test the product.
    fn of<'s>(sources: impl Iterator<Item = &'s Source>) -> Self {
        let mut count = Self::default();
        for source in sources.filter(|source| !source.path.starts_with("tests/tidy")) {
            count.lines += source.text.lines().count();
            count.assertions += assertions_in(source);
            for line in source.lines_where(false).filter(|_| source.kind == Kind::Code) {
                count.code += usize::from(line == Line::Code);
                count.comments += usize::from(line == Line::Comment);
            }
            count.test_code += source.lines_where(true).filter(|line| *line == Line::Code).count();
        }
        count
    }
}

fn assertions_in(source: &Source) -> usize {
    let macros = ["assert!", "assert_eq!", "assert_ne!", "debug_assert!", "debug_assert_eq!"];
    let more = ["debug_assert_ne!", "prop_assert!", "prop_assert_eq!", "prop_assert_ne!"];
    macros.iter().chain(&more).map(|name| source.find(name).len()).sum()
}

fn in_package<'s>(
    sources: &'s [Source],
    package: Option<&str>,
) -> impl Iterator<Item = &'s Source> {
    sources.iter().filter(move |source| package.is_none_or(|package| source.package == package))
}

fn function_lengths(sources: &[Source]) -> Vec<usize> {
    let functions = sources.iter().flat_map(|source| {
        source.functions().into_iter().filter(|function| !source.is_test(function.body.start))
    });
    sorted(functions.map(|function| function.length))
}

fn file_lengths(sources: &[Source]) -> Vec<usize> {
    sorted(sources.iter().filter(|source| source.kind != Kind::Test).map(Source::length))
}

fn sorted(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut lengths: Vec<usize> = lengths.collect();
    lengths.sort_unstable();
    lengths
}

/// The smallest value that `share` percent of the values do not exceed.
fn percentile(sorted: &[usize], share: usize) -> f64 {
    let rank = (sorted.len() * share).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(package: &str, kind: Kind, text: &str) -> Source {
        Source::new(package, &format!("{package}/src/a.rs"), kind, text)
    }

    #[test]
    fn percentiles_are_values_of_the_list() {
        let ten: Vec<usize> = (1..=10).collect();
        assert_eq!([50, 90, 100].map(|share| percentile(&ten, share)), [5.0, 9.0, 10.0]);
        assert_eq!(percentile(&[7], 50), 7.0);
        assert_eq!(percentile(&[], 90), 0.0);
    }

    #[test]
    fn too_long_things_are_named_with_their_place() {
        let body = "    x;\n".repeat(MAX_FUNCTION_LINES - 1);
        let just = source("api", Kind::Code, &format!("fn a() {{\n{}}}\n", &body[7..]));
        assert_eq!(too_long(&[just]), []);
        let text = format!("\nfn a() {{\n{body}}}\n//{}\n", "ä".repeat(MAX_LINE_CHARS));
        let found = too_long(&[source("api", Kind::Code, &text)]);
        let found: Vec<_> = found.iter().map(|o| (o.place.as_str(), o.found.as_str())).collect();
        let expected =
            [("api/src/a.rs:2", "`fn a` has 71 lines"), ("api/src/a.rs:73", "102 characters")];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_long_file_is_too_long_only_without_its_tests() {
        let code = "const A: u8 = 1;\n".repeat(MAX_FILE_LINES);
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(too_long(&[source("api", Kind::Code, &tests)]), []);
        let long = format!("\n{tests}");
        let found = too_long(&[source("api", Kind::Code, &long)]);
        assert_eq!(found[0].found, "601 lines without the tests at its foot");
    }

    #[test]
    fn comments_and_tests_are_measured() {
        let text = "//! Doc.\n\n/// Why.\nfn a() {}\nfn b() {}\n\n\
                    #[cfg(test)]\nmod tests {\n    // no\n}\n";
        let sources =
            [source("engine", Kind::Code, text), source("api", Kind::Test, "a;\nassert!(b);\n")];
        assert_eq!(comment_share(&sources).value, 50.0);
        assert!(comment_share(&sources).offence("shorten").is_some());
        let ratios: Vec<f64> = test_ratios(&sources).iter().map(|target| target.value).collect();
        assert_eq!(ratios, [2.5, 1.5]);
    }

    #[test]
    fn assertions_are_counted_in_code_and_tests() {
        let text = "fn a() { debug_assert!(x); }\n#[cfg(test)]\n\
                    mod t { fn b() { assert_eq!(1, 1); } }\n// assert!\n";
        let sources = [source("engine", Kind::Code, text)];
        let found: Vec<f64> = assertions(&sources).iter().map(|target| target.value).collect();
        assert_eq!(found, [500.0, 0.0]);
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        let met = |value, bound| Target { what: "x", value, bound }.is_met();
        assert!(met(9.0, Bound::AtMost(9.0)) && !met(9.1, Bound::AtMost(9.0)));
        assert!(met(0.8, Bound::AtLeast(0.8)) && !met(0.79, Bound::AtLeast(0.8)));
        assert!(met(15.0, Bound::Within(15.0, 25.0)) && !met(25.1, Bound::Within(15.0, 25.0)));
    }
}
