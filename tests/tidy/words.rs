//! Words that must not stand in some part of the house, each with what to write in its place.

use crate::lexer::Literal;
use crate::report::Offence;
use crate::source::{Kind, Source, find_words};

/// A word and where it may not stand.
struct Ban {
    /// As it stands in code; comments and literals do not count.
    words: &'static [&'static str],
    /// Where it is banned, by path.
    banned: fn(&str) -> bool,
    /// Whether tests may not use it either.
    in_tests: bool,
    instead: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        words: &["flush_async", "watch_prefix", "generate_id"],
        banned: |path| path.starts_with("storage/"),
        in_tests: true,
        instead: "go through the one writer: batch, `flush`, `sync_data`, then acknowledge",
    },
    Ban {
        words: &["println!", "print!", "eprintln!", "eprint!"],
        banned: |path| !is_command(path),
        in_tests: false,
        instead: "libraries speak through `tracing` and return values; only the command prints",
    },
    Ban {
        words: &["tokio::spawn", "task::spawn", "tokio::task::spawn_blocking", "thread::spawn"],
        banned: |path| path.starts_with("workflows/"),
        in_tests: false,
        instead: "await it in the body, or use the context's `blocking`: what a body starts on its \
                  own outlives a cancel",
    },
    Ban {
        words: &["unbounded_channel", "futures::channel::mpsc::unbounded", "UnboundedSender"],
        banned: |_| true,
        in_tests: true,
        instead: "a bounded channel, and an answer for the moment it is full",
    },
    Ban {
        words: &["async fn", "async move", "async {", ".await", "tokio", "std::thread"],
        banned: |path| path.starts_with("engine/"),
        in_tests: false,
        instead: "the core is pure: take the fact as an input, hand the deed back as an `Action`",
    },
    Ban {
        words: &["std::env"],
        // The faults of `make mutations` are chosen from outside, in no other build.
        banned: |path| path.starts_with("engine/") && path != "engine/src/mutations.rs",
        in_tests: false,
        instead: "the core is pure: take the fact as an input",
    },
    Ban {
        words: &["std::fs", "std::net", "std::process", "SystemTime", "Instant"],
        banned: |path| path.starts_with("engine/"),
        in_tests: false,
        instead: "the core is pure: `now` and data come in as arguments",
    },
    Ban {
        words: &["rand::", "getrandom", "now_v7", "new_v4", "RandomState", "thread_rng"],
        banned: |path| path.starts_with("engine/"),
        in_tests: false,
        instead: "the core is pure: draw from the job's own seed, `JobId::seed`",
    },
];

/// Words of the repertoire. Below `workflows`, and in the front door, nothing knows them.
const MEDIA: &[&str] =
    &["ffmpeg", "ffprobe", "caption", "subtitle", "video", "transcri", "whisper", "pocketsphinx"];

/// Marks of unfinished work. Put together here so that this file does not hold them.
const MARKS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Macros of unfinished work.
const STUBS: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Shells: a text that one of them reads is a program written by whoever wrote the text.
const SHELLS: &[&str] = &["sh", "bash", "/bin/sh", "/bin/bash", "cmd.exe"];

/// Calls and names that have a better one.
pub(crate) fn banned(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources {
        for ban in BANS.iter().filter(|ban| (ban.banned)(&source.path)) {
            for word in ban.words {
                let found = source.find(word).into_iter();
                let found = found.filter(|at| ban.in_tests || !source.is_test(*at));
                offences
                    .extend(found.map(|at| {
                        Offence::new(source.place(at), format!("`{word}`"), ban.instead)
                    }));
            }
        }
    }
    offences
}

/// Processes started past the one module that groups, watches and reaps them. Naming the standard
/// type is fine: a library's own command can be handed over and adopted.
pub(crate) fn processes(sources: &[Source]) -> Vec<Offence> {
    // The one way to ffmpeg prepares and adopts its command; the sandbox is tried out once, with a
    // program that does nothing, before there is an attempt to belong to.
    let free = |path: &str| {
        let ours = ["workflows/src/ffmpeg/run.rs", "workflows/src/sandbox/verdict.rs"];
        is_command(path) || path.starts_with("actors/src/process/") || ours.contains(&path)
    };
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| !free(&source.path)) {
        let code = &source.scan.code;
        let std = source.find_outside_tests("std::process::").into_iter();
        let std = std.filter(|at| {
            let statement = &code[*at..at + code[*at..].find(';').unwrap_or(0)];
            let imported = code[..*at].trim_end().ends_with("use");
            let commands = find_words(statement, "Command");
            (imported && !commands.is_empty()) || statement.contains("process::Command::new")
        });
        let tokio = source.find_outside_tests("tokio::process");
        offences.extend(std.chain(tokio).map(|at| {
            let remedy = "`StepContext::command`, or `prepare` and `adopt` a library's command: \
                          a process group of its own that ends with the attempt";
            Offence::new(source.place(at), "a process of its own", remedy)
        }));
    }
    offences
}

/// Shells started from code.
pub(crate) fn shells(sources: &[Source]) -> Vec<Offence> {
    let sources = sources.iter().filter(|source| source.kind == Kind::Code);
    let found = sources.flat_map(|source| {
        let literals = source.literals_outside_tests();
        let shells =
            literals.filter(|l| SHELLS.contains(&l.text.as_str()) || l.text.contains("sh -c"));
        shells.map(|literal| {
            let remedy = "name the program and give its arguments one by one";
            Offence::new(
                source.place(literal.start),
                format!("the shell `{}`", literal.text),
                remedy,
            )
        })
    });
    found.collect()
}

/// Words of the repertoire where no workflow is known: in names and in literals.
pub(crate) fn media(sources: &[Source]) -> Vec<Offence> {
    let below = ["engine", "storage", "actors", "api"];
    let mut offences = Vec::new();
    for source in sources.iter().filter(|source| below.contains(&source.package.as_str())) {
        let code = source.scan.code.to_lowercase();
        for word in MEDIA {
            let names = code.match_indices(word).map(|(at, _)| at);
            let literals = source.scan.literals.iter();
            let literals = literals.filter(|literal| knows_media(source, literal, word));
            let places = names.chain(literals.map(|literal| literal.start));
            for at in places.filter(|at| source.kind == Kind::Code && !source.is_test(*at)) {
                let found = format!("`{word}` in `{}`", source.package);
                let remedy = "this crate serves any workflow; what knows media is in `workflows`";
                offences.push(Offence::new(source.place(at), found, remedy));
            }
        }
    }
    offences
}

/// Whether a literal tells of more than files: media types (`video/mp4`) and examples in the
/// description of an interface are no knowledge.
fn knows_media(source: &Source, literal: &Literal, word: &str) -> bool {
    let is_media_type = literal.text.starts_with("video/");
    let is_example = source.scan.code[..literal.start].trim_end().ends_with("example =");
    !is_media_type && !is_example && literal.text.to_lowercase().contains(word)
}

/// Unfinished work, in code, comments and literals, tests included.
pub(crate) fn unfinished(sources: &[Source]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for source in sources {
        let marks = MARKS
            .iter()
            .flat_map(|mark| find_words(&source.text, mark).into_iter().map(move |at| (*mark, at)));
        let stubs =
            STUBS.iter().flat_map(|stub| source.find(stub).into_iter().map(move |at| (*stub, at)));
        offences.extend(marks.chain(stubs).map(|(word, at)| {
            let remedy = "finish it, or write an issue: open doubts do not live in the code";
            Offence::new(source.place(at), format!("`{word}`"), remedy)
        }));
    }
    offences
}

fn is_command(path: &str) -> bool {
    path == "src/main.rs" || path.starts_with("src/cli") || path.contains("examples/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, text: &str) -> [Source; 1] {
        let package = path.split_once("/src").map_or("", |(package, _)| package);
        [Source::new(package, path, Kind::Code, text)]
    }

    #[test]
    fn banned_words_are_offences_where_they_are_banned() {
        let cases = [
            ("storage/src/a.rs", "db.flush_async();", 1),
            ("storage/src/a.rs", "// never flush_async\nlet a = \"flush_async\";", 0),
            ("storage/src/a.rs", "#[cfg(test)]\nmod t { fn a() { db.generate_id(); } }", 1),
            ("actors/src/a.rs", "println!(\"x\");", 1),
            ("actors/src/a.rs", "#[cfg(test)]\nmod t { fn a() { println!(); } }", 0),
            ("src/cli/run.rs", "println!(\"x\");", 0),
            ("workflows/src/a.rs", "tokio::spawn(async {});", 1),
            ("actors/src/a.rs", "tokio::spawn(async {});", 0),
            ("api/src/a.rs", "mpsc::unbounded_channel();", 1),
            ("engine/src/a.rs", "pub async fn a() { b.await }", 2),
            ("engine/src/a.rs", "let now = std::time::Instant::now();", 1),
            ("engine/src/a.rs", "let id = Uuid::now_v7();", 1),
            ("engine/src/a.rs", "fn instant(awaiting: u8) {}", 0),
        ];
        for (path, text, expected) in cases {
            assert_eq!(banned(&at(path, text)).len(), expected, "{path}: {text}");
        }
    }

    #[test]
    fn a_process_of_its_own_is_an_offence() {
        let cases = [
            ("workflows/src/a.rs", "use std::process::Command;", 1),
            ("workflows/src/a.rs", "use std::process::{self, Command, Stdio};", 1),
            ("workflows/src/a.rs", "let c = std::process::Command::new(a);", 1),
            ("workflows/src/a.rs", "use tokio::process::Command;", 1),
            ("workflows/src/a.rs", "use std::process::Stdio; struct Command;", 0),
            ("actors/src/a.rs", "fn prepare(command: &mut std::process::Command) {}", 0),
            ("workflows/src/a.rs", "use callsheet_actors::Command;", 0),
            ("actors/src/process/a.rs", "use std::process::Command;", 0),
            ("src/cli/demo.rs", "use std::process::Command;", 0),
        ];
        for (path, text, expected) in cases {
            assert_eq!(processes(&at(path, text)).len(), expected, "{path}: {text}");
        }
    }

    #[test]
    fn a_shell_is_an_offence() {
        for (text, expected) in [
            ("Command::new(\"sh\").arg(\"-c\")", 1),
            ("run(\"sh -c 'x'\")", 1),
            ("say(\"shell\"); // sh -c", 0),
            ("#[cfg(test)]\nmod t { fn a() { b(\"sh\"); } }", 0),
        ] {
            assert_eq!(shells(&at("workflows/src/a.rs", text)).len(), expected, "{text}");
        }
    }

    #[test]
    fn media_words_below_workflows_are_offences() {
        for (path, text, expected) in [
            ("api/src/a.rs", "fn captions() {}", 1),
            ("actors/src/a.rs", "let kind = \"ffmpeg.burn\";", 1),
            ("engine/src/a.rs", "struct VideoJob;", 1),
            ("engine/src/a.rs", "/// Such as `ffmpeg.burn_subtitles`.\nstruct Kind;", 0),
            ("engine/src/a.rs", "#[cfg(test)]\nmod t { const A: &str = \"video\"; }", 0),
            ("workflows/src/a.rs", "let kind = \"ffmpeg.burn\";", 0),
            ("api/src/a.rs", "(\"mp4\", \"video/mp4\")", 0),
            ("api/src/a.rs", "#[schema(example = \"caption\")]", 0),
        ] {
            assert_eq!(media(&at(path, text)).len(), expected, "{path}: {text}");
        }
    }

    #[test]
    fn unfinished_work_is_an_offence_everywhere() {
        for text in [
            concat!("// TO", "DO: later"),
            concat!("let a = \"FIX", "ME\";"),
            concat!("#[cfg(test)]\nmod t { // XX", "X\n}"),
            concat!("fn a() { to", "do!() }"),
            concat!("fn a() { d", "bg!(1); }"),
        ] {
            assert_eq!(unfinished(&at("src/lib.rs", text)).len(), 1, "{text}");
        }
        assert_eq!(unfinished(&at("src/lib.rs", "// tmp.XXXXXX, methods to do")), []);
    }
}
