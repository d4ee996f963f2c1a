//! The keys of the one tree: a prefix byte says what lies under it.
//!
//! | key | what | why so |
//! |---|---|---|
//! | `L` batch, part | what one batch appended to the log | a few keys a batch, not one a record |
//! | `A` job | job awake, at rest: its head, its latest records | apart from those asleep |
//! | `S` job | job asleep | start-up reads none of them |
//! | `T` wake time, job | timer of a job asleep | soonest first, a page at a time |
//! | `H` job | job that has ended | |
//! | `J` job, sequence | records from this place on; in format 1 this one record | in order |
//! | `D` digest | definition | one for all jobs that run it |
//! | `I` BLAKE3 of the key | job of an idempotency key | a fixed length, whatever is sent |
//! | `M` | what the store says of itself | |
//!
//! Numbers are big-endian and ids are UUIDv7, so keys sort by time. A job whose records all lie in
//! the log has no key of its own.

use std::ops::Range;

use callsheet_engine::{JobId, Timestamp};

use crate::artifacts::Digest;
use crate::limits::MAX_KEY_BYTES;

/// Prefix of jobs that are awake; in format 1, of all that have not ended.
pub(super) const AWAKE: u8 = b'A';
/// Prefix of jobs that are asleep.
pub(super) const ASLEEP: u8 = b'S';
/// Prefix of jobs that have ended.
pub(super) const ENDED: u8 = b'H';
/// The prefixes under which a job may lie; it lies under one of them, or under none.
pub(super) const PLACES: [u8; 3] = [AWAKE, ASLEEP, ENDED];

const RECORD: u8 = b'J';
const LOG: u8 = b'L';
const TIMER: u8 = b'T';
/// The one key of what the store says of itself.
pub(super) const META: &[u8] = b"M";

const DEFINITION: u8 = b'D';
const IDEMPOTENCY: u8 = b'I';
const JOB_BYTES: usize = 16;
const SIGN: u64 = 1 << 63;

/// The key of a job under one of its prefixes.
pub(super) fn head(prefix: u8, job: JobId) -> Vec<u8> {
    debug_assert!(PLACES.contains(&prefix), "jobs have three prefixes");
    join(prefix, &[job.as_bytes()])
}

/// The key of records from a place on.
pub(super) fn record(job: JobId, sequence: u64) -> Vec<u8> {
    join(RECORD, &[job.as_bytes(), &sequence.to_be_bytes()])
}

/// All keys of a job's records from a sequence number on.
pub(super) fn records(job: JobId, from: u64) -> Range<Vec<u8>> {
    record(job, from)..successor(record(job, u64::MAX))
}

/// The key of a part of a batch.
pub(super) fn log(batch: u64, part: u16) -> Vec<u8> {
    join(LOG, &[&batch.to_be_bytes(), &part.to_be_bytes()])
}

/// All keys of the log.
pub(super) fn whole_log() -> Range<Vec<u8>> {
    vec![LOG]..vec![LOG + 1]
}

/// The batch and part that a key of the log belongs to.
pub(super) fn part_of(key: &[u8]) -> Option<(u64, u16)> {
    let (batch, part) = key.strip_prefix(&[LOG])?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*batch), u16::from_be_bytes(part.try_into().ok()?)))
}

/// The key of a timer. Times before 1970 sort before those after it.
pub(super) fn timer(wake: Timestamp, job: JobId) -> Vec<u8> {
    let time = wake.0.cast_unsigned() ^ SIGN;
    join(TIMER, &[&time.to_be_bytes(), job.as_bytes()])
}

/// All keys of timers, after one if it is given.
pub(super) fn timers(after: Option<(Timestamp, JobId)>) -> Range<Vec<u8>> {
    let start = after.map_or_else(|| vec![TIMER], |(wake, job)| successor(timer(wake, job)));
    start..vec![TIMER + 1]
}

/// The time and job of a timer's key.
pub(super) fn timer_of(key: &[u8]) -> Option<(Timestamp, JobId)> {
    let (time, job) = key.strip_prefix(&[TIMER])?.split_first_chunk::<8>()?;
    let wake = (u64::from_be_bytes(*time) ^ SIGN).cast_signed();
    Some((Timestamp(wake), JobId::from_bytes(job.try_into().ok()?)))
}

/// All keys of jobs under a prefix, newer than one if it is given.
pub(super) fn heads_after(prefix: u8, after: Option<JobId>) -> Range<Vec<u8>> {
    let start = after.map_or_else(|| vec![prefix], |job| successor(head(prefix, job)));
    start..vec![prefix + 1]
}

/// All keys of jobs under a prefix, older than one if it is given.
pub(super) fn heads(prefix: u8, before: Option<JobId>) -> Range<Vec<u8>> {
    let end = before.map_or_else(|| vec![prefix + 1], |job| head(prefix, job));
    vec![prefix]..end
}

/// The key of what a submitter's key stands for.
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

/// The job that a key under one of its prefixes or of its records belongs to.
pub(super) fn job_of(key: &[u8]) -> Option<JobId> {
    let (prefix, rest) = key.split_first()?;
    let id = rest.first_chunk::<JOB_BYTES>()?;
    matches!(*prefix, AWAKE | ASLEEP | ENDED | RECORD).then(|| JobId::from_bytes(*id))
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
        let before = heads(AWAKE, Some(id(7)));
        assert!(before.contains(&head(AWAKE, id(6))));
        assert!(!before.contains(&head(AWAKE, id(7))));
        assert!(heads(ENDED, None).contains(&head(ENDED, id(u128::MAX))));
        assert!(!heads(AWAKE, None).contains(&head(ENDED, id(0))));
    }

    #[test]
    fn keys_say_whose_they_are() {
        assert_eq!(job_of(&record(id(7), 9)), Some(id(7)));
        assert_eq!(sequence_of(&record(id(7), 9)), Some(9));
        assert_eq!(job_of(&head(AWAKE, id(7))), Some(id(7)));
        assert_eq!(sequence_of(&head(AWAKE, id(7))), None);
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
        assert!(!heads_after(AWAKE, Some(id(7))).contains(&head(AWAKE, id(7))));
        assert!(heads_after(AWAKE, Some(id(7))).contains(&head(AWAKE, id(8))));
    }

    #[test]
    fn timers_sort_by_time_then_job() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX];
        let keys: Vec<_> = times.iter().map(|time| timer(Timestamp(*time), id(3))).collect();
        assert!(keys.is_sorted());
        for (key, time) in keys.iter().zip(times) {
            assert_eq!(timer_of(key), Some((Timestamp(time), id(3))));
            assert!(timers(None).contains(key));
        }
        let later = timers(Some((Timestamp(0), id(3))));
        assert!(!later.contains(&keys[2]) && later.contains(&timer(Timestamp(0), id(4))));
        assert_eq!(timer_of(&record(id(3), 1)), None);
    }

    #[test]
    fn the_log_sorts_by_batch_then_part() {
        let keys = [log(0, 0), log(1, 0), log(1, 1), log(1, 256), log(256, 0), log(u64::MAX, 9)];
        assert!(keys.is_sorted());
        assert!(keys.iter().all(|key| whole_log().contains(key)));
        assert_eq!(part_of(&keys[3]), Some((1, 256)));
        assert_eq!(part_of(&timer(Timestamp(0), id(1))), None);
    }

    #[test]
    fn no_two_kinds_share_a_prefix() {
        let firsts = [AWAKE, ASLEEP, ENDED, RECORD, LOG, TIMER, META[0], DEFINITION, IDEMPOTENCY];
        let distinct: std::collections::BTreeSet<_> = firsts.into_iter().collect();
        assert_eq!(distinct.len(), firsts.len());
    }
}
