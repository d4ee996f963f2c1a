//! The keys of the one tree: a prefix byte says what lies under it.
//!
//! | key | what | why so |
//! |---|---|---|
//! | `A` job | head of a job that has not ended | recovery reads these and no others |
//! | `D` digest | definition | one for all jobs that run it |
//! | `H` job | head of a job that has ended | |
//! | `I` BLAKE3 of the key | job of an idempotency key | a fixed length, whatever is sent |
//! | `J` job, sequence | record | a job's journal lies together, in order |
//! | `M` | what the store says of itself | |
//!
//! Numbers are big-endian and ids are UUIDv7, so keys sort by time.

use std::ops::Range;

use callsheet_engine::JobId;

use crate::artifacts::Digest;
use crate::limits::MAX_KEY_BYTES;

/// Prefix of heads of jobs that have not ended.
pub(super) const LIVE: u8 = b'A';
/// Prefix of heads of jobs that have ended.
pub(super) const ENDED: u8 = b'H';
/// Prefix of records.
pub(super) const RECORD: u8 = b'J';
/// The one key of what the store says of itself.
pub(super) const META: &[u8] = b"M";

const DEFINITION: u8 = b'D';
const IDEMPOTENCY: u8 = b'I';
const JOB_BYTES: usize = 16;

/// The key of a head under one of its two prefixes.
pub(super) fn head(prefix: u8, job: JobId) -> Vec<u8> {
    debug_assert!(prefix == LIVE || prefix == ENDED, "heads have two prefixes");
    join(prefix, &[job.as_bytes()])
}

/// The key of a record.
pub(super) fn record(job: JobId, sequence: u64) -> Vec<u8> {
    join(RECORD, &[job.as_bytes(), &sequence.to_be_bytes()])
}

/// All keys of a job's records from a sequence number on.
pub(super) fn records(job: JobId, from: u64) -> Range<Vec<u8>> {
    record(job, from)..successor(record(job, u64::MAX))
}

/// All keys of heads under a prefix, of jobs after one of them.
pub(super) fn heads_after(prefix: u8, after: Option<JobId>) -> Range<Vec<u8>> {
    let start = after.map_or_else(|| vec![prefix], |job| successor(head(prefix, job)));
    start..vec![prefix + 1]
}

/// All keys of heads under a prefix, older than a job if one is given.
pub(super) fn heads(prefix: u8, before: Option<JobId>) -> Range<Vec<u8>> {
    let end = before.map_or_else(|| vec![prefix + 1], |job| head(prefix, job));
    vec![prefix]..end
}

/// The key of what a submitter's key stands for.
#[cfg(test)]
pub(super) fn idempotency(key: &str) -> Vec<u8> {
    idempotency_at(Digest::of(key.as_bytes()))
}

/// The key of what the submitter's key with this digest stands for.
pub(super) fn idempotency_at(digest: Digest) -> Vec<u8> {
    join(IDEMPOTENCY, &[digest.as_bytes()])
}

/// All keys of what submitters' keys stand for, after one of them.
pub(super) fn idempotencies(after: Option<Digest>) -> Range<Vec<u8>> {
    let start = after.map_or_else(|| vec![IDEMPOTENCY], |digest| successor(idempotency_at(digest)));
    start..vec![IDEMPOTENCY + 1]
}

/// The digest of the submitter's key that a key stands for.
pub(super) fn idempotency_of(key: &[u8]) -> Option<Digest> {
    let (prefix, digest) = key.split_first()?;
    (*prefix == IDEMPOTENCY).then_some(())?;
    Some(Digest::from_bytes(digest.try_into().ok()?))
}

/// The key of a definition.
pub(super) fn definition(digest: &str) -> Vec<u8> {
    join(DEFINITION, &[digest.as_bytes()])
}

/// The job that a head or record belongs to.
pub(super) fn job_of(key: &[u8]) -> Option<JobId> {
    let (prefix, rest) = key.split_first()?;
    let id = rest.first_chunk::<JOB_BYTES>()?;
    matches!(*prefix, LIVE | ENDED | RECORD).then(|| JobId::from_bytes(*id))
}

/// The place of a record in its journal.
pub(super) fn sequence_of(key: &[u8]) -> Option<u64> {
    let number = key.get(1 + JOB_BYTES..)?.try_into().ok()?;
    (key[0] == RECORD).then(|| u64::from_be_bytes(number))
}

/// The first key after this one.
pub(super) fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn join(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![prefix];
    for part in parts {
        key.extend_from_slice(part);
    }
    assert!(key.len() <= MAX_KEY_BYTES, "keys are bounded");
    key
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id(n: u128) -> JobId {
        JobId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn keys_sort_by_job_then_sequence() {
        let keys = [
            record(id(1), 0),
            record(id(1), 255),
            record(id(1), 256),
            record(id(1), u64::MAX),
            record(id(2), 0),
        ];
        assert!(keys.is_sorted());
        assert_eq!(keys[1].len(), 25);
    }

    #[test]
    fn ranges_hold_one_job_and_no_other() {
        let all = records(id(7), 0);
        for sequence in [0, 1, u64::MAX] {
            assert!(all.contains(&record(id(7), sequence)));
            assert!(!all.contains(&record(id(6), sequence)));
            assert!(!all.contains(&record(id(8), sequence)));
        }
        assert!(!records(id(7), 5).contains(&record(id(7), 4)));
        let before = heads(LIVE, Some(id(7)));
        assert!(before.contains(&head(LIVE, id(6))));
        assert!(!before.contains(&head(LIVE, id(7))));
        assert!(heads(ENDED, None).contains(&head(ENDED, id(u128::MAX))));
        assert!(!heads(LIVE, None).contains(&head(ENDED, id(0))));
    }

    #[test]
    fn keys_say_whose_they_are() {
        assert_eq!(job_of(&record(id(7), 9)), Some(id(7)));
        assert_eq!(sequence_of(&record(id(7), 9)), Some(9));
        assert_eq!(job_of(&head(LIVE, id(7))), Some(id(7)));
        assert_eq!(sequence_of(&head(LIVE, id(7))), None);
        for key in [definition("abc"), idempotency("k"), META.to_vec(), Vec::new()] {
            assert_eq!(job_of(&key), None);
            assert_eq!(sequence_of(&key), None);
        }
    }

    #[test]
    fn keys_of_submitters_are_found_again() {
        let (low, high) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        assert_eq!(idempotency_of(&idempotency_at(low)), Some(low));
        assert_eq!(idempotency_of(&definition("abc")), None);
        assert!(idempotencies(None).contains(&idempotency_at(low)));
        assert!(!idempotencies(Some(low)).contains(&idempotency_at(low)));
        assert!(idempotencies(Some(low)).contains(&idempotency_at(high)));
        assert!(!heads_after(LIVE, Some(id(7))).contains(&head(LIVE, id(7))));
        assert!(heads_after(LIVE, Some(id(7))).contains(&head(LIVE, id(8))));
    }

    #[test]
    fn no_two_kinds_share_a_prefix() {
        let firsts = [LIVE, ENDED, RECORD, META[0], DEFINITION, IDEMPOTENCY];
        let distinct: std::collections::BTreeSet<_> = firsts.into_iter().collect();
        assert_eq!(distinct.len(), firsts.len());
    }
}
