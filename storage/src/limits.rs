//! Every bound of durable truth, in one place: unit last in the name, the reason, and what happens
//! beyond it.

use std::time::Duration;

/// Heads in one page of a list. A larger wish is cut to it: a page is built in memory.
pub const MAX_PAGE_COUNT: usize = 1_000;

/// Heads that one page may look at. A filter that matches little ends its page early, with a
/// `next` to go on from, so that one request never reads the whole store.
pub const MAX_SCAN_COUNT: usize = 20_000;

/// Keys read while the view of what is durable is held. Longer reads let go in between, so that a
/// reader delays the publishing of a batch by well under a millisecond.
pub const SCAN_CHUNK_COUNT: usize = 256;

/// Requests in one batch: a thousand jobs that all commit at once share one fdatasync. The rest
/// waits for the next batch.
pub const MAX_BATCH_COUNT: usize = 1_024;

/// Bytes of records in one batch, after which it takes no more: what one fdatasync has to carry,
/// and two of sled's segments.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Jobs to accept or to hand over that wait for the writer: four full batches. Beyond it `create`
/// and `claim` wait, which is the store's back-pressure. Commits are taken at once, so that their
/// order is that of the calls; there is one owner a job, and its commits under way are few.
pub const MAX_QUEUE_COUNT: usize = 4 * MAX_BATCH_COUNT;

/// Records in the log before the jobs that hold its oldest ones are moved to keys of their own:
/// they are kept in memory too, and read when the store opens.
pub const MAX_LOG_RECORDS_COUNT: usize = 128 * 1024;

/// Bytes of records in the log, for the same reasons.
pub const MAX_LOG_BYTES: usize = 32 * 1024 * 1024;

/// Bytes that the entries of a batch may have unpacked: what it commits, and a word for each job it
/// moves. The bound is generous; it only keeps a damaged length from asking for all memory.
pub const MAX_ENTRIES_BYTES: usize = 2 * MAX_LOG_BYTES;

/// Jobs in the log: some 500 bytes of memory each, besides their records.
pub const MAX_LOG_JOBS_COUNT: usize = 32 * 1024;

/// Bytes that one job may have in the log, after which its records move: so that a job of very many
/// steps never moves in one large batch.
pub const MAX_JOB_LOG_BYTES: usize = 256 * 1024;

/// Jobs that lag behind are moved in one batch, beside what it commits. The rest of them waits for
/// the next batch: with more than a batch can bring, so that the log stops growing.
pub const MAX_SPILL_COUNT: usize = 2 * MAX_BATCH_COUNT;

/// Bytes of records that are packed together when a job moves. Packing gains little beyond, and
/// reading one record costs unpacking all of them.
pub const MAX_RUN_BYTES: usize = 16 * 1024;

/// A body that is packed has at most this size unpacked, so that a damaged length asks for no more.
pub const MAX_UNPACKED_BYTES: usize = 64 * 1024;

/// A body below this size is not packed: it would not get smaller.
pub const MIN_PACKED_BYTES: usize = 128;

/// Size of a value as sled gets it, envelope included. A larger body goes to a file of its own
/// first: sled moves pages that grow beyond [`SLED_BLOB_THRESHOLD_BYTES`] to files it never syncs.
pub const MAX_VALUE_BYTES: usize = 4 * 1024;

/// Size of an encoded record or head that goes into the log. A larger one goes to a file of its own
/// first, so that it fits into a value of its own when its job moves.
pub const MAX_INLINE_BYTES: usize = MAX_VALUE_BYTES - 96;

/// Length of a key; the longest is a definition's. Beyond it the request is refused.
pub const MAX_KEY_BYTES: usize = 160;

/// Length of a submitter's idempotency key. Beyond it, or empty, the request is refused.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// Size of one encoded record or definition, wherever it is kept. Beyond it the commit is refused:
/// larger data travels as artifacts.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Records in one job's journal. Beyond it commits are refused, so that a job that loops for ever
/// ends before its journal cannot be loaded.
pub const MAX_RECORDS_COUNT: u64 = 1_000_000;

/// Notices that a slow subscriber may lag behind. Beyond it the oldest are dropped and the
/// subscriber is told so; it reads the journal instead.
pub const MAX_NOTICES_COUNT: usize = 4_096;

/// Digests of definitions that are known to be kept, so that a submit need not look. Beyond it all
/// are forgotten and learnt again.
pub const MAX_KNOWN_DEFINITIONS_COUNT: usize = 4_096;

/// Room below which no new job is accepted (`Full`); a smaller file system may go lower, down to
/// [`MIN_ROOM_FOR_JOBS_BYTES`].
pub const ROOM_FOR_JOBS_BYTES: u64 = 256 * 1024 * 1024;

/// Room below which running jobs are parked too (`Full`); a smaller file system may go lower, down
/// to [`MIN_ROOM_FOR_COMMITS_BYTES`]. What is left is for the batch under way.
pub const ROOM_FOR_COMMITS_BYTES: u64 = 64 * 1024 * 1024;

/// New jobs are refused below this share of a small file system.
pub const ROOM_FOR_JOBS_SHARE: u64 = 8;

/// Commits are refused below this share of a small file system.
pub const ROOM_FOR_COMMITS_SHARE: u64 = 16;

/// The least room at which a job is accepted on the smallest file system.
pub const MIN_ROOM_FOR_JOBS_BYTES: u64 = 2 * MIN_ROOM_FOR_COMMITS_BYTES;

/// The least room at which a commit is accepted: a full disk in the middle of a batch is fatal.
pub const MIN_ROOM_FOR_COMMITS_BYTES: u64 = 2 * MAX_BATCH_BYTES as u64;

/// How long one look at the free space holds.
pub const ROOM_CHECK_MS: u64 = 50;

/// Size of the ballast file, whose room lets a store open on a full disk: opening writes.
pub const BALLAST_BYTES: u64 = 4 * 1024 * 1024;

/// The ballast takes no more than this share of a small file system.
pub const BALLAST_SHARE: u64 = 16;

/// The largest page cache of sled; its default of 1 GiB is too much.
pub const MAX_CACHE_BYTES: u64 = 256 * 1024 * 1024;

/// The page cache gets this share of the memory there is, if that is less.
pub const CACHE_SHARE: u64 = 8;

/// How often sled's own thread flushes and cleans segments. It is not our durability.
pub const CLEANING_INTERVAL_MS: u64 = 500;

/// How long opening waits for a lock: a process that is being forked may hold a copy of it for an
/// instant. Beyond it the directory is in use.
pub const LOCK_WAIT_MS: u64 = 300;

/// How long closing waits for sled's last threads to let go of its file. Beyond it the close
/// answers, and whoever opens next waits in turn.
pub const RELEASE_WAIT_MS: u64 = 5_000;

/// How long one batch may be on its way to the disk. Beyond it the store counts as failed: sled
/// waits for ever when a thread of its own has died.
pub const MAX_BATCH_MS: u64 = 60_000;

/// Bytes read at once when a file is hashed or copied.
pub const COPY_CHUNK_BYTES: usize = 128 * 1024;

/// Length of an artifact's name, that of a file name on every common file system.
pub const MAX_ARTIFACT_NAME_BYTES: usize = 255;

/// Locks that keep two from working on the same content at once. More of them than threads: others
/// wait for one only by chance, and for the time of a rename.
pub const ARTIFACT_LOCKS_COUNT: usize = 64;

/// Results of steps that are kept. Beyond it those that were used longest ago are forgotten: each
/// is a file that every sweep reads.
pub const MAX_RESULTS_COUNT: u64 = 100_000;

/// Largest file of a kept result: an output of the largest size, and the contents that it names.
/// Beyond it the file is taken for damaged.
pub const MAX_RESULT_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// sled writes a page to a file of its own, which it never syncs, beyond a quarter of a segment.
pub const SLED_BLOB_THRESHOLD_BYTES: usize = 512 * 1024 / 4;

/// The most entries a leaf of sled's tree may hold when it is written: it splits beyond 16, on the
/// visit after the one that filled it.
pub const SLED_LEAF_COUNT: usize = 18;

/// Size of one entry of a backup: a record of the largest size and its frame. A larger one is
/// damage, and no memory is taken for it.
pub const MAX_ENTRY_BYTES: usize = MAX_BODY_BYTES + 64 * 1024;

/// Bytes of a backup that are sent or written at once, and about as many of records in an entry.
pub const BACKUP_CHUNK_BYTES: usize = 256 * 1024;

/// Chunks of a backup that wait for whoever takes them. Beyond it the store is read no further.
pub const BACKUP_CHUNKS_COUNT: usize = 8;

/// Jobs that a backup reads at once.
pub const EXPORT_AHEAD_COUNT: usize = 8;

/// How often a backup tries to read head and journal of one moment. A status changes some times a
/// second at most; beyond it the job is left out, and named.
pub const MAX_EXPORT_TRIES_COUNT: usize = 100;

/// Jobs that are put into a new store at once, so that they share its syncs.
pub const IMPORT_JOBS_COUNT: usize = 256;

/// Openings by which a restored store is ahead of its original: as often the original can be opened
/// before its epochs come near.
pub const EPOCH_GAP_COUNT: u32 = 64 * 1024;

const _: () = assert!(MAX_PAGE_COUNT <= MAX_SCAN_COUNT);
const _: () = assert!(SCAN_CHUNK_COUNT <= MAX_PAGE_COUNT);
const _: () = assert!(MAX_BATCH_COUNT <= MAX_QUEUE_COUNT);
const _: () = assert!(MAX_BATCH_COUNT <= MAX_NOTICES_COUNT);
const _: () = assert!(MAX_BATCH_COUNT <= MAX_SPILL_COUNT);
const _: () = assert!(MAX_BATCH_BYTES < MAX_LOG_BYTES);
const _: () = assert!(MAX_BATCH_COUNT < MAX_LOG_RECORDS_COUNT);
const _: () = assert!(MAX_LOG_JOBS_COUNT <= MAX_LOG_RECORDS_COUNT);
const _: () = assert!(MAX_RUN_BYTES + MAX_VALUE_BYTES <= MAX_UNPACKED_BYTES);
const _: () = assert!(MAX_VALUE_BYTES <= MAX_RUN_BYTES);
// Parts are numbered by 16 bits; a batch holds its records, and a word for each job that moves.
const _: () = assert!(2 * MAX_BATCH_BYTES / MAX_VALUE_BYTES < u16::MAX as usize);
const _: () = assert!(MAX_VALUE_BYTES < MAX_BODY_BYTES);
// The page with the most and largest values stays inside the log, whose file we sync.
const _: () =
    assert!(SLED_LEAF_COUNT * (MAX_VALUE_BYTES + MAX_KEY_BYTES + 32) < SLED_BLOB_THRESHOLD_BYTES);
const _: () = assert!(ROOM_FOR_COMMITS_BYTES < ROOM_FOR_JOBS_BYTES);
const _: () = assert!(ROOM_FOR_JOBS_SHARE < ROOM_FOR_COMMITS_SHARE);
const _: () = assert!(MIN_ROOM_FOR_COMMITS_BYTES < MIN_ROOM_FOR_JOBS_BYTES);
const _: () = assert!(MIN_ROOM_FOR_JOBS_BYTES <= ROOM_FOR_JOBS_BYTES);
const _: () = assert!(MIN_ROOM_FOR_COMMITS_BYTES <= ROOM_FOR_COMMITS_BYTES);
const _: () = assert!(LOCK_WAIT_MS < 1_000); // a second engine is refused in under a second

/// How long a content that was read through counts as whole while nobody touches it. Afterwards it
/// is read again when it is opened, since disks forget on their own.
pub const CHECK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Contents of which that is known. Beyond it all are forgotten, and read again when opened.
pub const MAX_CHECKED_COUNT: usize = 10_000;

/// The longest step to which the end of a file's time is rounded up. Beyond it files would stay
/// noticeably longer than was asked for.
pub const KEEP_STEP: Duration = Duration::from_secs(60);

/// The part of a file's time that is such a step where the time is short. Ends are late by no more.
pub const KEEP_STEP_SHARE: u32 = 64;
