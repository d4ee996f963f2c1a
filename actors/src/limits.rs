//! Every bound of the body, in one place: unit last in the name, the reason, and what happens
//! beyond it.

use std::time::Duration;

/// Time between TERM and KILL for an attempt's child processes: long enough to close a file.
pub const TERM_GRACE_MS: u64 = 500;

/// Time that the ending of processes waits while cancels wait for their answer: many of them are
/// answered within it.
pub const ANSWERS_FIRST_MS: u64 = 40;

/// Time after KILL in which a stopped attempt's tasks must return. Beyond it they are abandoned
/// under their fence token and counted: nothing that they answer is ever recorded.
pub const ABANDON_AFTER_MS: u64 = 1_000;

/// Output of a child process that is kept, for each pipe: the tail, where errors stand.
pub const OUTPUT_TAIL_BYTES: usize = 16 * 1024;

/// Standard output of a child that is kept whole when asked for. Beyond it the attempt fails with
/// `process.output`.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024 * 1024;

/// Longest line of a child's output that is handed on; the rest of the line is dropped.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Threads for blocking work of step bodies. Beyond it blocking calls wait for a thread.
pub const MAX_BLOCKING_THREADS_COUNT: usize = 64;

/// Step bodies that run at once over all jobs. Beyond it attempts wait for their turn; the wait
/// counts against their time limit.
pub const MAX_RUNNING_BODIES_COUNT: usize = 1_024;

/// Jobs of one lane that have an actor at once: 8 kB each, so 480 MB if all lanes were full. Beyond
/// it jobs wait their turn in the store.
pub const MAX_ACTIVE_JOBS_COUNT: usize = 10_000;

/// Levels of jobs within jobs below the first. Beyond it the step fails with `child.too_deep`: each
/// level has places of its own, so that waiting parents never keep their children from one.
pub const MAX_CHILD_DEPTH_COUNT: usize = 4;

/// Lanes of places, each with [`MAX_ACTIVE_JOBS_COUNT`] of them: followers, jobs that belong to
/// nobody, and a lane for each level below.
pub const LANES_COUNT: usize = 2 + MAX_CHILD_DEPTH_COUNT;

/// Time that a stopped attempt waits for its child to be gone. Beyond it the child goes on being
/// stopped by itself.
pub const CHILD_GONE_MS: u64 = 1_200;

/// Time between tries to accept a child, or to cancel it, while there is no room on the disk.
pub const CHILD_AGAIN_MS: u64 = 1_000;

/// A job whose next wait is longer than this gives up its actor and sleeps in the store.
pub const PASSIVATE_AFTER_MS: u64 = 1_000;

/// Deaths of one job's actor in a row before the job is quarantined.
pub const MAX_ACTOR_DEATHS_COUNT: u32 = 3;

/// Time that a suspected job is tried alone, and that the engine lives before it tries the first:
/// what kills a process mostly does so soon. Beyond it the next one is tried beside it, so that
/// long steps do not wait for each other.
pub const TRIAL_MS: u64 = 1_000;

/// First and longest wait before a dead job actor is started again; it doubles in between.
pub const RESTART_BACKOFF_MS: (u64, u64) = (100, 30_000);

/// Restarts of the two top supervisors, within [`TREE_RESTARTS_WINDOW`]. Beyond it the engine has
/// failed and says so: what kills them so often is not mended by starting them again.
pub const MAX_TREE_RESTARTS_COUNT: usize = 5;

/// Restarts of the top supervisors that lie further back are forgiven.
pub const TREE_RESTARTS_WINDOW: Duration = Duration::from_secs(60);

/// Jobs that are read from the store at once to be woken, at start or by the scheduler: so many
/// messages more wait at most.
pub const WAKE_PAGE_COUNT: usize = 1_000;

/// Waits of sleeping jobs that the scheduler keeps in memory: some 40 bytes each. Those that come
/// later stay in the store until their time comes near.
pub const MAX_WAITS_COUNT: usize = 16 * 1_024;

/// Time between tries to commit while the disk is full: a parked job goes on this soon.
pub const ROOM_RETRY_MS: u64 = 1_000;

/// Progress notes that a slow subscriber may be behind before it misses some.
pub const PROGRESS_BACKLOG_COUNT: usize = 1_024;

/// Age at which a body that still runs gets an actor of its own. Quicker ones do without: starting
/// an actor takes longer than they do.
pub const PROMOTE_AFTER_MS: u64 = 10;

/// Bytes of events that make one record: what a store keeps in one piece is 4 KiB, envelope and
/// all. A single turn may be larger.
pub const RECORD_TARGET_BYTES: usize = 3 * 1024;

/// Bytes of events that a job may have decided and not yet on disk while pure steps run ahead.
/// Beyond it they wait for the disk, so that a crash repeats little and memory stays bounded.
pub const MAX_AHEAD_BYTES: usize = 64 * 1024;

/// Shortest time that a file is kept after it was put or used, unless told otherwise: in it a
/// file finds its job. A retention that is shorter counts as this.
pub const ARTIFACT_GRACE: Duration = Duration::from_secs(60 * 60);

/// Time between two sweeps of files unless told otherwise. Beyond it files whose time is over still
/// take room.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// Time after a sweep that fell short of the room that was wanted, in which want of as much does
/// not cause another: it would find nothing, and looks at every file.
pub const SWEEP_AGAIN: Duration = Duration::from_secs(2);

/// How many times as long as it took the rest after a sweep is, where results have outgrown their
/// bound: they stay beyond it for so long, and sweeps are a small part of the time.
pub const SWEEP_REST_COUNT: u32 = 9;

/// Bytes of kept results and their files unless told otherwise. Beyond it those that were used
/// longest ago are forgotten.
pub const CACHE_MAX_BYTES: u64 = 10 * 1024 * 1024 * 1024;

/// Share of the bound of all files that is left to jobs that were accepted: beyond the rest new
/// ones are refused with `artifact.quota`, for they could not even begin to write.
pub const QUOTA_RESERVE_SHARE: u64 = 100;

/// Time between two signs of life of an attempt that waits for another at the same.
pub const WAIT_SIGN_MS: u64 = 1_000;

/// Time that an orderly shutdown gives running attempts unless told otherwise.
pub const DRAIN_GRACE: Duration = Duration::from_secs(30);

/// Time that a stopping engine gives its actors to record what they give back. Beyond it the next
/// start counts what was running as dead, not as given back.
pub const RELEASE_GRACE: Duration = Duration::from_secs(10);

/// How often a store that says nothing is asked whether it still works.
pub const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// Longest idempotency key. Beyond it the submit is refused with `idempotency.invalid`.
pub const MAX_KEY_BYTES: usize = 255;

const _: () = assert!(RESTART_BACKOFF_MS.0 < RESTART_BACKOFF_MS.1);
// The waits of all of them lie in the window.
const _: () = assert!((RESTART_BACKOFF_MS.0 << MAX_TREE_RESTARTS_COUNT) < 10_000);
// The attempt is not called abandoned for it.
const _: () = assert!(CHILD_GONE_MS < TERM_GRACE_MS + ABANDON_AFTER_MS);
// A job's lane is one digit of its id.
const _: () = assert!(LANES_COUNT <= 16);
const _: () = assert!(2 * WAKE_PAGE_COUNT <= MAX_WAITS_COUNT);
const _: () = assert!(OUTPUT_TAIL_BYTES < MAX_OUTPUT_BYTES);
