//! A store is written anew, so that the room comes back which its history has taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::Progress;
use super::entry::LeftOut;
use super::error::MaintenanceError;
use super::export::{Export, Exported};
use super::import::{Definitions, WithDefinition, import};
use super::named::digests_in;
use super::place::{AfterStep, bytes_below, content_files, holds_store, remove_if_there, replace};
use super::restore::blocking;
use crate::artifacts::{Digest, make_dir, sync_dir};
use crate::sled_store::{COMPACTING, DirLock, STORE, SledStore, VALUES};
use crate::store::Store;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Jobs that were written anew.
    pub jobs: u64,
    /// Bytes of the store before.
    pub bytes_before: u64,
    /// Bytes of the store now.
    pub bytes_after: u64,
    /// Files that no record names: they are gone.
    pub files_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
}

/// Writes the store of a data directory anew and puts the new one in the place of the old one, then
/// removes the files that no record names. No engine may use the directory meanwhile. After a crash
/// the next opening finds the old store or the new one, whole, and cleans up.
///
/// # Errors
/// When the directory is in use or holds no store, when anything in it is damaged, or when writing
/// fails; then the old store is as it was.
pub async fn compact(dir: &Path, progress: Progress) -> Result<Compacted, MaintenanceError> {
    compact_until(dir, progress, &|_| Ok(())).await
}

async fn compact_until(
    dir: &Path,
    progress: Progress,
    after: AfterStep<'_>,
) -> Result<Compacted, MaintenanceError> {
    let failed = MaintenanceError::io("compact", dir);
    if !holds_store(dir) {
        return Err(MaintenanceError::NoStore(dir.to_owned()));
    }
    // Held to the end: nobody opens the old store once it was read.
    let lock = DirLock::take(dir)?;
    let old = {
        let (dir, lock) = (dir.to_owned(), lock.clone());
        blocking(move || Ok(SledStore::open_under(&dir, lock)?)).await?
    };
    let new = dir.join(COMPACTING);
    let built = build(&old, &new, progress).await;
    let closed = old.close().await;
    let Built { jobs, named } = built?;
    closed?;
    after("built").map_err(&failed)?;
    let bytes_before = bytes_below(&dir.join(STORE)).map_err(&failed)?;
    let bytes_after = bytes_below(&new.join(STORE)).map_err(&failed)?;
    let values = names(&new.join(VALUES)).map_err(&failed)?;
    replace(&new, dir, after).map_err(&failed)?;
    let values = remove_others(&dir.join(VALUES), &values);
    let (files, bytes) = values.map_err(&failed)?;
    after("old values").map_err(&failed)?;
    let (more_files, more_bytes) =
        remove_others(&dir.join("artifacts"), &named).map_err(&failed)?;
    drop(lock);
    Ok(Compacted {
        jobs,
        bytes_before,
        bytes_after,
        files_removed: files + more_files,
        bytes_removed: bytes + more_bytes,
    })
}

struct Built {
    jobs: u64,
    /// Every digest that stands in a record.
    named: BTreeSet<String>,
}

async fn build(old: &SledStore, new: &Path, progress: Progress) -> Result<Built, MaintenanceError> {
    let failed = MaintenanceError::io("make", new);
    remove_if_there(new).map_err(&failed)?;
    make_dir(new).map_err(&failed)?;
    let store = {
        let (new, epoch) = (new.to_owned(), old.epoch_bound());
        blocking(move || Ok(SledStore::create_after(&new, epoch)?)).await?
    };
    let copied = copy(old, &store, progress).await;
    let closed = store.close().await;
    let built = copied?;
    closed?;
    Ok(built)
}

async fn copy(
    old: &SledStore,
    new: &SledStore,
    progress: Progress,
) -> Result<Built, MaintenanceError> {
    let export = Export::begin(old).await?;
    let (total, done) = (export.total(), AtomicU64::new(0));
    let mut named = BTreeSet::new();
    let parts = stream::try_unfold(export, |mut export| async move {
        let part = export.next().await?;
        Ok::<_, MaintenanceError>((!part.is_empty()).then_some((part, export)))
    });
    let mut definitions = Definitions::default();
    let named_here = &mut named;
    let jobs = parts
        .map_ok(|part| {
            let jobs: Vec<Result<WithDefinition, MaintenanceError>> = part
                .into_iter()
                .filter_map(|exported| take(exported, &mut definitions, named_here).transpose())
                .collect();
            stream::iter(jobs)
        })
        .try_flatten();
    let taken = || progress("jobs", done.fetch_add(1, Ordering::Relaxed) + 1, total);
    import(new, jobs.boxed_local(), taken).await?;
    Ok(Built { jobs: total, named: named.iter().map(Digest::to_string).collect() })
}

fn take(
    exported: Exported,
    definitions: &mut Definitions,
    named: &mut BTreeSet<Digest>,
) -> Result<Option<WithDefinition>, MaintenanceError> {
    match exported {
        Exported::Definition(digest, workflow) => {
            definitions.keep(digest, *workflow);
            Ok(None)
        }
        Exported::Job(job) => {
            digests_in(&job.records, named);
            definitions.with(job).map(Some)
        }
        // What is damaged may still be mended from a backup; a new store would be without it.
        Exported::LeftOut(LeftOut { what, why }) => {
            Err(MaintenanceError::Unsound(format!("{what}: {why}")))
        }
    }
}

fn names(root: &Path) -> std::io::Result<BTreeSet<String>> {
    let files = content_files(root)?;
    Ok(files.into_iter().map(|(path, _)| name_of(&path)).collect())
}

/// Removes all files but these. With how many there were and their bytes.
fn remove_others(root: &Path, kept: &BTreeSet<String>) -> std::io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let mut changed: BTreeSet<PathBuf> = BTreeSet::new();
    for (path, size) in content_files(root)? {
        if kept.contains(&name_of(&path)) {
            continue;
        }
        fs::remove_file(&path)?;
        changed.extend(path.parent().map(Path::to_owned));
        files += 1;
        bytes += size;
    }
    for shard in changed {
        sync_dir(&shard)?;
    }
    Ok((files, bytes))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::super::testing::{block_on, contents, copy_dir, filled, quietly};
    use super::*;

    // A step that fails stops the work on the spot and cleans nothing up, as a crash would.
    #[test]
    fn a_compaction_that_is_cut_off_at_any_step_leaves_a_whole_store() {
        let steps = Mutex::new(Vec::new());
        let note = |step| {
            steps.lock().unwrap().push(step);
            Ok(())
        };
        block_on(async {
            let root = tempfile::tempdir().unwrap();
            let (filled_once, whole) = (root.path().join("filled"), root.path().join("whole"));
            filled(&filled_once, 3).await;
            let before = contents(&filled_once).await;
            copy_dir(&filled_once, &whole);
            let done = compact_until(&whole, quietly(), &note).await.unwrap();
            assert_eq!((done.jobs, done.files_removed, done.bytes_removed), (3, 1, 8));
            assert_eq!(contents(&whole).await, before);
            let steps = steps.lock().unwrap().clone();
            assert!(steps.len() >= 6, "{steps:?}");
            for cut in &steps {
                let dir = root.path().join(format!("cut {cut}"));
                copy_dir(&filled_once, &dir);
                let after = |step| match step == *cut {
                    true => Err(io::Error::other("the power is gone")),
                    false => Ok(()),
                };
                let ended = compact_until(&dir, quietly(), &after).await;
                assert!(matches!(ended, Err(MaintenanceError::Io { .. })), "{cut}: {ended:?}");
                // A second one takes up what the first left; and so does whoever opens it.
                let copy = root.path().join(format!("copy {cut}"));
                copy_dir(&dir, &copy);
                assert_eq!(compact(&copy, quietly()).await.unwrap().jobs, 3, "{cut}");
                assert_eq!(contents(&copy).await, before, "{cut}");
                assert_eq!(content_files(&copy.join("artifacts")).unwrap(), [], "{cut}");
                assert_eq!(content_files(&copy.join(VALUES)).unwrap().len(), 3, "{cut}");
                assert_eq!(contents(&dir).await, before, "cut off after `{cut}`");
                for left in [COMPACTING, crate::sled_store::OLD_STORE] {
                    assert!(!dir.join(left).exists(), "{cut}: `{left}` is cleaned up");
                }
            }
        });
    }

    #[test]
    fn nothing_is_made_where_no_store_is() {
        let root = tempfile::tempdir().unwrap();
        let ended = block_on(compact(&root.path().join("none"), quietly()));
        assert!(matches!(ended, Err(MaintenanceError::NoStore(_))), "{ended:?}");
        assert!(!root.path().join("none").exists());
    }
}
