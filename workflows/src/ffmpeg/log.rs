//! What ffmpeg says while it works: progress for those who watch, errors for those who read.

use std::collections::VecDeque;

use callsheet_actors::StepContext;
use ffmpeg_sidecar::event::{FfmpegEvent, LogLevel};

use crate::limits::{LOG_TAIL_LINES, MAX_LOG_LINE_CHARS, MAX_TOLD_LINES};

/// Follows one run.
pub(super) struct Log {
    duration_s: Option<f64>,
    span: (f64, f64),
    percent: u32,
    /// How much was written so far, in seconds.
    pub(super) time_s: f64,
    /// Pictures that were written so far.
    pub(super) frames: u64,
    /// Lines that report an error.
    pub(super) errors: Vec<String>,
    tail: VecDeque<String>,
}

impl Log {
    pub(super) fn new(duration_s: Option<f64>, span: (f64, f64)) -> Self {
        let (errors, tail) = (Vec::new(), VecDeque::new());
        Self { duration_s, span, percent: 0, time_s: 0.0, frames: 0, errors, tail }
    }

    /// Takes in one event; tells those who watch when a new percent is reached.
    pub(super) fn take(&mut self, event: FfmpegEvent, context: &StepContext) {
        match event {
            FfmpegEvent::Progress(progress) => {
                context.heartbeat();
                self.frames = u64::from(progress.frame);
                self.time_s = read_time(&progress.time).unwrap_or(self.time_s);
                if let Some(percent) = self.percent(&progress.time)
                    && percent > self.percent
                {
                    self.percent = percent;
                    let message = format!("{} at {}x", progress.time, progress.speed);
                    context.progress(f64::from(percent), message);
                }
            }
            FfmpegEvent::Log(level, line) => self.keep(&level, &line),
            _ => {}
        }
    }

    fn percent(&self, time: &str) -> Option<u32> {
        let duration = self.duration_s.filter(|duration| *duration > 0.0)?;
        let share = read_time(time)? / duration;
        let (from, to) = self.span;
        let percent = from + share.clamp(0.0, 1.0) * (to - from);
        Some(percent as u32)
    }

    /// The last lines, errors or not.
    pub(super) fn tail(self) -> Vec<String> {
        self.tail.into()
    }

    fn keep(&mut self, level: &LogLevel, line: &str) {
        let line: String =
            line.chars().filter(|c| !c.is_control()).take(MAX_LOG_LINE_CHARS).collect();
        // A title in the file may say `[error]` too; ffmpeg reports what files say as information.
        let is_error = matches!(level, LogLevel::Error | LogLevel::Fatal);
        if is_error && !line.starts_with("[info]") && self.errors.len() < LOG_TAIL_LINES {
            self.errors.push(line.clone());
        }
        if self.tail.len() == LOG_TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// What an error tells: the first lines that report one, since the others follow from them, or
    /// the last lines when none does.
    pub(super) fn told(&self) -> String {
        let lines: Vec<&str> = match self.errors.is_empty() {
            false => self.errors.iter().take(MAX_TOLD_LINES).map(String::as_str).collect(),
            true => {
                let before = self.tail.len().saturating_sub(MAX_TOLD_LINES);
                self.tail.iter().skip(before).map(String::as_str).collect()
            }
        };
        lines.join("\n")
    }

    /// The end of what was said: the errors when there are any, else the last lines.
    pub(super) fn said(&self) -> String {
        if self.errors.is_empty() {
            let lines: Vec<&str> = self.tail.iter().map(String::as_str).collect();
            return lines.join("\n");
        }
        self.errors.join("\n")
    }
}

/// Reads `HH:MM:SS.ss`; before the first picture ffmpeg writes `N/A` or a negative time.
fn read_time(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let (h, m, s) = (parts.next()?, parts.next()?, parts.next()?);
    let (h, m, s): (f64, f64, f64) = (h.parse().ok()?, m.parse().ok()?, s.parse().ok()?);
    (parts.next().is_none() && h >= 0.0 && !text.starts_with('-'))
        .then_some((h * 60.0 + m) * 60.0 + s)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_become_percents() {
        for (time, duration, percent) in [
            ("00:00:05.00", Some(10.0), Some(50)),
            ("01:00:00.00", Some(7_200.0), Some(50)),
            ("00:00:20.00", Some(10.0), Some(100)),
            ("-577014:32:22.77", Some(10.0), None),
            ("-00:00:00.02", Some(10.0), None),
            ("N/A", Some(10.0), None),
            ("00:00:05.00", None, None),
            ("00:00:05.00", Some(0.0), None),
        ] {
            assert_eq!(Log::new(duration, (0.0, 100.0)).percent(time), percent, "{time}");
        }
    }

    #[test]
    fn a_run_that_is_a_part_has_its_part_of_the_percents() {
        for (time, percent) in [("00:00:00.00", 30), ("00:00:05.00", 45), ("00:00:10.00", 60)] {
            assert_eq!(Log::new(Some(10.0), (30.0, 60.0)).percent(time), Some(percent), "{time}");
        }
    }

    #[test]
    fn errors_are_kept_and_titles_are_not_taken_for_them() {
        let mut log = Log::new(None, (0.0, 100.0));
        for n in 0..30 {
            log.keep(&LogLevel::Info, &format!("[info] line {n}"));
        }
        log.keep(&LogLevel::Error, "[info]     title: [error] not one");
        assert!(log.errors.is_empty());
        assert_eq!(log.said().lines().count(), LOG_TAIL_LINES);
        log.keep(&LogLevel::Error, "[h264 @ 0x5] [error] broken\u{1b}[2J");
        assert_eq!(log.said(), "[h264 @ 0x5] [error] broken[2J");
    }
}
