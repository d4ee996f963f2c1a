//! Backups: whole, consistent while the store is in use, and never believed unchecked.
#![allow(clippy::unwrap_used)]

mod common;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use callsheet_engine::JobId;
use callsheet_storage::maintenance::{
    BackupOptions, Contents, LeftOut, MaintenanceError, Progress, VerifyOptions, backup_stream,
    check_backup, compact, restore, save_backup, verify,
};
use callsheet_storage::{ArtifactStore, Created, Record, SledStore, Store, StoreError};
use common::{block_on, commit, event, id, new_job, open};

fn quietly() -> Progress {
    Arc::new(|_, _, _| {})
}

async fn opened(dir: &Path) -> Arc<SledStore> {
    let dir = dir.to_owned();
    Arc::new(tokio::task::spawn_blocking(move || open(&dir)).await.unwrap())
}

async fn back_up(
    store: Arc<dyn Store>,
    dir: &Path,
    file: &Path,
    artifacts: bool,
) -> Result<(Contents, Vec<LeftOut>), MaintenanceError> {
    let files = Arc::new(ArtifactStore::open(dir.join("artifacts")).unwrap());
    let options = BackupOptions { artifacts, progress: quietly() };
    save_backup(backup_stream(store, files, options), file).await
}

/// The world of all states, backed up.
struct Backed {
    _root: tempfile::TempDir,
    dir: PathBuf,
    file: PathBuf,
    expected: world::expected::Expected,
}

fn backed(artifacts: bool) -> Backed {
    let root = tempfile::tempdir().unwrap();
    let (dir, file) = (root.path().join("data"), root.path().join("backup"));
    let expected = world::fill(&dir);
    block_on(async {
        let store = opened(&dir).await;
        let (contents, left_out) = back_up(store.clone(), &dir, &file, artifacts).await.unwrap();
        let records: usize = expected.jobs.iter().map(|job| job.records.len()).sum();
        assert_eq!(left_out, []);
        assert_eq!(contents.jobs as usize, expected.jobs.len());
        assert_eq!(contents.records as usize, records);
        assert_eq!(contents.keys, 4);
        assert_eq!(contents.artifacts as usize, if artifacts { 1 } else { 0 });
        store.close().await.unwrap();
    });
    Backed { _root: root, dir, file, expected }
}

#[test]
fn a_restored_store_is_the_one_that_was_backed_up() {
    let Backed { _root: root, file, mut expected, .. } = backed(true);
    let copy = root.path().join("copy");
    block_on(async {
        restore(&file, &copy, quietly()).await.unwrap();
        let store = opened(&copy).await;
        expected.check(&copy, &*store).await;
        let epoch = store.claim(expected.jobs[0].id).await.unwrap().epoch;
        assert!(epoch >> 32 > (expected.epoch >> 32) + 65_000, "the copy is another owner");
        let files = Arc::new(ArtifactStore::open(copy.join("artifacts")).unwrap());
        let options = VerifyOptions { artifacts: true, progress: quietly() };
        let found = verify(&*store, files, options).await.unwrap();
        assert_eq!(found.faults, []);
        assert_eq!((found.keys, found.artifacts), (4, 1));
        store.close().await.unwrap();
        // And once more, from the copy.
        let store = opened(&copy).await;
        let again = root.path().join("again");
        back_up(store.clone(), &copy, &again, true).await.unwrap();
        store.close().await.unwrap();
        let third = root.path().join("third");
        restore(&again, &third, quietly()).await.unwrap();
        let store = opened(&third).await;
        expected.epoch = epoch;
        expected.check(&third, &*store).await;
        store.close().await.unwrap();
    });
}

#[test]
fn without_its_files_a_backup_has_the_jobs_all_the_same() {
    let Backed { _root: root, file, mut expected, .. } = backed(false);
    let copy = root.path().join("copy");
    block_on(async {
        restore(&file, &copy, quietly()).await.unwrap();
        let store = opened(&copy).await;
        let files = Arc::new(ArtifactStore::open(copy.join("artifacts")).unwrap());
        let options = VerifyOptions { artifacts: true, progress: quietly() };
        let found = verify(&*store, files, options).await.unwrap();
        assert_eq!(found.faults.len(), 1, "the file that is referred to is missing: {found:?}");
        expected.artifacts.clear();
        expected.check(&copy, &*store).await;
        store.close().await.unwrap();
    });
}

#[test]
fn a_backup_that_is_cut_or_changed_anywhere_is_refused() {
    let Backed { _root: root, file, .. } = backed(true);
    let whole = fs::read(&file).unwrap();
    let broken = root.path().join("broken");
    let check = |bytes: &[u8]| {
        fs::write(&broken, bytes).unwrap();
        check_backup(&broken)
    };
    check(&whole).unwrap();
    for length in (0..whole.len()).step_by(211).chain([whole.len() - 1]) {
        let refused = check(&whole[..length]).unwrap_err();
        assert!(
            matches!(refused, MaintenanceError::Cut(_) | MaintenanceError::NoBackup),
            "cut at {length}: {refused}"
        );
    }
    for at in (0..whole.len()).step_by(197).chain([17, whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(check(&bytes).is_err(), "byte {at}");
    }
    let twice = [whole.as_slice(), &whole].concat();
    assert!(matches!(check(&twice), Err(MaintenanceError::Damaged { .. })));
    let copy = root.path().join("copy");
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let refused = block_on(restore(&broken, &copy, quietly())).unwrap_err();
    assert!(matches!(refused, MaintenanceError::Cut(_)), "{refused}");
    assert!(!copy.exists(), "nothing is made before the backup is checked");
}

#[test]
fn a_newer_backup_and_a_foreign_file_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    for (bytes, expected) in [
        (b"callsheet backup\n\x02...".as_slice(), "a newer Callsheet made it: format 2"),
        (b"callsheet backup\n\x00...", "it is no backup"),
        (b"PK\x03\x04 an archive of another kind", "it is no backup"),
        (b"", "it is no backup"),
        (b"callsheet ba", "it is cut off after 12 bytes"),
    ] {
        fs::write(&file, bytes).unwrap();
        let why = check_backup(&file).unwrap_err().to_string();
        assert!(why.starts_with(expected), "{why}");
    }
}

#[test]
fn two_stores_are_never_mixed() {
    let Backed { _root: root, dir, file, expected } = backed(true);
    let refused = block_on(restore(&file, &dir, quietly())).unwrap_err();
    assert!(matches!(refused, MaintenanceError::NotEmpty { .. }), "{refused}");
    let store = open(&dir);
    block_on(expected.check(&dir, &store));
    world::close(store);
    let somebodys = root.path().join("home");
    fs::create_dir(&somebodys).unwrap();
    fs::write(somebodys.join("letter"), "dear").unwrap();
    let refused = block_on(restore(&file, &somebodys, quietly())).unwrap_err();
    assert!(refused.to_string().contains("`letter`"), "{refused}");
    // And a backup does not write over a file.
    let store = block_on(opened(&dir));
    let again = block_on(back_up(store, &dir, &file, true)).unwrap_err();
    assert!(again.to_string().contains("is there already"), "{again}");
}

/// What a writer was told, by job: so many records are acknowledged.
type Acknowledged = BTreeMap<JobId, Arc<AtomicU64>>;

async fn write_until(store: Arc<SledStore>, n: u64, told: Arc<AtomicU64>, end: Arc<AtomicBool>) {
    assert_eq!(store.create(new_job(n)).await, Ok(Created::New));
    told.store(1, Ordering::SeqCst);
    let claim = store.claim(id(n)).await.unwrap();
    for sequence in 1.. {
        if end.load(Ordering::SeqCst) {
            return;
        }
        assert_eq!(store.commit(commit(&claim, n, sequence)).await, Ok(()));
        told.store(sequence + 1, Ordering::SeqCst);
    }
}

#[test]
fn a_backup_of_a_store_in_use_holds_all_that_was_acknowledged_before() {
    let root = tempfile::tempdir().unwrap();
    let (dir, file) = (root.path().join("data"), root.path().join("backup"));
    let jobs: Acknowledged = (0..24).map(|n| (id(n), Arc::default())).collect();
    let end = Arc::new(AtomicBool::new(false));
    let seen = |jobs: &Acknowledged| -> BTreeMap<JobId, u64> {
        jobs.iter().map(|(id, told)| (*id, told.load(Ordering::SeqCst))).collect()
    };
    let (before, after) = block_on(async {
        let store = opened(&dir).await;
        let writers: Vec<_> = (0..24)
            .map(|n| {
                let (told, end) = (jobs[&id(n)].clone(), end.clone());
                tokio::spawn(write_until(store.clone(), n, told, end))
            })
            .collect();
        while seen(&jobs).values().any(|count| *count < 20) {
            tokio::task::yield_now().await;
        }
        let before = seen(&jobs);
        back_up(store.clone(), &dir, &file, true).await.unwrap();
        let after = seen(&jobs);
        end.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.await.unwrap();
        }
        store.close().await.unwrap();
        (before, after)
    });
    let grown = before.iter().filter(|(id, count)| after[id] > **count).count();
    assert!(grown > 12, "the store was in use meanwhile: {grown}");
    let copy = root.path().join("copy");
    block_on(async {
        restore(&file, &copy, quietly()).await.unwrap();
        let store = opened(&copy).await;
        for n in 0..24 {
            let journal = store.journal(id(n), 0).await.unwrap();
            let count = journal.len() as u64;
            assert!(count >= before[&id(n)], "job {n}: {count} of {}", before[&id(n)]);
            let expected: Vec<Record> = (0..count)
                .map(|sequence| Record { sequence, events: vec![event(n, sequence)] })
                .collect();
            assert_eq!(journal, expected, "a prefix, whole");
        }
        store.close().await.unwrap();
    });
}

#[test]
fn what_is_damaged_is_left_out_and_named_and_never_compacted_away() {
    let Backed { _root: root, dir, expected, .. } = backed(true);
    let mut removed = 0;
    // The large value of the tenth job.
    let victim = &expected.jobs[9];
    let text = "i".repeat(100);
    common::walk(&dir.join("values"), &mut |path| {
        let is_it = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(&text);
        if path.is_file() && is_it(fs::read(path).unwrap()) {
            fs::remove_file(path).unwrap();
            removed += 1;
        }
    });
    assert_eq!(removed, 1);
    let (file, copy) = (root.path().join("partial"), root.path().join("copy"));
    block_on(async {
        let store = opened(&dir).await;
        let (contents, left_out) = back_up(store.clone(), &dir, &file, true).await.unwrap();
        assert_eq!((contents.jobs, contents.left_out), (10, 1));
        assert!(left_out[0].what.contains(&victim.id.to_string()), "{left_out:?}");
        let files = Arc::new(ArtifactStore::open(dir.join("artifacts")).unwrap());
        let options = VerifyOptions { artifacts: true, progress: quietly() };
        let found = verify(&*store, files, options).await.unwrap();
        assert_eq!(found.faults.len(), 1, "{found:?}");
        assert!(found.faults[0].what.contains(&victim.id.to_string()));
        store.close().await.unwrap();

        let refused = compact(&dir, quietly()).await.unwrap_err();
        assert!(matches!(refused, MaintenanceError::Unsound(_)), "{refused}");
        let store = opened(&dir).await;
        assert_eq!(expected.check_honest(&*store).await.len(), 1, "it is as it was");
        store.close().await.unwrap();

        let (_, left_out) = restore(&file, &copy, quietly()).await.unwrap();
        assert_eq!(left_out.len(), 1, "said again where it matters");
        let store = opened(&copy).await;
        assert_eq!(store.ids(None).await.unwrap().len(), 10);
        assert_eq!(store.head(victim.id).await, Ok(None));
        store.close().await.unwrap();
    });
}

#[test]
fn compaction_keeps_everything_and_gives_room_back() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let mut expected = world::fill(&dir);
    let artifacts = ArtifactStore::open(dir.join("artifacts")).unwrap();
    let stray = artifacts.put_bytes(&[7; 50_000]).unwrap();
    block_on(async {
        let store = opened(&dir).await;
        let owned = store.claim(expected.jobs[0].id).await.unwrap().epoch;
        // Heads that are written over and over leave room behind.
        let lives = (100..125).map(|job| {
            let store = &store;
            async move {
                let mut new = new_job(job);
                new.head.labels.insert("note".to_owned(), "y".repeat(2_000));
                store.create(new).await.unwrap();
                let claim = store.claim(id(job)).await.unwrap();
                for sequence in 1..=40 {
                    let head = Some(claim.head.clone());
                    let next = callsheet_storage::Commit { head, ..commit(&claim, job, sequence) };
                    store.commit(next).await.unwrap();
                }
            }
        });
        futures::future::join_all(lives).await;
        store.close().await.unwrap();
        let in_use = opened(&dir).await;
        let refused = compact(&dir, quietly()).await.unwrap_err();
        assert!(matches!(refused, MaintenanceError::Store(StoreError::Open(_))), "{refused}");
        in_use.close().await.unwrap();

        let done = compact(&dir, quietly()).await.unwrap();
        assert_eq!(done.jobs as usize, expected.jobs.len() + 25);
        assert_eq!((done.files_removed, done.bytes_removed), (1, 50_000));
        assert!(done.bytes_after < done.bytes_before, "{done:?}");
        assert!(!artifacts.contains(&stray), "nobody named it");

        let store = opened(&dir).await;
        for n in 100..125 {
            assert_eq!(store.journal(id(n), 0).await.unwrap(), common::records(n, 41));
        }
        let claim = store.claim(expected.jobs[0].id).await.unwrap();
        assert!(claim.epoch > owned, "epochs go on");
        let files = Arc::new(ArtifactStore::open(dir.join("artifacts")).unwrap());
        let options = VerifyOptions { artifacts: true, progress: quietly() };
        let found = verify(&*store, files, options).await.unwrap();
        // The journals of the others are no journals, nor is their definition theirs.
        assert_eq!((found.faults.len(), found.keys), (26, 4), "{found:?}");
        store.close().await.unwrap();
    });
    expected.others = (100..125).map(id).collect();
    let store = open(&dir);
    block_on(expected.check(&dir, &store));
    world::close(store);
}
