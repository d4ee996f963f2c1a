//! How far a job has come, for those who watch: recorded facts and live figures become notes, and
//! notes become bars, lines or JSON.

mod bars;
mod lines;
mod story;

use std::io::{IsTerminal, Write};

use callsheet::Failure;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use story::Story;

use bars::Bars;
use lines::Lines;

/// The form in which progress is shown on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressForm {
    /// Bars on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A bar a step.
    Bars,
    /// A plain line for whatever happens.
    Lines,
    /// One JSON object a line, for programs.
    Json,
    /// Nothing.
    None,
}

/// One thing to tell about a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub(crate) enum Note {
    /// Which job is watched; the first note.
    Job {
        /// Its id.
        job: String,
        /// The name of its workflow.
        workflow: String,
        /// The ids of its steps, in the order of the workflow.
        steps: Vec<String>,
        /// The steps that were done before: none for a new job.
        done: Vec<String>,
        /// Whether it was begun by an earlier process.
        resumed: bool,
    },
    /// An attempt began.
    Started {
        /// The step.
        step: String,
        /// The item of a `for_each`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        /// Number of the attempt, from 1.
        attempt: u32,
    },
    /// A timer began.
    Sleeping {
        /// The step.
        step: String,
        /// Seconds until it is over.
        wait: f64,
    },
    /// An attempt has come so far. Live, not recorded.
    Moved {
        /// The step.
        step: String,
        /// 0 to 100.
        percent: f64,
        /// What is being done.
        message: String,
    },
    /// The job as a whole has come so far. Live, not recorded.
    Overall {
        /// 0 to 100: its steps by their weights.
        percent: f64,
    },
    /// An item of a `for_each` has settled, and others have not.
    Item {
        /// The step.
        step: String,
        /// Items that have settled.
        done: usize,
        /// Items in all.
        total: usize,
    },
    /// An attempt failed and another will follow.
    Retrying {
        /// The step.
        step: String,
        /// Number of the attempt that failed.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// Seconds until the next.
        wait: f64,
    },
    /// An attempt was cut off by the end of its process.
    Interrupted {
        /// The step.
        step: String,
        /// Number of the attempt.
        attempt: u32,
    },
    /// An attempt ended without an answer, and nobody knows whether its deed was done.
    InDoubt {
        /// The step.
        step: String,
        /// Number of the attempt.
        attempt: u32,
    },
    /// The doubt waits for a person.
    Held {
        /// The step.
        step: String,
        /// The item of a `for_each`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
    },
    /// The step is done.
    Succeeded {
        /// The step.
        step: String,
        /// Attempts over all items.
        attempts: u32,
        /// Items whose result was recalled, and all of them.
        cached: (u32, usize),
        /// Seconds from its first attempt to its end.
        seconds: f64,
    },
    /// The step did not have to run.
    Skipped {
        /// The step.
        step: String,
    },
    /// The step, or an item of it, failed for good.
    Failed {
        /// The step.
        step: String,
        /// Why.
        failure: Failure,
    },
    /// The job is over.
    Ended {
        /// `succeeded`, `failed` or `cancelled`.
        status: String,
    },
}

/// Whoever shows notes.
pub(crate) enum Display {
    /// On a terminal.
    Bars(Bars),
    /// Anywhere else.
    Lines(Lines),
    /// For programs.
    Json,
    /// Nobody.
    None,
}

impl Display {
    /// The display for a form; `auto` looks at stderr.
    pub(crate) fn new(form: ProgressForm) -> Self {
        match form {
            ProgressForm::Auto if std::io::stderr().is_terminal() => Self::Bars(Bars::new()),
            ProgressForm::Auto | ProgressForm::Lines => Self::Lines(Lines::default()),
            ProgressForm::Bars => Self::Bars(Bars::new()),
            ProgressForm::Json => Self::Json,
            ProgressForm::None => Self::None,
        }
    }

    /// Shows a note.
    pub(crate) fn show(&mut self, note: &Note) {
        match self {
            Self::Bars(bars) => bars.show(note),
            Self::Lines(lines) => lines.show(note).iter().for_each(|line| err(line)),
            // A note is plain data, so it always becomes JSON; were it not to, it is left out.
            Self::Json => err(&serde_json::to_string(note).unwrap_or_default()),
            Self::None => {}
        }
    }

    /// A remark of the command itself, without breaking bars apart. Programs do not get it.
    pub(crate) fn say(&self, text: &str) {
        match self {
            Self::Bars(bars) => bars.say(text),
            Self::Lines(_) => err(text),
            Self::Json | Self::None => {}
        }
    }

    /// Leaves the terminal in order.
    pub(crate) fn finish(&mut self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}

/// Writes to stderr; a closed stderr is no reason to stop a job.
fn err(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_json() {
        let notes = [
            Note::Started { step: "a".into(), item: None, attempt: 2 },
            Note::Sleeping { step: "a".into(), wait: 1.5 },
            Note::InDoubt { step: "a".into(), attempt: 1 },
            Note::Held { step: "a".into(), item: Some(2) },
            Note::Moved { step: "a".into(), percent: 12.5, message: "frame 3".into() },
            Note::Overall { percent: 40.0 },
            Note::Retrying {
                step: "a".into(),
                attempt: 1,
                failure: Failure::retryable("x.y", "no answer"),
                wait: 1.5,
            },
        ];
        for note in notes {
            let text = serde_json::to_string(&note).unwrap();
            assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note, "{text}");
        }
    }

    #[test]
    fn the_name_of_a_note_is_its_kind() {
        let note = Note::Skipped { step: "a".into() };
        assert_eq!(serde_json::to_string(&note).unwrap(), r#"{"note":"skipped","step":"a"}"#);
    }
}
