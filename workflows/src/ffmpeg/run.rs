//! One run of ffmpeg as a child of an attempt: it dies with the attempt, and it is always reaped.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use callsheet_actors::{StepContext, StepError, StepResult};
use ffmpeg_sidecar::child::FfmpegChild;
use ffmpeg_sidecar::command::FfmpegCommand;
use ffmpeg_sidecar::event::FfmpegEvent;
use ffmpeg_sidecar::log_parser::FfmpegLogParser;

use super::log::Log;
use crate::slots::Slots;
use crate::tools::{FFMPEG, install_hint};

/// A run of ffmpeg that is being put together.
pub(crate) struct Run {
    context: StepContext,
    duration_s: Option<f64>,
    span: (f64, f64),
    directory: Option<PathBuf>,
    args: Vec<OsString>,
}

/// A run that ended well.
pub(crate) struct Ended {
    /// Lines that report an error, though the run went on.
    pub(crate) errors: Vec<String>,
    /// Pictures that it wrote.
    pub(crate) frames: u64,
    /// The last lines that it said.
    pub(crate) said: Vec<String>,
}

impl Run {
    /// A run for an attempt; percents are counted against the length in seconds.
    pub(crate) fn new(context: &StepContext, duration_s: Option<f64>) -> Self {
        // Nothing is asked, and progress comes often enough to see even a short run move.
        let args = ["-hide_banner", "-nostdin", "-y", "-stats_period", "0.2"];
        let args = args.map(OsString::from).into();
        let span = (0.0, 100.0);
        Self { context: context.clone(), duration_s, span, directory: None, args }
    }

    /// The percents that this run begins and ends with, when it is a part of the work.
    pub(crate) fn span(mut self, from: f64, to: f64) -> Self {
        self.span = (from, to);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, |run, arg| run.arg(arg))
    }

    /// Sets the directory that plain names in filters are looked up in.
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Ends the arguments with a file to write.
    pub(crate) fn output(self, path: &Path) -> Self {
        let mut name = OsString::from("file:");
        name.push(path);
        self.arg(name)
    }

    /// Ends the arguments of a run that only decodes.
    pub(crate) fn nowhere(self) -> Self {
        self.arg("-")
    }

    /// Runs it, when there is a place.
    ///
    /// # Errors
    /// `ffmpeg.failed` with what it said when it ends badly, `ffmpeg.no_room` when the disk is
    /// full, `ffmpeg.killed` when it was killed, `process.not_found` when there is none.
    pub(crate) async fn run(self, slots: &Slots) -> StepResult<Ended> {
        // The place is held by the thread, not by this future: a future that is dropped does not
        // free the processor before the child is gone.
        let place = slots.take(&self.context).await?;
        let context = self.context.clone();
        let work = move || {
            let ended = self.run_here();
            drop(place);
            ended
        };
        context.blocking(work).await
    }

    fn run_here(self) -> StepResult<Ended> {
        let mut command = FfmpegCommand::new_with_path(FFMPEG);
        command.args(&self.args);
        if let Some(directory) = &self.directory {
            command.as_inner_mut().current_dir(directory);
        }
        self.context.prepare(command.as_inner_mut());
        let mut child = command.spawn().map_err(|error| cannot_start(&error))?;
        let adopted = self.context.adopt(child.as_inner().id()).disposable();
        let mut log = Log::new(self.duration_s, self.span);
        follow(&mut child, &mut log, &self.context);
        let status = child.wait();
        drop(adopted);
        let status = status.map_err(|error| {
            StepError::retryable("ffmpeg.killed", format!("cannot wait for ffmpeg: {error}"))
        })?;
        self.judge(status, log)
    }

    fn judge(&self, status: ExitStatus, mut log: Log) -> StepResult<Ended> {
        if status.success() {
            let errors = std::mem::take(&mut log.errors);
            return Ok(Ended { errors, frames: log.frames, said: log.tail() });
        }
        let said = log.said();
        let message = format!("`{}` ended with {status}:\n{said}", self.shown());
        if said.contains("No space left on device") {
            return Err(StepError::retryable("ffmpeg.no_room", message)
                .with_hint("make room on the disk of the data directory"));
        }
        if self.context.cancelled().is_cancelled() || status.code().is_none() {
            return Err(StepError::retryable("ffmpeg.killed", message));
        }
        // The same arguments on the same file end the same way.
        Err(StepError::fatal("ffmpeg.failed", message))
    }

    fn shown(&self) -> String {
        let args: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        let shown = format!("{FFMPEG} {}", args.join(" "));
        shown.chars().take(1_000).collect()
    }
}

/// Reads the log until ffmpeg closes it, which it does when it ends or is killed.
fn follow(child: &mut FfmpegChild, log: &mut Log, context: &StepContext) {
    let Some(stderr) = child.take_stderr() else { return };
    let mut parser = FfmpegLogParser::new(stderr);
    loop {
        match parser.parse_next_event() {
            Ok(FfmpegEvent::LogEOF) => return,
            Ok(event) => log.take(event, context),
            // A line that the parser does not understand is passed over; a pipe that broke is not.
            Err(error) if error.is::<io::Error>() => return,
            Err(_) => {}
        }
    }
}

fn cannot_start(error: &io::Error) -> StepError {
    if error.kind() == io::ErrorKind::NotFound {
        let missing = StepError::fatal("process.not_found", "there is no program `ffmpeg`");
        return missing.with_hint(install_hint(FFMPEG).unwrap_or_default());
    }
    StepError::retryable("process.start", format!("cannot start `ffmpeg`: {error}"))
}
