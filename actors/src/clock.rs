//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use callsheet_engine::Timestamp;

/// The present instant.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
