//! Sending a file to the server.

use std::path::Path;

use reqwest::{Method, header};
use tokio_util::io::ReaderStream;

use super::download::file_error;
use super::{Client, ClientError, json};
use crate::limits::DOWNLOAD_CHUNK_BYTES;
use crate::wire::FileReference;

impl Client {
    /// Sends a file, under its own name or another; answers with the reference that inputs of
    /// workflows take. The file is on the server's stable storage then. To send it again does no
    /// harm: the same content is stored once.
    ///
    /// # Errors
    /// `upload.too_large`, `upload.no_room`, [`ClientError::File`], and as every call.
    pub async fn upload(
        &self,
        path: &Path,
        name: Option<&str>,
        media_type: Option<&str>,
    ) -> Result<FileReference, ClientError> {
        let broken = |error: std::io::Error| file_error(path, &error);
        let file = tokio::fs::File::open(path).await.map_err(broken)?;
        let known = file.metadata().await.map_err(broken)?;
        if !known.is_file() {
            return Err(file_error(path, &"it is not a regular file"));
        }
        let own = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.map(str::to_owned).or(own).unwrap_or_default();
        let pieces = ReaderStream::with_capacity(file, DOWNLOAD_CHUNK_BYTES);
        // Not the client of all other calls: that one gives up a server which is silent for long,
        // as one is that is being sent a large file.
        let mut call = self
            .call_by(&self.patient, Method::POST, &["v1", "uploads"])?
            .query(&[("name", &name)])
            .header(header::CONTENT_LENGTH, known.len())
            .body(reqwest::Body::wrap_stream(pieces));
        if let Some(media_type) = media_type {
            call = call.header(header::CONTENT_TYPE, media_type);
        }
        json(call).await
    }
}
