//! The rules that hold for every store, whatever it keeps its jobs in.

use callsheet_engine::{JobId, mutated};

use crate::error::StoreError;
use crate::limits::{MAX_IDEMPOTENCY_KEY_BYTES, MAX_KEY_BYTES, MAX_RECORDS_COUNT};
use crate::store::{Commit, Created, JobHead, ListQuery, NewJob};

/// Whether a job may be accepted at all.
pub(crate) fn new_job(job: &NewJob) -> Result<(), StoreError> {
    events_not_empty(job.events.len())?;
    let digest = &job.head.workflow.digest;
    if digest.is_empty() || digest.len() >= MAX_KEY_BYTES {
        return refused(format!("a definition's digest of {} bytes", digest.len()));
    }
    let Some(idempotency) = &job.idempotency else { return Ok(()) };
    if idempotency.key.is_empty() || idempotency.key.len() > MAX_IDEMPOTENCY_KEY_BYTES {
        return refused(format!(
            "an idempotency key of {} bytes; it has 1 to {MAX_IDEMPOTENCY_KEY_BYTES}",
            idempotency.key.len()
        ));
    }
    Ok(())
}

/// Whether a job may be accepted together with another.
pub(crate) fn second_job(first: &NewJob, second: &NewJob) -> Result<(), StoreError> {
    if second.head.id == first.head.id || second.idempotency.is_some() {
        return refused(format!("job `{}` as the second of two", second.head.id));
    }
    new_job(second)
}

/// The second of two jobs is there without the first, which its owner must have seen to.
pub(crate) fn second_is_known(job: JobId) -> StoreError {
    StoreError::Refused(format!("job `{job}` was accepted before the one that it belongs to"))
}

/// Whether a commit is well-formed, whoever sends it.
pub(crate) fn commit(commit: &Commit) -> Result<(), StoreError> {
    events_not_empty(commit.events.len())?;
    if commit.sequence >= MAX_RECORDS_COUNT {
        return refused(format!(
            "record {} of job `{}`; a journal holds {MAX_RECORDS_COUNT}",
            commit.sequence, commit.job
        ));
    }
    match &commit.head {
        Some(head) if head.id != commit.job => {
            refused(format!("the head of job `{}` in a commit of `{}`", head.id, commit.job))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a commit comes from the job's owner and is the next one.
/// An owner of 0 is none.
pub(crate) fn ownership(
    job: JobId,
    epoch: u64,
    got: u64,
    owner: u64,
    expected: u64,
) -> Result<(), StoreError> {
    if (owner == 0 || owner != epoch) && !mutated("epoch-check") {
        return Err(StoreError::StaleEpoch { job, epoch });
    }
    if got != expected && !mutated("sequence-check") {
        return Err(StoreError::WrongSequence { job, expected, got });
    }
    Ok(())
}

/// The answer to a job that was accepted before, by its key or its id.
pub(crate) fn repeated(job: JobId, same: bool) -> Created {
    if same { Created::Existing(job) } else { Created::Conflict(job) }
}

/// What a store that was closed answers.
pub(crate) fn closed() -> StoreError {
    StoreError::Stopped("it was closed".to_owned())
}

impl ListQuery {
    /// Whether a head is wanted, its place in the list aside.
    pub(crate) fn matches(&self, head: &JobHead) -> bool {
        let status = self.status.as_deref().is_none_or(|wanted| wanted == head.status.as_str());
        let workflow = self.workflow.as_ref().is_none_or(|wanted| *wanted == head.workflow.name);
        status && workflow
    }
}

fn events_not_empty(count: usize) -> Result<(), StoreError> {
    if count > 0 { Ok(()) } else { refused("a record without events".to_owned()) }
}

fn refused(what: String) -> Result<(), StoreError> {
    Err(StoreError::Refused(what))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{Event, Timestamp, WorkflowRef};

    use super::*;
    use crate::store::{Idempotency, JobStatus};

    fn id(n: u128) -> JobId {
        JobId(uuid::Uuid::from_u128(n))
    }

    fn head(n: u128) -> JobHead {
        JobHead {
            id: id(n),
            workflow: WorkflowRef { name: "w".to_owned(), digest: "d".to_owned() },
            status: JobStatus::Running,
            submitted_at: Timestamp(1),
            changed_at: Timestamp(1),
            labels: Default::default(),
        }
    }

    fn a_commit() -> Commit {
        let events = vec![Event::JobCancelled { at: Timestamp(2) }];
        Commit { job: id(1), epoch: 7, sequence: 3, events, head: None }
    }

    #[test]
    fn commits_are_checked() {
        let fine = a_commit();
        assert_eq!(commit(&fine), Ok(()));
        let bad = [
            Commit { events: Vec::new(), ..fine.clone() },
            Commit { sequence: MAX_RECORDS_COUNT, ..fine.clone() },
            Commit { head: Some(head(2)), ..fine.clone() },
        ];
        for bad in bad {
            assert!(matches!(commit(&bad), Err(StoreError::Refused(_))), "{bad:?}");
        }
    }

    #[test]
    fn only_the_owner_appends_and_only_the_next() {
        let job = id(1);
        let ownership = |owner, expected| ownership(job, 7, 3, owner, expected);
        let stale = Err(StoreError::StaleEpoch { job, epoch: 7 });
        let wrong = |expected| Err(StoreError::WrongSequence { job, expected, got: 3 });
        assert_eq!(ownership(7, 3), Ok(()));
        assert_eq!(ownership(8, 3), stale);
        assert_eq!(ownership(0, 3), stale);
        assert_eq!(ownership(7, 2), wrong(2));
        assert_eq!(ownership(7, 4), wrong(4));
    }

    #[test]
    fn jobs_are_checked() {
        let definition = serde_json::from_str(r#"{ "name": "w", "steps": [] }"#).unwrap();
        let definition = std::sync::Arc::new(definition);
        let events = a_commit().events;
        let fine = NewJob { head: head(1), events, definition, idempotency: None };
        assert_eq!(new_job(&fine), Ok(()));
        let with_key = |key: &str| {
            let idempotency = Idempotency { key: key.to_owned(), request: "r".to_owned() };
            NewJob { idempotency: Some(idempotency), ..fine.clone() }
        };
        assert_eq!(new_job(&with_key(&"k".repeat(255))), Ok(()));
        let mut no_digest = fine.clone();
        no_digest.head.workflow.digest.clear();
        let mut long_digest = fine.clone();
        long_digest.head.workflow.digest = "d".repeat(MAX_KEY_BYTES);
        let no_events = NewJob { events: Vec::new(), ..fine.clone() };
        let bad = [with_key(""), with_key(&"k".repeat(256)), no_digest, long_digest, no_events];
        for bad in bad {
            assert!(matches!(new_job(&bad), Err(StoreError::Refused(_))), "{:?}", bad.idempotency);
        }
    }
}
