//! A panic at any named point of a commit stops the store, loses nothing that was acknowledged, and
//! leaves a directory that opens.
#![cfg(feature = "failpoints")]
#![allow(clippy::unwrap_used)]

mod common;

use callsheet_storage::{Created, Store, StoreError, failpoints::POINTS};
use common::{block_on, commit, id, large_event, new_job, open, records};

#[test]
fn every_point_of_a_commit_can_be_the_last() {
    let scenario = fail::FailScenario::setup();
    let points: Vec<_> = POINTS.iter().filter(|it| it.starts_with("storage.commit")).collect();
    assert_eq!(points.len(), 5);
    for point in points {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let store = open(&dir);
        let acknowledged = block_on(async {
            assert_eq!(store.create(new_job(1)).await, Ok(Created::New));
            let claim = store.claim(id(1)).await.unwrap();
            let mut notices = store.subscribe();
            assert_eq!(store.commit(commit(&claim, 1, 1)).await, Ok(()));
            // The notice is the end of a batch: the next one is what passes the point.
            while notices.recv().await.unwrap().sequence < 1 {}
            fail::cfg(*point, "panic").unwrap();
            let last = store.commit(commit(&claim, 1, 2)).await;
            let expected = matches!(last, Ok(()) | Err(StoreError::OutcomeUnknown(_)));
            assert!(expected, "{point}: {last:?}");
            // The answer may come a moment before the point.
            while store.health().is_ok() {
                std::thread::yield_now();
            }
            fail::remove(*point);
            let late = store.commit(commit(&claim, 1, 3)).await;
            assert!(matches!(late, Err(StoreError::Stopped(_))), "{point}: {late:?}");
            assert!(store.close().await.is_err(), "{point}: closing says that it failed");
            last.is_ok()
        });
        drop(store);
        assert_eq!(acknowledged, *point == "storage.commit.acknowledged");

        let store = open(&dir);
        let found = block_on(store.journal(id(1), 0)).unwrap();
        let is_there = found.len() == 3;
        match *point {
            "storage.commit.queued" => assert!(!is_there, "nothing had begun"),
            "storage.commit.synced" | "storage.commit.acknowledged" => assert!(is_there),
            _ => {}
        }
        assert_eq!(found, records(1, if is_there { 3 } else { 2 }), "{point}");
        block_on(store.close()).unwrap();
    }
    // A large record that fails on its way to its file is refused, and that is all.
    for point in POINTS.iter().filter(|it| it.starts_with("artifact")) {
        let root = tempfile::tempdir().unwrap();
        let store = open(&root.path().join("data"));
        block_on(async {
            assert_eq!(store.create(new_job(1)).await, Ok(Created::New));
            let claim = store.claim(id(1)).await.unwrap();
            let mut large = commit(&claim, 1, 1);
            large.events = vec![large_event(20_000)];
            fail::cfg(*point, "panic").unwrap();
            assert!(store.commit(large.clone()).await.is_err(), "{point}");
            fail::remove(*point);
            assert_eq!(store.journal(id(1), 0).await.unwrap(), records(1, 1));
            assert_eq!(store.commit(large).await, Ok(()), "{point}: the next attempt works");
        });
    }
    scenario.teardown();
}
