//! `make bench`: runs `callsheet bench` for every job and writes what it found into
//! `docs/performance.md`. The measuring itself is ignored in a plain run of the tests.
#![allow(clippy::unwrap_used)]

#[path = "performance/goals.rs"]
mod goals;
#[path = "performance/page.rs"]
mod page;
#[path = "performance/peers.rs"]
mod peers;

use std::process::{Command, Stdio};

use serde_json::Value;

/// The page that is written.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");

/// What is run: the job and its arguments. `SECONDS`, `ITEMS` and `SLEEPERS` stand for what scales.
const RUNS: [&[&str]; 14] = [
    &["chain10", "--jobs", "1", "--seconds", "SECONDS"],
    &["chain10", "--jobs", "16", "--seconds", "SECONDS"],
    &["chain10", "--jobs", "256", "--seconds", "SECONDS"],
    &["chain10", "--jobs", "1024", "--seconds", "SECONDS"],
    &["fan100", "--jobs", "1", "--seconds", "SECONDS"],
    &["fan100", "--jobs", "16", "--seconds", "SECONDS"],
    &["submit", "--jobs", "1", "--seconds", "SECONDS"],
    &["submit", "--jobs", "256", "--seconds", "SECONDS"],
    &["submit", "--jobs", "1", "--over", "http", "--seconds", "SECONDS"],
    &["submit", "--jobs", "256", "--over", "http", "--seconds", "SECONDS"],
    &["fan100k", "--items", "ITEMS"],
    &["recover"],
    &["cancel"],
    &["idle", "--jobs", "SLEEPERS"],
];

/// Measures with the program that `CALLSHEET_BENCH` names, a release build.
#[test]
#[ignore = "takes minutes; run it with `make bench`"]
fn measure() {
    let program = std::env::var("CALLSHEET_BENCH").expect("run it with `make bench`");
    let or = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let scale = [
        ("SECONDS", or("SECONDS", "6")),
        ("ITEMS", or("ITEMS", "100000")),
        ("SLEEPERS", or("SLEEPERS", "20000")),
    ];
    let mut answers = Vec::new();
    for run in RUNS {
        let args = run.iter().map(|arg| {
            let scaled = scale.iter().find(|(name, _)| name == arg);
            scaled.map_or(*arg, |(_, value)| value.as_str())
        });
        let mut command = Command::new(&program);
        command.arg("bench").args(args).arg("--json").stderr(Stdio::inherit());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{run:?}: {}", output.status);
        answers.push(serde_json::from_slice::<Value>(&output.stdout).unwrap());
    }
    let measured = page::measured(&answers);
    println!("{measured}");
    let old = std::fs::read_to_string(PAGE).unwrap();
    std::fs::write(PAGE, page::replaced(&old, &measured)).unwrap();
}

#[test]
fn the_page_has_a_place_for_what_is_measured() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    assert_eq!(page::replaced(&page, "").matches(page::BEGIN).count(), 1);
}
