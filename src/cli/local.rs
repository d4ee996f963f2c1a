//! Engines inside this process: with the shipped step kinds, over a data directory or in memory.

use std::path::Path;

use callsheet::media::MediaOptions;
use callsheet::{Engine, EngineBuilder, Keeping, Millis};
use clap::Args;

use crate::cli::error::{CliError, Result};

/// How long an orderly end may take.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Grace {
    /// Time that running steps get to finish after the first Ctrl-C or SIGTERM, such as `10s`
    ///
    /// Those that need longer are stopped, and run again at the next start.
    #[arg(long, default_value = "30s", value_name = "TIME")]
    grace: Millis,
}

/// A builder that knows every shipped step kind and workflow.
pub(crate) fn builder(options: &MediaOptions) -> EngineBuilder {
    callsheet::media::register(Engine::builder(), options)
}

/// An engine that keeps nothing: for commands that only look at definitions.
///
/// # Errors
/// When it cannot be opened.
pub(crate) async fn in_memory() -> Result<Engine> {
    Ok(builder(&MediaOptions::local()).in_memory().open().await?)
}

/// An engine over a data directory; every job in it that has not ended goes on.
///
/// # Errors
/// When the directory cannot be opened, for example because another engine has it.
pub(crate) async fn over(
    dir: &Path,
    options: &MediaOptions,
    grace: Grace,
    keeping: Keeping,
) -> Result<Engine> {
    let builder = builder(options).data_dir(dir).drain_grace(grace.grace.into()).keeping(keeping);
    let opened = builder.open().await;
    opened.map_err(|error| CliError::from(error).exit_with_engine())
}
