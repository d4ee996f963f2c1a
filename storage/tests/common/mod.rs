//! Jobs, stores and directories to test with.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each file uses its own part

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callsheet_engine::{Event, JobId, Timestamp, Token, WorkflowRef};
use callsheet_storage::{
    Claim, Commit, Created, JobHead, JobStatus, NewJob, Record, SledStore, Store, StoreError,
};
use serde_json::{Value, json};
use uuid::Uuid;

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime for a test")
        .block_on(future)
}

/// Opens a store. One that was dropped without a close lets go of its lock in its own time.
pub fn open(dir: &Path) -> SledStore {
    let start = Instant::now();
    loop {
        match SledStore::open(dir) {
            Ok(store) => return store,
            Err(StoreError::Open(why))
                if why.contains("in use") && start.elapsed() < Duration::from_secs(20) => {}
            Err(error) => panic!("the store does not open: {error}"),
        }
    }
}

pub fn id(n: u64) -> JobId {
    JobId(Uuid::from_u128((u128::from(n) << 80) | 0x7000_8000_0000_0000_0000))
}

pub fn new_job(n: u64) -> NewJob {
    let head = JobHead {
        id: id(n),
        workflow: WorkflowRef { name: "w".to_owned(), digest: "digest".to_owned() },
        status: JobStatus::Running,
        submitted_at: Timestamp(1),
        changed_at: Timestamp(1),
        labels: Default::default(),
    };
    let definition =
        serde_json::from_value(json!({ "name": "w", "steps": [{ "id": "a", "uses": "k" }] }));
    let definition = Arc::new(definition.unwrap());
    NewJob { head, events: vec![event(n, 0)], definition, idempotency: None }
}

pub fn event(n: u64, sequence: u64) -> Event {
    let output = json!({ "job": n, "sequence": sequence });
    Event::StepSucceeded { token: Token(sequence), output, cached: false, at: Timestamp(7) }
}

pub fn large_event(size: usize) -> Event {
    let output = Value::from("x".repeat(size));
    Event::StepSucceeded { token: Token(0), output, cached: false, at: Timestamp(7) }
}

/// Text that does not get smaller when it is packed.
pub fn noise(seed: u64, size: usize) -> String {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.iter().map(|byte| char::from(b' ' + byte % 95)).collect()
}

/// The commit that gives a job another status.
pub fn turn(claim: &Claim, n: u64, sequence: u64, status: JobStatus) -> Commit {
    let head = JobHead { status, ..claim.head.clone() };
    Commit { head: Some(head), ..commit(claim, n, sequence) }
}

pub fn commit(claim: &Claim, n: u64, sequence: u64) -> Commit {
    let events = vec![event(n, sequence)];
    Commit { job: claim.head.id, epoch: claim.epoch, sequence, events, head: None }
}

pub fn records(n: u64, count: u64) -> Vec<Record> {
    (0..count).map(|sequence| Record { sequence, events: vec![event(n, sequence)] }).collect()
}

/// Writes `jobs` jobs of three records each and closes the store.
pub fn committed(dir: &Path, jobs: u64) {
    let store = open(dir);
    block_on(async {
        for n in 0..jobs.max(2) {
            assert_eq!(store.create(new_job(n)).await, Ok(Created::New));
            let claim = store.claim(id(n)).await.unwrap();
            for sequence in 1..3 {
                assert_eq!(store.commit(commit(&claim, n, sequence)).await, Ok(()));
            }
        }
        assert_eq!(store.close().await, Ok(()));
    });
}

/// The tree below a closed store.
pub fn raw_tree(dir: &Path) -> (sled::Db, sled::Tree) {
    let db = sled::Config::new().path(dir.join("store")).open().unwrap();
    let tree = (*db).clone();
    (db, tree)
}

pub fn copy_dir(from: &Path, to: &Path) {
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

pub fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        visit(&path);
        if path.is_dir() {
            walk(&path, visit);
        }
    }
}
