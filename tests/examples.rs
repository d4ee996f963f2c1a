//! Every example runs and prints what it should: examples that run do not rot.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

/// The example's program, built by Cargo beside the tests: `deps/examples-…` has `examples/` as
/// its uncle.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is not built: run `cargo test` without `--test`, or first `cargo build --examples`",
        program.display()
    );
    program
}

fn check(name: &str, expected: &[&str]) {
    let ended = Command::new(program(name)).output().unwrap();
    let text = String::from_utf8(ended.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{name} ended with {}: {complaint}", ended.status);
    assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{name}: {complaint}");
}

#[test]
fn a_service_embeds_the_engine() {
    check("01_embed", &["succeeded: \"Tea & Co: 3 goods, 19.00\""]);
}

#[test]
fn the_embedding_example_is_short() {
    let text = include_str!("../examples/01_embed.rs");
    assert!(text.lines().count() < 60, "an example that is long is not read");
}

#[test]
fn a_cancelled_job_stops_and_stays_cancelled() {
    let lines = [
        "cancel: Accepted",
        "status: cancelled",
        "the body is gone: true",
        "again: AlreadyEnded(Cancelled)",
    ];
    check("02_cancel", &lines);
}

#[test]
fn what_must_not_be_done_twice_is_looked_for() {
    check("03_once", &["succeeded: \"found on the statement\"", "paid 1 time"]);
}

#[test]
fn a_service_uses_a_shipped_workflow() {
    check("04_video", &["succeeded: video/mp4, 3.0 s", "loud enough: true"]);
}

#[test]
fn every_example_has_a_test() {
    let here = include_str!("examples.rs");
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|ending| ending == "rs")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(here.contains(&format!("check(\"{name}\"")), "no test runs {name}");
    }
}
