//! Fetching a file: resumed where it broke off, checked, and in its place only when it is whole.

use std::path::{Path, PathBuf};

use futures::StreamExt;
use reqwest::{Method, Response, StatusCode, header};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::patience::Patience;
use super::{Client, ClientError, send};
use crate::limits::DOWNLOAD_CHUNK_BYTES;

impl Client {
    /// Fetches the artifact of this digest to `path`; answers with its length. What an earlier try
    /// left beside `path` is used. `path` is replaced only once the whole file is there and is what
    /// the digest says.
    ///
    /// # Errors
    /// `artifact.unknown`, [`ClientError::Damaged`], [`ClientError::File`], and as every call.
    pub async fn download(&self, digest: &str, path: &Path) -> Result<u64, ClientError> {
        let part = part_path(path, digest);
        let mut patience = Patience::new();
        loop {
            let before = length_of(&part).await;
            match self.fetch_rest(digest, &part, before).await {
                Ok(()) => break,
                Err(error) => {
                    if length_of(&part).await > before {
                        patience.renew();
                    }
                    patience.after(error).await?;
                }
            }
        }
        settle(&part, path, digest).await
    }

    /// Fetches what is missing from `at` on.
    async fn fetch_rest(&self, digest: &str, part: &Path, at: u64) -> Result<(), ClientError> {
        let mut call = self.call(Method::GET, &["v1", "artifacts", digest])?;
        if at > 0 {
            call = call
                .header(header::RANGE, format!("bytes={at}-"))
                .header(header::IF_RANGE, format!("\"{digest}\""));
        }
        let response = match send(call).await {
            // All of it is there already; whether it is right is seen when it is settled.
            Err(error) if at > 0 && error.code() == "range.unsatisfiable" => return Ok(()),
            other => other?,
        };
        let append = response.status() == StatusCode::PARTIAL_CONTENT;
        let written = write_all(response, part, append).await?;
        tracing::debug!(digest, from = at, bytes = written, "fetched");
        Ok(())
    }
}

async fn write_all(response: Response, part: &Path, append: bool) -> Result<u64, ClientError> {
    let mut how = OpenOptions::new();
    how.create(true).write(true).append(append).truncate(!append);
    let mut file = how.open(part).await.map_err(|error| file_error(part, &error))?;
    let mut pieces = response.bytes_stream();
    let mut written = 0;
    let ended = loop {
        match pieces.next().await {
            Some(Ok(piece)) => {
                file.write_all(&piece).await.map_err(|error| file_error(part, &error))?;
                written += piece.len() as u64;
            }
            Some(Err(error)) => break Err(ClientError::connection(&error)),
            None => break Ok(written),
        }
    };
    // Also when it broke off: the next try goes on from what is in the file.
    file.sync_all().await.map_err(|error| file_error(part, &error))?;
    ended
}

/// Checks the whole file and moves it to its place.
async fn settle(part: &Path, path: &Path, digest: &str) -> Result<u64, ClientError> {
    let (found, length) = hash_of(part).await.map_err(|error| file_error(part, &error))?;
    if found != digest {
        // A part that is wrong would make every later try wrong.
        let _ = fs::remove_file(part).await;
        return Err(ClientError::Damaged(digest.to_owned()));
    }
    fs::rename(part, path).await.map_err(|error| file_error(path, &error))?;
    Ok(length)
}

async fn hash_of(path: &Path) -> std::io::Result<(String, u64)> {
    let mut file = File::open(path).await?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; DOWNLOAD_CHUNK_BYTES];
    loop {
        let count = file.read(&mut piece).await?;
        if count == 0 {
            return Ok((hasher.finalize().to_hex().to_string(), hasher.count()));
        }
        hasher.update(&piece[..count]);
    }
}

async fn length_of(path: &Path) -> u64 {
    fs::metadata(path).await.map_or(0, |known| known.len())
}

/// Beside the file, so that the last move stays in one file system; with the digest, so that the
/// part of another file is never taken for one of this.
fn part_path(path: &Path, digest: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short: String = digest.chars().take(16).collect();
    path.with_file_name(format!(".{name}.{short}.part"))
}

pub(super) fn file_error(path: &Path, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::File { path: path.display().to_string(), why: error.to_string() }
}
