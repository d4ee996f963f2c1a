//! Stores that earlier versions wrote open for ever, with every job as it was, and go on.
//!
//! `golden/vN.tar.gz` is a data directory as format N lay on a disk; `golden/vN.json` is what was
//! acknowledged in it. Neither is ever changed. When a format is added, its pair is made by
//! `cargo test -p callsheet-storage --test golden -- --ignored`, which writes the files of the
//! current format and leaves the others alone.
#![allow(clippy::unwrap_used)]

mod common;
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use callsheet_engine::Timestamp;
use callsheet_storage::Store;
use common::{block_on, open, raw_tree};
use world::expected::{Expected, has_ended};
use world::life::Life;

/// The newest format.
const CURRENT: u32 = 2;
/// A golden file is read by people's tools and lies in every clone.
const MAX_GOLDEN_BYTES: u64 = 64 * 1024;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn tar(arguments: &[&str], file: &Path, dir: &Path) {
    let mut tar = Command::new("tar");
    let ended = tar.args(arguments).arg(file).arg("-C").arg(dir).arg(".").status();
    assert!(ended.expect("tar is installed").success(), "tar {arguments:?} {}", file.display());
}

/// A copy of the data directory of a format, and what was acknowledged in it.
fn unpacked(format: u32) -> (tempfile::TempDir, PathBuf, Expected) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    fs::create_dir(&dir).unwrap();
    tar(&["-xzf"], &golden(&format!("v{format}.tar.gz")), &dir);
    let expected = fs::read_to_string(golden(&format!("v{format}.json"))).unwrap();
    (root, dir, serde_json::from_str(&expected).unwrap())
}

#[test]
fn every_format_has_a_golden_store_that_is_small() {
    for format in 1..=CURRENT {
        for name in [format!("v{format}.tar.gz"), format!("v{format}.json")] {
            let known = fs::metadata(golden(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(known.len() <= MAX_GOLDEN_BYTES, "{name} has {} bytes", known.len());
        }
    }
}

#[test]
fn golden_stores_hold_every_state_and_every_event() {
    for format in 1..=CURRENT {
        let (_root, _dir, expected) = unpacked(format);
        let states: BTreeSet<_> = expected.jobs.iter().map(|job| job.status.as_str()).collect();
        let all = ["cancelled", "failed", "running", "sleeping", "stopping", "succeeded"];
        assert_eq!(states, BTreeSet::from(all), "format {format}");
        assert!(expected.event_kinds().len() >= 14, "{:?}", expected.event_kinds());
        assert!(expected.jobs.iter().filter(|job| job.idempotency.is_some()).count() >= 3);
        assert!(expected.definitions.len() >= 3 && !expected.artifacts.is_empty());
        let long = |job: &&world::expected::ExpectedJob| {
            job.records.iter().any(|record| record.to_string().len() > 8 * 1024)
        };
        assert!(expected.jobs.iter().filter(long).count() >= 2, "some values are files");
    }
}

// Jobs so large, or so far behind, that they have runs (`J`) or lie awake (`A`) would make it too
// large; the bytes of those are in the unit tests.
#[test]
fn the_newest_golden_store_holds_every_other_kind_of_key() {
    let (_root, dir, _) = unpacked(CURRENT);
    let (_db, tree) = raw_tree(&dir);
    let prefixes: BTreeSet<_> = tree.iter().keys().map(|key| key.unwrap()[0]).collect();
    assert_eq!(prefixes.into_iter().map(char::from).collect::<String>(), "DHILMST");
}

#[test]
fn golden_stores_are_read_as_they_were_acknowledged() {
    for format in 1..=CURRENT {
        let (_root, dir, expected) = unpacked(format);
        // Twice: whatever the first opening rewrites is read by the second.
        for _ in 0..2 {
            let store = open(&dir);
            block_on(expected.check(&dir, &store));
            world::close(store);
        }
    }
}

#[test]
fn jobs_of_golden_stores_go_on_and_end() {
    for format in 1..=CURRENT {
        let (_root, dir, expected) = unpacked(format);
        let store = open(&dir);
        let live: Vec<_> = expected.jobs.iter().filter(|job| !has_ended(&job.status)).collect();
        assert!(live.len() >= 4, "some are not over");
        block_on(async {
            for job in &live {
                let now = Timestamp(1_800_000_000_000);
                let mut life = Life::resume(&store, job.id, now).await;
                life.run_to_end(&store).await;
            }
        });
        world::close(store);
        let store = open(&dir);
        block_on(async {
            assert_eq!(store.awake(None, 9).await.unwrap(), []);
            assert_eq!(store.asleep(None, 9).await.unwrap(), []);
            for job in &live {
                let head = store.head(job.id).await.unwrap().unwrap();
                let cancelled = job.status == "stopping";
                assert_eq!(head.status.as_str(), if cancelled { "cancelled" } else { "succeeded" });
                let journal = store.journal(job.id, 0).await.unwrap();
                let begun = serde_json::to_value(&journal[..job.records.len()]).unwrap();
                assert_eq!(begun, serde_json::to_value(&job.records).unwrap(), "what was, stays");
                assert!(journal.len() > job.records.len());
            }
        });
    }
}

#[test]
#[ignore = "writes the golden files of the current format"]
fn write_golden_files() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let expected = world::fill(&dir);
    // What a running engine makes anew lies in no golden file.
    for name in ["ballast", "lock"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    tar(
        &["--sort=name", "--owner=0", "--group=0", "--mtime=@0", "-czf"],
        &golden(&format!("v{CURRENT}.tar.gz")),
        &dir,
    );
    let text = serde_json::to_string(&expected).unwrap();
    fs::write(golden(&format!("v{CURRENT}.json")), text).unwrap();
}
