//! `callsheet compact`: a data directory is written anew, and the room comes back.

use std::path::PathBuf;

use callsheet::maintenance;
use clap::Args;
use serde_json::json;

use super::meter::Meter;
use super::{bytes, count};
use crate::cli::error::{Exit, Result};
use crate::cli::{env, print};

/// Examples at the foot of `callsheet compact --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet compact --data-dir callsheet-data

No engine may use the directory meanwhile, and there must be room for a second copy of the store.
Killed at any instant it leaves the old store or the new one. Nothing that is recorded goes; files
that no record names do, such as those of steps that were killed before they were done.";

/// Arguments of `callsheet compact`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompactArgs {
    /// The directory
    #[arg(long, env = env::DATA_DIR, default_value = "callsheet-data", value_name = "DIR")]
    data_dir: PathBuf,

    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Compacts a data directory.
///
/// # Errors
/// When it is in use, holds no store or is damaged, or when there is no room.
pub(crate) async fn compact(args: CompactArgs) -> Result<Exit> {
    let meter = Meter::new("compacting");
    let done = maintenance::compact(&args.data_dir, meter.progress()).await?;
    drop(meter);
    if args.json {
        print::out_json(&json!(done));
        return Ok(Exit::Done);
    }
    print::out(format!(
        "{} in {}, before in {}; removed {} that nobody names, {}",
        count(done.jobs, "job"),
        bytes(done.bytes_after),
        bytes(done.bytes_before),
        count(done.files_removed, "file"),
        bytes(done.bytes_removed)
    ));
    Ok(Exit::Done)
}
