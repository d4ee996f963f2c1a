//! `callsheet restore`: a new data directory from a backup.

use std::path::PathBuf;

use callsheet::maintenance;
use clap::Args;
use serde_json::json;

use super::meter::Meter;
use super::{about, count, tell_left_out};
use crate::cli::error::{Exit, Result};
use crate::cli::{env, print};

/// Examples at the foot of `callsheet restore --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet restore monday.backup --data-dir restored
  callsheet verify --data-dir restored
  callsheet serve --data-dir restored

The backup is checked first, all of it; nothing is written if it is damaged. A restore that is cut
off leaves a directory that does not open; remove it and restore again. Jobs that had not ended go
on when the directory is served: what they did after the backup they do again. So serve it in place
of the original, and not beside it.";

/// Arguments of `callsheet restore`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,

    /// The directory to make; it is empty or not there
    #[arg(long, env = env::DATA_DIR, value_name = "DIR")]
    data_dir: PathBuf,

    /// Print what was restored as JSON
    #[arg(long)]
    json: bool,
}

/// Restores a backup into a new data directory.
///
/// # Errors
/// When the backup is damaged, the directory is not empty, or writing fails.
pub(crate) async fn restore(args: RestoreArgs) -> Result<Exit> {
    let meter = Meter::new("restoring");
    let restored = maintenance::restore(&args.file, &args.data_dir, meter.progress()).await;
    let (contents, left_out) = restored.map_err(|error| about(&args.file, error))?;
    drop(meter);
    if args.json {
        print::out_json(&json!({ "contents": contents, "left_out": left_out }));
    } else {
        print::out(format!(
            "restored {} ({}, {}) to {}",
            count(contents.jobs, "job"),
            count(contents.records, "record"),
            count(contents.artifacts, "file"),
            args.data_dir.display()
        ));
    }
    Ok(tell_left_out(&left_out, "these could not be read when the backup was made"))
}
