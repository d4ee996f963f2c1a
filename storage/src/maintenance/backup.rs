//! An online backup: a stream of entries, made while the store goes on being used.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use callsheet_engine::Timestamp;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::Progress;
use super::entry::{
    ArtifactBody, BeginBody, Contents, DefinitionBody, Encoder, JobCopy, Kind, LeftOut, RecordsBody,
};
use super::error::MaintenanceError;
use super::export::{Export, Exported};
use super::named::{digests_in, lets_files_go, references_in};
use super::reader::check_backup;
use crate::artifacts::{ArtifactStore, Digest, sync_parent};
use crate::limits::{BACKUP_CHUNK_BYTES, BACKUP_CHUNKS_COUNT, COPY_CHUNK_BYTES};
use crate::store::{Record, Store};

/// What goes into a backup.
#[derive(Clone)]
pub struct BackupOptions {
    /// The stored files that records name, too.
    pub artifacts: bool,
    /// Is told how far it has come.
    pub progress: Progress,
}

/// A backup on its way.
pub type BackupStream = BoxStream<'static, Result<Bytes, MaintenanceError>>;

/// Begins a backup. Every job that was accepted before is in it, each as a prefix of its journal at
/// one instant. The stream ends after the last entry, or with the error that ended it; when it is
/// dropped the work stops. Needs a tokio runtime.
#[must_use]
pub fn backup_stream(
    store: Arc<dyn Store>,
    artifacts: Arc<ArtifactStore>,
    options: BackupOptions,
) -> BackupStream {
    let (sender, receiver) = mpsc::channel(BACKUP_CHUNKS_COUNT);
    tokio::spawn(async move {
        let failed = sender.clone();
        if let Err(error) = write(&*store, artifacts, options, sender).await {
            // Whoever has gone need not be told.
            let _ = failed.send(Err(error)).await;
        }
    });
    let next = |mut receiver: mpsc::Receiver<_>| async move {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    };
    stream::unfold(receiver, next).boxed()
}

/// Writes a stream to a file, which gets its name once it is whole, checked and durable. Answers
/// with what is in it and what could not be read.
///
/// # Errors
/// When there is such a file already, it cannot be written, or the stream ends with an error or
/// before its end.
pub async fn save_backup<E>(
    stream: impl Stream<Item = Result<Bytes, E>>,
    path: &Path,
) -> Result<(Contents, Vec<LeftOut>), E>
where
    E: From<MaintenanceError>,
{
    let partial = Partial::create(path)?;
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = stream.next().await {
        partial.write(&chunk?)?;
    }
    Ok(partial.finish()?)
}

/// A file that goes away unless it becomes whole.
struct Partial<'p> {
    path: &'p Path,
    temp: PathBuf,
    file: File,
    is_whole: bool,
}

impl<'p> Partial<'p> {
    fn create(path: &'p Path) -> Result<Self, MaintenanceError> {
        if path.exists() {
            return Err(MaintenanceError::Exists(path.to_owned()));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let temp = path.with_file_name(name);
        let file = claim(&temp)?;
        // Asked once more, under the lock: this may be a file that got its name just now.
        if path.exists() {
            return Err(MaintenanceError::Exists(path.to_owned()));
        }
        file.set_len(0).map_err(MaintenanceError::io("write", &temp))?;
        Ok(Self { path, temp, file, is_whole: false })
    }

    fn write(&self, chunk: &[u8]) -> Result<(), MaintenanceError> {
        (&self.file).write_all(chunk).map_err(MaintenanceError::io("write", &self.temp))
    }

    fn finish(mut self) -> Result<(Contents, Vec<LeftOut>), MaintenanceError> {
        let failed = MaintenanceError::io("write", &self.temp);
        self.file.sync_all().map_err(&failed)?;
        let checked = check_backup(&self.temp)?;
        fs::rename(&self.temp, self.path).map_err(&failed)?;
        sync_parent(self.path).map_err(&failed)?;
        drop(failed);
        self.is_whole = true;
        Ok(checked)
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// Opens a file that only one backup at a time writes.
fn claim(temp: &Path) -> Result<File, MaintenanceError> {
    // Jobs hold what their users gave them: a backup is for its owner only.
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(temp);
    let file = file.map_err(MaintenanceError::io("create", temp))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let why = io::Error::other("another backup is writing it");
            Err(MaintenanceError::io("write", temp)(why))
        }
        // Where files cannot be locked, whoever makes backups sees to it that names differ.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

type Sender = mpsc::Sender<Result<Bytes, MaintenanceError>>;

async fn write(
    store: &dyn Store,
    artifacts: Arc<ArtifactStore>,
    options: BackupOptions,
    sender: Sender,
) -> Result<(), MaintenanceError> {
    let (encoder, buffer) = Encoder::begin();
    let mut out = Out { encoder, buffer, sender };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let made_at = Timestamp(i64::try_from(now).unwrap_or(i64::MAX));
    out.pack(Kind::Begin, &BeginBody { made_at, epoch: store.epoch_bound() });
    let mut files = Files { artifacts, named: BTreeSet::new(), needed: BTreeSet::new() };
    let mut export = Export::begin(store).await?;
    let (total, mut done) = (export.total(), 0);
    loop {
        let part = export.next().await?;
        if part.is_empty() {
            break;
        }
        for exported in part {
            done += u64::from(!matches!(exported, Exported::Definition(..)));
            if let (Exported::Job(job), true) = (&exported, options.artifacts) {
                files.note(&job.records);
            }
            out.exported(exported);
            out.send_if_full().await?;
        }
        (options.progress)("jobs", done.min(total), total);
    }
    let progress = options.progress;
    let written = tokio::task::spawn_blocking(move || {
        files.write(&mut out, &progress)?;
        let Out { encoder, mut buffer, sender } = out;
        encoder.end(&mut buffer);
        sender.blocking_send(Ok(buffer.into())).map_err(|_| MaintenanceError::Abandoned)
    });
    written.await.unwrap_or(Err(MaintenanceError::Abandoned))
}

/// Entries on their way.
struct Out {
    encoder: Encoder,
    buffer: Vec<u8>,
    sender: Sender,
}

impl Out {
    fn pack(&mut self, kind: Kind, body: &impl serde::Serialize) {
        self.encoder.pack(kind, body, &mut self.buffer);
    }

    fn exported(&mut self, exported: Exported) {
        match exported {
            Exported::Definition(digest, workflow) => {
                self.pack(Kind::Definition, &DefinitionBody { digest, workflow: *workflow });
                self.encoder.contents().definitions += 1;
            }
            Exported::Job(job) => self.job(*job),
            Exported::LeftOut(left_out) => self.left_out(&left_out),
        }
    }

    fn job(&mut self, job: JobCopy) {
        self.pack(Kind::Job, &job.body());
        let contents = self.encoder.contents();
        contents.jobs += 1;
        contents.records += job.records.len() as u64;
        contents.keys += u64::from(job.key.is_some());
        for records in parts(job.records) {
            self.pack(Kind::Records, &RecordsBody { records });
        }
    }

    fn left_out(&mut self, left_out: &LeftOut) {
        self.pack(Kind::LeftOut, left_out);
        self.encoder.contents().left_out += 1;
    }

    fn take_if_full(&mut self) -> Option<Bytes> {
        (self.buffer.len() >= BACKUP_CHUNK_BYTES).then(|| std::mem::take(&mut self.buffer).into())
    }

    async fn send_if_full(&mut self) -> Result<(), MaintenanceError> {
        let Some(chunk) = self.take_if_full() else { return Ok(()) };
        self.sender.send(Ok(chunk)).await.map_err(|_| MaintenanceError::Abandoned)
    }

    fn send_if_full_blocking(&mut self) -> Result<(), MaintenanceError> {
        let Some(chunk) = self.take_if_full() else { return Ok(()) };
        self.sender.blocking_send(Ok(chunk)).map_err(|_| MaintenanceError::Abandoned)
    }
}

/// The records of a job in parts of bounded size; one large record is a part of its own.
fn parts(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut parts: Vec<Vec<Record>> = Vec::new();
    let mut room = 0;
    for record in records {
        let size = rmp_serde::to_vec_named(&record).map_or(usize::MAX, |bytes| bytes.len());
        match parts.last_mut() {
            Some(part) if size <= room => part.push(record),
            _ => {
                room = BACKUP_CHUNK_BYTES;
                parts.push(vec![record]);
            }
        }
        room = room.saturating_sub(size);
    }
    parts
}

/// The stored files that records name.
struct Files {
    artifacts: Arc<ArtifactStore>,
    /// Every digest that stands anywhere.
    named: BTreeSet<Digest>,
    /// Those that a record refers to, so that they must be there.
    needed: BTreeSet<Digest>,
}

impl Files {
    fn note(&mut self, records: &[Record]) {
        digests_in(records, &mut self.named);
        if !lets_files_go(records) {
            self.needed.extend(references_in(records).into_iter().map(|it| it.artifact));
        }
    }

    /// Writes all files. Blocks.
    fn write(&self, out: &mut Out, progress: &Progress) -> Result<(), MaintenanceError> {
        let total = self.named.len() as u64;
        for (digest, done) in self.named.iter().zip(1..) {
            // Read through before, so that a damaged file is left out and not half written.
            match self.artifacts.verify(digest) {
                Ok(path) => write_file(out, digest, &path)?,
                Err(error) if self.needed.contains(digest) => {
                    let what = format!("artifact `{digest}`");
                    out.left_out(&LeftOut { what, why: error.to_string() });
                }
                // Text that looks like a digest.
                Err(_) => {}
            }
            progress("files", done, total);
        }
        Ok(())
    }
}

fn write_file(out: &mut Out, digest: &Digest, path: &Path) -> Result<(), MaintenanceError> {
    let failed = MaintenanceError::io("read", path);
    let mut file = File::open(path).map_err(&failed)?;
    let size = file.metadata().map_err(&failed)?.len();
    out.pack(Kind::Artifact, &ArtifactBody { digest: *digest, size });
    let contents = out.encoder.contents();
    contents.artifacts += 1;
    contents.artifact_bytes += size;
    let mut left = size;
    let mut chunk = vec![0; COPY_CHUNK_BYTES];
    while left > 0 {
        let wanted =
            usize::try_from(left).map_or(COPY_CHUNK_BYTES, |left| left.min(COPY_CHUNK_BYTES));
        file.read_exact(&mut chunk[..wanted]).map_err(&failed)?;
        out.encoder.entry(Kind::Bytes, &chunk[..wanted], &mut out.buffer);
        out.send_if_full_blocking()?;
        left -= wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{block_on, filled, quietly};
    use super::*;
    use crate::sled_store::SledStore;

    #[test]
    fn two_backups_to_one_name_do_not_write_into_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b");
        let first = Partial::create(&path).unwrap();
        first.write(b"first").unwrap();
        let second = Partial::create(&path).map(|_| ()).unwrap_err().to_string();
        assert!(second.contains("b.partial") && second.contains("another backup"), "{second}");
        assert_eq!(fs::read(dir.path().join("b.partial")).unwrap(), b"first");
        drop(first);
        assert!(!dir.path().join("b.partial").exists());
    }

    #[test]
    fn what_a_killed_backup_left_is_written_anew_and_a_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        block_on(async {
            filled(&dir.path().join("data"), 2).await;
            let store = SledStore::open(&dir.path().join("data")).unwrap();
            let store: Arc<dyn Store> = Arc::new(store);
            let files = ArtifactStore::open(dir.path().join("data/artifacts")).unwrap();
            let files = Arc::new(files);
            let path = dir.path().join("b");
            fs::write(dir.path().join("b.partial"), vec![7; 1 << 20]).unwrap();
            let make = || {
                let options = BackupOptions { artifacts: true, progress: quietly() };
                backup_stream(Arc::clone(&store), Arc::clone(&files), options)
            };
            let made = save_backup::<MaintenanceError>(make(), &path).await.unwrap();
            assert_eq!(check_backup(&path).unwrap(), made);
            let bytes = fs::read(&path).unwrap();
            let again = save_backup::<MaintenanceError>(make(), &path).await;
            assert!(matches!(again, Err(MaintenanceError::Exists(_))), "{again:?}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert!(!dir.path().join("b.partial").exists());
            store.close().await.unwrap();
        });
    }
}
