//! How far a long work has come: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use callsheet::maintenance::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// A log gets a line as often as this; short work says nothing.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows progress on stderr. A bar is gone when the meter is dropped.
pub(super) struct Meter {
    bar: Option<ProgressBar>,
    verb: &'static str,
    last: Arc<Mutex<Instant>>,
}

impl Meter {
    /// A meter of what is being done, such as `backing up`.
    pub(super) fn new(verb: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{prefix} {msg} {bar:30} {pos}/{len} {elapsed}");
            let bar = ProgressBar::new(0).with_prefix(verb);
            // The template is fixed; without it the bar is another one, and a bar all the same.
            style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
        });
        Self { bar, verb, last: Arc::new(Mutex::new(Instant::now())) }
    }

    /// What is to be told of every step.
    pub(super) fn progress(&self) -> Progress {
        let (bar, verb, last) = (self.bar.clone(), self.verb, Arc::clone(&self.last));
        Arc::new(move |what, done, total| {
            if let Some(bar) = &bar {
                bar.set_message(what);
                bar.set_length(total);
                bar.set_position(done);
                return;
            }
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= LINE_EVERY {
                *last = Instant::now();
                eprintln!("{verb}: {done} of {total} {what}");
            }
        })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
