//! What can go wrong in work on a whole store.

use std::io;
use std::path::{Path, PathBuf};

use crate::artifacts::ArtifactError;
use crate::error::StoreError;

/// Why a backup, a restore, a compaction or a verification did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored file could not be read or written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The operating system refused.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A backup never overwrites anything.
    #[error("`{}` is there already", .0.display())]
    Exists(PathBuf),
    /// The file was not made by a backup.
    #[error("it is no backup: it does not begin as one")]
    NoBackup,
    /// A later version made it.
    #[error("a newer Callsheet made it: format {0} of backups")]
    Newer(u8),
    /// It ends before its last entry: the backup did not come to its end, or was cut later.
    #[error("it is cut off after {0} bytes")]
    Cut(u64),
    /// What it holds is not what was written.
    #[error("it is damaged at byte {at}: {why}")]
    Damaged {
        /// Where the entry begins that is wrong.
        at: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Restoring never mixes two stores.
    #[error("`{}` is not empty: it holds `{found}`", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// There is no store in this place.
    #[error("`{}` holds no store", .0.display())]
    NoStore(PathBuf),
    /// A store with damage is not rewritten: what is left of it would be all that is left.
    #[error("the store is damaged: {0}")]
    Unsound(String),
    /// Whoever was to get the backup has gone.
    #[error("nobody takes the backup any more")]
    Abandoned,
}

impl MaintenanceError {
    /// Advice, where there is any.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Exists(_) => Some("give the backup another name; nothing is overwritten"),
            Self::NoBackup => Some("backups are made with: callsheet backup FILE"),
            Self::Newer(_) => Some("use the newer version"),
            Self::Cut(_) | Self::Damaged { .. } => Some("use another backup"),
            Self::NotEmpty { .. } => Some("restore into a directory that is empty or not there"),
            Self::NoStore(_) => Some("name the data directory that an engine was given"),
            Self::Unsound(_) => Some("callsheet verify names every problem"),
            Self::Store(_) | Self::Artifact(_) | Self::Io { .. } | Self::Abandoned => None,
        }
    }

    /// Makes errors of the operating system into ours.
    pub(super) fn io<'p>(what: &'static str, path: &'p Path) -> impl Fn(io::Error) -> Self + 'p {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}
