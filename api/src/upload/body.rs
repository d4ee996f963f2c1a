//! A request's body on its way into the artifact store: bounded in size and in silence, and stored
//! only when all of it has come.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use callsheet_actors::{Engine, EngineError};
use callsheet_storage::{ArtifactError, Digest, Reservation};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::error::Refusal;
use crate::limits::{UPLOAD_PIECES_COUNT, UPLOAD_STALL_SECONDS};

/// Stores a body; answers with its digest and length. When this is dropped, because the client went
/// away, or answers with a refusal, nothing of the body stays behind. Room under the bound of all
/// files is taken before anything is written: for the length that was told, else piece by piece.
///
/// # Errors
/// The body is too large, stalls or breaks off, or the store has no room or refuses.
pub(crate) async fn store(
    engine: &Engine,
    body: Body,
    told: Option<u64>,
    limit: u64,
) -> Result<(Digest, u64), Refusal> {
    if told.is_some_and(|length| length > limit) {
        return Err(Refusal::UploadTooLarge(limit));
    }
    let room = Arc::new(engine.room_for(told.unwrap_or(0)).await?);
    let (pieces, taken) = mpsc::channel(UPLOAD_PIECES_COUNT);
    let reader = Reader { pieces: taken, piece: Bytes::new(), over: false };
    let (artifacts, into) = (engine.incoming(), room.clone());
    let storing = spawn_blocking(move || artifacts.put_reader_into(&into, reader));
    // A refusal drops the sender without its last word, so the reader fails and nothing is kept.
    let refused = send_all(body, pieces, limit, (engine, &room)).await.err();
    match (refused, storing.await) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(Ok(stored))) => Ok(stored),
        (None, Ok(Err(error))) => Err(refusal_of(error)),
        (None, Err(_)) => Err(Refusal::Panic),
    }
}

/// What the store is sent.
enum Piece {
    Bytes(Bytes),
    /// The body was whole.
    End,
}

/// Hands the body on piece by piece. That the store takes no more is for the store to explain.
async fn send_all(
    body: Body,
    to: mpsc::Sender<Piece>,
    limit: u64,
    (engine, room): (&Engine, &Reservation),
) -> Result<(), Refusal> {
    let mut pieces = body.into_data_stream();
    let silence = Duration::from_secs(UPLOAD_STALL_SECONDS);
    let mut count = 0;
    loop {
        let piece = match timeout(silence, pieces.next()).await {
            Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
            Ok(Some(Err(_))) => return Err(Refusal::Body),
            Ok(None) => Piece::End,
            Err(_) => return Err(Refusal::StalledUpload),
        };
        if let Piece::Bytes(bytes) = &piece {
            count += bytes.len() as u64;
            if count > limit {
                return Err(Refusal::UploadTooLarge(limit));
            }
            // Its end, with which the room is spent, comes after this.
            let more = count.saturating_sub(room.bytes());
            engine.more_room(room, more).await?;
        }
        let is_last = matches!(piece, Piece::End);
        if to.send(piece).await.is_err() || is_last {
            return Ok(());
        }
    }
}

/// The other end, read on a thread that may block.
struct Reader {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
    over: bool,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.over {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(piece)) => self.piece = piece,
                Some(Piece::End) => self.over = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = self.piece.len().min(into.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

fn refusal_of(error: ArtifactError) -> Refusal {
    match error {
        ArtifactError::Full { .. } => Refusal::NoRoomForUpload,
        ArtifactError::Quota { used, most, .. } => {
            Refusal::Engine(EngineError::Quota { used, most })
        }
        error => {
            tracing::error!(%error, "an upload cannot be stored");
            Refusal::UploadFailed
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::error::HttpError;

    async fn new_engine() -> Engine {
        Engine::builder().in_memory().open().await.unwrap()
    }

    /// Files that are stored, and half files that wait to be.
    fn files(engine: &Engine) -> usize {
        let mut count = 0;
        let mut dirs = vec![engine.artifacts().root().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                match entry.path().is_dir() {
                    true => dirs.push(entry.path()),
                    // The staging directory is held by a lock.
                    false => count += usize::from(entry.metadata().unwrap().len() > 0),
                }
            }
        }
        count
    }

    fn body(pieces: Vec<io::Result<&'static [u8]>>) -> Body {
        Body::from_stream(stream::iter(pieces).map(|piece| piece.map(Bytes::from_static)))
    }

    #[tokio::test]
    async fn a_whole_body_is_stored_once() {
        let engine = new_engine().await;
        for told in [None, Some(4)] {
            let body = body(vec![Ok(b"ab"), Ok(b""), Ok(b"cd")]);
            let stored = store(&engine, body, told, 4).await.unwrap();
            assert_eq!(stored, (Digest::of(b"abcd"), 4));
        }
        assert_eq!(files(&engine), 1);
        assert_eq!(store(&engine, Body::empty(), None, 0).await.unwrap().1, 0);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_is_too_large_leaves_nothing() {
        let engine = new_engine().await;
        let broken = body(vec![Ok(b"ab"), Err(io::ErrorKind::ConnectionReset.into())]);
        let large = body(vec![Ok(b"abc"), Ok(b"de")]);
        for (body, code) in [(broken, "request.body"), (large, "upload.too_large")] {
            let refused = store(&engine, body, None, 4).await.unwrap_err();
            assert_eq!(refused.code(), code);
            assert_eq!(files(&engine), 0, "{code}");
        }
        let refused = store(&engine, Body::empty(), Some(5), 4).await.unwrap_err();
        assert_eq!(refused.code(), "upload.too_large");
        assert_eq!(engine.artifacts().used_bytes(), 0, "the room was given back");
    }

    #[test]
    fn a_store_without_room_is_told_from_one_that_refuses() {
        let path = std::path::PathBuf::from("x");
        let source = io::ErrorKind::PermissionDenied.into();
        for (error, code) in [
            (ArtifactError::Full { path: path.clone() }, "upload.no_room"),
            (ArtifactError::Quota { size: 2, used: 9, most: 10 }, "artifact.quota"),
            (ArtifactError::Io { what: "write", path, source }, "upload.failed"),
        ] {
            assert_eq!(refusal_of(error).code(), code);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_cut_off() {
        let engine = new_engine().await;
        let first = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"ab"))]);
        let body = Body::from_stream(first.chain(stream::pending()));
        // The clock does not go on by itself while a thread that blocks is waited for.
        let clock = async {
            loop {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        };
        let refused = tokio::select! {
            stored = store(&engine, body, None, 4) => stored.unwrap_err(),
            () = clock => unreachable!(),
        };
        assert_eq!(refused.code(), "upload.stalled");
        assert_eq!(files(&engine), 0);
    }
}
