//! The format of a backup: a beginning, then entries with checksums, then an end that counts them.
//!
//! | bytes of an entry | what |
//! |---|---|
//! | 1 | kind |
//! | 4 | length of the body, little-endian |
//! | 4 | CRC-32C of the entry's number, kind, length and body, little-endian |
//! | rest | body: MessagePack with named fields; of kind 6 the bytes themselves |
//!
//! The number counts entries from 0 and is not written: an entry that is missing, doubled or in
//! another's place has a wrong checksum.

use std::collections::BTreeMap;

use callsheet_engine::definition::Workflow;
use callsheet_engine::{JobId, Timestamp, WorkflowRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::artifacts::Digest;
use crate::store::{JobHead, JobStatus, KeyTarget, Record};

/// What every backup begins with.
pub(super) const MAGIC: &[u8; 17] = b"callsheet backup\n";
/// The newest format that this code writes and reads.
pub(super) const VERSION: u8 = 1;
/// Bytes before the body of an entry.
pub(super) const HEADER_BYTES: usize = 9;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The first: of what it is a backup.
    Begin = 1,
    /// A definition, before the first job that runs it.
    Definition = 2,
    /// A job; its records follow.
    Job = 3,
    /// Records of the job before it.
    Records = 4,
    /// A stored file; its bytes follow.
    Artifact = 5,
    /// Bytes of the file before it.
    Bytes = 6,
    /// Something that could not be read, and so is missing here.
    LeftOut = 7,
    /// The last: what there was.
    End = 8,
}

impl Kind {
    pub(super) fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Begin,
            Self::Definition,
            Self::Job,
            Self::Records,
            Self::Artifact,
            Self::Bytes,
            Self::LeftOut,
            Self::End,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Body of [`Kind::Begin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BeginBody {
    /// When the backup was begun.
    pub(super) made_at: Timestamp,
    /// No epoch that the store gave out until then is higher.
    pub(super) epoch: u64,
}

/// Body of [`Kind::Definition`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DefinitionBody {
    pub(super) digest: String,
    pub(super) workflow: Workflow,
}

/// Body of [`Kind::Job`]. Apart from [`JobHead`], which may change for itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct JobBody {
    pub(super) id: JobId,
    pub(super) workflow: WorkflowRef,
    pub(super) status: JobStatus,
    pub(super) submitted_at: Timestamp,
    pub(super) changed_at: Timestamp,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// How many records follow.
    pub(super) records: u64,
    #[serde(default)]
    pub(super) key: Option<KeyBody>,
}

/// An idempotency key: its digest, and the hash of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyBody {
    pub(super) digest: Digest,
    pub(super) request: String,
}

/// Body of [`Kind::Records`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RecordsBody {
    pub(super) records: Vec<Record>,
}

/// Body of [`Kind::Artifact`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ArtifactBody {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// Something that a backup lacks because it could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What it is, such as a job and its id.
    pub what: String,
    /// Why it could not be read.
    pub why: String,
}

/// Body of [`Kind::End`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EndBody {
    pub(super) contents: Contents,
    /// BLAKE3 of all bytes before this entry.
    pub(super) digest: Digest,
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contents {
    /// Jobs.
    pub jobs: u64,
    /// Records of their journals.
    pub records: u64,
    /// Idempotency keys.
    pub keys: u64,
    /// Definitions.
    pub definitions: u64,
    /// Stored files.
    pub artifacts: u64,
    /// Their bytes.
    pub artifact_bytes: u64,
    /// Things that could not be read and are missing.
    pub left_out: u64,
}

/// A job with everything that is kept of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JobCopy {
    pub(super) head: JobHead,
    pub(super) records: Vec<Record>,
    /// The digest of the key it was accepted under, and the request.
    pub(super) key: Option<KeyBody>,
}

impl JobCopy {
    pub(super) fn body(&self) -> JobBody {
        let JobHead { id, workflow, status, submitted_at, changed_at, labels } = self.head.clone();
        let (records, key) = (self.records.len() as u64, self.key.clone());
        JobBody { id, workflow, status, submitted_at, changed_at, labels, records, key }
    }

    pub(super) fn new(body: JobBody, records: Vec<Record>) -> Self {
        assert_eq!(body.records, records.len() as u64, "the records were counted");
        let JobBody { id, workflow, status, submitted_at, changed_at, labels, key, .. } = body;
        let head = JobHead { id, workflow, status, submitted_at, changed_at, labels };
        Self { head, records, key }
    }
}

impl KeyBody {
    pub(super) fn new(digest: Digest, target: KeyTarget) -> Self {
        Self { digest, request: target.request }
    }
}

/// Makes entries, one after the other.
pub(super) struct Encoder {
    number: u64,
    hasher: blake3::Hasher,
    contents: Contents,
}

impl Encoder {
    /// An encoder, and the bytes before the first entry.
    pub(super) fn begin() -> (Self, Vec<u8>) {
        let bytes = [MAGIC.as_slice(), &[VERSION]].concat();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes);
        (Self { number: 0, hasher, contents: Contents::default() }, bytes)
    }

    /// Appends an entry to `out`.
    pub(super) fn entry(&mut self, kind: Kind, body: &[u8], out: &mut Vec<u8>) {
        let length = u32::try_from(body.len()).expect("bodies are bounded by MAX_ENTRY_BYTES");
        let checksum = checksum(self.number, kind as u8, length, body);
        let start = out.len();
        out.push(kind as u8);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(body);
        self.number += 1;
        self.hasher.update(&out[start..]);
    }

    /// Appends an entry whose body is MessagePack.
    pub(super) fn pack(&mut self, kind: Kind, body: &impl Serialize, out: &mut Vec<u8>) {
        let bytes = rmp_serde::to_vec_named(body).expect("these bodies have an encoding");
        self.entry(kind, &bytes, out);
    }

    /// What there was so far; whoever makes an entry counts it.
    pub(super) fn contents(&mut self) -> &mut Contents {
        &mut self.contents
    }

    /// The last entry.
    pub(super) fn end(mut self, out: &mut Vec<u8>) -> Contents {
        let digest = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        let body = EndBody { contents: self.contents, digest };
        self.pack(Kind::End, &body, out);
        self.contents
    }
}

/// The checksum of an entry.
pub(super) fn checksum(number: u64, kind: u8, length: u32, body: &[u8]) -> u32 {
    let checksum = crc32c::crc32c(&number.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &[kind]);
    let checksum = crc32c::crc32c_append(checksum, &length.to_le_bytes());
    crc32c::crc32c_append(checksum, body)
}

/// Reads the MessagePack of a body; the error is for people.
pub(super) fn unpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(body).map_err(|error| format!("it cannot be decoded: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // Version 1 as it lies in files.
    #[test]
    fn version_1_is_golden() {
        let (mut encoder, mut bytes) = Encoder::begin();
        assert_eq!(bytes, b"callsheet backup\n\x01");
        bytes.clear();
        let begin = BeginBody { made_at: Timestamp(5), epoch: 1 << 32 };
        encoder.pack(Kind::Begin, &begin, &mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden =
            concat!("0119000000fe56e119", "82a76d6164655f617405a565706f6368cf0000000100000000");
        assert_eq!(hex, golden);
    }

    #[test]
    fn kinds_are_told_apart() {
        for byte in 0..=u8::MAX {
            assert_eq!(
                Kind::of(byte).map(|kind| kind as u8),
                (1..=8).contains(&byte).then_some(byte)
            );
        }
    }

    #[test]
    fn the_number_kind_and_length_are_part_of_the_checksum() {
        let whole = checksum(3, 1, 2, b"ab");
        for other in [checksum(4, 1, 2, b"ab"), checksum(3, 2, 2, b"ab"), checksum(3, 1, 2, b"ba")]
        {
            assert_ne!(other, whole);
        }
    }
}
