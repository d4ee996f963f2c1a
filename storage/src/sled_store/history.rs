//! Jobs at rest: what lies under the keys of one job.
//!
//! A job that has moved out of the log has one value with its head and, where they fit, its latest
//! records (`A`, `S` or `H`); older ones lie in runs, each under the place of its first record
//! (`J`). A run is never changed. In format 1 the head's value held nothing else, and every run was
//! one record in an envelope of its own; such values are read for ever.

use callsheet_engine::JobId;

use super::codec::Content;
use super::envelope::{Kind, is_kind, seal_smaller, unseal, unseal_here};
use super::keys;
use super::wire::{Scanner, put_number, put_sized};
use crate::limits::MAX_RUN_BYTES;

/// A job at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AtRest {
    pub(super) head: Content,
    /// How many records it has; format 1 does not say.
    pub(super) records: Option<u64>,
    /// The epoch of its owner when it moved; 0 for none.
    pub(super) owner: u64,
    /// Its latest records, as far as they lie here.
    pub(super) tail: Run,
}

/// Records of one job, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) contents: Vec<Content>,
}

impl Run {
    /// The place after its last record.
    pub(super) fn end(&self) -> u64 {
        self.first + self.contents.len() as u64
    }
}

/// A job's value, if it fits.
pub(super) fn encode(key: &[u8], job: &AtRest) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(1_024);
    put_sized(&mut body, job.head.bytes());
    put_number(&mut body, job.records.expect("only format 1 does not say, and is not written"));
    put_number(&mut body, job.owner);
    put_run(&mut body, job.tail.first, &job.tail.contents);
    seal_smaller(Kind::Job, key, &body)
}

/// What a job's value says, in either format. The error says what is wrong with it.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<AtRest, String> {
    if is_kind(Kind::Head, value) {
        let body = unseal(Kind::Head, key, value).map_err(|error| error.to_string())?;
        let tail = Run::default();
        return Ok(AtRest { head: Content::of(body), records: None, owner: 0, tail });
    }
    let body = unseal_here(Kind::Job, key, value).map_err(|error| error.to_string())?;
    let mut scanner = Scanner::new(&body);
    let read = |scanner: &mut Scanner<'_>| {
        let head = Content::new(scanner.sized()?);
        let records = Some(scanner.number()?);
        let owner = scanner.number()?;
        let tail = take_run(scanner)?;
        let is_whole = tail.contents.is_empty() || Some(tail.end()) == records;
        is_whole.then_some(AtRest { head, records, owner, tail })
    };
    let job = read(&mut scanner).filter(|_| scanner.is_empty());
    job.ok_or_else(|| "it makes no sense".to_owned())
}

/// The values of records that do not fit beside their head.
pub(super) fn encode_runs(job: JobId, run: &Run) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut values = Vec::new();
    let mut first = run.first;
    let mut rest = &run.contents[..];
    while !rest.is_empty() {
        let (run, later) = rest.split_at(count_within(rest, MAX_RUN_BYTES));
        halve_until_it_fits(job, first, run, &mut values);
        first += run.len() as u64;
        rest = later;
    }
    values
}

/// The records under a key, in either format. The error says what is wrong with them.
pub(super) fn decode_run(key: &[u8], value: &[u8]) -> Result<Run, String> {
    let first = keys::sequence_of(key).ok_or("its key is none of a record")?;
    if is_kind(Kind::Record, value) {
        let body = unseal(Kind::Record, key, value).map_err(|error| error.to_string())?;
        return Ok(Run { first, contents: vec![Content::of(body)] });
    }
    let body = unseal_here(Kind::History, key, value).map_err(|error| error.to_string())?;
    let mut scanner = Scanner::new(&body);
    let run = take_run(&mut scanner)
        .filter(|run| scanner.is_empty() && run.first == first && !run.contents.is_empty());
    run.ok_or_else(|| "it makes no sense".to_owned())
}

/// How many of these stay below so many bytes; at least one.
fn count_within(contents: &[Content], limit: usize) -> usize {
    let mut bytes = 0;
    let fits = |content: &&Content| {
        bytes += content.bytes().len();
        bytes <= limit
    };
    contents.iter().take_while(fits).count().max(1)
}

/// How well records pack is seen only by packing them.
fn halve_until_it_fits(
    job: JobId,
    first: u64,
    contents: &[Content],
    values: &mut Vec<(Vec<u8>, Vec<u8>)>,
) {
    let key = keys::record(job, first);
    let mut body = Vec::new();
    put_run(&mut body, first, contents);
    if let Some(value) = seal_smaller(Kind::History, &key, &body) {
        values.push((key, value));
        return;
    }
    assert!(contents.len() > 1, "one record fits, or lies in a file of its own");
    let (early, late) = contents.split_at(contents.len() / 2);
    halve_until_it_fits(job, first, early, values);
    halve_until_it_fits(job, first + early.len() as u64, late, values);
}

fn put_run(body: &mut Vec<u8>, first: u64, contents: &[Content]) {
    put_number(body, first);
    put_number(body, contents.len() as u64);
    for content in contents {
        put_sized(body, content.bytes());
    }
}

fn take_run(scanner: &mut Scanner<'_>) -> Option<Run> {
    let first = scanner.number()?;
    let count = scanner.number()?;
    first.checked_add(count)?;
    let mut contents = Vec::new();
    for _ in 0..count {
        contents.push(Content::new(scanner.sized()?));
    }
    Some(Run { first, contents })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::envelope::{Body, seal};
    use super::*;
    use crate::limits::{MAX_INLINE_BYTES, MAX_VALUE_BYTES};

    fn id() -> JobId {
        JobId::from_bytes([3; 16])
    }

    /// Bytes that cannot be packed.
    fn noise(seed: u64, size: usize) -> Content {
        let mut bytes = vec![0; size];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        Content::new(&bytes)
    }

    fn at_rest(tail: Run) -> AtRest {
        let records = Some(tail.end());
        AtRest { head: Content::new(&[5; 100]), records, owner: 9, tail }
    }

    #[test]
    fn a_small_job_is_one_value() {
        let contents = (0..12).map(|n| Content::new(&[n; 235])).collect();
        let job = at_rest(Run { first: 0, contents });
        let key = keys::head(keys::ENDED, id());
        let value = encode(&key, &job).unwrap();
        assert!(value.len() < 400, "{} bytes", value.len());
        assert_eq!(decode(&key, &value), Ok(job));
    }

    #[test]
    fn a_large_job_is_a_value_and_runs() {
        let contents: Vec<_> = (0..300).map(|n| noise(n, 150)).collect();
        let run = Run { first: 7, contents };
        let key = keys::head(keys::AWAKE, id());
        assert_eq!(encode(&key, &at_rest(run.clone())), None);
        let values = encode_runs(id(), &run);
        let mut found = Run { first: 7, contents: Vec::new() };
        for (key, value) in &values {
            let part = decode_run(key, value).unwrap();
            assert_eq!(part.first, found.end(), "runs follow one another");
            found.contents.extend(part.contents);
        }
        assert_eq!(found, run);
        assert!(values.len() < 300 * 150 / 2_000, "{} values", values.len());
    }

    #[test]
    fn the_largest_head_and_the_largest_record_fit() {
        let head = noise(1, MAX_INLINE_BYTES);
        let tail = Run { first: u64::MAX, contents: Vec::new() };
        let job = AtRest { head, records: Some(u64::MAX), owner: u64::MAX, tail };
        let key = keys::head(keys::ASLEEP, id());
        assert!(encode(&key, &job).unwrap().len() <= MAX_VALUE_BYTES);
        let contents = vec![noise(2, MAX_INLINE_BYTES), noise(3, MAX_INLINE_BYTES)];
        let values = encode_runs(id(), &Run { first: u64::MAX - 2, contents });
        assert_eq!(values.len(), 2);
    }

    #[test]
    fn format_1_is_read() {
        let key = keys::head(keys::ENDED, id());
        let head = decode(&key, &seal(Kind::Head, &key, Body::Here(b"head"))).unwrap();
        assert_eq!((head.head.bytes(), head.records), (&b"\0head"[..], None));
        let key = keys::record(id(), 4);
        let run = decode_run(&key, &seal(Kind::Record, &key, Body::Here(b"events"))).unwrap();
        assert_eq!(run, Run { first: 4, contents: vec![Content::new(b"\0events")] });
    }

    // As they lie on disks: if this changes, stored jobs cannot be read any more.
    #[test]
    fn format_2_is_golden() {
        let run = Run { first: 4, contents: vec![Content::new(b"\0ev"), Content::new(b"\0e")] };
        let (key, value) = encode_runs(id(), &run).remove(0);
        assert_eq!(key, [&b"J"[..], &[3; 16], &[0, 0, 0, 0, 0, 0, 0, 4]].concat());
        let (header, body) = value.split_at(7);
        assert_eq!(header[..3], [2, 8, 0], "version, kind, form; then the checksum");
        assert_eq!(body, b"\x04\x02\x03\0ev\x02\0e");
        let job = AtRest { head: Content::new(b"\0h"), records: Some(6), owner: 300, tail: run };
        for place in keys::PLACES {
            let key = keys::head(place, id());
            let value = encode(&key, &job).unwrap();
            let (header, body) = value.split_at(7);
            assert_eq!(
                header[..3],
                [2, 7, 0],
                "version, kind, form; the checksum has the key in it"
            );
            assert_eq!(body, b"\x02\0h\x06\xac\x02\x04\x02\x03\0ev\x02\0e");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said_to() {
        let run = Run { first: 3, contents: vec![Content::new(b"a"), Content::new(b"b")] };
        let (_, value) = encode_runs(id(), &run).remove(0);
        let elsewhere = decode_run(&keys::record(id(), 4), &value).unwrap_err();
        assert_eq!(elsewhere, "its checksum is wrong");
        let key = keys::record(id(), 4);
        let mut body = Vec::new();
        put_run(&mut body, 3, &run.contents);
        let bodies = [body.clone(), body[..body.len() - 1].to_vec(), [body, vec![0]].concat()];
        for body in bodies {
            let value = seal_smaller(Kind::History, &key, &body).unwrap();
            assert_eq!(decode_run(&key, &value).unwrap_err(), "it makes no sense");
        }
        let key = keys::head(keys::ENDED, id());
        let gap = AtRest { records: Some(9), ..at_rest(run) };
        assert_eq!(decode(&key, &encode(&key, &gap).unwrap()).unwrap_err(), "it makes no sense");
    }

    proptest! {
        #[test]
        fn every_run_comes_back(
            first in 0..u64::MAX / 2,
            sizes in prop::collection::vec((any::<bool>(), 0..MAX_INLINE_BYTES), 1..40),
        ) {
            let contents = sizes.iter().zip(0..).map(|((is_noise, size), n)| match is_noise {
                true => noise(n, *size),
                false => Content::new(&vec![1; *size]),
            });
            let run = Run { first, contents: contents.collect() };
            let mut found = Run { first, contents: Vec::new() };
            for (key, value) in encode_runs(id(), &run) {
                prop_assert!(value.len() <= MAX_VALUE_BYTES);
                found.contents.extend(decode_run(&key, &value).unwrap().contents);
            }
            prop_assert_eq!(found, run);
        }

        #[test]
        fn garbage_never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for (kind, prefix) in [(Kind::Job, keys::ENDED), (Kind::Head, keys::ENDED)] {
                let key = keys::head(prefix, id());
                let _ = decode(&key, &seal(kind, &key, Body::Here(&body)));
                let _ = decode(&key, &seal(kind, &key, Body::Packed(&body)));
            }
            let key = keys::record(id(), 0);
            let _ = decode_run(&key, &seal(Kind::History, &key, Body::Here(&body)));
        }
    }
}
