//! What the victim says, in a file outside its data: a line with one call, so that a crash leaves
//! it whole or not at all. It is the ledger that everything found later is held against.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mouth: cheap to clone.
#[derive(Clone)]
pub struct Mouth {
    file: Arc<File>,
    pub path: PathBuf,
}

impl Mouth {
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        Self { file: Arc::new(file), path: path.to_owned() }
    }

    pub fn say(&self, line: &str) {
        let count = (&*self.file).write(format!("{line}\n").as_bytes()).unwrap();
        assert_eq!(count, line.len() + 1, "a word is said whole");
    }
}

/// An attempt whose body began: job, step, item, number.
pub type Begun = (String, String, u32, u32);

/// All that was said so far.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Accepted jobs and their idempotency keys, `-` where they have none.
    pub accepted: BTreeMap<String, String>,
    /// The last record of each job that was seen.
    pub records: BTreeMap<String, u64>,
    /// Jobs whose cancel was answered.
    pub cancelled: BTreeSet<String>,
    /// Attempts that began, in order.
    pub begun: Vec<Begun>,
    /// Everything else, such as `open` and `done`.
    pub other: Vec<String>,
    lines: usize,
}

impl Words {
    pub fn read(path: &Path) -> Self {
        let mut words = Self::default();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().for_each(|line| words.hear(line));
        words
    }

    pub fn hear(&mut self, line: &str) {
        self.lines += 1;
        match line.trim_end().split(' ').collect::<Vec<_>>()[..] {
            ["accepted", job, key] => {
                self.accepted.insert(job.to_owned(), key.to_owned());
            }
            ["record", job, sequence] => {
                let sequence: u64 = sequence.parse().unwrap();
                let last = self.records.entry(job.to_owned()).or_default();
                *last = sequence.max(*last);
            }
            ["cancelled", job] => drop(self.cancelled.insert(job.to_owned())),
            ["begin", job, step, item, attempt] => self.begun.push((
                job.to_owned(),
                step.to_owned(),
                item.parse().unwrap(),
                attempt.parse().unwrap(),
            )),
            _ => self.other.push(line.trim_end().to_owned()),
        }
    }

    /// How many lines were heard.
    pub fn count(&self) -> usize {
        self.lines
    }

    pub fn said(&self, line: &str) -> bool {
        self.other.iter().any(|it| it == line)
    }

    /// No attempt began twice: its number is in the journal before its body starts.
    pub fn check_attempts(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        match self.begun.iter().find(|begun| !seen.insert(*begun)) {
            Some(twice) => Err(format!("an attempt began twice: {twice:?}")),
            None => Ok(()),
        }
    }
}
