//! Progress as plain lines: for logs, pipes and terminals that cannot move their cursor.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use callsheet::Failure;

use super::Note;

/// A live figure of a step is shown again after this, or when it has grown by this many percent.
const QUIET: Duration = Duration::from_secs(5);
const STRIDE_PERCENT: f64 = 10.0;

/// What was last said of each step, so that figures do not flood.
#[derive(Default)]
pub(crate) struct Lines {
    width: usize,
    said: HashMap<String, (f64, Instant)>,
}

impl Lines {
    /// The lines that a note is worth: often none, for a live figure.
    pub(super) fn show(&mut self, note: &Note) -> Vec<String> {
        let (step, words) = match note {
            Note::Job { .. } => return vec![self.begin(note)],
            Note::Ended { status } => return vec![format!("job {status}")],
            // Every step says so much of itself that the sum is not worth lines of its own.
            Note::Overall { .. } => return Vec::new(),
            Note::Moved { step, percent, message } => {
                if !self.is_news(step, *percent) {
                    return Vec::new();
                }
                (step, format!("{percent:>3.0} %  {message}"))
            }
            Note::Started { step, item, attempt } => (step, started(*item, *attempt)),
            Note::Sleeping { step, wait } => (step, sleeping(*wait)),
            Note::Item { step, done, total } => (step, format!("{done} of {total} items done")),
            Note::Retrying { step, attempt, failure, wait } => {
                (step, retrying(*attempt, failure, *wait))
            }
            Note::Interrupted { step, attempt } => {
                (step, format!("attempt {attempt} was cut off when its process ended"))
            }
            Note::InDoubt { step, attempt } => (step, in_doubt(*attempt)),
            Note::Held { step, item } => (step, held(*item)),
            Note::Succeeded { step, attempts, cached, seconds } => {
                (step, succeeded(*attempts, *cached, *seconds))
            }
            Note::Skipped { step } => (step, "skipped".to_owned()),
            Note::Failed { step, failure } => (step, format!("failed: {}", oneline(failure))),
        };
        if !matches!(note, Note::Moved { .. }) {
            self.said.remove(step);
        }
        vec![format!("  {step:<width$}  {words}", width = self.width).trim_end().to_owned()]
    }

    fn begin(&mut self, note: &Note) -> String {
        if let Note::Job { steps, .. } = note {
            self.width = steps.iter().map(|step| step.chars().count()).max().unwrap_or(0);
        }
        heading(note)
    }

    fn is_news(&mut self, step: &str, percent: f64) -> bool {
        let now = Instant::now();
        if let Some((last, at)) = self.said.get(step) {
            let grown = percent - last >= STRIDE_PERCENT;
            if !grown && now.duration_since(*at) < QUIET {
                return false;
            }
        }
        self.said.insert(step.to_owned(), (percent, now));
        true
    }
}

/// The line above all others: which job this is, and whether it goes on from before.
pub(super) fn heading(note: &Note) -> String {
    let Note::Job { job, workflow, steps, done, resumed } = note else {
        return String::new();
    };
    if !resumed {
        let noun = if steps.len() == 1 { "step" } else { "steps" };
        return format!("{workflow}: job {job}, {} {noun}", steps.len());
    }
    let next = steps.iter().find(|step| !done.contains(step));
    let from = next.map(|step| format!(" from step `{step}`")).unwrap_or_default();
    let (done, all) = (done.len(), steps.len());
    format!("{workflow}: resuming job {job}{from}, {done} of {all} steps done")
}

/// Words for the start of an attempt; the first of a plain step needs no number.
pub(super) fn started(item: Option<u32>, attempt: u32) -> String {
    let item = item.map(|item| format!(" item {item}")).unwrap_or_default();
    let attempt = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
    format!("started{item}{attempt}")
}

/// Words for a timer that began.
pub(super) fn sleeping(wait: f64) -> String {
    format!("asleep for {wait:.1} s")
}

/// Words for a failed attempt that is followed by another.
pub(super) fn retrying(attempt: u32, failure: &Failure, wait: f64) -> String {
    format!("attempt {attempt} failed: {}; again in {wait:.1} s", oneline(failure))
}

/// Words for an attempt without an answer, at what must not be done twice.
pub(super) fn in_doubt(attempt: u32) -> String {
    format!("in doubt: nobody knows whether attempt {attempt} was done")
}

/// Words for a doubt that waits for a person.
pub(super) fn held(item: Option<u32>) -> String {
    let item = item.map(|item| format!(" item {item}")).unwrap_or_default();
    format!("held{item}: waits for somebody to look; see `callsheet resolve`")
}

/// Words for a step that is done. Attempts are of note when something was tried again.
pub(super) fn succeeded(attempts: u32, cached: (u32, usize), seconds: f64) -> String {
    let attempts = match cached.1 {
        items if attempts as usize <= items => String::new(),
        1 => format!(" after {attempts} attempts"),
        items => format!(" after {attempts} attempts at {items} items"),
    };
    let cached = match cached {
        (0, _) => String::new(),
        (recalled, all) if recalled as usize == all => ", cached".to_owned(),
        (recalled, all) => format!(", {recalled} of {all} items cached"),
    };
    format!("done in {seconds:.1} s{attempts}{cached}")
}

/// A failure on one line: the whole of it stands in the result.
pub(super) fn oneline(failure: &Failure) -> String {
    let first = failure.message.lines().next().unwrap_or_default();
    format!("{first} [{}]", failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(done: &[&str], resumed: bool) -> Note {
        Note::Job {
            job: "J".into(),
            workflow: "caption".into(),
            steps: vec!["fetch".into(), "burn".into()],
            done: done.iter().map(ToString::to_string).collect(),
            resumed,
        }
    }

    #[test]
    fn the_heading_says_where_a_resumed_job_goes_on() {
        assert_eq!(heading(&job(&[], false)), "caption: job J, 2 steps");
        assert_eq!(
            heading(&job(&["fetch"], true)),
            "caption: resuming job J from step `burn`, 1 of 2 steps done"
        );
    }

    #[test]
    fn lines_align_and_name_attempts() {
        let mut lines = Lines::default();
        lines.show(&job(&[], false));
        let step = || "burn".to_owned();
        let failure = Failure::retryable("a.b", "no answer\nat all");
        let table = [
            (Note::Started { step: step(), item: None, attempt: 1 }, "  burn   started"),
            (
                Note::Started { step: step(), item: Some(4), attempt: 2 },
                "  burn   started item 4 (attempt 2)",
            ),
            (
                Note::Retrying { step: step(), attempt: 1, failure, wait: 1.0 },
                "  burn   attempt 1 failed: no answer [a.b]; again in 1.0 s",
            ),
            (
                Note::Succeeded { step: step(), attempts: 2, cached: (0, 1), seconds: 3.21 },
                "  burn   done in 3.2 s after 2 attempts",
            ),
            (
                Note::Succeeded { step: step(), attempts: 1, cached: (1, 1), seconds: 0.01 },
                "  burn   done in 0.0 s, cached",
            ),
            (
                Note::Succeeded { step: step(), attempts: 3, cached: (2, 3), seconds: 1.0 },
                "  burn   done in 1.0 s, 2 of 3 items cached",
            ),
            (
                Note::Succeeded { step: step(), attempts: 4, cached: (0, 3), seconds: 1.0 },
                "  burn   done in 1.0 s after 4 attempts at 3 items",
            ),
            (Note::Item { step: step(), done: 1, total: 3 }, "  burn   1 of 3 items done"),
            (Note::Sleeping { step: step(), wait: 60.0 }, "  burn   asleep for 60.0 s"),
            (
                Note::InDoubt { step: step(), attempt: 2 },
                "  burn   in doubt: nobody knows whether attempt 2 was done",
            ),
            (
                Note::Held { step: step(), item: Some(3) },
                "  burn   held item 3: waits for somebody to look; see `callsheet resolve`",
            ),
        ];
        for (note, line) in table {
            assert_eq!(lines.show(&note), [line]);
        }
    }

    #[test]
    fn small_moves_are_not_told() {
        let mut lines = Lines::default();
        let told = [0.0, 4.0, 9.9, 10.0, 11.0, 35.0].map(|percent| {
            let note = Note::Moved { step: "a".into(), percent, message: String::new() };
            lines.show(&note).len()
        });
        assert_eq!(told, [1, 0, 0, 1, 0, 1]);
    }
}
