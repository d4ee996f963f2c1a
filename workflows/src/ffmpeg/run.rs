//! One run of ffmpeg as a child of an attempt: it dies with the attempt, and it is always reaped.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use callsheet_actors::{StepContext, StepError, StepResult};
use ffmpeg_sidecar::event::FfmpegEvent;
use ffmpeg_sidecar::log_parser::FfmpegLogParser;

use super::log::Log;
use crate::limits::{MAX_DURATION_S, MAX_FFMPEG_BLOCK_BYTES, MAX_WRITTEN_BYTES};
use crate::quantity::ByteSize;
use crate::sandbox::{self, Access};
use crate::slots::Slots;
use crate::tools::FFMPEG;

/// A directory within an attempt's work directory that no run may write to: the place for links to
/// what is stored.
pub(crate) const READ_ONLY: &str = "read-only";

/// A run of ffmpeg that is being put together.
pub(crate) struct Run {
    context: StepContext,
    duration_s: Option<f64>,
    span: (f64, f64),
    directory: Option<PathBuf>,
    args: Vec<OsString>,
    written: Vec<PathBuf>,
    max_written_bytes: u64,
    limit: Option<Duration>,
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
        let args = ["-loglevel", "level+info", "-hide_banner", "-nostdin", "-y"];
        let mut args: Vec<OsString> = args.map(OsString::from).into();
        args.extend(["-stats_period", "0.2", "-max_alloc"].map(OsString::from));
        args.push(MAX_FFMPEG_BLOCK_BYTES.to_string().into());
        Self {
            context: context.clone(),
            duration_s,
            span: (0.0, 100.0),
            directory: None,
            args,
            written: Vec::new(),
            max_written_bytes: MAX_WRITTEN_BYTES,
            limit: None,
        }
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

    /// Ends the arguments with a file to write. Its directory may be written to.
    pub(crate) fn output(mut self, path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut name = OsString::from("file:");
        name.push(&path);
        self.written.push(path);
        self.arg(name)
    }

    /// Ends the run when it takes longer than this; waiting for a place does not count.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Ends the run when its files together have more bytes than this.
    #[cfg(test)]
    pub(crate) fn max_written_bytes(mut self, bytes: u64) -> Self {
        self.max_written_bytes = bytes;
        self
    }

    /// Ends the arguments of a run that only decodes.
    pub(crate) fn nowhere(self) -> Self {
        self.arg("-")
    }

    /// Runs it, when there is a place.
    ///
    /// # Errors
    /// `ffmpeg.failed` with what it said when it ends badly, `media.too_long` when there is no end
    /// to what it reads, `ffmpeg.no_room` when the disk is
    /// full, `ffmpeg.killed` when it was killed, `ffmpeg.timeout`
    /// when it was not done within its limit, `process.not_found` when there is none.
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
        let mut child = self.command()?.spawn().map_err(|error| cannot_start(&error))?;
        let adopted = self.context.adopt(child.id()).disposable();
        let mut log = Log::new(self.duration_s, self.span);
        let stopped = match self.limit {
            Some(limit) => self.follow_within(limit, &mut child, &mut log),
            None => self.follow(child.stderr.take(), &mut log),
        };
        if stopped.is_some() {
            // It may have ended by itself in between.
            let _ = child.kill();
        }
        let status = child.wait();
        drop(adopted);
        let status = status.map_err(|error| {
            StepError::retryable("ffmpeg.killed", format!("cannot wait for ffmpeg: {error}"))
        })?;
        match stopped {
            Some(reason) => Err(reason),
            None => self.judge(status, log),
        }
    }

    fn command(&self) -> StepResult<Command> {
        let words = sandbox::confined(FFMPEG, &self.access()?, &self.context)?;
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(&self.args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env_clear().envs(sandbox::environment());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        self.context.prepare(&mut command);
        Ok(command)
    }

    /// What the run may see: the inputs among its arguments, the attempt's work directory, which
    /// holds what lists and filters name, and where it writes to.
    fn access(&self) -> StepResult<Access> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
        let work = absolute(self.context.work_dir()?);
        let mut access = Access::default().read(work.join(READ_ONLY)).write(work);
        if let Some(directory) = &self.directory {
            access = access.inside(absolute(directory));
        }
        for directory in self.written.iter().filter_map(|path| path.parent()) {
            access = access.write(directory);
        }
        for pair in self.args.windows(2).filter(|pair| pair[0] == "-i") {
            if let Some(path) = pair[1].as_bytes().strip_prefix(b"file:") {
                access = access.read(absolute(Path::new(OsStr::from_bytes(path))));
            }
        }
        Ok(access)
    }

    /// As [`Self::follow`], but no longer than a limit. A program that hangs says nothing either,
    /// so the time is counted by a thread of its own.
    fn follow_within(
        &self,
        limit: Duration,
        child: &mut Child,
        log: &mut Log,
    ) -> Option<StepError> {
        let said = child.stderr.take();
        let (ended, end) = mpsc::channel::<()>();
        let watch = move || {
            let is_late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if is_late {
                // With it ends what is read from it.
                let _ = child.kill();
            }
            is_late
        };
        thread::scope(|scope| {
            let watch = scope.spawn(watch);
            let stopped = self.follow(said, log);
            drop(ended);
            let is_late = watch.join().unwrap_or(false);
            let late = || format!("ffmpeg was not done within {} s", limit.as_secs_f64());
            let late = is_late.then(|| StepError::retryable("ffmpeg.timeout", late()));
            stopped.or(late)
        })
    }

    /// Reads the log until ffmpeg closes it, which it does when it ends or is killed; or until it
    /// is to be ended, with the reason.
    fn follow(&self, said: Option<ChildStderr>, log: &mut Log) -> Option<StepError> {
        let mut parser = FfmpegLogParser::new(said?);
        loop {
            match parser.parse_next_event() {
                Ok(FfmpegEvent::LogEOF) => return None,
                Ok(event) => {
                    let is_progress = matches!(event, FfmpegEvent::Progress(_));
                    log.take(event, &self.context);
                    if let Some(reason) = self.excess(log).filter(|_| is_progress) {
                        return Some(reason);
                    }
                }
                // A line that the parser does not understand is passed over; a pipe that broke is
                // not.
                Err(error) if error.is::<io::Error>() => return None,
                Err(_) => {}
            }
        }
    }

    /// Why a run that writes too much is ended.
    fn excess(&self, log: &Log) -> Option<StepError> {
        if log.time_s > MAX_DURATION_S {
            let message = format!("the file has no end within {MAX_DURATION_S:.0} s");
            return Some(StepError::fatal("media.too_long", message));
        }
        let sizes = self.written.iter().filter_map(|path| Some(path.metadata().ok()?.len()));
        let (size, limit) = (sizes.sum(), self.max_written_bytes);
        let message = || format!("ffmpeg has written {}, over {}", ByteSize(size), ByteSize(limit));
        (size > limit).then(|| StepError::fatal("ffmpeg.too_large", message()))
    }

    fn judge(&self, status: ExitStatus, mut log: Log) -> StepResult<Ended> {
        if status.success() {
            let errors = std::mem::take(&mut log.errors);
            return Ok(Ended { errors, frames: log.frames, said: log.tail() });
        }
        let said = log.said();
        // Whoever asked for the job is told what ffmpeg found wrong, not where this machine keeps
        // its files; that is for the log.
        tracing::warn!(command = self.shown(), %status, said, "ffmpeg failed");
        let message =
            format!("`{FFMPEG}` ended with {status}:\n{}", self.without_paths(log.told()));
        if said.contains("No space left on device") {
            return Err(StepError::retryable("ffmpeg.no_room", message)
                .with_hint("make room on the disk of the data directory"));
        }
        if self.context.cancelled().is_cancelled() || sandbox::was_killed(status, &self.context) {
            return Err(StepError::retryable("ffmpeg.killed", message));
        }
        if status.code().is_some_and(sandbox::never_began) {
            return Err(StepError::retryable("process.start", message));
        }
        // The same arguments on the same file end the same way.
        Err(StepError::fatal("ffmpeg.failed", message))
    }

    /// What was said without the places of the files that the run was given.
    fn without_paths(&self, said: String) -> String {
        let named = self.args.iter().filter_map(|arg| arg.to_str()?.strip_prefix("file:"));
        let told = named.fold(said, |told, path| {
            let name = Path::new(path).file_name().and_then(OsStr::to_str).unwrap_or("the file");
            told.replace(path, name)
        });
        match self.context.work_dir().ok().and_then(Path::to_str) {
            Some(work) => told.replace(work, "."),
            None => told,
        }
    }

    fn shown(&self) -> String {
        let args: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        let shown = format!("{FFMPEG} {}", args.join(" "));
        shown.chars().take(1_000).collect()
    }
}

fn cannot_start(error: &io::Error) -> StepError {
    StepError::retryable("process.start", format!("cannot start `{FFMPEG}`: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_actors::{Engine, Submit};
    use callsheet_engine::Failure;
    use serde_json::Value;

    use super::*;
    use crate::sandbox::{Confinement, Sandbox};

    /// Whether a run writes over a file that is linked into the directory for links.
    async fn writes_to_a_link(mode: Sandbox) -> bool {
        let body = |_: Option<Value>, context: StepContext| async move {
            let stored = context.work_dir()?.join("stored");
            let links = context.work_dir()?.join(READ_ONLY);
            std::fs::create_dir(&links)?;
            std::fs::write(&stored, "part")?;
            std::fs::hard_link(&stored, links.join("part"))?;
            let run = Run::new(&context, None).args(["-f", "lavfi", "-i", "color=size=16x16"]);
            let run = run.args(["-frames:v", "1", "-f", "rawvideo"]).arg(links.join("part"));
            let ended = run.run(&Slots::new(1)).await.is_ok();
            let written = std::fs::read(&stored)? != b"part";
            assert_eq!(ended, written);
            Ok(Value::Bool(written))
        };
        let builder = Engine::builder().in_memory().provide(mode).step_fn("write", body);
        let engine = builder.open().await.unwrap();
        let definition = r#"{ "name": "write", "output": "{{ steps.it }}", "steps": [
            { "id": "it", "uses": "write", "with": null, "retry": { "max_attempts": 1 } }] }"#;
        let plan = engine.validate(definition).unwrap();
        let job = engine.submit(Submit::plan(plan, Value::Null)).await.unwrap().job;
        let view = job.wait().await.unwrap();
        view.state.output().unwrap_or_else(|| panic!("{:?}", view.state.failure()))
            == &Value::Bool(true)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_linked_cannot_be_written_over() {
        if let Confinement::Unavailable(why) = Sandbox::Auto.confinement() {
            eprintln!("NOT TESTED: there is no sandbox here: {why}");
            return;
        }
        assert!(!writes_to_a_link(Sandbox::Require).await);
        // That nothing else keeps it from doing so.
        assert!(writes_to_a_link(Sandbox::Off).await);
    }

    /// Runs one step, once; gives how it failed.
    async fn failure<F>(
        mode: Sandbox,
        body: impl Fn(StepContext) -> F + Send + Sync + 'static,
    ) -> Failure
    where
        F: Future<Output = StepResult<Value>> + Send + 'static,
    {
        let body = move |_: Option<Value>, context: StepContext| body(context);
        let builder = Engine::builder().in_memory().provide(mode).step_fn("write", body);
        let engine = builder.open().await.unwrap();
        let definition = r#"{ "name": "write", "steps": [
            { "id": "it", "uses": "write", "with": null, "retry": { "max_attempts": 1 } }] }"#;
        let plan = engine.validate(definition).unwrap();
        let job = engine.submit(Submit::plan(plan, Value::Null)).await.unwrap().job;
        let view = job.wait().await.unwrap();
        view.state.failure().unwrap().clone()
    }

    /// Kills the ffmpeg that has a word among its arguments, as a kernel without memory does.
    fn kill(word: &str) {
        let is_it = |directory: &Path| {
            let said = std::fs::read(directory.join("cmdline")).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            said.split('\0').next().is_some_and(|name| name.ends_with(FFMPEG))
                && said.contains(word)
        };
        loop {
            let entries = std::fs::read_dir("/proc").unwrap();
            let mut directories = entries.map(|entry| entry.unwrap().path());
            if let Some(found) = directories.find(|directory| is_it(directory)) {
                let pid = found.file_name().unwrap();
                assert!(Command::new("kill").arg("-KILL").arg(pid).status().unwrap().success());
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_is_killed_is_worth_another_one() {
        for mode in [Sandbox::Auto, Sandbox::Off] {
            let failure = failure(mode, |context: StepContext| async move {
                let word = format!("title={}", context.work_dir()?.display());
                let victim = word.clone();
                std::thread::spawn(move || kill(&victim));
                let run = Run::new(&context, None).args(["-re", "-f", "lavfi", "-i", "testsrc2"]);
                let run = run.args(["-metadata", &word, "-f", "null"]).nowhere();
                run.run(&Slots::new(1)).await?;
                Ok(Value::Null)
            });
            let failure = failure.await;
            assert_eq!(failure.code, "ffmpeg.killed", "{mode:?}: {failure}");
            assert!(failure.retryable);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_hangs_is_killed_and_gives_its_place_back() {
        for mode in [Sandbox::Auto, Sandbox::Off] {
            let slots = Slots::new(1);
            let one = slots.clone();
            let failure = failure(mode, move |context: StepContext| {
                let slots = one.clone();
                async move {
                    let run = Run::new(&context, None).within(Duration::from_millis(100));
                    // A picture an hour: as good as none.
                    let run = run.args(["-re", "-f", "lavfi", "-i", "testsrc2=rate=1/3600"]);
                    run.args(["-f", "null"]).nowhere().run(&slots).await?;
                    Ok(Value::Null)
                }
            });
            assert_eq!(failure.await.code, "ffmpeg.timeout", "{mode:?}");
            assert_eq!(slots.free(), 1, "{mode:?}");
        }
    }

    /// A film without an end ends at its limit, and ffmpeg with it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_writes_without_end_is_ended() {
        let failure = failure(Sandbox::Auto, |context: StepContext| async move {
            let to = context.work_dir()?.join("endless.avi");
            let run = Run::new(&context, None).max_written_bytes(100_000);
            let args = ["-f", "lavfi", "-i", "testsrc2=size=320x180", "-c:v", "rawvideo"];
            run.args(args).args(["-f", "avi"]).output(&to).run(&Slots::new(1)).await?;
            Ok(Value::Null)
        });
        let failure = failure.await;
        assert_eq!(failure.code, "ffmpeg.too_large", "{failure}");
    }

    /// A source that does not say how long it is may have no end, and nothing may be written of it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_reads_without_end_is_ended() {
        let failure = failure(Sandbox::Auto, |context: StepContext| async move {
            let endless = "anullsrc=r=8000:cl=mono:n=32768";
            let run = Run::new(&context, None).args(["-f", "lavfi", "-i", endless]);
            // An end, so that the test has one too.
            let run = run.args(["-t", "2000000", "-f", "null"]).nowhere();
            run.run(&Slots::new(1)).await?;
            Ok(Value::Null)
        });
        let failure = failure.await;
        assert_eq!(failure.code, "media.too_long", "{failure}");
    }
}
