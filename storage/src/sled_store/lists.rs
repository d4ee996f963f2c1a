//! Lists of jobs: what is in memory and what is at rest, put into one order.

use callsheet_engine::{JobId, Timestamp};

use super::codec::{Content, KeyBody};
use super::history;
use super::keys;
use super::read::Reader;
use super::view::{Chunk, Durable};
use crate::artifacts::Digest;
use crate::error::StoreError;
use crate::limits::{MAX_PAGE_COUNT, MAX_SCAN_COUNT, SCAN_CHUNK_COUNT};
use crate::store::{JobHead, KeyTarget, ListQuery, Page, StoredKey};

/// A job in a list, before its head is decoded.
enum Listed {
    InMemory(Content),
    AtRest(Vec<u8>, sled::IVec),
}

/// Jobs in the order of their ids, and where older ones begin.
struct Part {
    jobs: Vec<(JobId, Listed)>,
    older: Option<JobId>,
}

impl Reader {
    pub(super) fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let limit = query.limit.clamp(1, MAX_PAGE_COUNT);
        let prefixes = prefixes_of(query);
        let mut page = Page::default();
        let mut older = Some(query.before);
        let mut looked_at = 0;
        while let Some(before) = older {
            let part = self.jobs_before(prefixes, before)?;
            looked_at += part.jobs.len();
            for (job, listed) in part.jobs.into_iter().rev() {
                let Some(head) = self.decode_or_skip(job, &listed) else { continue };
                if !query.matches(&head) {
                    continue;
                }
                if page.heads.len() == limit {
                    page.next = page.heads.last().map(|last| last.id);
                    return Ok(page);
                }
                page.heads.push(head);
            }
            older = part.older.map(Some);
            if looked_at >= MAX_SCAN_COUNT {
                // The page ends early rather than read the whole store; the next one goes on.
                page.next = part.older;
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// Jobs that are awake, oldest first.
    pub(super) fn awake(
        &self,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE_COUNT);
        let mut found = Vec::new();
        let mut after = after;
        loop {
            // What is in memory is looked at first: a job that moves is then seen twice, not never.
            let (in_memory, newer) = self.shared.index.newer(after, SCAN_CHUNK_COUNT);
            let range = keys::heads_after(keys::AWAKE, after);
            let chunk = self.look(|durable| durable.first(range), StoreError::Unreadable)?;
            let at_rest = chunk.entries.iter().filter_map(|(key, _)| keys::job_of(key));
            // How far both have come: what is beyond is for the next round.
            let ends = [newer, chunk.rest.as_ref().and_then(|rest| keys::job_of(&rest.start))];
            let end = ends.into_iter().flatten().min();
            let mut jobs: Vec<(JobId, bool)> = in_memory;
            let known: Vec<_> = jobs.iter().map(|(job, _)| *job).collect();
            let others = at_rest.filter(|job| known.binary_search(job).is_err());
            jobs.extend(others.map(|job| (job, true)).collect::<Vec<_>>());
            jobs.retain(|(job, _)| end.is_none_or(|end| *job <= end));
            jobs.sort_unstable_by_key(|(job, _)| *job);
            found.extend(jobs.into_iter().filter(|(_, is_awake)| *is_awake).map(|(job, _)| job));
            if found.len() >= limit || end.is_none() {
                found.truncate(limit);
                return Ok(found);
            }
            after = end;
        }
    }

    /// Ids of all jobs after one of them, readable or not.
    pub(super) fn ids(&self, after: Option<JobId>) -> Result<Vec<JobId>, StoreError> {
        let mut after = after;
        loop {
            // In this order, as above.
            let (in_memory, newer) = self.shared.index.newer(after, SCAN_CHUNK_COUNT);
            let parts = |durable: &Durable<'_>| {
                let ranges = keys::PLACES.iter().map(|prefix| keys::heads_after(*prefix, after));
                ranges.map(|range| durable.first(range)).collect::<sled::Result<Vec<Chunk>>>()
            };
            let parts = self.look(parts, StoreError::Unreadable)?;
            let rests = parts.iter().filter_map(|part| part.rest.as_ref());
            let end = rests.filter_map(|rest| keys::job_of(&rest.start)).chain(newer).min();
            let at_rest = parts.iter().flat_map(|part| &part.entries);
            let at_rest = at_rest.filter_map(|(key, _)| keys::job_of(key));
            let mut ids: Vec<_> =
                in_memory.into_iter().map(|(job, _)| job).chain(at_rest).collect();
            ids.retain(|job| end.is_none_or(|end| *job <= end));
            ids.sort_unstable();
            ids.dedup();
            // An empty page would say that there are no more.
            if !ids.is_empty() || end.is_none() {
                return Ok(ids);
            }
            after = end;
        }
    }

    /// What submitters' keys after one of them stand for.
    pub(super) fn keys(&self, after: Option<Digest>) -> Result<Vec<StoredKey>, StoreError> {
        let first = |durable: &Durable<'_>| durable.first(keys::idempotencies(after));
        let part = self.look(first, StoreError::Unreadable)?;
        let decoded = part.entries.iter().filter_map(|(key, value)| {
            let target = self.key_target(key, value);
            Some(StoredKey { digest: keys::idempotency_of(key)?, target })
        });
        Ok(decoded.collect())
    }

    /// What a submitter's key stands for.
    pub(super) fn key(&self, key: &str) -> Result<Option<KeyTarget>, StoreError> {
        let key = keys::idempotency(key);
        let value = self.look(|durable| durable.get(&key), StoreError::Unreadable)?;
        let target = value.map(|value| self.key_target(&key, &value));
        let broken = |why| StoreError::Unreadable(format!("an idempotency key's record: {why}"));
        target.transpose().map_err(broken)
    }

    fn key_target(&self, key: &[u8], value: &[u8]) -> Result<KeyTarget, String> {
        let body = self.codec().decode_value::<KeyBody>(key, value)?;
        Ok(KeyTarget { job: body.job, request: body.request })
    }

    /// Jobs that are asleep, soonest first.
    pub(super) fn asleep(
        &self,
        after: Option<(Timestamp, JobId)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, JobId)>, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE_COUNT);
        let mut found = Vec::new();
        let mut range = Some(keys::timers(after));
        while let Some(part) = range
            && found.len() < limit
        {
            let chunk = self.look(|durable| durable.first(part), StoreError::Unreadable)?;
            found.extend(chunk.entries.iter().filter_map(|(key, _)| keys::timer_of(key)));
            range = chunk.rest;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Some jobs older than this one.
    fn jobs_before(&self, prefixes: &[u8], before: Option<JobId>) -> Result<Part, StoreError> {
        let (in_memory, older) = self.shared.index.older(before, SCAN_CHUNK_COUNT);
        let in_memory =
            in_memory.into_iter().map(|(job, head)| (job, Listed::InMemory(head.content)));
        let in_memory = Part { jobs: in_memory.collect(), older };
        let parts = |durable: &Durable<'_>| {
            let each = prefixes.iter().map(|prefix| durable.last(keys::heads(*prefix, before)));
            each.collect::<sled::Result<Vec<Chunk>>>()
        };
        let at_rest = self.look(parts, StoreError::Unreadable)?.into_iter().map(part_of);
        Ok(merge(in_memory, at_rest))
    }

    /// One damaged head takes its job out of the lists, not the lists away.
    fn decode_or_skip(&self, job: JobId, listed: &Listed) -> Option<JobHead> {
        let decoded = match listed {
            Listed::InMemory(content) => self.codec().head(job, content),
            Listed::AtRest(key, value) => history::decode(key, value)
                .and_then(|at_rest| self.codec().head(job, &at_rest.head)),
        };
        let skipped = |why: &String| {
            tracing::error!(%job, why, "the job's head is damaged; the job is left out");
        };
        decoded.inspect_err(skipped).ok()
    }
}

fn part_of(chunk: Chunk) -> Part {
    let older = chunk.rest.as_ref().and_then(|rest| keys::job_of(&rest.end));
    let jobs = chunk.entries.into_iter().filter_map(|(key, value)| {
        let job = keys::job_of(&key)?;
        Some((job, Listed::AtRest(key, value)))
    });
    Part { jobs: jobs.collect(), older }
}

/// Puts the jobs of several parts into one order; one that is in memory too counts as it is there.
/// What one part did not reach down to is left out, for the next time.
fn merge(in_memory: Part, at_rest: impl Iterator<Item = Part>) -> Part {
    let Part { mut jobs, mut older } = in_memory;
    for part in at_rest {
        older = older.max(part.older);
        jobs.extend(part.jobs);
    }
    jobs.retain(|(job, _)| older.is_none_or(|older| *job >= older));
    // A stable sort: of equals, the one in memory stays first, and is the one that is kept.
    jobs.sort_by_key(|(job, _)| *job);
    jobs.dedup_by_key(|(job, _)| *job);
    Part { jobs, older }
}

/// Where jobs of a status may be at rest.
fn prefixes_of(query: &ListQuery) -> &'static [u8] {
    match query.status.as_deref() {
        None => &keys::PLACES,
        // Format 1 kept those asleep there too.
        Some("running" | "stopping") => &[keys::AWAKE],
        Some("sleeping") => &[keys::AWAKE, keys::ASLEEP],
        Some("succeeded" | "failed" | "cancelled") => &[keys::ENDED],
        Some(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> JobId {
        JobId::from_bytes([n; 16])
    }

    fn at_rest(jobs: &[u8], older: Option<u8>) -> Part {
        let jobs = jobs.iter().map(|n| (id(*n), Listed::AtRest(vec![*n], Default::default())));
        Part { jobs: jobs.collect(), older: older.map(id) }
    }

    fn in_memory(jobs: &[u8], older: Option<u8>) -> Part {
        let jobs = jobs.iter().map(|n| (id(*n), Listed::InMemory(Content::new(&[*n]))));
        Part { jobs: jobs.collect(), older: older.map(id) }
    }

    /// Jobs in order, those in memory as such.
    fn merged(memory: Part, rest: Vec<Part>) -> (Vec<(u8, bool)>, Option<JobId>) {
        let part = merge(memory, rest.into_iter());
        let of = |(job, listed): &(JobId, Listed)| {
            (job.as_bytes()[0], matches!(listed, Listed::InMemory(_)))
        };
        (part.jobs.iter().map(of).collect(), part.older)
    }

    #[test]
    fn jobs_of_all_places_become_one_list() {
        let (whole, older) =
            merged(in_memory(&[6, 4], None), vec![at_rest(&[2, 5], None), at_rest(&[1, 3], None)]);
        let expected = [(1, false), (2, false), (3, false), (4, true), (5, false), (6, true)];
        assert_eq!((whole, older), (expected.to_vec(), None));
        // A job that has come back into memory is what it is there.
        let (both, _) = merged(in_memory(&[5], None), vec![at_rest(&[2, 5], None)]);
        assert_eq!(both, [(2, false), (5, true)]);
        // One part was read down to 4 only: what is older than that is for the next time.
        let parts = vec![at_rest(&[4, 6], Some(4)), at_rest(&[1, 5], Some(1))];
        let (part, older) = merged(in_memory(&[3, 7], None), parts);
        assert_eq!(
            (part, older),
            (vec![(4, false), (5, false), (6, false), (7, true)], Some(id(4)))
        );
        let (part, older) = merged(in_memory(&[8, 7], Some(7)), vec![at_rest(&[6, 9], None)]);
        assert_eq!((part, older), (vec![(7, true), (8, true), (9, false)], Some(id(7))));
    }
}
