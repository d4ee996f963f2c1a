//! A ledger outside the engine: which bodies began and ended, in which process, at what instant.
//!
//! What the journal says about a kill is what is to be checked, so this is written beside it. Lines
//! have one length, so that a file's size says how many there are, and each is one write.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of one line, its end included.
const LINE_BYTES: u64 = 86;

/// A ledger to write in.
#[derive(Debug)]
pub(crate) struct Ledger(File);

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Begun,
    Ended,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) deed: Deed,
    /// Job and step.
    pub(crate) place: (String, String),
    pub(crate) process: u32,
    /// Microseconds of the system's clock.
    pub(crate) at: u64,
}

impl Ledger {
    /// Opens a ledger; makes one where there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        File::options().append(true).create(true).open(path).map(Self)
    }

    /// Adds a line about this process.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn write(&self, deed: Deed, job: &str, step: &str) -> std::io::Result<()> {
        let mark = if deed == Deed::Begun { 'b' } else { 'e' };
        let line = format!("{mark} {job:<36} {step:<8} {:>10} {:>26}\n", std::process::id(), now());
        assert_eq!(line.len() as u64, LINE_BYTES, "lines have one length");
        (&self.0).write_all(line.as_bytes())
    }
}

/// The system's clock, which all processes share, in microseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// How many lines a ledger has.
pub(crate) fn count(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len() / LINE_BYTES)
}

/// All lines, in the order in which they were written.
///
/// # Errors
/// Those of the file system.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<Line>> {
    Ok(fs::read_to_string(path)?.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split_whitespace();
    let deed = if words.next()? == "b" { Deed::Begun } else { Deed::Ended };
    let place = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Line {
        deed,
        place,
        process: words.next()?.parse().ok()?,
        at: words.next()?.parse().ok()?,
    })
}

/// What a kill and the restart after it have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Steps that were begun at all.
    pub(crate) steps: u64,
    /// Bodies that were at work when their process was killed.
    pub(crate) running: u64,
    /// Steps whose body was begun in both processes.
    pub(crate) repeated: u64,
    /// Those among them whose first body had ended; whether its result was durable by then is for
    /// the journal to say.
    pub(crate) repeated_after_end: u64,
    /// Bodies begun more than once in one process, which must never be.
    pub(crate) doubled: u64,
    /// When the second process began its first body.
    pub(crate) first_at: Option<u64>,
}

/// The steps, each with its job, whose bodies were begun in this process and in one before it.
pub(crate) fn repeated(lines: &[Line], process: u32) -> HashSet<(&str, &str)> {
    let begun = |here: bool| {
        let of_side =
            move |line: &&Line| line.deed == Deed::Begun && (line.process == process) == here;
        let places = lines.iter().filter(of_side);
        places.map(|line| (line.place.0.as_str(), line.place.1.as_str())).collect::<HashSet<_>>()
    };
    begun(true).intersection(&begun(false)).copied().collect()
}

/// Judges the lines of two processes, the first of which was killed.
pub(crate) fn judge(lines: &[Line], killed: u32) -> Verdict {
    #[derive(Default)]
    struct Seen {
        begun: [u64; 2],
        ended: bool,
    }
    let mut seen: HashMap<&(String, String), Seen> = HashMap::new();
    let mut verdict = Verdict::default();
    for line in lines {
        let second = usize::from(line.process != killed);
        let step = seen.entry(&line.place).or_default();
        match line.deed {
            Deed::Begun => {
                step.begun[second] += 1;
                if second == 1 {
                    verdict.first_at.get_or_insert(line.at);
                }
            }
            Deed::Ended => step.ended |= second == 0,
        }
    }
    for step in seen.values() {
        let repeated = step.begun.iter().all(|count| *count > 0);
        verdict.steps += 1;
        verdict.running += u64::from(step.begun[0] > 0 && !step.ended);
        verdict.repeated += u64::from(repeated);
        verdict.repeated_after_end += u64::from(repeated && step.ended);
        verdict.doubled += u64::from(step.begun.iter().any(|count| *count > 1));
    }
    verdict
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        assert_eq!(count(&path), 0);
        let ledger = Ledger::open(&path).unwrap();
        let job = "01a1fe1b-b3a5-7515-8498-57e4b5f81d94";
        ledger.write(Deed::Begun, job, "s1").unwrap();
        Ledger::open(&path).unwrap().write(Deed::Ended, job, "s1").unwrap();
        assert_eq!(count(&path), 2);
        let lines = read(&path).unwrap();
        assert_eq!(
            lines.iter().map(|line| line.deed).collect::<Vec<_>>(),
            [Deed::Begun, Deed::Ended]
        );
        assert_eq!(lines[0].place, (job.to_owned(), "s1".to_owned()));
        assert_eq!(lines[1].process, std::process::id());
        assert!(lines[0].at <= lines[1].at && lines[1].at <= now());
    }

    #[test]
    fn a_kill_is_judged_by_what_was_at_work() {
        let line = |deed, step: &str, process, at| Line {
            deed,
            place: ("j".to_owned(), step.to_owned()),
            process,
            at,
        };
        use Deed::{Begun, Ended};
        let lines = [
            line(Begun, "done", 1, 1),
            line(Ended, "done", 1, 2),
            line(Begun, "unrecorded", 1, 3),
            line(Ended, "unrecorded", 1, 4),
            line(Begun, "cut", 1, 5),
            line(Begun, "cut", 2, 9),
            line(Begun, "unrecorded", 2, 10),
            line(Begun, "later", 2, 11),
        ];
        let expected = Verdict {
            steps: 4,
            running: 1,
            repeated: 2,
            repeated_after_end: 1,
            doubled: 0,
            first_at: Some(9),
        };
        assert_eq!(judge(&lines, 1), expected);
        assert_eq!(repeated(&lines, 2), HashSet::from([("j", "cut"), ("j", "unrecorded")]));
        let twice = [line(Begun, "a", 2, 1), line(Begun, "a", 2, 2)];
        assert_eq!(judge(&twice, 1).doubled, 1);
        assert_eq!(judge(&[], 1), Verdict::default());
    }
}
