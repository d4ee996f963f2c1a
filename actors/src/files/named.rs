//! Which files jobs name that have not ended.
//!
//! The output of a child counts as named by its parent: between the child's end and the parent's
//! next record, which may be as far apart as two starts of the engine, it stands in the child's
//! journal alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use callsheet_engine::definition::Workflow;
use callsheet_engine::{Event, JobId, RUN_WORKFLOW, Timestamp};
use callsheet_storage::limits::MAX_PAGE_COUNT;
use callsheet_storage::{CommitNotice, Digest, JobStatus, ListQuery, Record, StoreError};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::sweep::SweepError;
use super::{Files, mentions_of, named_in};
use crate::kin::Kin;
use crate::limits::WAKE_PAGE_COUNT;

impl Files {
    /// Which of these files a job names that has not ended, or the output of one that such a job
    /// has run.
    pub(super) async fn named_by_live_jobs(
        &self,
        due: &HashMap<Digest, u64>,
    ) -> Result<HashSet<Digest>, SweepError> {
        let (mut found, mut parents) = (HashSet::new(), BTreeSet::new());
        let mut note = |named: BTreeSet<Digest>| {
            found.extend(named.into_iter().filter(|digest| due.contains_key(digest)));
        };
        let mut definitions = HashMap::new();
        for job in self.live_jobs().await? {
            let Some(records) = self.readable(job).await? else { continue };
            let mut named = BTreeSet::new();
            let events = records.iter().flat_map(|record| &record.events);
            events.for_each(|event| mentions_of(event, &mut named));
            note(named);
            if self.runs_others(&records, &mut definitions).await? {
                parents.insert(job);
            }
        }
        for child in self.done_for(&parents).await? {
            let records = self.readable(child).await?.unwrap_or_default();
            let last = records.last().and_then(|record| record.events.last());
            if let Some(Event::JobSucceeded { output, .. }) = last {
                note(named_in(output));
            }
        }
        Ok(found)
    }

    /// A job's journal, unless it is damaged: a job that nobody can read nobody can run.
    async fn readable(&self, job: JobId) -> Result<Option<Vec<Record>>, SweepError> {
        match self.store.journal(job, 0).await {
            Err(StoreError::Damaged { .. } | StoreError::UnknownJob(_)) => Ok(None),
            records => Ok(Some(records?)),
        }
    }

    /// Whether a job's workflow has a step that runs jobs.
    async fn runs_others(
        &self,
        records: &[Record],
        known: &mut HashMap<String, bool>,
    ) -> Result<bool, SweepError> {
        let first = records.first().and_then(|record| record.events.first());
        let Some(Event::JobSubmitted { workflow, .. }) = first else { return Ok(false) };
        if let Some(known) = known.get(&workflow.digest) {
            return Ok(*known);
        }
        let definition = match self.store.definition(workflow.digest.clone()).await {
            Err(StoreError::Unreadable(_)) => None,
            definition => definition?,
        };
        // Without its definition a job cannot be run either.
        let does = definition.is_some_and(|it| has_children(&it));
        known.insert(workflow.digest.clone(), does);
        Ok(does)
    }

    /// The jobs that have succeeded and were run by these.
    async fn done_for(&self, parents: &BTreeSet<JobId>) -> Result<Vec<JobId>, SweepError> {
        let Some(oldest) = parents.first() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut before = None;
        loop {
            let status = Some(JobStatus::Succeeded.as_str().to_owned());
            let query = ListQuery { status, workflow: None, before, limit: MAX_PAGE_COUNT };
            let page = self.store.list(query).await?;
            let theirs = page.heads.iter().filter(|head| {
                let parent = Kin::of(&head.labels).parent;
                parent.is_some_and(|parent| parents.contains(&parent.job))
            });
            found.extend(theirs.map(|head| head.id));
            // A child is younger than its parent, and lists go from the newest on.
            match page.next.filter(|next| next > oldest) {
                Some(next) => before = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Every job that has not ended. One that wakes or falls asleep while they are listed would be
    /// in neither list; it has recorded something then, and is counted for that.
    async fn live_jobs(&self) -> Result<HashSet<JobId>, SweepError> {
        let mut notices = self.store.subscribe();
        let mut jobs = HashSet::new();
        let mut after: Option<JobId> = None;
        loop {
            let page = self.store.awake(after, WAKE_PAGE_COUNT).await?;
            note_changes(&mut notices, &mut jobs)?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            jobs.extend(page);
        }
        let mut after: Option<(Timestamp, JobId)> = None;
        loop {
            let page = self.store.asleep(after, WAKE_PAGE_COUNT).await?;
            note_changes(&mut notices, &mut jobs)?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            jobs.extend(page.iter().map(|(_, job)| *job));
        }
        Ok(jobs)
    }
}

/// Adds the jobs that something was recorded of.
fn note_changes(
    notices: &mut Receiver<CommitNotice>,
    jobs: &mut HashSet<JobId>,
) -> Result<(), SweepError> {
    loop {
        match notices.try_recv() {
            Ok(notice) => drop(jobs.insert(notice.job)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(()),
            Err(TryRecvError::Lagged(_)) => return Err(SweepError::Lagged),
        }
    }
}

fn has_children(workflow: &Workflow) -> bool {
    let kinds = workflow.steps.iter().flat_map(|step| {
        [&step.uses].into_iter().chain(step.fallback.iter().map(|fallback| &fallback.uses))
    });
    kinds.into_iter().any(|kind| kind == RUN_WORKFLOW)
}
