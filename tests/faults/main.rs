//! Faults that a kill -9 does not show: the machine dies, the disk lies, fails, fills or is slow.
//!
//! A library that is preloaded into the victim (`shim.c`) keeps a trace of what is done to its
//! files, or fails what it is told to fail. All checks go through the public API and the files that
//! a user has, so they hold for any layout of the store. See `docs/reliability.md`.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod disk;
#[path = "../draw/mod.rs"]
mod draw;
mod found;
mod full;
mod power;
mod serve;
mod shim;
mod sweep;
mod sync;
mod trace;
mod victim;
mod words;

/// Not a test of its own: what the tests start, and let suffer.
#[test]
#[ignore = "started by the other tests of this file"]
fn victim() {
    victim::run();
}

/// A directory in memory where there is one: what is made in it is made thousands of times.
fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}
