//! Reads a backup, and believes nothing of it before it is checked.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::entry::{
    ArtifactBody, BeginBody, Contents, DefinitionBody, EndBody, HEADER_BYTES, JobBody, JobCopy,
    Kind, LeftOut, MAGIC, RecordsBody, VERSION, checksum, unpack,
};
use super::error::MaintenanceError;
use crate::artifacts::Digest;
use crate::limits::MAX_ENTRY_BYTES;
use crate::store::Record;

/// What a backup is made of.
#[derive(Debug)]
pub(super) enum Item {
    Begin(BeginBody),
    Definition(DefinitionBody),
    Job(Box<JobCopy>),
    /// A file; [`FileBytes`] reads it.
    Artifact(ArtifactBody),
    LeftOut(LeftOut),
    End(Contents),
}

/// Reads a backup through and checks all of it. Answers with what is in it and what could not be
/// read when it was made. Blocks.
///
/// # Errors
/// When it cannot be read, or is not what was written.
pub fn check_backup(path: &Path) -> Result<(Contents, Vec<LeftOut>), MaintenanceError> {
    let mut reader = BackupReader::open(path)?;
    let mut left_out = Vec::new();
    loop {
        match reader.next()? {
            Item::Artifact(body) => {
                let copied = io::copy(&mut FileBytes::new(&mut reader, &body), &mut io::sink());
                copied.map_err(|error| reader.explain(error))?;
            }
            Item::LeftOut(what) => left_out.push(what),
            Item::End(contents) => return Ok((contents, left_out)),
            Item::Begin(_) | Item::Definition(_) | Item::Job(_) => {}
        }
    }
}

/// A backup that is being read.
pub(super) struct BackupReader<R> {
    from: R,
    /// How many entries were read.
    number: u64,
    /// Where the entry begins that is being read, and where the next one does.
    entry_at: u64,
    at: u64,
    hasher: blake3::Hasher,
    contents: Contents,
    /// Why a file could not be read, until somebody asks.
    failure: Option<MaintenanceError>,
}

impl BackupReader<BufReader<File>> {
    pub(super) fn open(path: &Path) -> Result<Self, MaintenanceError> {
        let file = File::open(path).map_err(MaintenanceError::io("read", path))?;
        Self::new(BufReader::new(file))
    }
}

impl<R: Read> BackupReader<R> {
    pub(super) fn new(mut from: R) -> Result<Self, MaintenanceError> {
        let mut start = [0; MAGIC.len() + 1];
        let read = read_up_to(&mut from, &mut start).map_err(cannot_read)?;
        if !start[..read].starts_with(&MAGIC[..read.min(MAGIC.len())]) || read == 0 {
            return Err(MaintenanceError::NoBackup);
        }
        if read < start.len() {
            return Err(MaintenanceError::Cut(read as u64));
        }
        match start[MAGIC.len()] {
            VERSION => {}
            newer if newer > VERSION => return Err(MaintenanceError::Newer(newer)),
            _ => return Err(MaintenanceError::NoBackup),
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&start);
        let (at, contents) = (start.len() as u64, Contents::default());
        Ok(Self { from, number: 0, entry_at: at, at, hasher, contents, failure: None })
    }

    /// The next item; the last is [`Item::End`].
    pub(super) fn next(&mut self) -> Result<Item, MaintenanceError> {
        let before = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        let (kind, body) = self.entry()?;
        if (self.number == 1) != (kind == Kind::Begin) {
            return Err(self.damaged("the beginning is in a wrong place"));
        }
        let unpacked = |why: String| self.damaged(why);
        match kind {
            Kind::Begin => Ok(Item::Begin(unpack(&body).map_err(unpacked)?)),
            Kind::Definition => {
                let body = unpack(&body).map_err(unpacked)?;
                self.contents.definitions += 1;
                Ok(Item::Definition(body))
            }
            Kind::Job => {
                let body = unpack(&body).map_err(unpacked)?;
                Ok(Item::Job(Box::new(self.job(body)?)))
            }
            Kind::Artifact => {
                let body: ArtifactBody = unpack(&body).map_err(unpacked)?;
                self.contents.artifacts += 1;
                self.contents.artifact_bytes += body.size;
                Ok(Item::Artifact(body))
            }
            Kind::LeftOut => {
                let body = unpack(&body).map_err(unpacked)?;
                self.contents.left_out += 1;
                Ok(Item::LeftOut(body))
            }
            Kind::End => {
                let end: EndBody = unpack(&body).map_err(unpacked)?;
                self.end(&end, before)
            }
            Kind::Records | Kind::Bytes => Err(self.damaged("records or bytes of nothing")),
        }
    }

    /// What an error of [`FileBytes`] stands for.
    pub(super) fn explain(&mut self, error: io::Error) -> MaintenanceError {
        self.failure.take().unwrap_or_else(|| cannot_read(error))
    }

    fn job(&mut self, body: JobBody) -> Result<JobCopy, MaintenanceError> {
        let mut records: Vec<Record> = Vec::new();
        while (records.len() as u64) < body.records {
            let (kind, bytes) = self.entry()?;
            if kind != Kind::Records {
                return Err(self.damaged(format!("job `{}` has too few records", body.id)));
            }
            let part: RecordsBody = unpack(&bytes).map_err(|why| self.damaged(why))?;
            if part.records.is_empty() {
                return Err(self.damaged("a part without records"));
            }
            records.extend(part.records);
        }
        let in_order = records.iter().zip(0..).all(|(record, n)| record.sequence == n);
        if records.len() as u64 != body.records || body.records == 0 || !in_order {
            return Err(self.damaged(format!("the records of job `{}` are not whole", body.id)));
        }
        self.contents.jobs += 1;
        self.contents.records += body.records;
        self.contents.keys += u64::from(body.key.is_some());
        Ok(JobCopy::new(body, records))
    }

    fn end(&mut self, end: &EndBody, before: Digest) -> Result<Item, MaintenanceError> {
        if end.digest != before {
            return Err(self.damaged("its digest is another one's"));
        }
        if end.contents != self.contents {
            return Err(self.damaged("it does not hold what it says"));
        }
        let mut more = [0];
        match read_up_to(&mut self.from, &mut more).map_err(cannot_read)? {
            0 => Ok(Item::End(self.contents)),
            _ => Err(self.damaged("something follows its end")),
        }
    }

    fn entry(&mut self) -> Result<(Kind, Vec<u8>), MaintenanceError> {
        self.entry_at = self.at;
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header)?;
        let [kind, a, b, c, d, e, f, g, h] = header;
        let (length, expected) =
            (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length as usize > MAX_ENTRY_BYTES {
            return Err(self.damaged(format!("an entry of {length} bytes")));
        }
        let mut body = vec![0; length as usize];
        self.fill(&mut body)?;
        if checksum(self.number, kind, length, &body) != expected {
            return Err(self.damaged("its checksum is wrong"));
        }
        let kind =
            Kind::of(kind).ok_or_else(|| self.damaged(format!("an entry of kind {kind}")))?;
        self.hasher.update(&header);
        self.hasher.update(&body);
        self.number += 1;
        Ok((kind, body))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), MaintenanceError> {
        let read = read_up_to(&mut self.from, bytes).map_err(cannot_read)?;
        self.at += read as u64;
        if read == bytes.len() { Ok(()) } else { Err(MaintenanceError::Cut(self.at)) }
    }

    fn damaged(&self, why: impl Into<String>) -> MaintenanceError {
        MaintenanceError::Damaged { at: self.entry_at, why: why.into() }
    }
}

/// The bytes of one file in a backup, checked as a whole when the last is read.
pub(super) struct FileBytes<'r, R> {
    reader: &'r mut BackupReader<R>,
    digest: Digest,
    left: u64,
    chunk: Vec<u8>,
    taken: usize,
    hasher: blake3::Hasher,
}

impl<'r, R: Read> FileBytes<'r, R> {
    pub(super) fn new(reader: &'r mut BackupReader<R>, file: &ArtifactBody) -> Self {
        let (chunk, hasher) = (Vec::new(), blake3::Hasher::new());
        Self { reader, digest: file.digest, left: file.size, chunk, taken: 0, hasher }
    }

    fn next_chunk(&mut self) -> Result<(), MaintenanceError> {
        let (kind, bytes) = self.reader.entry()?;
        if kind != Kind::Bytes || bytes.is_empty() || bytes.len() as u64 > self.left {
            return Err(self.reader.damaged(format!("artifact `{}` is not whole", self.digest)));
        }
        self.hasher.update(&bytes);
        self.left -= bytes.len() as u64;
        let found = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        if self.left == 0 && found != self.digest {
            return Err(self.reader.damaged(format!("artifact `{}` holds `{found}`", self.digest)));
        }
        (self.chunk, self.taken) = (bytes, 0);
        Ok(())
    }
}

impl<R: Read> Read for FileBytes<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let is_used_up = self.taken == self.chunk.len() && self.left > 0;
        if is_used_up && let Err(error) = self.next_chunk() {
            let told = io::Error::other(error.to_string());
            self.reader.failure = Some(error);
            return Err(told);
        }
        let count = out.len().min(self.chunk.len() - self.taken);
        out[..count].copy_from_slice(&self.chunk[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// Fills as much as there is.
fn read_up_to(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match from.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn cannot_read(source: io::Error) -> MaintenanceError {
    MaintenanceError::Io { what: "read", path: "the backup".into(), source }
}
