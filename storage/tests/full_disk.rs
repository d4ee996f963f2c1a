//! A full disk is an answer. Nothing is lost, and work goes on when there is room.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callsheet_storage::{Created, Store, StoreError};
use common::{block_on, commit, id, large_event, new_job, open, records};

const SMALL_DIR: &str = "CALLSHEET_TEST_SMALL_DIR";

/// Writes until the file system is full, and takes back as much as is to be left.
fn fill(dir: &Path, leave: u64) -> PathBuf {
    let path = dir.join("filler");
    let mut file = File::create(&path).unwrap();
    while file.write_all(&[0x55; 4_096]).is_ok() {}
    let written = file.metadata().unwrap().len();
    file.set_len(written.saturating_sub(leave)).unwrap();
    path
}

/// Needs a directory on a file system of its own of some 32 MiB, without reserved blocks:
/// `mount -t tmpfs -o size=32m none DIR; CALLSHEET_TEST_SMALL_DIR=DIR cargo test … -- --ignored`.
#[test]
#[ignore = "needs a small file system: set CALLSHEET_TEST_SMALL_DIR"]
fn a_full_disk_is_survived() {
    let small =
        PathBuf::from(std::env::var_os(SMALL_DIR).expect("CALLSHEET_TEST_SMALL_DIR is set"));
    let dir = small.join("data");
    // What is free is looked at every 50 ms.
    let moment = Duration::from_millis(200);
    let store = open(&dir);
    block_on(async {
        assert_eq!(store.create(new_job(1)).await, Ok(Created::New));
        let claim = store.claim(id(1)).await.unwrap();

        let filler = fill(&small, 3 * 1024 * 1024);
        std::thread::sleep(moment);
        assert_eq!(store.create(new_job(2)).await, Err(StoreError::Full), "no new jobs");
        assert_eq!(store.commit(commit(&claim, 1, 1)).await, Ok(()), "but running ones go on");

        fs::remove_file(&filler).unwrap();
        let filler = fill(&small, 0);
        std::thread::sleep(moment);
        assert_eq!(store.commit(commit(&claim, 1, 2)).await, Err(StoreError::Full));
        let mut large = commit(&claim, 1, 2);
        large.events = vec![large_event(100_000)];
        assert_eq!(store.commit(large).await, Err(StoreError::Full), "nor anything large");
        assert_eq!(store.health(), Ok(()), "which is no failure");
        assert_eq!(store.journal(id(1), 0).await.unwrap(), records(1, 2));

        fs::remove_file(&filler).unwrap();
        std::thread::sleep(moment);
        assert_eq!(store.commit(commit(&claim, 1, 2)).await, Ok(()), "there is room again");
        fill(&small, 0);
        store.close().await.unwrap();
    });
    // Opening writes, on a disk without a free byte: the ballast makes the room.
    assert!(dir.join("ballast").exists());
    let store = open(&dir);
    assert!(!dir.join("ballast").exists());
    block_on(async {
        assert_eq!(store.journal(id(1), 0).await.unwrap(), records(1, 3));
        store.close().await.unwrap();
    });
    fs::remove_file(small.join("filler")).unwrap();
    drop(open(&dir));
    assert!(dir.join("ballast").exists(), "it is taken on again");
    fs::remove_dir_all(&dir).unwrap();
}
