//! A new store from a backup, in a directory of its own.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream;
use tokio::sync::mpsc;

use super::Progress;
use super::entry::{Contents, LeftOut};
use super::error::MaintenanceError;
use super::import::{Definitions, WithDefinition, import};
use super::place::{AfterStep, move_in, remove_if_there};
use super::reader::{BackupReader, FileBytes, Item, check_backup};
use crate::artifacts::{ArtifactStore, make_dir, sync_dir};
use crate::error::StoreError;
use crate::limits::{EPOCH_GAP_COUNT, IMPORT_JOBS_COUNT};
use crate::sled_store::{DirLock, RESTORING, SledStore, make_data_dir};
use crate::store::Store;

/// Builds a data directory from a backup. The directory must be empty or not there; what is in it
/// can be opened once everything is, and not before. Answers with what there is now, and with what
/// the backup lacks.
///
/// Epochs of the new store are higher than those of the one that was backed up, and go on being so
/// unless that one is opened tens of thousands of times more: where the world outside refuses old
/// epochs, one of the two can act and the other cannot.
///
/// # Errors
/// When the backup is damaged or the directory is not empty; then nothing was written. When
/// writing fails; then the directory cannot be opened, and another restore starts over.
pub async fn restore(
    backup: &Path,
    dir: &Path,
    progress: Progress,
) -> Result<(Contents, Vec<LeftOut>), MaintenanceError> {
    restore_until(backup, dir, progress, &|_| Ok(())).await
}

async fn restore_until(
    backup: &Path,
    dir: &Path,
    progress: Progress,
    after: AfterStep<'_>,
) -> Result<(Contents, Vec<LeftOut>), MaintenanceError> {
    let checked = {
        let backup = backup.to_owned();
        blocking(move || check_backup(&backup)).await?
    };
    let failed = MaintenanceError::io("restore into", dir);
    make_data_dir(dir).map_err(&failed)?;
    // Held to the end, so that no engine makes a store of its own here meanwhile.
    let _lock = DirLock::take(dir)?;
    must_be_empty(dir)?;
    let new = dir.join(RESTORING);
    remove_if_there(&new).map_err(&failed)?;
    make_dir(&new).map_err(&failed)?;
    sync_dir(dir).map_err(&failed)?;
    after("begun").map_err(&failed)?;
    build(backup, &new, checked.0.jobs, progress).await?;
    after("built").map_err(&failed)?;
    move_in(&new, dir, after).map_err(&failed)?;
    Ok(checked)
}

async fn build(
    backup: &Path,
    new: &Path,
    total: u64,
    progress: Progress,
) -> Result<(), MaintenanceError> {
    let mut reader = BackupReader::open(backup)?;
    let Item::Begin(begin) = reader.next()? else {
        return Err(MaintenanceError::Cut(0));
    };
    let store = {
        let new = new.to_owned();
        blocking(move || Ok(SledStore::create_after(&new, later_epoch(begin.epoch))?)).await?
    };
    let artifacts = ArtifactStore::open(new.join("artifacts"))?;
    let (sender, jobs) = mpsc::channel(IMPORT_JOBS_COUNT);
    let reading = tokio::task::spawn_blocking(move || read_all(reader, &artifacts, &sender));
    let done = AtomicU64::new(0);
    let taken = || progress("jobs", done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let next = |mut jobs: mpsc::Receiver<_>| async move {
        let job = jobs.recv().await?;
        Some((job, jobs))
    };
    let imported = import(&store, stream::unfold(jobs, next), taken).await;
    let read = reading.await.unwrap_or(Err(MaintenanceError::Abandoned));
    // Whatever went wrong, nobody may hold the new store's lock afterwards.
    let closed = store.close().await;
    imported?;
    read?;
    Ok(closed?)
}

type Jobs = mpsc::Sender<Result<WithDefinition, MaintenanceError>>;

/// Reads a backup, puts its files in place and hands its jobs on. Blocks.
fn read_all(
    mut reader: BackupReader<BufReader<fs::File>>,
    artifacts: &ArtifactStore,
    jobs: &Jobs,
) -> Result<(), MaintenanceError> {
    let mut definitions = Definitions::default();
    loop {
        match reader.next()? {
            Item::Begin(_) | Item::LeftOut(_) => {}
            Item::Definition(body) => definitions.keep(body.digest, body.workflow),
            Item::Job(job) => {
                let job = definitions.with(job)?;
                // The other side has failed and says why.
                jobs.blocking_send(Ok(job)).map_err(|_| MaintenanceError::Abandoned)?;
            }
            Item::Artifact(body) => {
                let bytes = FileBytes::new(&mut reader, &body);
                artifacts.put_reader(bytes)?;
            }
            Item::End(_) => return Ok(()),
        }
    }
}

/// An epoch that the original will not come to, and that another restore of the same backup will
/// hardly choose too.
fn later_epoch(epoch: u64) -> u64 {
    let gap = u64::from(EPOCH_GAP_COUNT);
    let boot = (epoch >> 32) + gap + u64::from(uuid::Uuid::new_v4().as_u128() as u32) % gap;
    boot << 32
}

fn must_be_empty(dir: &Path) -> Result<(), MaintenanceError> {
    let failed = MaintenanceError::io("read", dir);
    for entry in fs::read_dir(dir).map_err(&failed)? {
        let name = entry.map_err(&failed)?.file_name();
        // The lock is ours; what a restore left behind that was cut off is made anew; and the root
        // of a file system is never quite empty.
        if ["lock", RESTORING, "lost+found"].iter().any(|ours| name == *ours) {
            continue;
        }
        let found = name.to_string_lossy().into_owned();
        return Err(MaintenanceError::NotEmpty { dir: dir.to_owned(), found });
    }
    Ok(())
}

/// Does what blocks on a thread where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MaintenanceError> + Send + 'static,
) -> Result<T, MaintenanceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(StoreError::Unreadable(format!("it did not finish: {error}")).into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use super::super::backup::{BackupOptions, backup_stream, save_backup};
    use super::super::testing::{block_on, contents, filled, quietly};
    use super::*;

    async fn backed_up(dir: &Path) -> PathBuf {
        let (path, file) = (dir.to_owned(), dir.join("backup"));
        let store = blocking(move || Ok(SledStore::open(&path)?)).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let artifacts = Arc::new(ArtifactStore::open(dir.join("artifacts")).unwrap());
        let options = BackupOptions { artifacts: true, progress: quietly() };
        let stream = backup_stream(Arc::clone(&store), artifacts, options);
        save_backup::<MaintenanceError>(stream, &file).await.unwrap();
        store.close().await.unwrap();
        file
    }

    #[test]
    fn a_restore_that_is_cut_off_at_any_step_leaves_nothing_that_opens() {
        let steps = Mutex::new(Vec::new());
        let note = |step| {
            steps.lock().unwrap().push(step);
            Ok(())
        };
        block_on(async {
            let root = tempfile::tempdir().unwrap();
            filled(&root.path().join("original"), 4).await;
            let before = contents(&root.path().join("original")).await;
            let file = backed_up(&root.path().join("original")).await;
            let whole = root.path().join("whole");
            restore_until(&file, &whole, quietly(), &note).await.unwrap();
            assert_eq!(contents(&whole).await, before);
            let steps = steps.lock().unwrap().clone();
            assert_eq!(steps.len(), 6, "{steps:?}");
            for cut in &steps {
                let dir = root.path().join(format!("cut-{cut}"));
                let after = |step| match step == *cut {
                    true => Err(std::io::Error::other("the power is gone")),
                    false => Ok(()),
                };
                assert!(restore_until(&file, &dir, quietly(), &after).await.is_err());
                let opened = SledStore::open(&dir).map(drop).unwrap_err().to_string();
                assert!(opened.contains("did not come to its end"), "{cut}: {opened}");
                // What was moved in already is in the way of another restore, and named.
                let again = restore(&file, &dir, quietly()).await;
                if ["begun", "built"].contains(cut) {
                    again.unwrap();
                    assert_eq!(contents(&dir).await, before, "{cut}");
                } else {
                    let refused = matches!(again, Err(MaintenanceError::NotEmpty { .. }));
                    assert!(refused, "{cut}");
                }
            }
        });
    }

    #[test]
    fn epochs_of_a_restored_store_come_after_all_of_the_original() {
        for epoch in [0, 1 << 32, (77 << 32) | 5] {
            let (one, two) = (later_epoch(epoch), later_epoch(epoch));
            assert!(one > epoch + (u64::from(EPOCH_GAP_COUNT - 1) << 32), "{one:x}");
            assert!(one < epoch + (u64::from(2 * EPOCH_GAP_COUNT) << 32));
            assert_eq!((one % (1 << 32), two % (1 << 32)), (0, 0), "whole openings");
        }
    }
}
