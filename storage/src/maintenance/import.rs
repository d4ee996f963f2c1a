//! Jobs with everything that is kept of them go into a new store, through its front door: so the
//! new store is what a busy engine would have written, in whatever layout is the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use callsheet_engine::definition::Workflow;
use futures::{Stream, TryStreamExt};

use super::entry::JobCopy;
use super::error::MaintenanceError;
use crate::error::StoreError;
use crate::limits::IMPORT_JOBS_COUNT;
use crate::sled_store::SledStore;
use crate::store::{Commit, Created, JobHead, JobStatus, NewJob, Store};

/// A job and the definition that it runs.
pub(super) type WithDefinition = (Box<JobCopy>, Arc<Workflow>);

/// Definitions that have come by, for the jobs that come after them.
#[derive(Default)]
pub(super) struct Definitions(BTreeMap<String, Arc<Workflow>>);

impl Definitions {
    pub(super) fn keep(&mut self, digest: String, workflow: Workflow) {
        self.0.insert(digest, Arc::new(workflow));
    }

    pub(super) fn with(&self, job: Box<JobCopy>) -> Result<WithDefinition, MaintenanceError> {
        let digest = &job.head.workflow.digest;
        match self.0.get(digest) {
            Some(workflow) => Ok((job, Arc::clone(workflow))),
            None => Err(MaintenanceError::Unsound(format!(
                "job `{}` comes without its definition `{digest}`",
                job.head.id
            ))),
        }
    }
}

/// Puts jobs into a store, many at once so that they share its syncs.
pub(super) async fn import(
    store: &SledStore,
    jobs: impl Stream<Item = Result<WithDefinition, MaintenanceError>>,
    taken: impl Fn() + Sync,
) -> Result<(), MaintenanceError> {
    let taken = &taken;
    let put = |(job, workflow): WithDefinition| async move {
        put_job(store, *job, workflow).await?;
        taken();
        Ok(())
    };
    jobs.try_for_each_concurrent(IMPORT_JOBS_COUNT, put).await
}

async fn put_job(
    store: &SledStore,
    job: JobCopy,
    workflow: Arc<Workflow>,
) -> Result<(), MaintenanceError> {
    let JobCopy { head, records, key } = job;
    let id = head.id;
    let last = records.len() as u64 - 1;
    let mut records = records.into_iter();
    let first = records.next().expect("a job has at least one record; its reader made sure");
    // Until its last record the job is one that runs, whatever becomes of it then.
    let running = JobHead { status: JobStatus::Running, ..head.clone() };
    let new = NewJob {
        head: if last == 0 { head.clone() } else { running },
        events: first.events,
        definition: workflow,
        idempotency: None,
    };
    let created = store.create_imported(new, key.map(|key| (key.digest, key.request))).await?;
    if created != Created::New {
        return Err(StoreError::Refused(format!("job `{id}` is there twice")).into());
    }
    if last == 0 {
        return Ok(());
    }
    let epoch = store.claim(id).await?.epoch;
    for record in records {
        let sequence = record.sequence;
        let head = (sequence == last).then(|| head.clone());
        store.commit(Commit { job: id, epoch, sequence, events: record.events, head }).await?;
    }
    Ok(())
}
