//! Reading what is durable: in memory what is in the log, in the tree what is at rest. What reads
//! the tree blocks, and nothing of it goes through the writer.

use std::sync::Arc;

use callsheet_engine::JobId;
use callsheet_engine::definition::Workflow;

use super::codec::{Codec, Content};
use super::history::{self, AtRest};
use super::keys;
use super::log::Place;
use super::log::index::{Grant, Seen};
use super::shared::Shared;
use super::view::{Durable, ReadError};
use crate::check;
use crate::error::StoreError;
use crate::store::{Claim, JobHead, Record};

/// Reads the store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) shared: Arc<Shared>,
    codec: Codec,
}

/// A job's own value, as it lies in the tree.
pub(super) struct OwnValue {
    pub(super) place: Place,
    pub(super) key: Vec<u8>,
    pub(super) value: sled::IVec,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, codec: Codec) -> Self {
        Self { shared, codec }
    }

    pub(super) fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Whether there is a value under a key.
    pub(super) fn has(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.look(|durable| Ok(durable.get(key)?.is_some()), StoreError::Unreadable)
    }

    /// Takes a job over at once, if that needs neither the writer nor the disk.
    pub(super) fn claim_now(&self, job: JobId) -> Option<Result<Claim, StoreError>> {
        let (grant, seen) = self.shared.index.claim_now(job)?;
        let is_here = seen.head.content.is_here() && seen.contents.iter().all(Content::is_here);
        // The one that was just given stays unused, and a later one takes its place.
        is_here.then(|| self.claim_of(job, grant.epoch, &seen.head.content, &seen.contents))
    }

    /// What a new owner gets to see: all records up to its grant. Nobody else appends to them.
    pub(super) fn claim(&self, job: JobId, grant: Grant) -> Result<Claim, StoreError> {
        let mut contents = self.contents(job, 0)?;
        let found = contents.len() as u64;
        if found < grant.records {
            let why = format!("{found} of its {} records are there", grant.records);
            return Err(StoreError::Damaged { job, why });
        }
        // More than that are a yet newer owner's; the next commit of this one will be refused.
        contents.truncate(usize::try_from(grant.records).unwrap_or(usize::MAX));
        let head = self.head_content(job)?;
        let head =
            head.ok_or_else(|| StoreError::Damaged { job, why: "its head is missing".to_owned() })?;
        self.claim_of(job, grant.epoch, &head, &contents)
    }

    fn claim_of(
        &self,
        job: JobId,
        epoch: u64,
        head: &Content,
        contents: &[Content],
    ) -> Result<Claim, StoreError> {
        let records = self.records(job, 0, contents)?;
        Ok(Claim { epoch, head: self.decode_head(job, head)?, records })
    }

    /// A journal's records, if no disk is needed to read them.
    pub(super) fn journal_now(
        &self,
        job: JobId,
        from: u64,
    ) -> Option<Result<Vec<Record>, StoreError>> {
        let seen = self.shared.index.look(job, from)?;
        let is_here = seen.stored <= from && seen.contents.iter().all(Content::is_here);
        is_here.then(|| self.records(job, from, &seen.contents))
    }

    pub(super) fn journal(&self, job: JobId, from: u64) -> Result<Vec<Record>, StoreError> {
        self.records(job, from, &self.contents(job, from)?)
    }

    /// A job's head, if no disk is needed to read it.
    pub(super) fn head_now(&self, job: JobId) -> Option<Result<JobHead, StoreError>> {
        let head = self.shared.index.head(job)?;
        head.content.is_here().then(|| self.decode_head(job, &head.content))
    }

    pub(super) fn head(&self, job: JobId) -> Result<Option<JobHead>, StoreError> {
        let content = self.head_content(job)?;
        content.map(|content| self.decode_head(job, &content)).transpose()
    }

    pub(super) fn definition(&self, digest: &str) -> Result<Option<Workflow>, StoreError> {
        let key = keys::definition(digest);
        let value = self.look(|durable| durable.get(&key), StoreError::Unreadable)?;
        let Some(value) = value else { return Ok(None) };
        let decoded = self.codec.decode_value(&key, &value);
        let broken = |why| StoreError::Unreadable(format!("definition `{digest}`: {why}"));
        decoded.map(Some).map_err(broken)
    }

    /// The durable value under a key.
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<sled::IVec>, String> {
        let read = self.shared.view.read(|durable| durable.get(key));
        read.map_err(|error| match error {
            ReadError::Failed(why) => why,
            ReadError::Closed => "the store is closed".to_owned(),
        })
    }

    /// A job's own value, if it is at rest; damaged or not.
    pub(super) fn own_value(&self, job: JobId) -> Result<Option<OwnValue>, StoreError> {
        // All prefixes in one moment: a job that moves between them is always seen.
        let any = |durable: &Durable<'_>| {
            for prefix in keys::PLACES {
                let key = keys::head(prefix, job);
                if let Some(value) = durable.get(&key)? {
                    let place = Place::of(prefix).expect("it is one of the places");
                    return Ok(Some(OwnValue { place, key, value }));
                }
            }
            Ok(None)
        };
        self.look(any, |why| StoreError::Damaged { job, why })
    }

    /// A job that is at rest, and where it lies.
    pub(super) fn at_rest(&self, job: JobId) -> Result<Option<(Place, AtRest)>, StoreError> {
        let Some(own) = self.own_value(job)? else { return Ok(None) };
        let decoded = history::decode(&own.key, &own.value);
        let damaged = |why| StoreError::Damaged { job, why: format!("head: {why}") };
        decoded.map(|at_rest| Some((own.place, at_rest))).map_err(damaged)
    }

    /// How many records lie under keys of a job's own, where its own value does not say.
    pub(super) fn count_records(&self, job: JobId) -> Result<u64, StoreError> {
        let last = |durable: &Durable<'_>| durable.last_key(keys::records(job, 0));
        let last = self.look(last, |why| StoreError::Damaged { job, why })?;
        Ok(last.and_then(|key| keys::sequence_of(&key)).map_or(0, |sequence| sequence + 1))
    }

    /// A job's first record, if it is at rest.
    pub(super) fn first_content(&self, job: JobId) -> Result<Option<Content>, StoreError> {
        let Some((_, at_rest)) = self.at_rest(job)? else {
            // Without a head the records of a job keep its id from being given away again.
            let orphan = self.count_records(job)? > 0;
            let damaged = || StoreError::Damaged { job, why: "its head is missing".to_owned() };
            return if orphan { Err(damaged()) } else { Ok(None) };
        };
        let first = self.stored(job, &at_rest, 0, Some(1))?;
        Ok(first.into_iter().next())
    }

    /// All records from a place on, as they lie.
    fn contents(&self, job: JobId, from: u64) -> Result<Vec<Content>, StoreError> {
        let Some(Seen { stored, contents, .. }) = self.shared.index.look(job, from) else {
            return match self.at_rest(job)? {
                Some((_, at_rest)) => self.stored(job, &at_rest, from, None),
                None => Err(self.unknown(job)),
            };
        };
        if from >= stored {
            self.is_open()?;
            return Ok(contents);
        }
        let at_rest = self.at_rest(job)?;
        let (_, at_rest) = at_rest
            .ok_or_else(|| StoreError::Damaged { job, why: "its head is missing".to_owned() })?;
        let mut all = self.stored(job, &at_rest, from, Some(stored))?;
        all.extend(contents);
        Ok(all)
    }

    fn unknown(&self, job: JobId) -> StoreError {
        match self.count_records(job) {
            Ok(0) => StoreError::UnknownJob(job),
            Ok(_) => StoreError::Damaged { job, why: "its head is missing".to_owned() },
            Err(error) => error,
        }
    }

    /// The records that lie under a job's own keys, from a place on and up to one, as far as there
    /// are any; none of them may be missing.
    fn stored(
        &self,
        job: JobId,
        at_rest: &AtRest,
        from: u64,
        until: Option<u64>,
    ) -> Result<Vec<Content>, StoreError> {
        let damaged = |why| StoreError::Damaged { job, why };
        // What moved since the caller looked is more than was asked for, and just as durable.
        let end = match (until, at_rest.records) {
            (Some(until), Some(records)) => Some(until.min(records)),
            (until, records) => until.or(records),
        };
        let mut found = Found { next: from, contents: Vec::new() };
        let has_tail = !at_rest.tail.contents.is_empty();
        let in_runs = if has_tail { Some(at_rest.tail.first) } else { end };
        if in_runs.is_none_or(|in_runs| from < in_runs) {
            self.runs(job, in_runs, &mut found)?;
        }
        if has_tail {
            found.take(at_rest.tail.first, &at_rest.tail.contents).map_err(damaged)?;
        }
        let Found { next, mut contents } = found;
        if end.is_some_and(|end| next < end) || (at_rest.records.is_none() && next == 0) {
            return Err(damaged(match next {
                0 => "its journal is missing".to_owned(),
                _ => format!("record {next} is missing"),
            }));
        }
        if let Some(end) = end {
            let wanted = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
            contents.truncate(wanted);
        }
        Ok(contents)
    }

    /// Reads runs up to a place, or all there are where the job does not say how many.
    fn runs(&self, job: JobId, until: Option<u64>, found: &mut Found) -> Result<(), StoreError> {
        let damaged = |why| StoreError::Damaged { job, why };
        let before = keys::record(job, 0)..keys::successor(keys::record(job, found.next));
        let start = self.look(|durable| durable.last_key(before), damaged)?;
        let mut range = keys::records(job, found.next);
        range.start = start.unwrap_or(range.start);
        if let Some(until) = until {
            range.end = keys::record(job, until);
        }
        let mut range = Some(range);
        while let Some(part) = range {
            let chunk = self.look(|durable| durable.first(part), damaged)?;
            for (key, value) in chunk.entries {
                let place = keys::sequence_of(&key).unwrap_or(u64::MAX);
                let run = history::decode_run(&key, &value);
                let run = run.map_err(|why| damaged(format!("record {place}: {why}")))?;
                found.take(run.first, &run.contents).map_err(damaged)?;
            }
            // Records are only ever appended, so the first one that is withheld is the end of what
            // is durable; by the next part the writer may have come further.
            range = if chunk.withheld { None } else { chunk.rest };
        }
        Ok(())
    }

    fn head_content(&self, job: JobId) -> Result<Option<Content>, StoreError> {
        match self.shared.index.head(job) {
            Some(head) => self.is_open().map(|()| Some(head.content)),
            None => Ok(self.at_rest(job)?.map(|(_, at_rest)| at_rest.head)),
        }
    }

    /// What is in memory is there for longer than the store is open.
    fn is_open(&self) -> Result<(), StoreError> {
        self.look(|_| Ok(()), StoreError::Unreadable)
    }

    pub(super) fn decode_head(&self, job: JobId, head: &Content) -> Result<JobHead, StoreError> {
        let decoded = self.codec.head(job, head);
        decoded.map_err(|why| StoreError::Damaged { job, why: format!("head: {why}") })
    }

    fn records(
        &self,
        job: JobId,
        from: u64,
        contents: &[Content],
    ) -> Result<Vec<Record>, StoreError> {
        let decode = |(content, sequence): (&Content, u64)| match self.codec.record(content) {
            Ok(events) => Ok(Record { sequence, events }),
            Err(why) => Err(StoreError::Damaged { job, why: format!("record {sequence}: {why}") }),
        };
        contents.iter().zip(from..).map(decode).collect()
    }

    pub(super) fn look<T>(
        &self,
        read: impl FnOnce(&Durable<'_>) -> sled::Result<T>,
        failed: impl FnOnce(String) -> StoreError,
    ) -> Result<T, StoreError> {
        self.shared.view.read(read).map_err(|error| match error {
            ReadError::Failed(why) => failed(why),
            ReadError::Closed => match self.shared.failure() {
                Some(why) => StoreError::Stopped(why.to_owned()),
                None => check::closed(),
            },
        })
    }
}

/// Records that were found so far, and the place of the next one.
struct Found {
    next: u64,
    contents: Vec<Content>,
}

impl Found {
    /// Takes what is new of a run, which must not leave any out.
    fn take(&mut self, first: u64, contents: &[Content]) -> Result<(), String> {
        if first > self.next {
            return Err(format!("record {} is missing", self.next));
        }
        let known = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        let new = contents.get(known..).unwrap_or_default();
        self.contents.extend_from_slice(new);
        self.next += new.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{Event, Timestamp};

    use super::super::codec::Encoded;
    use super::super::envelope::{Body, Kind, seal};
    use super::super::history::Run;
    use super::super::log::index::Index;
    use super::super::view::{Hidden, View};
    use super::*;
    use crate::artifacts::ArtifactStore;
    use crate::limits::SCAN_CHUNK_COUNT;

    fn id(n: u8) -> JobId {
        JobId::from_bytes([n; 16])
    }

    fn content(sequence: u64) -> Content {
        let at = Timestamp(i64::try_from(sequence).unwrap());
        match Codec::encode_record(&[Event::JobCancelled { at }]).unwrap() {
            Encoded::Ready(content) => content,
            Encoded::TooLarge(_) => panic!("it is small"),
        }
    }

    struct World {
        _root: tempfile::TempDir,
        db: sled::Db,
        reader: Reader,
    }

    impl World {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let codec = Codec::new(ArtifactStore::open(root.path()).unwrap());
            let db = sled::Config::new().temporary(true).open().unwrap();
            let shared = Shared::new(View::new(db.clone()), Index::new(0));
            Self { _root: root, db, reader: Reader::new(Arc::new(shared), codec) }
        }

        /// A record as format 1 wrote it.
        fn record(&self, sequence: u64) {
            let key = keys::record(id(1), sequence);
            let content = content(sequence);
            let body = Body::Here(&content.bytes()[1..]);
            self.db.insert(&key, seal(Kind::Record, &key, body)).unwrap();
        }

        /// A head as format 1 wrote it; nobody decodes it here.
        fn head(&self) {
            let key = keys::head(keys::ENDED, id(1));
            self.db.insert(&key, seal(Kind::Head, &key, Body::Here(b"head"))).unwrap();
        }

        fn sequences(&self, from: u64) -> Result<Vec<u64>, StoreError> {
            let records = self.reader.journal(id(1), from)?;
            Ok(records.iter().map(|record| record.sequence).collect())
        }
    }

    // The parts of a long journal are read at different moments. Here the rest of one part is
    // withheld, as it was in the first moment, and the next part is there, as in a later one.
    #[test]
    fn a_journal_of_format_1_ends_at_the_first_record_that_is_withheld() {
        let world = World::new();
        let count = 3 * SCAN_CHUNK_COUNT as u64;
        (0..count).for_each(|sequence| world.record(sequence));
        world.head();
        for n in [1_u64, 254, 255, 256, 257, 511, 512, 700] {
            let part = n..(n + 1).next_multiple_of(SCAN_CHUNK_COUNT as u64);
            let hidden: Hidden = part.map(|n| (keys::record(id(1), n), None)).collect();
            world.reader.shared.view.hide(hidden);
            assert_eq!(world.sequences(0).unwrap(), (0..n).collect::<Vec<_>>());
            world.reader.shared.view.reveal();
        }
        assert_eq!(world.sequences(0).unwrap().len() as u64, count);
    }

    // Two records of format 1, runs of two, and two beside the head.
    #[test]
    fn a_journal_is_read_from_any_place_of_any_layout() {
        let world = World::new();
        (0..2).for_each(|sequence| world.record(sequence));
        for first in [2, 4] {
            let run = Run { first, contents: vec![content(first), content(first + 1)] };
            for (key, value) in history::encode_runs(id(1), &run) {
                world.db.insert(key, value).unwrap();
            }
        }
        let tail = Run { first: 6, contents: vec![content(6), content(7)] };
        let head = Content::new(b"head");
        let job = AtRest { head, records: Some(8), owner: 0, tail };
        let key = keys::head(keys::AWAKE, id(1));
        world.db.insert(&key, history::encode(&key, &job).unwrap()).unwrap();
        for from in 0..10 {
            assert_eq!(world.sequences(from).unwrap(), (from..8).collect::<Vec<_>>(), "{from}");
        }
        for (lost, missing) in [(0, 0), (1, 1), (2, 2), (4, 4)] {
            let kept = world.db.remove(keys::record(id(1), lost)).unwrap().unwrap();
            let why = world.sequences(missing).unwrap_err().to_string();
            assert!(why.ends_with(&format!("record {missing} is missing")), "{lost}: {why}");
            world.db.insert(keys::record(id(1), lost), kept).unwrap();
        }
    }

    #[test]
    fn a_claim_is_as_long_as_it_was_granted() {
        let world = World::new();
        (0..5).for_each(|sequence| world.record(sequence));
        world.head();
        let claim = |records| world.reader.claim(id(1), Grant { epoch: 1, records });
        let why = |answer: Result<Claim, StoreError>| answer.unwrap_err().to_string();
        assert!(why(claim(6)).contains("5 of its 6 records are there"), "{}", why(claim(6)));
        assert!(why(claim(5)).contains("head: it cannot be decoded"), "{}", why(claim(5)));
        world.db.remove(keys::head(keys::ENDED, id(1))).unwrap();
        assert!(why(claim(5)).contains("its head is missing"));
    }
}
