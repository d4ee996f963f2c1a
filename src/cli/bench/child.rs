//! The same program in a process of its own: to be killed, and to be started after a kill.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child as Process, ChildStdout, Command};

use super::{Job, Role, broken};
use crate::cli::error::{CliError, Result};
use crate::cli::print;

/// A process of this program, killed when this is dropped.
pub(crate) struct Child {
    process: Process,
    said: Lines<BufReader<ChildStdout>>,
    /// When it was started.
    pub(crate) since: Instant,
}

impl Child {
    /// Starts one that works in a directory, with so many jobs. It watches for a time, if it does.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        (job, role): (Job, Role),
        dir: &Path,
        jobs: usize,
        watch: Duration,
    ) -> Result<Self> {
        let program = std::env::current_exe().map_err(|error| broken("this program", error))?;
        let since = Instant::now();
        let mut process = Command::new(&program)
            .args(["bench", &job.name(), "--role", role.name(), "--jobs", &jobs.to_string()])
            .args(["--seconds", &watch.as_secs_f64().to_string()])
            .arg("--data")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CliError::file("start", &program, &error))?;
        let stdout = process.stdout.take().ok_or_else(|| broken("a child", "it has no stdout"))?;
        Ok(Self { process, said: BufReader::new(stdout).lines(), since })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// Waits for what it says next.
    ///
    /// # Errors
    /// When it ends instead.
    pub(crate) async fn says(&mut self) -> Result<Value> {
        let line = self.said.next_line().await.map_err(|error| broken("a child", error))?;
        let line = line.ok_or_else(|| broken("a child", "it ended; its message stands above"))?;
        serde_json::from_str(&line).map_err(|error| broken("a child", error))
    }

    /// Kills it with SIGKILL: it gets no chance to put anything in order.
    ///
    /// # Errors
    /// When it has ended before.
    pub(crate) async fn kill(mut self) -> Result<()> {
        if let Ok(Some(status)) = self.process.try_wait() {
            return Err(broken("a child", format!("it ended with {status} before the kill")));
        }
        self.process.kill().await.map_err(|error| broken("a child", error))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) async fn end(mut self) -> Result<()> {
        let status = self.process.wait().await.map_err(|error| broken("a child", error))?;
        if status.success() { Ok(()) } else { Err(broken("a child", status)) }
    }
}

/// Says something to whoever has started this process.
pub(crate) fn say(value: &Value) {
    print::out(value.to_string());
}
