//! Jobs to check with, and answers that must be right.

use std::collections::BTreeMap;
use std::sync::Arc;

use callsheet_engine::definition::Workflow;
use callsheet_engine::{Event, JobId, Timestamp, Token, WorkflowRef};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::StoreError;
use crate::store::{
    Claim, Commit, Created, Idempotency, JobHead, JobStatus, ListQuery, NewJob, Record, Store,
};

/// The n-th job: ids grow with n.
pub(super) fn id(n: u64) -> JobId {
    JobId(Uuid::from_u128((u128::from(n) << 80) | 0x7000_8000_0000_0000_0000))
}

/// The head of the n-th job.
pub(super) fn head(n: u64, status: JobStatus) -> JobHead {
    let at = Timestamp(i64::try_from(n).unwrap_or(i64::MAX));
    JobHead {
        id: id(n),
        workflow: WorkflowRef { name: "greet".to_owned(), digest: "digest-of-greet".to_owned() },
        status,
        submitted_at: at,
        changed_at: at,
        labels: BTreeMap::from([("n".to_owned(), n.to_string())]),
    }
}

/// The n-th job, running, without an idempotency key.
pub(super) fn job(n: u64) -> NewJob {
    let head = head(n, JobStatus::Running);
    let submitted = Event::JobSubmitted {
        workflow: head.workflow.clone(),
        input: json!({ "n": n, "text": "grüße", "half": 0.5, "nothing": null }),
        labels: head.labels.clone(),
        options: Default::default(),
        at: head.submitted_at,
    };
    NewJob { head, events: vec![submitted], definition: definition(), idempotency: None }
}

/// The n-th job, under a key.
pub(super) fn job_with_key(n: u64, key: &str, request: &str) -> NewJob {
    let idempotency = Idempotency { key: key.to_owned(), request: request.to_owned() };
    NewJob { idempotency: Some(idempotency), ..job(n) }
}

/// The definition that all of these jobs run.
pub(super) fn definition() -> Arc<Workflow> {
    let text = json!({
        "name": "greet",
        "input": { "type": "object" },
        "steps": [{ "id": "hello", "uses": "test.echo", "with": { "text": "{{ input.text }}" } }],
        "output": "{{ steps.hello }}",
    });
    Arc::new(must("read a definition", serde_json::from_value(text)))
}

/// An event that carries a value.
pub(super) fn succeeded(output: Value) -> Event {
    Event::StepSucceeded { token: Token(1), output, cached: false, at: Timestamp(5) }
}

/// The commit of a record with one event.
pub(super) fn commit(claim: &Claim, sequence: u64) -> Commit {
    Commit {
        job: claim.head.id,
        epoch: claim.epoch,
        sequence,
        events: vec![succeeded(json!(sequence))],
        head: None,
    }
}

/// The record that [`commit`] makes.
pub(super) fn record(sequence: u64) -> Record {
    Record { sequence, events: vec![succeeded(json!(sequence))] }
}

/// The commit that gives a job another status.
pub(super) fn turn(claim: &Claim, sequence: u64, status: JobStatus) -> Commit {
    let head = JobHead { status, ..claim.head.clone() };
    Commit { head: Some(head), ..commit(claim, sequence) }
}

/// The answer, which must be one.
pub(super) fn must<T, E: std::fmt::Display>(deed: &str, answer: Result<T, E>) -> T {
    match answer {
        Ok(found) => found,
        Err(error) => panic!("cannot {deed}: {error}"),
    }
}

/// Creates the n-th job, which must be new, and claims it.
pub(super) async fn owned(store: &impl Store, n: u64) -> Claim {
    let created = must("create", store.create(job(n)).await);
    assert_eq!(created, Created::New, "job {n} is new");
    must("claim", store.claim(id(n)).await)
}

/// A job's whole journal.
pub(super) async fn journal(store: &impl Store, n: u64) -> Vec<Record> {
    must("read the journal", store.journal(id(n), 0).await)
}

/// The ids of all pages of a query, in order.
pub(super) async fn all_pages(store: &impl Store, mut query: ListQuery) -> Vec<JobId> {
    let mut ids = Vec::new();
    loop {
        let page = must("list", store.list(query.clone()).await);
        assert!(page.heads.len() <= query.limit, "a page is not larger than asked for");
        ids.extend(page.heads.iter().map(|head| head.id));
        match page.next {
            Some(next) => query.before = Some(next),
            None => return ids,
        }
    }
}

/// Asleep, until the n-th millisecond.
pub(super) fn asleep_until(n: u64) -> JobStatus {
    JobStatus::Sleeping { until: Timestamp(i64::try_from(n).unwrap_or(i64::MAX)) }
}

/// All pages of the jobs that are awake.
pub(super) async fn all_awake(store: &impl Store, limit: usize) -> Vec<JobId> {
    let mut all: Vec<JobId> = Vec::new();
    loop {
        let page = must("read those awake", store.awake(all.last().copied(), limit).await);
        assert!(page.len() <= limit, "a page is not larger than asked for");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// All pages of the jobs that are asleep.
pub(super) async fn all_asleep(store: &impl Store, limit: usize) -> Vec<(Timestamp, JobId)> {
    let mut all: Vec<(Timestamp, JobId)> = Vec::new();
    loop {
        let page = must("read those asleep", store.asleep(all.last().copied(), limit).await);
        assert!(page.len() <= limit, "a page is not larger than asked for");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Whether a commit was refused because its owner is no longer the owner.
pub(super) fn is_stale<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::StaleEpoch { .. }))
}
