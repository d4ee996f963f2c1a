//! Names of things: jobs, steps, items, attempts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One run of a workflow. A UUIDv7, so that jobs sort by the time they were submitted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl JobId {
    /// The sixteen bytes of the id, in the order that sorts by time.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id whose bytes these are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// A number drawn from the id's own random bits: the seed of the job's retry jitter, the same
    /// at every replay.
    #[must_use]
    pub fn seed(&self) -> u64 {
        let (high, low) = self.0.as_u64_pair();
        high.rotate_left(32) ^ low
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({})", self.0)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Position of a step in its workflow. Stable for a job, whose definition is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIndex(pub u32);

impl StepIndex {
    /// The position as an index into the plan's steps.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// Position of an item in the list of a `for_each`; a step without one has the single item 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemIndex(pub u32);

impl ItemIndex {
    /// The only item of a step without `for_each`.
    pub const ONLY: Self = Self(0);

    /// The position as an index into the step's items.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// Fence of one attempt: a number that no other attempt of the job has. A result that comes with a
/// token that is no longer open is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

/// The key that stays the same over all attempts at one step (or item) of one job, for receivers
/// that can refuse to do a thing twice: `job/step/item`.
#[must_use]
pub fn idempotency_key(job: JobId, step: &str, item: ItemIndex) -> String {
    format!("{job}/{step}/{}", item.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_id_survives_text_and_bytes() {
        let id = JobId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0042));
        assert_eq!(id.to_string().parse::<JobId>().ok(), Some(id));
        assert_eq!(JobId::from_bytes(*id.as_bytes()), id);
        assert_eq!(id.seed(), JobId::from_bytes(*id.as_bytes()).seed());
    }

    #[test]
    fn idempotency_key_names_job_step_and_item() {
        let id = JobId(Uuid::nil());
        assert_eq!(
            idempotency_key(id, "burn", ItemIndex(3)),
            "00000000-0000-0000-0000-000000000000/burn/3"
        );
    }
}
