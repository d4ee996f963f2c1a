//! A child process as a step's body runs it: arguments in, bounded output out, an error that
//! explains itself.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use fail::fail_point;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;

use super::children::Adopted;
use super::tail::Tail;
use crate::context::StepContext;
use crate::limits::{MAX_LINE_BYTES, MAX_OUTPUT_BYTES, OUTPUT_TAIL_BYTES};
use crate::step::{StepError, StepResult};

type OnLine = Box<dyn FnMut(&str) + Send>;

/// A child process to run. Standard input is empty; there is no shell.
pub struct Command {
    context: StepContext,
    inner: std::process::Command,
    program: OsString,
    arguments: Vec<OsString>,
    on_stdout: Option<OnLine>,
    on_stderr: Option<OnLine>,
    kept_stdout_bytes: usize,
    disposable: bool,
    /// What messages call a program behind a wrapper, and where its arguments begin.
    wrapped: Option<(OsString, usize)>,
}

/// A child that ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What it printed: the tail, or all of it after [`Command::keep_stdout`].
    pub stdout: String,
    /// The tail of what it said on standard error.
    pub stderr: String,
}

impl Command {
    pub(crate) fn new(context: StepContext, program: OsString) -> Self {
        let mut inner = std::process::Command::new(&program);
        inner.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            context,
            inner,
            program,
            arguments: Vec::new(),
            on_stdout: None,
            on_stderr: None,
            kept_stdout_bytes: OUTPUT_TAIL_BYTES,
            disposable: false,
            wrapped: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.inner.arg(argument.as_ref());
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, |command, argument| command.arg(argument))
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Starts from an empty environment: the engine's own holds secrets that are no business of the
    /// child's. The mark by which an engine knows its children again is set all the same.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.inner.env_clear();
        self
    }

    /// Says that the program and its arguments so far only wrap a program, as a sandbox does. The
    /// next argument names it to the wrapper; messages call it `program` and leave the wrapper out.
    #[must_use]
    pub fn wrapping(mut self, program: impl Into<OsString>) -> Self {
        self.wrapped = Some((program.into(), self.arguments.len() + 1));
        self
    }

    /// Sets the directory that it runs in.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.inner.current_dir(directory);
        self
    }

    /// Calls `on_line` with each line of standard output as it comes.
    #[must_use]
    pub fn on_stdout(mut self, on_line: impl FnMut(&str) + Send + 'static) -> Self {
        self.on_stdout = Some(Box::new(on_line));
        self
    }

    /// Calls `on_line` with each line of standard error as it comes.
    #[must_use]
    pub fn on_stderr(mut self, on_line: impl FnMut(&str) + Send + 'static) -> Self {
        self.on_stderr = Some(Box::new(on_line));
        self
    }

    /// Keeps all of standard output, not only its tail.
    #[must_use]
    pub fn keep_stdout(mut self) -> Self {
        self.kept_stdout_bytes = MAX_OUTPUT_BYTES;
        self
    }

    /// Says that the child leaves nothing worth tidying up: it is killed without a grace when the
    /// attempt is stopped.
    #[must_use]
    pub fn disposable(mut self) -> Self {
        self.disposable = true;
        self
    }

    /// Runs the child to its end.
    ///
    /// # Errors
    /// `process.not_found` when there is no such program, `process.start` when it cannot be
    /// started, `process.exit` when it ends with another status than 0 (with program, arguments,
    /// status and the tails of its output), `process.output` when it prints too much.
    pub async fn run(mut self) -> StepResult<Finished> {
        self.context.0.children().prepare(&mut self.inner);
        let shown = match &self.wrapped {
            Some((program, from)) => shown(program, self.arguments.get(*from..).unwrap_or(&[])),
            None => shown(&self.program, &self.arguments),
        };
        let tasks = self.context.0.tasks().clone();
        let runtime = self.context.0.shared.runtime.clone();
        // The child has a task of its own: when the body's future is dropped, the task stays until
        // the child is reaped. It runs on a worker thread, which lives as long as the engine.
        let owner = tasks.spawn_on(self.own(), &runtime);
        let ended = owner.await.map_err(|error| {
            StepError::retryable("process.start", format!("`{shown}` was lost: {error}"))
        })?;
        let (status, stdout, stderr, kept) = ended?;
        if !status.success() {
            return Err(failed(&shown, status, stdout.into_text(), stderr.into_text()));
        }
        if kept == MAX_OUTPUT_BYTES && stdout.is_cut() {
            return Err(StepError::fatal(
                "process.output",
                format!("`{shown}` printed more than {MAX_OUTPUT_BYTES} bytes"),
            ));
        }
        Ok(Finished { stdout: stdout.into_text(), stderr: stderr.into_text() })
    }

    async fn own(self) -> StepResult<(ExitStatus, Tail, Tail, usize)> {
        let program = self.program;
        let start = |error: io::Error| cannot_start(&program, &error);
        fail_point!("actors.process.before");
        let mut child = tokio::process::Command::from(self.inner).spawn().map_err(start)?;
        let adopt = |pid| self.context.adopt(pid);
        let adopted: Option<Adopted> = child.id().map(adopt);
        fail_point!("actors.process.after");
        let adopted = if self.disposable { adopted.map(Adopted::disposable) } else { adopted };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let kept = self.kept_stdout_bytes;
        let (stdout, stderr, status) = tokio::join!(
            read(stdout, kept, self.on_stdout),
            read(stderr, OUTPUT_TAIL_BYTES, self.on_stderr),
            reap(&mut child),
        );
        drop(adopted);
        let status = status.map_err(|error| {
            StepError::retryable("process.start", format!("cannot wait for the child: {error}"))
        })?;
        Ok((status, stdout, stderr, kept))
    }
}

async fn reap(child: &mut Child) -> io::Result<ExitStatus> {
    child.wait().await
}

/// Reads a pipe to its end; a broken pipe ends it too.
async fn read(
    pipe: Option<impl AsyncRead + Unpin>,
    kept_bytes: usize,
    mut on_line: Option<OnLine>,
) -> Tail {
    let mut tail = Tail::new(kept_bytes);
    let Some(mut pipe) = pipe else { return tail };
    let mut buffer = vec![0u8; 8 * 1024];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let bytes = &buffer[..count];
        tail.push(bytes);
        if let Some(on_line) = &mut on_line {
            split_lines(&mut line, bytes, on_line);
        }
    }
    if let Some(on_line) = &mut on_line
        && !line.is_empty()
    {
        on_line(&String::from_utf8_lossy(&line));
    }
    tail
}

/// Hands on whole lines; a carriage return ends a line too, as progress meters use it.
fn split_lines(line: &mut Vec<u8>, bytes: &[u8], on_line: &mut OnLine) {
    for byte in bytes {
        match byte {
            b'\n' | b'\r' if line.is_empty() => {}
            b'\n' | b'\r' => {
                on_line(&String::from_utf8_lossy(line));
                line.clear();
            }
            _ if line.len() < MAX_LINE_BYTES => line.push(*byte),
            _ => {} // The rest of an endless line is dropped.
        }
    }
}

fn cannot_start(program: &OsStr, error: &io::Error) -> StepError {
    let program = program.to_string_lossy();
    if error.kind() == io::ErrorKind::NotFound {
        return StepError::fatal("process.not_found", format!("there is no program `{program}`"))
            .with_hint(format!("install `{program}`, or put it on the PATH of the engine"));
    }
    StepError::retryable("process.start", format!("cannot start `{program}`: {error}"))
}

fn failed(shown: &str, status: ExitStatus, stdout: String, stderr: String) -> StepError {
    let mut message = format!("`{shown}` ended with {status}");
    for (name, text) in [("standard error", stderr), ("standard output", stdout)] {
        let text = text.trim();
        let start = text.ceil_char_boundary(text.len().saturating_sub(1_200));
        if !text.is_empty() {
            message.push_str(&format!("\n{name} ends with:\n{}", &text[start..]));
        }
    }
    StepError::retryable("process.exit", message)
}

/// The command line as a person reads it. Secrets never travel in arguments.
fn shown(program: &OsStr, arguments: &[OsString]) -> String {
    let mut line = program.to_string_lossy().into_owned();
    for argument in arguments {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
        if line.len() > 600 {
            line.push_str(" …");
            break;
        }
    }
    line
}
