//! Whether there is room for a file, asked before it comes and while it does.

use std::io;
use std::path::Path;

use callsheet_actors::{StepError, StepResult};

use crate::limits::FREE_DISK_BYTES;
use crate::quantity::ByteSize;

/// Checks that so many bytes more leave the disk of a directory with room to work in.
///
/// # Errors
/// `fetch.no_room`.
pub(super) fn check(directory: &Path, more: u64) -> StepResult<()> {
    let about = rustix::fs::statvfs(directory).map_err(io::Error::from)?;
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    if more.saturating_add(FREE_DISK_BYTES) <= free {
        return Ok(());
    }
    let (more, free) = (ByteSize(more), ByteSize(free));
    Err(no_room(&format!("the file needs {more}, and the disk has {free} left")))
}

/// What a refused write means.
pub(super) fn explain(error: io::Error) -> StepError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => no_room("the disk is full"),
        _ => error.into(),
    }
}

fn no_room(message: &str) -> StepError {
    StepError::retryable("fetch.no_room", message)
        .with_hint("make room on the disk of the data directory")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let here = std::env::temp_dir();
        assert!(check(&here, 1).is_ok());
        let failure = check(&here, 1 << 60).unwrap_err().0;
        assert_eq!((failure.code.as_str(), failure.retryable), ("fetch.no_room", true));
        let full = explain(io::ErrorKind::StorageFull.into());
        assert_eq!(full.0.code, "fetch.no_room");
        assert_ne!(explain(io::ErrorKind::PermissionDenied.into()).0.code, "fetch.no_room");
    }
}
