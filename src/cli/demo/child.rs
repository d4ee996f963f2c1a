//! `callsheet run` as a child process: its notes are read and shown, and it can be killed at one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::cli::correct;
use crate::cli::error::{CliError, Result};
use crate::cli::progress::{Display, Note};

/// The command that is run, killed, and run again.
pub(super) struct RunChild {
    program: PathBuf,
    args: Vec<OsString>,
}

/// How a child ended.
pub(super) enum Ended {
    /// By itself, with its result.
    Exited(Value),
    /// With SIGKILL.
    Killed(Killed),
}

/// What is known of a killed child.
pub(super) struct Killed {
    /// Its process id.
    pub(super) pid: u32,
    /// The job that it worked on.
    pub(super) job: String,
    /// The steps that it had told to be done.
    pub(super) done: Vec<String>,
    /// When it was dead.
    pub(super) at: DateTime<Utc>,
}

impl RunChild {
    /// This program's own `run caption`, on a video.
    pub(super) fn new(video: &Path, out: &Path, data: &Path) -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|error| CliError::failed(format!("cannot find this program: {error}")))?;
        let mut input = OsString::from("video=");
        input.push(video);
        let args = ["run".into(), "caption".into(), "--input".into(), input];
        // The recogniser of this machine, whatever keys are set: the demo needs no network.
        let args = args.into_iter().chain(["--input".into(), "provider=pocketsphinx".into()]);
        let places = ["--out".into(), out.into(), "--data-dir".into(), data.into()];
        Ok(Self { program, args: args.chain(places).collect() })
    }

    /// The command as a person would type it.
    pub(super) fn shown(&self) -> String {
        let words = self.args.iter().map(|arg| correct::quote(&arg.to_string_lossy()));
        format!("callsheet {}", words.collect::<Vec<_>>().join(" "))
    }

    /// Starts the command and shows its progress; with a step named, kills it in that step.
    ///
    /// # Errors
    /// When it cannot be started, or ends with a failure.
    pub(super) async fn start(
        &self,
        display: &mut Display,
        kill_in: Option<&str>,
    ) -> Result<Ended> {
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .args(["--json", "--progress", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CliError::file("start", &self.program, &error))?;
        let mut answer = child.stdout.take();
        // Read beside the notes, so that a long answer cannot stop the child.
        let answer = tokio::spawn(async move {
            let mut text = String::new();
            if let Some(stdout) = &mut answer {
                stdout.read_to_string(&mut text).await?;
            }
            std::io::Result::Ok(text)
        });
        if let Some(killed) = follow(&mut child, display, kill_in).await? {
            return Ok(Ended::Killed(killed));
        }
        let status = child.wait().await.map_err(|error| lost(&error))?;
        let text = answer.await.map_err(|error| lost(&error))?.map_err(|error| lost(&error))?;
        if !status.success() {
            return Err(CliError::failed(format!("`callsheet run` ended with {status}"))
                .hint("its message stands above"));
        }
        serde_json::from_str(&text).map(Ended::Exited).map_err(|error| lost(&error))
    }
}

/// Shows what the child says, until it has closed its stderr or the moment of the kill is there.
async fn follow(
    child: &mut Child,
    display: &mut Display,
    kill_in: Option<&str>,
) -> Result<Option<Killed>> {
    let Some(stderr) = child.stderr.take() else { return Ok(None) };
    let mut lines = BufReader::new(stderr).lines();
    let (mut job, mut done) = (String::new(), Vec::new());
    while let Some(line) = lines.next_line().await.map_err(|error| lost(&error))? {
        let Ok(note) = serde_json::from_str::<Note>(&line) else {
            display.say(&line); // not a note: a message for people
            continue;
        };
        display.show(&note);
        match &note {
            Note::Job { job: id, .. } => job.clone_from(id),
            Note::Succeeded { step, .. } => done.push(step.clone()),
            _ => {}
        }
        if kill_in.is_some_and(|step| super::is_the_moment(&note, step)) {
            let pid = child.id().unwrap_or_default();
            // SIGKILL: the child gets no chance to put anything in order.
            child.kill().await.map_err(|error| lost(&error))?;
            let at = DateTime::<Utc>::from(SystemTime::now());
            return Ok(Some(Killed { pid, job, done, at }));
        }
    }
    Ok(None)
}

fn lost(error: &dyn std::fmt::Display) -> CliError {
    CliError::failed(format!("the child process cannot be followed: {error}"))
}
