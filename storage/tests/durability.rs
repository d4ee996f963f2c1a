//! What was acknowledged is there, however the process ended.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callsheet_engine::Event;
use callsheet_storage::{Created, JobStatus, Store, StoreError};
use common::{
    block_on, commit, copy_dir, event, id, large_event, new_job, noise, open, records, turn,
};

#[test]
fn an_acknowledged_commit_is_in_the_files() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let store = open(&dir);
    block_on(async {
        assert_eq!(store.create(new_job(1)).await, Ok(Created::New));
        let claim = store.claim(id(1)).await.unwrap();
        for sequence in 1..12 {
            assert_eq!(store.commit(commit(&claim, 1, sequence)).await, Ok(()));
            // The store is not told to flush, close or wait: this is what a kill would leave.
            let copy = root.path().join(format!("copy-{sequence}"));
            copy_dir(&dir, &copy);
            let left = open(&copy);
            assert_eq!(left.journal(id(1), 0).await.unwrap(), records(1, sequence + 1));
            left.close().await.unwrap();
        }
    });
}

const VICTIM_DIR: &str = "CALLSHEET_TEST_VICTIM_DIR";

/// Not a test: the process that the next test kills. It tells every acknowledged record.
#[test]
#[ignore = "started by acknowledged_records_survive_a_kill"]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM_DIR) else { return };
    let store = Arc::new(open(dir.as_ref()));
    block_on(async move {
        let writers = (0..8).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                if store.head(id(n)).await.unwrap().is_none() {
                    assert_eq!(store.create(new_job(n)).await, Ok(Created::New));
                    println!("\nacknowledged {n} 0");
                }
                let claim = store.claim(id(n)).await.unwrap();
                for sequence in claim.records.len() as u64.. {
                    let mut next = commit(&claim, n, sequence);
                    if sequence % 5 == 0 {
                        next.events.push(large_event(10_000));
                    }
                    store.commit(next).await.unwrap();
                    println!("\nacknowledged {n} {sequence}");
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[test]
fn acknowledged_records_survive_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let mut acknowledged = [None::<u64>; 8];
    for round in 0..6 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["victim", "--exact", "--ignored", "--nocapture"])
            .env(VICTIM_DIR, &dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = 0;
        for line in BufReader::new(victim.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(rest) = line.strip_prefix("acknowledged ") else { continue };
            let (n, sequence) = rest.split_once(' ').unwrap();
            let n: usize = n.parse().unwrap();
            acknowledged[n] = acknowledged[n].max(Some(sequence.parse().unwrap()));
            told += 1;
            if told == 40 + 37 * round {
                victim.kill().unwrap();
            }
        }
        victim.wait().unwrap();
        assert!(told >= 40, "the victim worked before it was killed");

        let store = open(&dir);
        block_on(async {
            for (n, last) in (0..).zip(acknowledged) {
                let journal = store.journal(id(n), 0).await;
                let Some(last) = last else { continue };
                let journal = journal.unwrap();
                assert!(journal.len() as u64 > last, "record {last} of job {n} is lost");
                for (record, sequence) in journal.iter().zip(0..) {
                    assert_eq!(record.events[0], event(n, sequence));
                }
            }
            store.close().await.unwrap();
        });
    }
}

#[test]
fn readers_see_only_whole_prefixes_while_others_write() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&root.path().join("data")));
    block_on(async {
        assert_eq!(store.create(new_job(1)).await, Ok(Created::New));
        let claim = store.claim(id(1)).await.unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
                tokio::spawn(async move {
                    let (mut seen, mut reads) = (0, 0);
                    while !ended.load(Ordering::Acquire) {
                        let journal = store.journal(id(1), 0).await.unwrap();
                        assert!(journal.len() >= seen, "a record that was seen stays");
                        seen = journal.len();
                        assert_eq!(journal, records(1, seen as u64));
                        reads += 1;
                        // What is in memory is answered at once: let the others have a turn.
                        tokio::task::yield_now().await;
                    }
                    reads
                })
            })
            .collect();
        for sequence in 1..600 {
            assert_eq!(store.commit(commit(&claim, 1, sequence)).await, Ok(()));
        }
        ended.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.await.unwrap() > 0, "every reader read something");
        }
    });
}

#[test]
fn sled_never_needs_a_file_of_its_own_for_a_page() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let store = open(&dir);
    block_on(async {
        // The largest values that stay in the tree, so that its pages are as large as they get:
        // in the log, in runs, and beside heads.
        let event = |seed: u64| Event::CancelRequested {
            reason: Some(noise(seed, 3_900)),
            at: callsheet_engine::Timestamp(1),
        };
        for n in 0..40 {
            let mut new = new_job(n);
            new.events = vec![event(n)];
            new.head.labels.insert("note".to_owned(), noise(n, 3_500));
            assert_eq!(store.create(new).await, Ok(Created::New));
            let claim = store.claim(id(n)).await.unwrap();
            let commits = (1..12).map(|sequence| {
                let mut next = commit(&claim, n, sequence);
                if sequence == 11 && n % 2 == 0 {
                    next = turn(&claim, n, sequence, JobStatus::Succeeded);
                }
                next.events = vec![event(100 * n + sequence)];
                store.commit(next)
            });
            for answer in futures::future::join_all(commits).await {
                assert_eq!(answer, Ok(()));
            }
        }
        store.close().await.unwrap();
    });
    let blobs = std::fs::read_dir(dir.join("store/blobs")).unwrap().count();
    assert_eq!(blobs, 0, "sled does not sync these files");
    let values = std::fs::read_dir(dir.join("values")).unwrap().count();
    assert_eq!(values, 1, "and nothing was large enough for ours, only its `tmp` is there");
}

#[test]
fn commits_after_close_are_refused_and_not_written() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let store = open(&dir);
    block_on(async {
        assert_eq!(store.create(new_job(1)).await, Ok(Created::New));
        let claim = store.claim(id(1)).await.unwrap();
        store.close().await.unwrap();
        let late = store.commit(commit(&claim, 1, 1)).await;
        assert!(matches!(late, Err(StoreError::Stopped(_))), "{late:?}");
        let next = open(&dir);
        assert_eq!(next.journal(id(1), 0).await.unwrap(), records(1, 1));
    });
}
