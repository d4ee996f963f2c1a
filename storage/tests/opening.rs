//! Opening a data directory, whatever happened to it before.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use callsheet_storage::{Created, MemoryStore, SledStore, Store, StoreError};
use common::{block_on, committed, copy_dir, id, new_job, open, raw_tree};

fn refusal(dir: &Path) -> String {
    match SledStore::open(dir) {
        Ok(_) => panic!("`{}` was opened", dir.display()),
        Err(StoreError::Open(why)) => why,
        Err(other) => panic!("another error: {other}"),
    }
}

#[test]
fn a_second_engine_is_refused_at_once_and_told_who_is_first() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let first = open(&dir);
    let start = Instant::now();
    let why = refusal(&dir);
    assert!(start.elapsed() < Duration::from_secs(30), "it does not wait for the first to end");
    assert!(why.contains(&dir.display().to_string()), "{why}");
    assert!(why.contains(&format!("process {}", std::process::id())), "{why}");
    block_on(async { assert_eq!(first.create(new_job(1)).await, Ok(Created::New)) });
}

#[test]
fn a_closed_store_opens_again_at_once() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    for n in 0..10 {
        let store = open(&dir);
        block_on(async {
            assert_eq!(store.create(new_job(n)).await, Ok(Created::New));
            assert_eq!(store.close().await, Ok(()));
        });
        // The closed store is still in hand: closing it is enough.
        let next = open(&dir);
        block_on(async { assert!(next.head(id(n)).await.unwrap().is_some()) });
        drop(next);
    }
}

#[test]
fn a_dropped_store_lets_go_too() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    for n in 0..5 {
        let store = open(&dir);
        block_on(async { assert_eq!(store.create(new_job(n)).await, Ok(Created::New)) });
        drop(store);
    }
    assert_eq!(block_on(async { open(&dir).awake(None, 9).await }).unwrap().len(), 5);
}

#[test]
fn others_may_not_look_inside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let store = open(&dir);
    block_on(async { assert_eq!(store.create(new_job(1)).await, Ok(Created::New)) });
    let mut seen = 0;
    common::walk(&dir, &mut |path| {
        let known = fs::metadata(path).unwrap();
        let expected: &[u32] = if known.is_dir() { &[0o700] } else { &[0o600, 0o400] };
        let mode = known.mode() & 0o777;
        assert!(expected.contains(&mode), "{} has mode {mode:o}", path.display());
        seen += 1;
    });
    assert!(seen > 8, "there is something to look at");
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_directory_with_other_things_in_it_keeps_its_mode() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("home");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("letter.txt"), "dear").unwrap();
    let before = fs::metadata(&dir).unwrap().mode();
    drop(open(&dir));
    assert_eq!(fs::metadata(&dir).unwrap().mode(), before);
    assert_eq!(fs::metadata(dir.join("store")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_creation_that_was_cut_off_starts_over() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let new = dir.join("store.new");
    fs::create_dir_all(new.join("blobs")).unwrap();
    // What sled leaves when its process dies in the first moments.
    fs::write(new.join("db"), [0x55; 1_000]).unwrap();
    fs::write(new.join("conf"), "segment_si").unwrap();
    committed(&dir, 1);
    assert!(!new.exists());
}

#[test]
fn a_left_over_beside_a_whole_store_goes() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    committed(&dir, 1);
    copy_dir(&dir.join("store"), &dir.join("store.new"));
    let store = open(&dir);
    assert!(!dir.join("store.new").exists());
    block_on(async { assert!(store.head(id(1)).await.unwrap().is_some()) });
}

#[test]
fn half_written_snapshots_go() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    committed(&dir, 1);
    // sled would take it for its newest snapshot, and then refuse to open.
    let stray = dir.join("store/snap.FFFFFFFFFFFFFFFF.generating");
    fs::write(&stray, "half").unwrap();
    let store = open(&dir);
    assert!(!stray.exists());
    assert!(!dir.join("store/aside.snap.FFFFFFFFFFFFFFFF.generating").exists(), "not even tried");
    block_on(async { assert!(store.head(id(1)).await.unwrap().is_some()) });
}

#[test]
fn a_damaged_snapshot_is_put_aside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    committed(&dir, 3);
    let mut broken = 0;
    for entry in fs::read_dir(dir.join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::write(&path, "garbage that is long enough to be read").unwrap();
            broken += 1;
        }
    }
    assert_eq!(broken, 1, "there is a snapshot to damage");
    let store = open(&dir);
    block_on(async {
        for n in 0..3 {
            assert_eq!(store.journal(id(n), 0).await.unwrap().len(), 3);
        }
    });
    let names = fs::read_dir(dir.join("store")).unwrap();
    let names: Vec<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("aside.snap.")), "{names:?}");
}

#[test]
fn a_newer_format_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    committed(&dir, 1);
    let (db, tree) = raw_tree(&dir);
    let mut meta = tree.get("M").unwrap().unwrap().to_vec();
    meta[0] = 3;
    tree.insert("M", meta).unwrap();
    drop((tree, db));
    let why = refusal(&dir);
    assert!(why.contains("a newer Callsheet wrote it: format 3"), "{why}");
}

#[test]
fn what_is_no_store_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "text").unwrap();
    let why = refusal(&file);
    assert!(why.contains(&file.display().to_string()), "{why}");
    let empty = root.path().join("data");
    fs::create_dir_all(empty.join("store")).unwrap();
    let why = refusal(&empty);
    assert!(why.contains("damaged") && why.contains("hint: restore"), "{why}");
}

#[test]
fn a_store_is_made_where_there_was_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b/c");
    committed(&dir, 1);
    assert!(dir.join("store/db").is_file());
}

#[test]
fn stores_can_be_held_as_one_kind() {
    let root = tempfile::tempdir().unwrap();
    let stores: [Box<dyn Store>; 2] =
        [Box::new(MemoryStore::new()), Box::new(open(&root.path().join("data")))];
    for store in stores {
        block_on(async { assert_eq!(store.create(new_job(1)).await, Ok(Created::New)) });
    }
}
