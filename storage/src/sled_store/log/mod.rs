//! The log: what each batch appended, packed into a few values, and what is known of it in memory.
//!
//! A record lies here, and in memory, until its job moves to keys of its own: because it ended,
//! fell asleep, or lags so far behind that it keeps the log from being cut. So the log is written
//! all the time, and read only when the store opens.

pub(super) mod index;
pub(super) mod pack;
pub(super) mod rebuild;
pub(super) mod unpack;
pub(super) mod watermark;

use crate::limits::{
    MAX_JOB_LOG_BYTES, MAX_LOG_BYTES, MAX_LOG_JOBS_COUNT, MAX_LOG_RECORDS_COUNT, MAX_SPILL_COUNT,
};

/// Where a job's own value lies, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    /// Nowhere: all of it is in the log.
    Log = 0,
    Awake = super::keys::AWAKE,
    Asleep = super::keys::ASLEEP,
    Ended = super::keys::ENDED,
}

impl Place {
    /// The place under a prefix byte.
    pub(super) fn of(prefix: u8) -> Option<Self> {
        let all = [Self::Log, Self::Awake, Self::Asleep, Self::Ended];
        all.into_iter().find(|place| *place as u8 == prefix)
    }

    /// The prefix of the job's own value.
    pub(super) fn prefix(self) -> Option<u8> {
        (self != Self::Log).then_some(self as u8)
    }
}

/// How much may lie in the log before jobs are moved out of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) jobs: usize,
    /// Bytes of one job.
    pub(super) job_bytes: usize,
    /// Jobs moved in one batch because they lag.
    pub(super) spills: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            records: MAX_LOG_RECORDS_COUNT,
            bytes: MAX_LOG_BYTES,
            jobs: MAX_LOG_JOBS_COUNT,
            job_bytes: MAX_JOB_LOG_BYTES,
            spills: MAX_SPILL_COUNT,
        }
    }
}
