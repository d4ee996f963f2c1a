//! Everything that a store holds, job by job: each a prefix of its journal at one instant.

use std::collections::{HashMap, HashSet};

use callsheet_engine::JobId;
use callsheet_engine::definition::Workflow;
use futures::{StreamExt, stream};

use super::entry::{JobCopy, KeyBody, LeftOut};
use super::error::MaintenanceError;
use crate::error::StoreError;
use crate::limits::{EXPORT_AHEAD_COUNT, MAX_EXPORT_TRIES_COUNT};
use crate::store::Store;

/// What a store gives out.
pub(super) enum Exported {
    /// A definition, before the first job that runs it.
    Definition(String, Box<Workflow>),
    /// A job.
    Job(Box<JobCopy>),
    /// Something that cannot be read.
    LeftOut(LeftOut),
}

/// A walk through a store that goes on being used.
pub(super) struct Export<'s> {
    store: &'s dyn Store,
    ids: Vec<JobId>,
    keys: HashMap<JobId, KeyBody>,
    definitions: HashSet<String>,
    /// Keys that cannot be read: nobody knows whose they are.
    lost_keys: Vec<LeftOut>,
    at: usize,
}

impl<'s> Export<'s> {
    /// Finds out what there is to give out. Jobs that are accepted later are not a part of it.
    ///
    /// The ids come first, the keys after them: a key becomes durable together with its job, so no
    /// job that is found lacks its key.
    pub(super) async fn begin(store: &'s dyn Store) -> Result<Self, MaintenanceError> {
        let ids = all_ids(store).await?;
        let mut export = Self {
            store,
            ids,
            keys: HashMap::new(),
            definitions: HashSet::new(),
            lost_keys: Vec::new(),
            at: 0,
        };
        let mut last = None;
        loop {
            let page = store.keys(last).await?;
            let Some(end) = page.last() else { return Ok(export) };
            last = Some(end.digest);
            for key in page {
                match key.target {
                    Ok(target) if export.ids.binary_search(&target.job).is_ok() => {
                        let job = target.job;
                        export.keys.insert(job, KeyBody::new(key.digest, target));
                    }
                    Ok(_) => {}
                    Err(why) => {
                        let what = format!("idempotency key `{}`", key.digest);
                        export.lost_keys.push(LeftOut { what, why });
                    }
                }
            }
        }
    }

    /// How many jobs there are.
    pub(super) fn total(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Some more of it, in order; nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Exported>, MaintenanceError> {
        let mut out: Vec<_> = self.lost_keys.drain(..).map(Exported::LeftOut).collect();
        let end = (self.at + EXPORT_AHEAD_COUNT).min(self.ids.len());
        let ids = self.ids[self.at..end].to_vec();
        self.at = end;
        let store = self.store;
        let read = |id| async move { (id, read_job(store, id).await) };
        let jobs: Vec<_> = stream::iter(ids).map(read).buffered(EXPORT_AHEAD_COUNT).collect().await;
        for (id, job) in jobs {
            let (head, records) = match job {
                Ok(found) => found,
                Err(error) => {
                    out.push(Exported::LeftOut(left_out(format!("job `{id}`"), error)?));
                    continue;
                }
            };
            let digest = &head.workflow.digest;
            if !self.definitions.contains(digest) {
                let missing = || StoreError::Unreadable("it is not stored".to_owned());
                let found = self.store.definition(digest.clone()).await;
                match found.and_then(|found| found.ok_or_else(missing)) {
                    Ok(workflow) => {
                        out.push(Exported::Definition(digest.clone(), Box::new(workflow)));
                        self.definitions.insert(digest.clone());
                    }
                    Err(error) => {
                        let what = format!("job `{id}`, for its definition `{digest}`");
                        out.push(Exported::LeftOut(left_out(what, error)?));
                        continue;
                    }
                }
            }
            let key = self.keys.remove(&id);
            out.push(Exported::Job(Box::new(JobCopy { head, records, key })));
        }
        Ok(out)
    }
}

/// All ids up to the newest job of this moment.
async fn all_ids(store: &dyn Store) -> Result<Vec<JobId>, MaintenanceError> {
    let mut ids: Vec<JobId> = Vec::new();
    loop {
        let page = store.ids(ids.last().copied()).await?;
        if page.is_empty() {
            assert!(ids.is_sorted(), "a store lists its jobs in order");
            return Ok(ids);
        }
        ids.extend(page);
    }
}

/// A job's head and journal of one moment. They are read one after the other, so the head is read
/// again: if it is another one by then, neither is taken.
async fn read_job(
    store: &dyn Store,
    id: JobId,
) -> Result<(crate::store::JobHead, Vec<crate::store::Record>), StoreError> {
    let lost = || StoreError::Damaged { job: id, why: "its head is missing".to_owned() };
    let mut before = store.head(id).await?.ok_or_else(lost)?;
    for _ in 0..MAX_EXPORT_TRIES_COUNT {
        let records = store.journal(id, 0).await?;
        let after = store.head(id).await?.ok_or_else(lost)?;
        if after == before {
            return Ok((after, records));
        }
        before = after;
    }
    Err(StoreError::Unreadable(format!("job `{id}` changes faster than it can be read")))
}

/// What belongs to one job or definition is left out, the rest goes on. A store that has stopped is
/// the end.
fn left_out(what: String, error: StoreError) -> Result<LeftOut, MaintenanceError> {
    match error {
        StoreError::Damaged { why, .. } | StoreError::Unreadable(why) => Ok(LeftOut { what, why }),
        other => Err(other.into()),
    }
}
