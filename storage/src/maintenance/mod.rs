//! Work on whole stores: online backups, restoring them, compaction, verification.
//!
//! All of it goes through the verbs of [`Store`](crate::Store), so it holds for every layout. The
//! format of a backup is written down in `docs/storage.md`.

use std::sync::Arc;

mod backup;
mod compact;
mod entry;
mod error;
mod export;
mod import;
mod named;
mod place;
mod reader;
mod restore;
#[cfg(test)]
mod testing;
mod verify;

pub use backup::{BackupOptions, BackupStream, backup_stream, save_backup};
pub use compact::{Compacted, compact};
pub use entry::{Contents, LeftOut};
pub use error::MaintenanceError;
pub use place::holds_store;
pub use reader::check_backup;
pub use restore::restore;
pub use verify::{Fault, Verification, VerifyOptions, verify};

/// How far a long work has come: what it is at, how much of it is done, and of how much.
pub type Progress = Arc<dyn Fn(&'static str, u64, u64) + Send + Sync>;
