//! `callsheet verify`: reads all that a data directory holds and names everything that is wrong.

use std::path::PathBuf;
use std::sync::Arc;

use callsheet::maintenance::{self, Fault, VerifyOptions};
use callsheet::{ArtifactStore, Store};
use clap::Args;
use serde_json::json;

use super::meter::Meter;
use super::{bytes, count};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::{env, offline, print};

/// Examples at the foot of `callsheet verify --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet verify --data-dir callsheet-data
  callsheet verify --data-dir callsheet-data --json

Every record is decoded, every journal folded and compared with what lists show of its job, every
definition compiled, every file that a record refers to read and hashed. No job goes on. The code is
0 when all is sound, 1 when something is damaged, 3 when the store does not open at all.";

/// What to do when the directory is in use.
const RESTORE_AND_VERIFY: &str =
    "of a server that goes on, verify a backup: callsheet backup, restore, verify";

/// Arguments of `callsheet verify`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// The directory; no engine may use it meanwhile
    #[arg(long, env = env::DATA_DIR, default_value = "callsheet-data", value_name = "DIR")]
    data_dir: PathBuf,

    /// Do not read the files that steps made
    #[arg(long)]
    without_artifacts: bool,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Verifies a data directory.
///
/// # Errors
/// When it cannot be opened, or fails as a whole; damage to parts of it is reported.
pub(crate) async fn verify(args: VerifyArgs) -> Result<Exit> {
    let store = offline::open(&args.data_dir, RESTORE_AND_VERIFY).await?;
    let artifacts = ArtifactStore::open(args.data_dir.join("artifacts"));
    let artifacts = Arc::new(artifacts.map_err(|error| CliError::failed(error.to_string()))?);
    let meter = Meter::new("verifying");
    let options = VerifyOptions { artifacts: !args.without_artifacts, progress: meter.progress() };
    let verified = maintenance::verify(&store, artifacts, options).await;
    drop(meter);
    // Nothing was written to it, so nothing can be lost.
    let _ = store.close().await;
    let found = verified?;
    if args.json {
        print::out_json(&json!(found));
    } else {
        print::out(format!(
            "read {} ({} ended, {}), {}, {}, {} of {}",
            count(found.jobs, "job"),
            found.ended,
            count(found.records, "record"),
            count(found.keys, "key"),
            count(found.definitions, "definition"),
            count(found.artifacts, "file"),
            bytes(found.artifact_bytes)
        ));
    }
    for Fault { what, why } in &found.faults {
        eprintln!("error: {what}: {why}");
    }
    if found.faults.is_empty() {
        if !args.json {
            print::out("all of it is sound");
        }
        return Ok(Exit::Done);
    }
    eprintln!(
        "hint: the other jobs can be used; a backup of this directory leaves out what is named here"
    );
    Ok(Exit::Failed)
}
