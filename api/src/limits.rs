//! Every bound of the front door, in one place: unit last in the name, the reason, and what the
//! caller hears beyond it.

use std::time::Duration;

/// Body of a request. Beyond it 413: large data travels as files, not in the input of a job.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Time in which a request's body must have arrived, so that a slow sender cannot hold a handler.
/// Beyond it 408.
pub const BODY_READ_SECONDS: u64 = 30;

/// Time in which a request's head must have arrived, also the time that an idle connection is kept.
/// Beyond it the connection is closed.
pub const HEADER_READ_SECONDS: u64 = 10;

/// Size of a request's head. Beyond it 431 and the connection is closed.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Time in which a client must take some of what is sent to it. Beyond it the connection is closed,
/// so that a reader who never reads cannot hold memory for ever.
pub const WRITE_STALL_SECONDS: u64 = 30;

/// Connections that are open at once. Beyond it new ones wait in the listener's backlog.
pub const MAX_CONNECTIONS_COUNT: usize = 4_096;

/// Time that a handler may take, the wait for a body included; not for `?wait=`, event streams and
/// downloads. Beyond it 503.
pub const REQUEST_SECONDS: u64 = 60;

/// Longest `?wait=`. Beyond it 400: proxies cut longer silences, so a client asks again instead.
pub const MAX_WAIT_SECONDS: u64 = 60;

/// Event streams that are open at once, over all clients. Beyond it 503 with `Retry-After`: each
/// holds a connection and a place in the store's notices.
pub const MAX_STREAMS_COUNT: usize = 1_024;

/// Silence on an event stream before a comment is sent, so that proxies and clients see that it is
/// alive.
pub const KEEP_ALIVE_SECONDS: u64 = 15;

/// Time that a client of an event stream waits before it connects again, as the stream tells it.
pub const STREAM_RETRY_MS: u64 = 1_000;

/// Jobs in one page of a list unless the caller says otherwise.
pub const DEFAULT_PAGE_COUNT: usize = 50;

/// Jobs in one page of a list. Beyond it 400.
pub const MAX_PAGE_COUNT: usize = 500;

/// Labels of one job. Beyond it 400: they are kept in the head of the job, which lists read.
pub const MAX_LABELS_COUNT: usize = 32;

/// A label's name. Beyond it 400.
pub const MAX_LABEL_NAME_BYTES: usize = 64;

/// A label's value. Beyond it 400.
pub const MAX_LABEL_VALUE_BYTES: usize = 256;

/// An `Idempotency-Key`. Beyond it 400.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// The reason given with a cancel. Beyond it 400: it is recorded in the journal.
pub const MAX_REASON_BYTES: usize = 1_024;

/// The name under which an artifact is downloaded. Beyond it 400.
pub const MAX_DOWNLOAD_NAME_BYTES: usize = 255;

/// A file that comes in, unless the server is started with another bound. Beyond it 413: what
/// `media.fetch` takes by itself.
pub const DEFAULT_UPLOAD_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Files that come in at once. Beyond it 503 with `Retry-After`: each holds a thread that writes.
pub const MAX_UPLOADS_COUNT: usize = 64;

/// Silence in the middle of a file that comes in. Beyond it 408, and nothing of it is kept.
pub const UPLOAD_STALL_SECONDS: u64 = 30;

/// Pieces of a file that wait to be written: enough to keep the disk busy, few enough to hold
/// little memory.
pub const UPLOAD_PIECES_COUNT: usize = 8;

/// A media type that comes with a file. Beyond it 415: it is kept in inputs and outputs.
pub const MAX_MEDIA_TYPE_BYTES: usize = 255;

/// Piece of a file that is read and sent at once.
pub const DOWNLOAD_CHUNK_BYTES: usize = 64 * 1024;

/// Advice in `Retry-After` when the server is full or about to stop.
pub const RETRY_AFTER_SECONDS: u64 = 5;

/// Advice in `Retry-After` while a backup is under way: one at a time, since each reads all there
/// is.
pub const BACKUP_RETRY_AFTER_SECONDS: u64 = 30;

/// Time that open requests get to end once the server was told to stop. Beyond it they are cut.
pub const SHUTDOWN_SECONDS: u64 = 10;

/// Tries in a row that the client makes to connect again, for waits, events and downloads. Beyond
/// it the caller gets the error.
pub const CLIENT_RECONNECTS_COUNT: u32 = 10;

/// First wait of the client between two such tries; it doubles up to [`CLIENT_MAX_BACKOFF`].
pub const CLIENT_FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Longest wait of the client between two such tries.
pub const CLIENT_MAX_BACKOFF: Duration = Duration::from_secs(10);

/// One `?wait=` of the client's own wait, which asks again and again.
pub const CLIENT_WAIT_SECONDS: u64 = 30;

/// Time in which a server must take the client's connection.
pub const CLIENT_CONNECT_SECONDS: u64 = 10;

/// Silence from the server after which the client gives a request up; longer than any keep-alive
/// and any wait.
pub const CLIENT_READ_SECONDS: u64 = 90;

/// One event as the client reads it. Beyond it the stream is refused, so that a server that is none
/// of ours cannot fill the client's memory.
pub const CLIENT_MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

const _: () = assert!(DEFAULT_PAGE_COUNT <= MAX_PAGE_COUNT);
const _: () = assert!(CLIENT_WAIT_SECONDS <= MAX_WAIT_SECONDS);
const _: () = assert!(CLIENT_READ_SECONDS > MAX_WAIT_SECONDS + KEEP_ALIVE_SECONDS);
const _: () = assert!(BODY_READ_SECONDS < REQUEST_SECONDS);
const _: () = assert!(MAX_HEADER_BYTES >= 8_192); // hyper refuses a smaller buffer
