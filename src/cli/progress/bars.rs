//! Progress as bars on a terminal: one a step, the words of the last note beside it.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Note, lines};

/// How often a running step's mark turns: often enough to look alive.
const TICK: Duration = Duration::from_millis(120);

/// A bar is this long; the rest of the line is for words.
const TEMPLATE: &str = "  {prefix} {spinner} [{bar:24}] {msg}";

/// The bars of one job.
pub(crate) struct Bars {
    all: MultiProgress,
    steps: HashMap<String, ProgressBar>,
    /// The job as a whole: the last of them.
    job: Option<ProgressBar>,
    style: ProgressStyle,
}

impl Bars {
    /// No bars yet: they come with the first note.
    pub(super) fn new() -> Self {
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
            .tick_chars("-\\|/ ");
        Self { all: MultiProgress::new(), steps: HashMap::new(), job: None, style }
    }

    /// Shows a note.
    pub(super) fn show(&mut self, note: &Note) {
        match note {
            Note::Job { steps, done, .. } => self.begin(note, steps, done),
            Note::Started { step, item, attempt } => {
                let words = lines::started(*item, *attempt);
                self.with(step, |bar| {
                    bar.enable_steady_tick(TICK);
                    bar.set_message(words);
                });
            }
            Note::Sleeping { step, wait } => {
                self.with(step, |bar| bar.set_message(lines::sleeping(*wait)));
            }
            Note::Moved { step, percent, message } => {
                let words = format!("{percent:>3.0} %  {message}");
                self.with(step, |bar| {
                    bar.set_position(position(*percent));
                    bar.set_message(words);
                });
            }
            Note::Overall { percent } => self.job.iter().for_each(|bar| {
                bar.set_position(position(*percent));
                bar.set_message(format!("{percent:>3.0} %"));
            }),
            Note::Item { step, done, total } => {
                let position = (100 * done / total.max(&1)) as u64;
                self.with(step, |bar| {
                    bar.set_position(position);
                    bar.set_message(format!("{done} of {total} items"));
                });
            }
            Note::Retrying { step, attempt, failure, wait } => {
                self.say(&format!("  {step}: {}", lines::retrying(*attempt, failure, *wait)));
            }
            Note::Interrupted { step, attempt } => {
                self.say(&format!("  {step}: attempt {attempt} was cut off"));
            }
            Note::InDoubt { step, attempt } => {
                self.say(&format!("  {step}: {}", lines::in_doubt(*attempt)));
            }
            Note::Held { step, item } => {
                self.with(step, |bar| bar.set_message(lines::held(*item)));
            }
            Note::Succeeded { step, attempts, cached, seconds } => {
                self.close(step, &lines::succeeded(*attempts, *cached, *seconds), true);
            }
            Note::Skipped { step } => self.close(step, "skipped", true),
            Note::Failed { step, failure } => {
                self.close(step, &format!("failed: {}", lines::oneline(failure)), false);
            }
            Note::Ended { .. } => self.finish(),
        }
    }

    /// A line above the bars.
    pub(super) fn say(&self, text: &str) {
        // A terminal that refuses the line is no reason to stop a job.
        let _ = self.all.println(text);
    }

    /// Leaves all bars as they are, and the cursor below them.
    pub(super) fn finish(&mut self) {
        for bar in self.steps.values().chain(&self.job).filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }

    fn begin(&mut self, note: &Note, steps: &[String], done: &[String]) {
        self.finish();
        self.say(&lines::heading(note));
        let width = steps.iter().map(|step| step.chars().count()).max().unwrap_or(0);
        for step in steps {
            let bar = self.all.add(ProgressBar::new(100).with_style(self.style.clone()));
            bar.set_prefix(format!("{step:<width$}"));
            if done.contains(step) {
                bar.set_position(100);
                bar.abandon_with_message("done before, not run again");
            }
            self.steps.insert(step.clone(), bar);
        }
        // One step is all of the job: its bar says it.
        self.job = (steps.len() > 1).then(|| {
            let bar = self.all.add(ProgressBar::new(100).with_style(self.style.clone()));
            bar.with_prefix(format!("{:<width$}", "job"))
        });
    }

    fn with(&self, step: &str, change: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.steps.get(step) {
            change(bar);
        }
    }

    fn close(&self, step: &str, words: &str, full: bool) {
        self.with(step, |bar| {
            if full {
                bar.set_position(100);
            }
            bar.abandon_with_message(words.to_owned());
        });
    }
}

/// A percentage as the position of a bar: the engine keeps it within 0 to 100, so the cast cannot
/// cut anything off.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
fn position(percent: f64) -> u64 {
    percent as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one_that_can_be_read() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn steps_that_were_done_before_are_full_from_the_start() {
        let mut bars = Bars::new();
        bars.all.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        bars.show(&Note::Job {
            job: "J".into(),
            workflow: "w".into(),
            steps: vec!["a".into(), "b".into()],
            done: vec!["a".into()],
            resumed: true,
        });
        assert!(bars.steps["a"].is_finished() && !bars.steps["b"].is_finished());
        bars.show(&Note::Moved { step: "b".into(), percent: 40.0, message: String::new() });
        assert_eq!(bars.steps["b"].position(), 40);
        bars.show(&Note::Overall { percent: 70.9 });
        assert_eq!(bars.job.as_ref().map(ProgressBar::position), Some(70));
        bars.finish();
        assert!(bars.steps["b"].is_finished());
    }
}
