//! Small stores to work on.
#![allow(clippy::unwrap_used)] // a module of tests

use std::fs;
use std::path::Path;
use std::sync::Arc;

use callsheet_engine::definition::{Step, Workflow};
use callsheet_engine::{JobId, Plan, Submission, Timestamp, WorkflowRef, submit};
use serde_json::json;
use uuid::Uuid;

use super::Progress;
use crate::artifacts::ArtifactStore;
use crate::sled_store::SledStore;
use crate::store::{Idempotency, JobHead, JobStatus, ListQuery, NewJob, Record, Store};

/// Nobody is told.
pub(super) fn quietly() -> Progress {
    Arc::new(|_, _, _| {})
}

/// Runs what needs a runtime.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(work)
}

pub(super) fn id(n: u64) -> JobId {
    JobId(Uuid::from_u128((u128::from(n) << 80) | 0x7000_8000_0000_0000_0000))
}

/// A job that was accepted and has not begun, with a large input and a key.
pub(super) fn new_job(n: u64) -> NewJob {
    let plan = Arc::new(Plan::recompile(Workflow::new("w", vec![Step::new("a", "k")])).unwrap());
    let (definition, digest) = (plan.workflow().clone(), plan.digest().to_owned());
    let input = json!({ "text": "x".repeat(5_000), "n": n });
    let submission = Submission {
        id: id(n),
        plan,
        input,
        labels: Default::default(),
        options: Default::default(),
    };
    let (_, event) = submit(submission, Timestamp(1)).unwrap();
    let head = JobHead {
        id: id(n),
        workflow: WorkflowRef { name: "w".to_owned(), digest },
        status: JobStatus::Running,
        submitted_at: Timestamp(1),
        changed_at: Timestamp(1),
        labels: Default::default(),
    };
    let idempotency = Some(Idempotency { key: format!("key {n}"), request: "r".to_owned() });
    NewJob { head, events: vec![event], definition, idempotency }
}

/// A data directory with some jobs and a file that nobody names.
pub(super) async fn filled(dir: &Path, jobs: u64) {
    let path = dir.to_owned();
    let store = tokio::task::spawn_blocking(move || SledStore::open(&path)).await.unwrap().unwrap();
    for n in 0..jobs {
        store.create(new_job(n)).await.unwrap();
    }
    store.close().await.unwrap();
    ArtifactStore::open(dir.join("artifacts")).unwrap().put_bytes(b"nobody's").unwrap();
}

/// All heads and journals of a directory, whatever became of it before.
pub(super) async fn contents(dir: &Path) -> Vec<(JobHead, Vec<Record>)> {
    let path = dir.to_owned();
    let store = tokio::task::spawn_blocking(move || SledStore::open(&path)).await.unwrap().unwrap();
    let page = store.list(ListQuery { limit: 1_000, ..ListQuery::default() }).await.unwrap();
    let mut found = Vec::new();
    for head in page.heads {
        let records = store.journal(head.id, 0).await.unwrap();
        found.push((head, records));
    }
    store.close().await.unwrap();
    found
}

/// Copies a directory with all that is in it.
pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
