//! `callsheet backup`: everything that is recorded, in one file, while the server goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callsheet::maintenance::{
    BackupOptions, Contents, LeftOut, MaintenanceError, backup_stream, save_backup,
};
use callsheet::server::client::ClientError;
use callsheet::{ArtifactStore, Store};
use clap::Args;
use futures::TryStreamExt;
use serde_json::json;

use super::meter::Meter;
use super::{about, bytes, count, tell_left_out};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::remote::ServerArgs;
use crate::cli::{offline, print};

/// Examples at the foot of `callsheet backup --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet backup monday.backup
  callsheet backup monday.backup --server https://films.example --token TOKEN
  callsheet backup monday.backup --data-dir callsheet-data

The server goes on meanwhile. Every job that was accepted before the backup began is in it, each as
it was at one instant, with its files. The file gets its name once it is whole and was checked.
One that is cut off leaves FILE.partial at most, which the next one begins anew.
Never copy a data directory that is in use: what comes out may not open.";

/// Arguments of `callsheet backup`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BackupArgs {
    /// The file to write; it must not be there yet
    file: PathBuf,

    /// Back up a data directory that no engine is using
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Leave out the files that steps made; a restored job cannot hand them out
    #[arg(long)]
    without_artifacts: bool,

    /// Print what the backup holds as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Backs up a server or a data directory.
///
/// # Errors
/// When it cannot be read, or the file cannot be written or is there already.
pub(crate) async fn backup(args: BackupArgs) -> Result<Exit> {
    let (contents, left_out) = match &args.data_dir {
        Some(_) => from_directory(&args).await?,
        None => from_server(&args).await?,
    };
    let size = std::fs::metadata(&args.file).map_or(0, |known| known.len());
    if args.json {
        let all = json!({ "contents": contents, "left_out": left_out, "bytes": size });
        print::out_json(&all);
    } else {
        print::out(format!(
            "backed up {} ({}, {}) to {}, {}",
            count(contents.jobs, "job"),
            count(contents.records, "record"),
            count(contents.artifacts, "file"),
            args.file.display(),
            bytes(size)
        ));
    }
    Ok(tell_left_out(&left_out, "callsheet verify names all damage; an older backup may have it"))
}

async fn from_directory(args: &BackupArgs) -> Result<(Contents, Vec<LeftOut>)> {
    let dir = args.data_dir.clone().unwrap_or_default();
    let store: Arc<dyn Store> = Arc::new(offline::open(&dir, offline::ASK_THE_SERVER).await?);
    let meter = Meter::new("backing up");
    let artifacts = ArtifactStore::open(dir.join("artifacts"));
    let artifacts = Arc::new(artifacts.map_err(|error| CliError::failed(error.to_string()))?);
    let options = BackupOptions { artifacts: !args.without_artifacts, progress: meter.progress() };
    let chunks = backup_stream(Arc::clone(&store), artifacts, options);
    let saved = save_backup(chunks, &args.file).await;
    // Nothing was written to it, so nothing can be lost.
    let _ = store.close().await;
    saved.map_err(|error| about(&args.file, error))
}

async fn from_server(args: &BackupArgs) -> Result<(Contents, Vec<LeftOut>)> {
    // Before the server works for nothing.
    if args.file.exists() {
        return Err(MaintenanceError::Exists(args.file.clone()).into());
    }
    let complain = |error: ClientError| args.server.complain(&error);
    let client = args.server.client()?;
    let chunks = client.backup(!args.without_artifacts).await.map_err(complain)?;
    let saved = save_backup(chunks.map_err(Unsaved::OnTheWay), &args.file).await;
    saved.map_err(|error| error.told(&args.file))
}

/// Why what a server sent is not in a file.
enum Unsaved {
    /// It did not come.
    OnTheWay(ClientError),
    /// It could not be written, or was found to be no whole backup.
    Here(MaintenanceError),
}

impl From<MaintenanceError> for Unsaved {
    fn from(error: MaintenanceError) -> Self {
        Self::Here(error)
    }
}

impl Unsaved {
    fn told(self, file: &Path) -> CliError {
        let why = match self {
            Self::OnTheWay(ClientError::Connection(why)) => why,
            Self::OnTheWay(error) => error.to_string(),
            // A server that stops ends what it sends in good order, only too soon.
            Self::Here(error @ (MaintenanceError::Cut(_) | MaintenanceError::Damaged { .. })) => {
                error.to_string()
            }
            Self::Here(error) => return about(file, error),
        };
        CliError::failed(format!("the backup broke off and nothing of it was kept: {why}"))
            .hint("the log of the server may say why; begin again once it goes on")
    }
}
