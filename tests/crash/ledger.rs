//! The ledger of effects: lines in a file outside the engine's data. A line is written with one
//! call, so a kill leaves it whole or not at all.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Appends a line.
pub fn write(ledger: &Path, line: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(ledger).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// All lines so far, as words.
pub fn read(ledger: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(ledger).unwrap_or_default();
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}
