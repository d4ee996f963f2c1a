//! `make mutations`: breaks one promise after the other, and sees whether a test goes red for it.
//!
//! The faults stand in the code, behind the feature `mutations`; see `engine/src/mutations.rs`. In
//! a plain run of the tests only the lists are compared. `make mutations` builds once with all of
//! them, sees every test below green without a fault, then each red with its own, and writes the
//! table into `docs/reliability.md`.
#![allow(clippy::unwrap_used)]

mod cases;
mod page;
mod suite;

use std::collections::BTreeSet;
use std::path::Path;

use callsheet_engine::MUTATIONS;
use cases::CASES;
use suite::{Ran, Suites};

/// The page that is written.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");

#[test]
#[ignore = "takes minutes; run it with `make mutations`"]
fn every_fault_is_noticed() {
    let suites = Suites::build();
    let healthy: BTreeSet<_> = CASES.iter().map(|case| &case.test).collect();
    for test in healthy {
        let ran = suites.run(test, None);
        assert!(ran.is_green(), "without any fault `{test}` is not green:\n{}", ran.said());
    }
    let rows: Vec<_> = MUTATIONS
        .iter()
        .map(|(name, broken)| {
            let case = CASES.iter().find(|case| case.name == *name).unwrap();
            let ran = suites.run(&case.test, Some(name));
            println!("{name}: {} after {:.1} s", ran.verdict(), ran.seconds());
            page::Row { name, broken, test: case.test.to_string(), ran }
        })
        .collect();
    let table = page::table(&rows);
    println!("\n{table}");
    let old = std::fs::read_to_string(PAGE).unwrap();
    std::fs::write(PAGE, page::replaced(&old, &table)).unwrap();
    let survived = rows.iter().filter(|row| !row.ran.is_caught()).map(|row| row.name);
    let survived: Vec<_> = survived.collect();
    assert!(survived.is_empty(), "nobody noticed {survived:?}");
}

#[test]
fn every_fault_has_its_test_and_stands_in_the_sources() {
    let listed: Vec<_> = MUTATIONS.iter().map(|(name, _)| *name).collect();
    let cases: Vec<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(cases, listed, "each fault has a test that is to notice it, in the same order");
    let mut found = Vec::new();
    for package in ["engine", "storage", "actors", "workflows", "api", "."] {
        faults_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("src"), &mut found);
    }
    // A check that is made in two places is one fault.
    let found: BTreeSet<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, listed.into_iter().collect(), "the sources, beside the list");
}

/// The names that the sources ask for.
fn faults_under(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            faults_under(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let asked = text.split("mutated(\"").skip(1);
        found.extend(asked.map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
}

#[test]
fn the_page_has_a_place_for_the_table() {
    let text = std::fs::read_to_string(PAGE).unwrap();
    assert_eq!(page::replaced(&text, "").matches(page::BEGIN).count(), 1);
}

#[test]
fn a_run_is_judged_by_what_it_says() {
    let said = "running 1 test\ntest a::b ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed";
    let green = "running 1 test\ntest a::b ... ok\n\ntest result: ok. 1 passed; 0 failed";
    let nothing = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed";
    let ran = |said, is_success| Ran::new(said, is_success, true, 1.0);
    assert!(ran(said, Some(false)).is_caught() && ran(said, Some(false)).verdict() == "a::b");
    assert!(ran(green, Some(true)).is_green() && !ran(green, Some(true)).is_caught());
    assert!(!ran(nothing, Some(true)).is_green(), "a test that does not exist proves nothing");
    assert!(!ran("", None).is_caught(), "one that hangs is no answer");
    assert!(!Ran::new("", Some(false), false, 1.0).is_caught(), "nor one that never began");
}
