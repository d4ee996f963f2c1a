//! Golden files: texts that are part of the interface and change only on purpose.
//!
//! `GOLDEN=write cargo test --test cli` writes them anew; the diff is then for a person to read.

use std::fs;
use std::path::PathBuf;

use super::world::finish;

/// Compares a text with `tests/golden/NAME`.
pub(crate) fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
        return fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{} is another text now; if that is meant, write it anew with GOLDEN=write\n\
         --- golden\n{golden}\n--- now\n{text}",
        path.display()
    );
}

const COMMANDS: [&str; 17] = [
    "run",
    "serve",
    "upload",
    "submit",
    "jobs",
    "show",
    "cancel",
    "resolve",
    "validate",
    "graph",
    "backup",
    "restore",
    "verify",
    "compact",
    "fake-providers",
    "demo",
    "bench",
];

#[test]
fn help_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let help = finish(dir.path(), &["--help"]).has_ended_with(0);
    check("help.txt", &help.stdout);
    for command in COMMANDS {
        let help = finish(dir.path(), &[command, "--help"]).has_ended_with(0);
        assert_eq!(help.stderr, "");
        check(&format!("help-{command}.txt"), &help.stdout);
    }
}

#[test]
fn the_reference_names_every_command_and_flag() {
    let page = include_str!("../../docs/reference/command.md");
    let dir = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        assert!(page.contains(&format!("## callsheet {command}\n")), "{command} has no section");
        let help = finish(dir.path(), &[command, "--help"]).stdout;
        let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        for flag in words.filter(|word| word.starts_with("--") && word.len() > 2) {
            assert!(page.contains(&format!("`{flag}")), "{flag} of {command} is not explained");
        }
    }
}

#[test]
fn every_command_gives_an_example() {
    let dir = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let help = finish(dir.path(), &[command, "--help"]).stdout;
        let examples = help.split("Examples:\n").nth(1).unwrap_or_default();
        assert!(examples.contains(&format!("callsheet {command}")), "{command}: {help}");
    }
}
