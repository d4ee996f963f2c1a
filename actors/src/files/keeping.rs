//! What an engine is told about the life of files.

use std::time::Duration;

use crate::limits::{ARTIFACT_GRACE, CACHE_MAX_BYTES, SWEEP_EVERY};

/// How long files are kept, how many bytes they may have, and whether results are kept for steps
/// with the same input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// How long the files of a job are kept after its end, unless its submitter says otherwise;
    /// none for ever, as it is unless set.
    pub retention: Option<Duration>,
    /// The shortest time that a file is kept after it was put or used, whatever the retention is.
    /// One hour unless set.
    pub grace: Duration,
    /// The time between two sweeps: one hour unless set.
    pub sweep_every: Duration,
    /// The most bytes that all files may have together; none for no bound, as it is unless set.
    pub max_bytes: Option<u64>,
    /// Whether results are kept for steps with the same input, and taken: yes unless set.
    pub cache: bool,
    /// The bytes that kept results, and the files that they name, may have together; beyond it
    /// those that were used longest ago are forgotten. 10 GiB unless set.
    pub cache_max_bytes: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            retention: None,
            grace: ARTIFACT_GRACE,
            sweep_every: SWEEP_EVERY,
            max_bytes: None,
            cache: true,
            cache_max_bytes: CACHE_MAX_BYTES,
        }
    }
}
