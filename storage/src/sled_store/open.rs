//! Opening a data directory, in the order that survives what may have happened to it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sled::Db;

use super::cache::cache_capacity;
use super::codec::{Codec, Content, MetaBody};
use super::envelope::FORMAT;
use super::format_1;
use super::history;
use super::keys;
use super::lock::{DirLock, wait_until_free};
use super::log::index::Index;
use super::log::rebuild::Rebuild;
use super::log::watermark::Batches;
use super::medium::open_db_file;
use super::room::Ballast;
use super::tip::{Tip, TipFile};
use crate::artifacts::{ArtifactStore, make_dir, sync_dir, sync_parent};
use crate::error::StoreError;
use crate::limits::{CLEANING_INTERVAL_MS, RELEASE_WAIT_MS};

/// Name of sled's own directory.
pub(crate) const STORE: &str = "store";
/// Name of the file that names the last acknowledged record.
pub(crate) const TIP: &str = "tip";
/// Name of the directory of values that are too large for the tree.
pub(crate) const VALUES: &str = "values";
/// Name of the store that a compaction is about to remove.
pub(crate) const OLD_STORE: &str = "old-store";
/// Name of the directory in which a compaction builds the new store.
pub(crate) const COMPACTING: &str = "compacting";
/// Name of the directory in which a restore builds everything. While it is there, nothing opens.
pub(crate) const RESTORING: &str = "restoring";

/// Where things are in a data directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The data directory.
    pub(super) dir: PathBuf,
}

impl Layout {
    /// sled's own directory.
    pub(super) fn store(&self) -> PathBuf {
        self.dir.join(STORE)
    }

    /// The file that sled keeps everything in, and locks.
    pub(super) fn db_file(&self) -> PathBuf {
        self.store().join("db")
    }

    fn new_store(&self) -> PathBuf {
        self.dir.join("store.new")
    }

    fn tip(&self) -> PathBuf {
        self.dir.join(TIP)
    }

    fn values(&self) -> PathBuf {
        self.dir.join(VALUES)
    }
}

/// An open data directory.
pub(super) struct Opened {
    pub(super) layout: Layout,
    pub(super) lock: DirLock,
    pub(super) db: Db,
    pub(super) db_file: File,
    pub(super) tip: TipFile,
    pub(super) codec: Codec,
    /// How often the store was opened, this time included.
    pub(super) boot: u32,
    /// The jobs with records in the log, and the log's batches.
    pub(super) index: Index,
    pub(super) batches: Batches,
}

/// Opens a data directory; makes one where there is none.
pub(super) fn open(dir: &Path) -> Result<Opened, StoreError> {
    make_data_dir(dir).map_err(|error| failed("make", dir, &error))?;
    open_under(dir, DirLock::take(dir)?, 0)
}

/// The same under a lock that is held already. Openings of a store that is made are counted from
/// `boot` on.
pub(super) fn open_under(dir: &Path, lock: DirLock, boot: u32) -> Result<Opened, StoreError> {
    let layout = Layout { dir: dir.to_owned() };
    let at = |what| move |error| failed(what, dir, &error);
    settle(&layout)?;
    let ballast = Ballast::in_dir(dir);
    ballast.drop_if_needed().map_err(at("make room in"))?;
    if !layout.store().exists() {
        create(&layout, boot)?;
    }
    remove_if_there(&layout.new_store()).map_err(at("clean up"))?;
    remove_strays(&layout.store()).map_err(at("clean up"))?;
    let db = open_or_retry(&layout.store())?;
    tighten(&layout.store()).map_err(at("protect"))?;
    let values = ArtifactStore::open(layout.values());
    let values = values.map_err(|error| StoreError::Open(error.to_string()))?;
    let codec = Codec::new(values);
    let tip = TipFile::open(&layout.tip()).map_err(at("open the tip in"))?;
    let db_file = open_db_file(&layout.store()).map_err(at("open the store in"))?;
    let meta = begin_boot(&db, &db_file, &codec, &layout.store())?;
    let index = Index::new(u64::from(meta.boot) << 32);
    let batches = read_log(&db, &codec, &index).map_err(|why| damaged(&layout.store(), &why))?;
    check_tip(&db, &tip, &batches, &layout.store())?;
    if let Err(error) = ballast.restore() {
        tracing::warn!(%error, "no ballast: a full disk may keep the store from opening");
    }
    let boot = meta.boot;
    Ok(Opened { layout, lock, db, db_file, tip, codec, boot, index, batches })
}

/// Ends what a compaction left in the middle, and refuses what a restore did.
fn settle(layout: &Layout) -> Result<(), StoreError> {
    let dir = &layout.dir;
    let at = |error: io::Error| failed("clean up", dir, &error);
    if dir.join(RESTORING).exists() {
        return Err(StoreError::Open(format!(
            "a restore into `{}` did not come to its end\nhint: restore again, into the same \
             directory or another one",
            dir.display()
        )));
    }
    let old = dir.join(OLD_STORE);
    if !layout.store().exists() && old.exists() {
        tracing::warn!("a compaction was cut off; the store is as it was before");
        fs::rename(&old, layout.store()).map_err(at)?;
        sync_dir(dir).map_err(at)?;
    }
    remove_if_there(&old).map_err(at)?;
    remove_if_there(&dir.join(COMPACTING)).map_err(at)
}

/// Checks what the store says of itself, moves jobs of format 1 to where they are looked for, and
/// counts this opening.
fn begin_boot(
    db: &Db,
    db_file: &File,
    codec: &Codec,
    store: &Path,
) -> Result<MetaBody, StoreError> {
    let broken = |why: String| damaged(store, &why);
    let Some(meta) = get(db, keys::META).map_err(broken)? else {
        return Err(broken("it does not say what format it has".to_owned()));
    };
    let meta: MetaBody = codec.decode_value(keys::META, &meta).map_err(broken)?;
    if meta.format > FORMAT {
        return Err(StoreError::Open(format!(
            "`{}` has format {}, this Callsheet knows {FORMAT}\nhint: use the newer Callsheet \
             that wrote it",
            store.display(),
            meta.format
        )));
    }
    let boot = meta.boot.checked_add(1).ok_or_else(|| broken("it was opened too often".into()))?;
    let is_moving = meta.is_moving || meta.format < FORMAT;
    let mut meta = MetaBody { format: FORMAT, boot, is_moving };
    let failed = |why: String| failed_to("write to", store, &why);
    // First of all: from here on an older binary must not touch it.
    write_meta(db, db_file, codec, meta).map_err(failed)?;
    if is_moving {
        format_1::move_live_jobs(db, db_file, codec).map_err(failed)?;
        meta.is_moving = false;
        write_meta(db, db_file, codec, meta).map_err(failed)?;
    }
    Ok(meta)
}

/// The tree must hold what was noted last outside it.
fn check_tip(db: &Db, tip: &TipFile, batches: &Batches, store: &Path) -> Result<(), StoreError> {
    let last = tip.read().map_err(|error| failed("read the tip of", store, &error))?;
    let lost = match last {
        Some(Tip::Record { job, sequence }) => {
            let record = get(db, &keys::record(job, sequence));
            let is_there = record.map_err(|why| damaged(store, &why))?.is_some();
            (!is_there).then(|| format!("record {sequence} of job `{job}`"))
        }
        Some(Tip::Batch(number)) => {
            let is_there = batches.last().is_some_and(|last| last >= number);
            (!is_there).then(|| format!("batch {number}"))
        }
        None => None,
    };
    match lost {
        Some(what) => Err(damaged(store, &format!("{what} was acknowledged and is lost"))),
        None => Ok(()),
    }
}

/// Reads the whole log, once.
fn read_log(db: &Db, codec: &Codec, index: &Index) -> Result<Batches, String> {
    let read = || {
        let mut rebuild = Rebuild::new();
        for entry in db.range(keys::whole_log()) {
            let (key, value) = entry.map_err(|error| error.to_string())?;
            rebuild.part(&key, &value)?;
        }
        let at_rest = |job, prefix| -> Option<Content> {
            let key = keys::head(prefix, job);
            let value = get(db, &key).ok().flatten()?;
            history::decode(&key, &value).ok().map(|at_rest| at_rest.head)
        };
        rebuild.finish(codec, index, at_rest)
    };
    let read = catch_unwind(AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err("sled panicked on a damaged page".to_owned()))
}

fn get(db: &Db, key: &[u8]) -> Result<Option<sled::IVec>, String> {
    let read = catch_unwind(AssertUnwindSafe(|| db.get(key)));
    let read = read.map_err(|_| "sled panicked on a damaged page".to_owned())?;
    read.map_err(|error| error.to_string())
}

fn write_meta(db: &Db, db_file: &File, codec: &Codec, meta: MetaBody) -> Result<(), String> {
    let value = codec.encode_value(keys::META, &meta).map_err(|error| error.to_string())?;
    let written = catch_unwind(AssertUnwindSafe(|| {
        db.insert(keys::META, value)?;
        db.flush()
    }));
    let flushed = written.map_err(|_| "sled panicked on a damaged page".to_owned())?;
    flushed.map_err(|error| error.to_string())?;
    db_file.sync_data().map_err(|error| error.to_string())
}

/// Builds a store under another name and gives it its own once it is whole and durable: sled's own
/// creation can be cut in the middle, and then neither opens nor starts over.
fn create(layout: &Layout, boot: u32) -> Result<(), StoreError> {
    let new = layout.new_store();
    let at = |error: io::Error| failed("create", &new, &error);
    remove_if_there(&new).map_err(at)?;
    // A tip without a store belongs to one that somebody took away.
    remove_if_there(&layout.tip()).map_err(at)?;
    make_dir(&new).map_err(at)?;
    let values = ArtifactStore::open(layout.values());
    let codec = Codec::new(values.map_err(|error| StoreError::Open(error.to_string()))?);
    let db = open_sled(&new).map_err(|cause| cause.into_error(&new))?;
    let file = open_db_file(&new).map_err(at)?;
    let meta = MetaBody { format: FORMAT, boot, is_moving: false };
    write_meta(&db, &file, &codec, meta).map_err(|why| failed_to("create", &new, &why))?;
    drop(db);
    wait_until_free(&new.join("db"), Duration::from_millis(RELEASE_WAIT_MS)).map_err(at)?;
    tighten(&new).map_err(at)?;
    fs::rename(&new, layout.store()).map_err(at)?;
    sync_dir(&layout.dir).map_err(at)
}

/// Why sled did not open.
#[derive(Debug)]
enum Cause {
    /// It says that its files are damaged, or panicked on them.
    Damage(String),
    /// The operating system refused, or the files are another version's.
    Other(String),
}

impl Cause {
    fn into_error(self, store: &Path) -> StoreError {
        match self {
            Self::Damage(why) => damaged(store, &why),
            Self::Other(why) => failed_to("open", store, &why),
        }
    }
}

/// Opens sled; if its files are damaged, once more without its snapshot, which only saves time.
fn open_or_retry(store: &Path) -> Result<Db, StoreError> {
    let why = match open_sled(store) {
        Ok(db) => return Ok(db),
        Err(Cause::Damage(why)) => why,
        Err(other) => return Err(other.into_error(store)),
    };
    let moved = move_snapshots_aside(store).map_err(|error| failed("clean up", store, &error))?;
    if moved == 0 {
        return Err(damaged(store, &why));
    }
    tracing::warn!(why, "the store did not open; trying again without its snapshot");
    open_sled(store).map_err(|cause| cause.into_error(store))
}

fn open_sled(store: &Path) -> Result<Db, Cause> {
    let other = |error: io::Error| Cause::Other(error.to_string());
    // We hold the directory's lock, so only threads of a store that is being closed can have it.
    let wait = Duration::from_millis(RELEASE_WAIT_MS);
    if !wait_until_free(&store.join("db"), wait).map_err(other)? {
        return Err(Cause::Other("its file is still held by a store that failed".to_owned()));
    }
    let config = sled::Config::new()
        .path(store)
        .cache_capacity(cache_capacity())
        .flush_every_ms(Some(CLEANING_INTERVAL_MS));
    // A thread of its own: what sled leaves on the stack of one that panicked goes with it.
    let opening = thread::Builder::new().name("callsheet-open".to_owned());
    let opened = opening.spawn(move || catch_unwind(AssertUnwindSafe(|| config.open())));
    match opened.map_err(other)?.join() {
        Ok(Ok(Ok(db))) => Ok(db),
        Ok(Ok(Err(error @ sled::Error::Corruption { .. }))) => {
            Err(Cause::Damage(error.to_string()))
        }
        Ok(Ok(Err(error))) => Err(Cause::Other(error.to_string())),
        Ok(Err(panic)) | Err(panic) => Err(Cause::Damage(describe(panic.as_ref()))),
    }
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    // sled prints whole pages; the first line says what is wrong.
    let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
    format!("sled panicked: {line}")
}

/// Makes a data directory that only its owner may enter.
pub(crate) fn make_data_dir(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    let is_new = make_dir(dir)?;
    if is_new {
        sync_parent(dir)?;
    }
    // A directory that holds other things is somebody's own; what we put there is closed anyway.
    if is_new || fs::read_dir(dir)?.next().is_none() {
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Removes half-written snapshots, which sled takes for whole ones.
fn remove_strays(store: &Path) -> io::Result<()> {
    for path in files_in(store, |name| name.ends_with(".generating"))? {
        tracing::warn!(file = %path.display(), "removing a half-written snapshot");
        fs::remove_file(path)?;
    }
    Ok(())
}

fn move_snapshots_aside(store: &Path) -> io::Result<usize> {
    let snapshots = files_in(store, |name| name.starts_with("snap."))?;
    for path in &snapshots {
        let name = path.file_name().expect("it was read from a directory").to_string_lossy();
        fs::rename(path, store.join(format!("aside.{name}")))?;
    }
    sync_dir(store)?;
    Ok(snapshots.len())
}

/// Closes a store's files to others, and makes them and their names durable: sled syncs neither its
/// configuration nor the directory that a snapshot is renamed in.
fn tighten(store: &Path) -> io::Result<()> {
    for path in files_in(store, |_| true)? {
        let is_dir = path.is_dir();
        let mode = if is_dir { 0o700 } else { 0o600 };
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        File::open(&path)?.sync_all()?;
    }
    fs::set_permissions(store, Permissions::from_mode(0o700))?;
    sync_dir(store)
}

fn files_in(dir: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if wanted(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn damaged(store: &Path, why: &str) -> StoreError {
    StoreError::Open(format!(
        "`{}` is damaged: {why}\nhint: restore the data directory from a backup; see \
         docs/storage.md",
        store.display()
    ))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> StoreError {
    failed_to(what, path, &error.to_string())
}

fn failed_to(what: &str, path: &Path, why: &str) -> StoreError {
    StoreError::Open(format!("cannot {what} `{}`: {why}", path.display()))
}
