//! Damage is noticed and named. It never becomes a wrong answer or a panic.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use callsheet_engine::Event;
use callsheet_storage::{Commit, JobStatus, ListQuery, Record, SledStore, Store, StoreError};
use common::{
    block_on, commit, committed, copy_dir, id, large_event, new_job, noise, open, raw_tree,
    records, turn,
};

/// The key of a record, as `docs/storage.md` describes it.
fn record_key(n: u64, sequence: u64) -> Vec<u8> {
    [b"J", id(n).as_bytes().as_slice(), &sequence.to_be_bytes()].concat()
}

fn ended_key(n: u64) -> Vec<u8> {
    [b"H", id(n).as_bytes().as_slice()].concat()
}

fn is_damaged<T: std::fmt::Debug>(answer: Result<T, StoreError>, n: u64) -> String {
    match answer {
        Err(StoreError::Damaged { job, why }) if job == id(n) => why,
        other => panic!("job {n} should be damaged: {other:?}"),
    }
}

/// An event so large, and so hard to pack, that each lies under a key of its own.
fn bulky(n: u64, sequence: u64) -> Vec<Event> {
    vec![Event::CancelRequested {
        reason: Some(noise(n * 100 + sequence, 3_000)),
        at: callsheet_engine::Timestamp(1),
    }]
}

/// The journal of a job of [`ended`].
fn bulky_records(n: u64, count: u64) -> Vec<Record> {
    (0..count).map(|sequence| Record { sequence, events: bulky(n, sequence) }).collect()
}

/// Writes `jobs` jobs that have ended after three large records each, and closes the store.
fn ended(dir: &Path, jobs: u64) {
    let store = open(dir);
    block_on(async {
        for n in 0..jobs {
            let mut new = new_job(n);
            new.events = bulky(n, 0);
            store.create(new).await.unwrap();
            let claim = store.claim(id(n)).await.unwrap();
            let second = Commit { events: bulky(n, 1), ..commit(&claim, n, 1) };
            store.commit(second).await.unwrap();
            let last = turn(&claim, n, 2, JobStatus::Succeeded);
            store.commit(Commit { events: bulky(n, 2), ..last }).await.unwrap();
        }
        assert_eq!(store.close().await, Ok(()));
    });
}

#[test]
fn a_damaged_record_quarantines_its_job_only() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    ended(&dir, 6);
    let (db, tree) = raw_tree(&dir);
    let change = |key: Vec<u8>, change: &dyn Fn(&mut Vec<u8>)| {
        let mut value = tree.get(&key).unwrap().unwrap().to_vec();
        change(&mut value);
        tree.insert(key, value).unwrap();
    };
    change(record_key(1, 1), &|value| value[12] ^= 1);
    change(record_key(2, 0), &|value| value[0] = 9);
    tree.remove(record_key(3, 1)).unwrap();
    // A sound value in a wrong place.
    let elsewhere = tree.get(record_key(5, 2)).unwrap().unwrap();
    tree.insert(record_key(4, 2), elsewhere).unwrap();
    drop((tree, db));

    let store = open(&dir);
    block_on(async {
        let expected = [
            (1, "record 1: its checksum is wrong"),
            (2, "record 0: a newer Callsheet wrote it: format 9, this one knows 2"),
            (3, "record 1 is missing"),
            (4, "record 2: its checksum is wrong"),
        ];
        for (n, why) in expected {
            assert_eq!(is_damaged(store.journal(id(n), 0).await, n), why);
            assert_eq!(is_damaged(store.claim(id(n)).await, n), why);
        }
        for n in [0, 5] {
            assert!(store.journal(id(n), 0).await.unwrap() == bulky_records(n, 3));
            let claim = store.claim(id(n)).await.unwrap();
            assert_eq!(store.commit(commit(&claim, n, 3)).await, Ok(()), "the others go on");
        }
        let page = store.list(ListQuery { limit: 10, ..ListQuery::default() }).await.unwrap();
        assert_eq!(page.heads.len(), 6, "their heads are sound");
        assert_eq!(store.health(), Ok(()));
    });
}

#[test]
fn a_damaged_head_takes_its_job_out_of_the_lists() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    ended(&dir, 3);
    let (db, tree) = raw_tree(&dir);
    tree.insert(ended_key(1), "garbage").unwrap();
    drop((tree, db));
    let store = open(&dir);
    block_on(async {
        is_damaged(store.head(id(1)).await, 1);
        is_damaged(store.claim(id(1)).await, 1);
        let page = store.list(ListQuery { limit: 10, ..ListQuery::default() }).await.unwrap();
        let listed: Vec<_> = page.heads.iter().map(|head| head.id).collect();
        assert_eq!(listed, [id(2), id(0)]);
    });
}

// Nobody can say whose records a damaged part of the log held. So it is never passed over.
#[test]
fn a_damaged_log_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    committed(&dir, 3);
    let (db, tree) = raw_tree(&dir);
    let parts: Vec<_> = tree.scan_prefix("L").map(|entry| entry.unwrap()).collect();
    drop((tree, db));
    assert_eq!(parts.len(), 9, "one part for each record that was waited for");
    for (at, (key, value)) in parts.iter().enumerate() {
        for removes in [true, false] {
            let copy = root.path().join(format!("copy-{at}-{removes}"));
            copy_dir(&dir, &copy);
            let (db, tree) = raw_tree(&copy);
            let mut flipped = value.to_vec();
            flipped[30] ^= 4;
            match removes {
                true => tree.remove(key).unwrap(),
                false => tree.insert(key, flipped).unwrap(),
            };
            drop((tree, db));
            let Err(StoreError::Open(why)) = SledStore::open(&copy) else {
                panic!("it opened without part {at}")
            };
            let batch = at + 1;
            let expected = match (removes, batch) {
                (true, 9) => "batch 9 was acknowledged and is lost".to_owned(),
                (true, _) => format!("batch {batch} of the log is missing"),
                (false, _) => format!("part 0 of batch {batch}: its checksum is wrong"),
            };
            assert!(why.contains(&expected), "{why}");
        }
    }
}

#[test]
fn a_large_record_without_its_file_is_damaged() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let store = open(&dir);
    block_on(async {
        let mut new = new_job(1);
        new.events = vec![large_event(50_000)];
        store.create(new).await.unwrap();
        store.create(new_job(2)).await.unwrap();
        assert_eq!(store.journal(id(1), 0).await.unwrap().len(), 1);
        let mut removed = 0;
        common::walk(&dir.join("values"), &mut |path| {
            if path.file_name().unwrap().len() == 64 {
                fs::remove_file(path).unwrap();
                removed += 1;
            }
        });
        assert_eq!(removed, 1);
        let why = is_damaged(store.journal(id(1), 0).await, 1);
        assert!(why.contains("is not stored"), "{why}");
        assert_eq!(store.journal(id(2), 0).await.unwrap(), records(2, 1));
    });
}

/// Reads everything that a store of [`committed`] holds. What is readable must be right.
fn nothing_is_wrong(store: &SledStore, jobs: u64) -> usize {
    let mut sound = 0;
    block_on(async {
        for n in 0..jobs {
            match store.journal(id(n), 0).await {
                Ok(found) => {
                    assert_eq!(found, records(n, 3), "job {n} reads wrong");
                    sound += 1;
                }
                Err(StoreError::Damaged { job, .. }) => assert_eq!(job, id(n)),
                Err(other) => panic!("job {n}: {other}"),
            }
            match store.head(id(n)).await {
                Ok(head) => assert_eq!(head, Some(new_job(n).head)),
                Err(StoreError::Damaged { .. }) => {}
                Err(other) => panic!("head of job {n}: {other}"),
            }
        }
        match store.awake(None, 100).await {
            Ok(_) | Err(StoreError::Unreadable(_)) => {}
            Err(other) => panic!("those awake: {other}"),
        }
        let definition = store.definition("digest".to_owned()).await;
        match definition {
            Ok(kept) => assert_eq!(kept.as_ref(), Some(&*new_job(0).definition)),
            Err(StoreError::Unreadable(_)) => {}
            Err(other) => panic!("definition: {other}"),
        }
    });
    sound
}

/// Opens a damaged copy. Whether it opened.
fn try_damaged(dir: &Path, jobs: u64) -> bool {
    match SledStore::open(dir) {
        Ok(store) => {
            nothing_is_wrong(&store, jobs);
            // A page that cannot be read may keep sled from closing properly; that is fine.
            let _ = block_on(store.close());
            true
        }
        Err(StoreError::Open(why)) => {
            assert!(why.contains(&dir.display().to_string()), "{why}");
            false
        }
        Err(other) => panic!("another error: {other}"),
    }
}

#[test]
fn flipped_bytes_are_refused_or_harmless() {
    const JOBS: u64 = 8;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    committed(&dir, JOBS);
    let (mut opened, mut refused) = (0, 0);
    let mut files = Vec::new();
    common::walk(&dir.join("store"), &mut |path| {
        if path.is_file() {
            files.push(path.strip_prefix(&dir).unwrap().to_owned());
        }
    });
    assert!(files.len() >= 3, "sled keeps a database, a snapshot and a configuration");
    for file in files {
        let whole = fs::read(dir.join(&file)).unwrap();
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let step = (used / 60).max(1);
        for at in (0..used).step_by(step) {
            let copy = root.path().join("copy");
            copy_dir(&dir, &copy);
            let mut flipped = whole.clone();
            flipped[at] ^= 0x5a;
            fs::write(copy.join(&file), flipped).unwrap();
            match try_damaged(&copy, JOBS) {
                true => opened += 1,
                false => refused += 1,
            }
            fs::remove_dir_all(&copy).unwrap();
        }
    }
    println!("{opened} opened without a wrong answer, {refused} were refused");
    assert!(opened > 0 && refused > 0, "both happen: {opened}, {refused}");
}

#[test]
fn a_lost_tail_is_noticed() {
    const JOBS: u64 = 8;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    committed(&dir, JOBS);
    let db = dir.join("store/db");
    let whole = fs::read(&db).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // sled takes zeros for the end of its log, and so opens happily on less than there was.
    for lost in [200, 500, 1_000] {
        let copy = root.path().join(format!("lost-{lost}"));
        copy_dir(&dir, &copy);
        let mut cut = whole.clone();
        cut[used - lost..].fill(0);
        fs::write(copy.join("store/db"), cut).unwrap();
        match SledStore::open(&copy) {
            Err(StoreError::Open(why)) => {
                assert!(why.contains("damaged"), "{why}");
            }
            Err(other) => panic!("another error: {other}"),
            Ok(store) => {
                assert_eq!(nothing_is_wrong(&store, JOBS), JOBS as usize, "{lost} bytes lost");
            }
        }
    }
}
