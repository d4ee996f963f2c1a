//! A data directory that was built anew takes the place of what is there, so that a crash at any
//! point leaves one or the other.
//!
//! What the next opening makes of a place that was left in the middle is in `sled_store/open.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::artifacts::{make_dir, sync_dir};
use crate::sled_store::{OLD_STORE, RESTORING, STORE, TIP, VALUES};

/// Is told after each step; a test ends the work there as a crash would.
pub(super) type AfterStep<'a> = &'a (dyn Fn(&'static str) -> io::Result<()> + Sync);

/// Puts the store that was built in `new` in the place of the one in `dir`.
pub(super) fn replace(new: &Path, dir: &Path, after: AfterStep<'_>) -> io::Result<()> {
    // Values go by their content: those of both stores can lie together.
    adopt_files(&new.join(VALUES), &dir.join(VALUES))?;
    after("values")?;
    // The tip of one store says nothing about another. Without one, nothing is compared.
    remove_if_there(&dir.join(TIP))?;
    sync_dir(dir)?;
    after("tip")?;
    fs::rename(dir.join(STORE), dir.join(OLD_STORE))?;
    sync_dir(dir)?;
    after("old store")?;
    fs::rename(new.join(STORE), dir.join(STORE))?;
    sync_dir(dir)?;
    after("new store")?;
    fs::rename(new.join(TIP), dir.join(TIP))?;
    sync_dir(dir)?;
    after("new tip")?;
    fs::remove_dir_all(dir.join(OLD_STORE))?;
    fs::remove_dir_all(new)?;
    sync_dir(dir)
}

/// Moves everything that was built in `new` into the empty directory around it; the store last.
pub(super) fn move_in(new: &Path, dir: &Path, after: AfterStep<'_>) -> io::Result<()> {
    for name in [VALUES, "artifacts", TIP, STORE] {
        fs::rename(new.join(name), dir.join(name))?;
        sync_dir(dir)?;
        after(name)?;
    }
    // Only now the directory can be opened.
    fs::remove_dir_all(new)?;
    sync_dir(dir)
}

/// Moves files that lie under the hash of their content into another such directory.
fn adopt_files(from: &Path, to: &Path) -> io::Result<()> {
    make_dir(to)?;
    for shard in shards(from)? {
        let target = to.join(shard.file_name().expect("it was read from a directory"));
        make_dir(&target)?;
        for file in fs::read_dir(&shard)? {
            let file = file?;
            fs::rename(file.path(), target.join(file.file_name()))?;
        }
        sync_dir(&target)?;
    }
    sync_dir(to)
}

/// Every file that lies under the hash of its content, with its length.
pub(super) fn content_files(root: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for shard in shards(root)? {
        for file in fs::read_dir(&shard)? {
            let file = file?;
            found.push((file.path(), file.metadata()?.len()));
        }
    }
    Ok(found)
}

/// The directories of two digits that contents are spread over.
fn shards(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().len() == 2 && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether a directory holds a store, or what was left of the work on one.
#[must_use]
pub fn holds_store(dir: &Path) -> bool {
    [STORE, OLD_STORE, RESTORING].iter().any(|name| dir.join(name).is_dir())
}

/// Bytes of all files below a directory.
pub(super) fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let known = entry.metadata()?;
        bytes += if known.is_dir() { bytes_below(&entry.path())? } else { known.len() };
    }
    Ok(bytes)
}

/// Removes a file or a directory with all that is in it.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
