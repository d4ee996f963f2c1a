//! Reading what is durable. Everything here blocks, and nothing of it goes through the writer.

use std::sync::Arc;

use callsheet_engine::JobId;
use callsheet_engine::definition::Workflow;

use super::codec::{Codec, HeadBody, KeyBody, RecordBody};
use super::keys;
use super::shared::Shared;
use super::view::{Chunk, Durable, ReadError};
use super::writer::Grant;
use crate::artifacts::Digest;
use crate::check;
use crate::error::StoreError;
use crate::limits::{MAX_PAGE_COUNT, MAX_SCAN_COUNT};
use crate::store::{Claim, JobHead, KeyTarget, ListQuery, Page, Record, StoredKey};

/// Reads the store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    codec: Codec,
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

    /// What a new owner gets to see: all records up to its grant. Nobody else appends to them.
    pub(super) fn claim(&self, job: JobId, grant: Grant) -> Result<Claim, StoreError> {
        let mut records = self.journal(job, 0)?;
        let found = records.len() as u64;
        if found < grant.records {
            let why = format!("{found} of its {} records are there", grant.records);
            return Err(StoreError::Damaged { job, why });
        }
        // More than that are a yet newer owner's; the next commit of this one will be refused.
        records.truncate(usize::try_from(grant.records).unwrap_or(usize::MAX));
        let head = self
            .head(job)?
            .ok_or_else(|| StoreError::Damaged { job, why: "its head is missing".to_owned() })?;
        Ok(Claim { epoch: grant.epoch, head, records })
    }

    pub(super) fn journal(&self, job: JobId, from: u64) -> Result<Vec<Record>, StoreError> {
        let damaged = |why| StoreError::Damaged { job, why };
        let mut records = Vec::new();
        let mut range = Some(keys::records(job, from));
        while let Some(part) = range {
            let chunk = self.look(|durable| durable.first(part), damaged)?;
            for (key, value) in chunk.entries {
                let expected = from + records.len() as u64;
                let sequence = keys::sequence_of(&key);
                if sequence != Some(expected) {
                    return Err(damaged(format!("record {expected} is missing")));
                }
                let decoded = self.codec.decode::<RecordBody>(&key, &value);
                let body = decoded.map_err(|why| damaged(format!("record {expected}: {why}")))?;
                records.push(Record { sequence: expected, events: body.events });
            }
            // Records are only ever appended, so the first one that is withheld is the end of what
            // is durable; by the next part the writer may have come further.
            range = if chunk.withheld { None } else { chunk.rest };
        }
        if records.is_empty() && !self.has(&keys::record(job, 0))? {
            let known = self.raw_head(job)?.is_some();
            let lost = || damaged("its journal is missing".to_owned());
            return Err(if known { lost() } else { StoreError::UnknownJob(job) });
        }
        Ok(records)
    }

    pub(super) fn head(&self, job: JobId) -> Result<Option<JobHead>, StoreError> {
        let Some((key, value)) = self.raw_head(job)? else { return Ok(None) };
        let decoded = self.codec.decode::<HeadBody>(&key, &value);
        let body =
            decoded.map_err(|why| StoreError::Damaged { job, why: format!("head: {why}") })?;
        Ok(Some(body.into_head(job)))
    }

    pub(super) fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let limit = query.limit.clamp(1, MAX_PAGE_COUNT);
        let prefixes = prefixes_of(query);
        let mut page = Page::default();
        let mut older = Some(query.before);
        let mut looked_at = 0;
        while let Some(before) = older {
            let part = self.heads_before(prefixes, before)?;
            for (key, value) in part.entries.iter().rev() {
                let Some(head) = self.decode_or_skip(key, value) else { continue };
                if !query.matches(&head) {
                    continue;
                }
                if page.heads.len() == limit {
                    page.next = page.heads.last().map(|last| last.id);
                    return Ok(page);
                }
                page.heads.push(head);
            }
            looked_at += part.entries.len();
            older = part.older.map(Some);
            if looked_at >= MAX_SCAN_COUNT {
                // The page ends early rather than read the whole store; the next one goes on.
                page.next = part.older;
                return Ok(page);
            }
        }
        Ok(page)
    }

    pub(super) fn live(&self) -> Result<Vec<JobHead>, StoreError> {
        let mut heads = Vec::new();
        let mut range = Some(keys::heads(keys::LIVE, None));
        while let Some(part) = range {
            let chunk = self.look(|durable| durable.first(part), StoreError::Unreadable)?;
            let found = chunk.entries.iter().filter_map(|(k, v)| self.decode_or_skip(k, v));
            heads.extend(found);
            range = chunk.rest;
        }
        debug_assert!(heads.is_sorted_by_key(|head| head.id), "oldest first");
        Ok(heads)
    }

    /// Ids of jobs after one of them, from their heads, readable or not.
    pub(super) fn ids(&self, after: Option<JobId>) -> Result<Vec<JobId>, StoreError> {
        let parts = |durable: &Durable<'_>| {
            let prefixes = [keys::LIVE, keys::ENDED].into_iter();
            let parts = prefixes.map(|prefix| durable.first(keys::heads_after(prefix, after)));
            parts.collect::<sled::Result<Vec<Chunk>>>()
        };
        let parts = self.look(parts, StoreError::Unreadable)?;
        // What one prefix has not been read up to yet is for the next page.
        let unread = parts.iter().filter_map(|part| {
            part.rest.as_ref().and_then(|_| part.entries.last()).and_then(|it| keys::job_of(&it.0))
        });
        let last = unread.min();
        let all = parts.iter().flat_map(|part| &part.entries);
        let mut ids: Vec<_> = all.filter_map(|(key, _)| keys::job_of(key)).collect();
        ids.retain(|id| last.is_none_or(|last| *id <= last));
        ids.sort_unstable();
        Ok(ids)
    }

    /// What submitters' keys after one of them stand for.
    pub(super) fn keys(&self, after: Option<Digest>) -> Result<Vec<StoredKey>, StoreError> {
        let first = |durable: &Durable<'_>| durable.first(keys::idempotencies(after));
        let part = self.look(first, StoreError::Unreadable)?;
        let decoded = part.entries.iter().filter_map(|(key, value)| {
            let body = self.codec.decode::<KeyBody>(key, value);
            let target = body.map(|it| KeyTarget { job: it.job, request: it.request });
            Some(StoredKey { digest: keys::idempotency_of(key)?, target })
        });
        Ok(decoded.collect())
    }

    pub(super) fn definition(&self, digest: &str) -> Result<Option<Workflow>, StoreError> {
        let key = keys::definition(digest);
        let value = self.look(|durable| durable.get(&key), StoreError::Unreadable)?;
        let Some(value) = value else { return Ok(None) };
        let decoded = self.codec.decode(&key, &value);
        let broken = |why| StoreError::Unreadable(format!("definition `{digest}`: {why}"));
        decoded.map(Some).map_err(broken)
    }

    fn raw_head(&self, job: JobId) -> Result<Option<(Vec<u8>, sled::IVec)>, StoreError> {
        // Both prefixes in one moment: a head that moves between them is always seen.
        let both = |durable: &Durable<'_>| {
            for prefix in [keys::LIVE, keys::ENDED] {
                let key = keys::head(prefix, job);
                if let Some(value) = durable.get(&key)? {
                    return Ok(Some((key, value)));
                }
            }
            Ok(None)
        };
        self.look(both, |why| StoreError::Damaged { job, why })
    }

    /// Some heads of jobs older than this one, the oldest first.
    fn heads_before(
        &self,
        prefixes: &[u8],
        before: Option<JobId>,
    ) -> Result<HeadsPart, StoreError> {
        let parts = |durable: &Durable<'_>| {
            let each = prefixes.iter().map(|prefix| durable.last(keys::heads(*prefix, before)));
            each.collect::<sled::Result<Vec<Chunk>>>()
        };
        Ok(merge(self.look(parts, StoreError::Unreadable)?))
    }

    /// One damaged head takes its job out of the lists, not the lists away.
    fn decode_or_skip(&self, key: &[u8], value: &[u8]) -> Option<JobHead> {
        let job = keys::job_of(key)?;
        match self.codec.decode::<HeadBody>(key, value) {
            Ok(body) => Some(body.into_head(job)),
            Err(why) => {
                tracing::error!(%job, why, "the job's head is damaged; the job is left out");
                None
            }
        }
    }

    fn look<T>(
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

/// Heads of one moment, the oldest first, and where older ones begin.
struct HeadsPart {
    entries: Vec<(Vec<u8>, sled::IVec)>,
    older: Option<JobId>,
}

/// Puts the heads of several prefixes into one order. What one prefix did not reach down to is left
/// out, for the next part.
fn merge(chunks: Vec<Chunk>) -> HeadsPart {
    let lowest = |chunk: &Chunk| {
        let rest = chunk.rest.as_ref()?;
        keys::job_of(&rest.end)
    };
    let older = chunks.iter().filter_map(lowest).max();
    let reached = |key: &[u8]| older.is_none_or(|older| keys::job_of(key) >= Some(older));
    let all = chunks.into_iter().flat_map(|chunk| chunk.entries);
    let mut entries: Vec<_> = all.filter(|(key, _)| reached(key)).collect();
    entries.sort_by_key(|(key, _)| keys::job_of(key));
    HeadsPart { entries, older }
}

fn prefixes_of(query: &ListQuery) -> &'static [u8] {
    match query.status.as_deref() {
        None => &[keys::LIVE, keys::ENDED],
        Some("running" | "sleeping" | "stopping") => &[keys::LIVE],
        Some("succeeded" | "failed" | "cancelled") => &[keys::ENDED],
        Some(_) => &[],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{Event, Timestamp};

    use super::super::view::{Hidden, View};
    use super::*;
    use crate::artifacts::ArtifactStore;
    use crate::limits::SCAN_CHUNK_COUNT;

    fn id(n: u8) -> JobId {
        JobId::from_bytes([n; 16])
    }

    fn reader_of(records: u64) -> (tempfile::TempDir, Reader) {
        let root = tempfile::tempdir().unwrap();
        let codec = Codec::new(ArtifactStore::open(root.path()).unwrap());
        let db = sled::Config::new().temporary(true).open().unwrap();
        for sequence in 0..records {
            let key = keys::record(id(1), sequence);
            let body = RecordBody { events: vec![Event::JobCancelled { at: Timestamp(0) }] };
            db.insert(&key, codec.encode_blocking(&key, &body).unwrap()).unwrap();
        }
        (root, Reader::new(Arc::new(Shared::new(View::new(db))), codec))
    }

    // The parts of a long journal are read at different moments. Here the rest of one part is
    // withheld, as it was in the first moment, and the next part is there, as in a later one.
    #[test]
    fn a_journal_ends_at_the_first_record_that_is_withheld() {
        let (_root, reader) = reader_of(3 * SCAN_CHUNK_COUNT as u64);
        for n in [1_u64, 254, 255, 256, 257, 511, 512, 700] {
            let part = n..(n + 1).next_multiple_of(SCAN_CHUNK_COUNT as u64);
            let hidden: Hidden = part.map(|n| (keys::record(id(1), n), None)).collect();
            reader.shared.view.hide(hidden);
            let seen = reader.journal(id(1), 0);
            let sequences: Vec<_> = seen.unwrap().iter().map(|it| it.sequence).collect();
            assert_eq!(sequences, (0..n).collect::<Vec<_>>());
            reader.shared.view.reveal();
        }
        let all = reader.journal(id(1), 0).unwrap();
        assert_eq!(all.len(), 3 * SCAN_CHUNK_COUNT);
    }

    #[test]
    fn a_claim_is_as_long_as_it_was_granted() {
        let (_root, reader) = reader_of(5);
        let claim = |records| reader.claim(id(1), Grant { epoch: 1, records });
        // There is no head: the records are looked at first.
        let why = |answer: Result<Claim, StoreError>| answer.unwrap_err().to_string();
        assert!(why(claim(6)).contains("5 of its 6 records are there"), "{}", why(claim(6)));
        assert!(why(claim(5)).contains("its head is missing"));
    }

    #[test]
    fn heads_of_two_prefixes_become_one_list() {
        let chunk = |prefix: u8, jobs: &[u8], rest: Option<u8>| Chunk {
            entries: jobs.iter().map(|n| (keys::head(prefix, id(*n)), (&[*n]).into())).collect(),
            rest: rest.map(|n| keys::heads(prefix, Some(id(n)))),
            withheld: false,
        };
        let jobs = |part: &HeadsPart| part.entries.iter().map(|it| it.1[0]).collect::<Vec<_>>();
        let whole =
            merge(vec![chunk(keys::LIVE, &[2, 5], None), chunk(keys::ENDED, &[1, 3], None)]);
        assert_eq!((jobs(&whole), whole.older), (vec![1, 2, 3, 5], None));
        // One prefix was read down to 4 only: what is older than that is for the next part.
        let part =
            merge(vec![chunk(keys::LIVE, &[4, 6], Some(4)), chunk(keys::ENDED, &[1, 5], None)]);
        assert_eq!((jobs(&part), part.older), (vec![4, 5, 6], Some(id(4))));
        let both =
            merge(vec![chunk(keys::LIVE, &[4, 6], Some(4)), chunk(keys::ENDED, &[2, 5], Some(2))]);
        assert_eq!((jobs(&both), both.older), (vec![4, 5, 6], Some(id(4))));
    }
}
