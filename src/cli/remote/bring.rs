//! The files among a job's output, brought from a server into a directory.

use std::path::Path;

use callsheet::server::client::Client;
use serde_json::Value;

use super::ServerArgs;
use crate::cli::error::Result;
use crate::cli::run::{Given, Landed, make_dir, targets};

/// Brings every file of an output into `dir`, each whole or not at all; none when one of them would
/// take the place of a file that the job was given.
///
/// # Errors
/// When a file cannot be fetched or written, or a given file is in the way.
pub(super) async fn bring(
    (server, client): (&ServerArgs, &Client),
    output: &Value,
    dir: &Path,
    given: &Given,
) -> Result<Landed> {
    make_dir(dir)?;
    let mut landed = Landed::new();
    for (key, artifact, target) in targets(output, dir, given)? {
        let fetched = client.download(&artifact.artifact.to_string(), &target).await;
        fetched.map_err(|error| server.complain(&error))?;
        landed.insert(key, target);
    }
    Ok(landed)
}
