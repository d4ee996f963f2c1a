//! What the engine tells about itself, on stderr: for those who operate it.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::cli::env;
use crate::cli::error::{CliError, Result};

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// Starts logging at `level`, which the environment overrides.
///
/// # Errors
/// When the filter in the environment cannot be read.
pub(crate) fn start(format: LogFormat, level: &str) -> Result<()> {
    let text = std::env::var(env::LOG).unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        CliError::usage(format!("`{}={text}` is not a log filter: {error}", env::LOG))
            .hint("write it like `debug` or `info,callsheet_actors=debug`")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A logger that is set already is no reason to stop: it is the one that stays.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    Ok(())
}
