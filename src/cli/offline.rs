//! A data directory at rest, read without starting an engine: its jobs stay as they are.

use std::path::Path;
use std::sync::Arc;

use callsheet::maintenance::{MaintenanceError, holds_store};
use callsheet::server::wire::{Job, JobPage, JobsQuery};
use callsheet::{JobId, JobView, ListQuery, Plan, Record, SledStore, Store, StoreError, fold};

use crate::cli::error::{CliError, Result};

/// What to do when an engine is using a directory that is only to be looked at.
pub(crate) const ASK_THE_SERVER: &str =
    "while a server uses it, ask the server: leave --data-dir out";

/// A page of the jobs in a directory.
///
/// # Errors
/// When the directory cannot be opened, for example because an engine is using it.
pub(crate) async fn jobs(dir: &Path, query: &JobsQuery) -> Result<JobPage> {
    let (store, status) = (open(dir, ASK_THE_SERVER).await?, query.status);
    let query = ListQuery {
        status: query.status.map(|status| status.stored().to_owned()),
        workflow: query.workflow.clone(),
        before: query.cursor.as_deref().map(id).transpose()?,
        limit: query.limit.unwrap_or(50),
    };
    let page = store.list(query).await.map_err(|error| unreadable(dir, &error));
    close(store).await;
    Ok(JobPage::from(page?).only(status))
}

/// One job of a directory.
///
/// # Errors
/// When the directory cannot be opened or the job is not in it.
pub(crate) async fn job(dir: &Path, text: &str) -> Result<Job> {
    let id = id(text)?;
    let store = open(dir, ASK_THE_SERVER).await?;
    let view = view(&store, id).await;
    close(store).await;
    view.map(Job::from)
}

/// All that is recorded of a job: what an engine's own streams can no longer tell once it is down.
///
/// # Errors
/// When the directory cannot be opened or the journal cannot be read.
pub(crate) async fn journal(dir: &Path, id: JobId) -> Result<Vec<Record>> {
    let store = open(dir, ASK_THE_SERVER).await?;
    let records = store.journal(id, 0).await.map_err(|error| unreadable(dir, &error));
    close(store).await;
    records
}

async fn view(store: &SledStore, id: JobId) -> Result<JobView> {
    let broken = |why: String| CliError::failed(format!("job `{id}` cannot be read: {why}"));
    let read = |error: StoreError| broken(error.to_string());
    let Some(head) = store.head(id).await.map_err(read)? else {
        return Err(CliError::failed(format!("there is no job `{id}`"))
            .hint("list them with: callsheet jobs --data-dir DIR"));
    };
    let workflow = store.definition(head.workflow.digest.clone()).await.map_err(read)?;
    let workflow = workflow.ok_or_else(|| broken("its definition is missing".to_owned()))?;
    let plan = Plan::recompile(workflow).map_err(|problems| broken(problems.to_string()))?;
    let records = store.journal(id, 0).await.map_err(read)?;
    let events = records.iter().flat_map(|record| &record.events);
    let state = fold(id, Arc::new(plan), events).map_err(|error| broken(error.to_string()))?;
    let progress = state.progress();
    Ok(JobView { head, state, records: records.len() as u64, progress })
}

/// Opens a store that is there; opening a path that is none would make one. The advice is for when
/// an engine is using it.
pub(crate) async fn open(dir: &Path, when_in_use: &str) -> Result<SledStore> {
    if !dir.is_dir() {
        return Err(CliError::failed(format!("there is no data directory `{}`", dir.display())));
    }
    if !holds_store(dir) {
        return Err(MaintenanceError::NoStore(dir.to_owned()).into());
    }
    let path = dir.to_owned();
    let opened = tokio::task::spawn_blocking(move || SledStore::open(&path)).await;
    let opened = opened.map_err(|error| CliError::engine(error.to_string()))?;
    opened.map_err(|error| {
        let is_in_use = error.to_string().contains("is in use");
        unreadable(dir, &error).maybe_hint(is_in_use.then(|| when_in_use.to_owned()))
    })
}

async fn close(store: SledStore) {
    // Nothing was written, so nothing can be lost.
    let _ = store.close().await;
}

fn unreadable(dir: &Path, error: &StoreError) -> CliError {
    CliError::engine(format!("cannot read `{}`: {error}", dir.display()))
}

fn id(text: &str) -> Result<JobId> {
    text.parse().map_err(|_| {
        CliError::usage(format!("`{text}` is not a job's id"))
            .hint("an id looks like 019a0000-0000-7000-8000-000000000000")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none");
        let query = JobsQuery::default();
        let error = jobs(&missing, &query).await.unwrap_err().to_string();
        assert!(error.contains("there is no data directory"), "{error}");
        assert!(!missing.exists());
        let error = job(dir.path(), "J").await.unwrap_err().to_string();
        assert!(error.contains("`J` is not a job's id"), "{error}");
    }
}
