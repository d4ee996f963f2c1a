//! A file's bytes as a body.

use std::fs::File;
use std::io;

use axum::body::{Body, Bytes};
use callsheet_storage::Digest;
use futures::stream;
use tokio::io::{AsyncReadExt, Take};
use tokio_util::io::ReaderStream;

use crate::limits::DOWNLOAD_CHUNK_BYTES;

/// The rest of a file, `length` bytes of it, unchecked: a part has no hash of its own.
pub(crate) fn part(file: File, length: u64) -> Body {
    let file = tokio::fs::File::from_std(file).take(length);
    Body::from_stream(ReaderStream::with_capacity(file, DOWNLOAD_CHUNK_BYTES))
}

/// A whole file, checked on its way: the last piece goes out only when all of it was what its name
/// says. Otherwise the body breaks off, and the client sees that it is not whole.
pub(crate) fn whole(file: File, length: u64, digest: Digest) -> Body {
    let reader = Checked {
        file: tokio::fs::File::from_std(file).take(length),
        hasher: blake3::Hasher::new(),
        digest,
        left: length,
    };
    Body::from_stream(stream::try_unfold(reader, |mut reader| async move {
        Ok::<_, io::Error>(reader.next().await?.map(|piece| (piece, reader)))
    }))
}

struct Checked {
    file: Take<tokio::fs::File>,
    hasher: blake3::Hasher,
    digest: Digest,
    left: u64,
}

impl Checked {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(DOWNLOAD_CHUNK_BYTES);
        let mut piece = vec![0; wanted];
        self.file.read_exact(&mut piece).await?;
        self.hasher.update(&piece);
        self.left -= wanted as u64;
        if self.left == 0 && self.hasher.finalize().as_bytes() != self.digest.as_bytes() {
            tracing::error!(digest = %self.digest, "an artifact is damaged");
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the artifact is damaged"));
        }
        Ok(Some(piece.into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use axum::body::to_bytes;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    #[tokio::test]
    async fn a_whole_file_is_checked_on_its_way() {
        for size in [0, 1, DOWNLOAD_CHUNK_BYTES, DOWNLOAD_CHUNK_BYTES * 2 + 7] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let body = whole(file_of(&bytes), size as u64, Digest::of(&bytes));
            assert_eq!(to_bytes(body, usize::MAX).await.unwrap(), bytes, "{size}");
        }
    }

    #[tokio::test]
    async fn a_damaged_file_breaks_off() {
        let mut bytes = vec![7; 1_000];
        let digest = Digest::of(&bytes);
        bytes[500] = 8;
        let body = whole(file_of(&bytes), 1_000, digest);
        assert!(to_bytes(body, usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn a_part_is_as_long_as_asked_for() {
        let body = part(file_of(b"0123456789"), 4);
        assert_eq!(to_bytes(body, usize::MAX).await.unwrap(), "0123");
    }
}
