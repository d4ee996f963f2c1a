//! A backup of a running server.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::Method;

use super::{Client, ClientError, send};

impl Client {
    /// Begins a backup of all jobs, and of the files that they name if those are wanted. What comes
    /// is to be checked before it is believed; saving it with
    /// [`save_backup`](callsheet_storage::maintenance::save_backup) does that.
    ///
    /// # Errors
    /// As every call; so may every piece of the stream.
    pub async fn backup(
        &self,
        artifacts: bool,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + use<>, ClientError> {
        let call = self.call(Method::GET, &["v1", "backup"])?.query(&[("artifacts", artifacts)]);
        let pieces = send(call).await?.bytes_stream();
        Ok(pieces.map(|piece| piece.map_err(|error| ClientError::connection(&error))))
    }
}
