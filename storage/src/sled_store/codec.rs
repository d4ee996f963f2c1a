//! Between what the engine knows and what lies under a key: MessagePack with named fields in an
//! envelope, large bodies in files of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;

use callsheet_engine::definition::Workflow;
use callsheet_engine::{Event, JobId, Timestamp, WorkflowRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::envelope::{Body, HEADER_BYTES, Kind, seal, unseal};
use crate::artifacts::{ArtifactError, ArtifactStore};
use crate::error::StoreError;
use crate::limits::{MAX_BODY_BYTES, MAX_VALUE_BYTES};
use crate::store::{JobHead, JobStatus};

/// Something that has a place in the store.
pub(super) trait Stored: Serialize + DeserializeOwned {
    /// What its envelope says.
    const KIND: Kind;
}

/// The body of a record; its job and sequence are its key.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RecordBody {
    pub(super) events: Vec<Event>,
}

/// The body of a head. Apart from [`JobHead`], so that the wire and the disk can change each for
/// itself; its job is its key.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct HeadBody {
    workflow: WorkflowRef,
    status: JobStatus,
    submitted_at: Timestamp,
    changed_at: Timestamp,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// What an idempotency key stands for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyBody {
    pub(super) job: JobId,
    pub(super) request: String,
}

/// What the store says of itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MetaBody {
    /// The newest envelope format in the store.
    pub(super) format: u8,
    /// How often the store was opened: the upper half of every epoch, so that epochs grow over
    /// restarts without a write a claim.
    pub(super) boot: u32,
}

impl Stored for RecordBody {
    const KIND: Kind = Kind::Record;
}

impl Stored for HeadBody {
    const KIND: Kind = Kind::Head;
}

impl Stored for KeyBody {
    const KIND: Kind = Kind::Key;
}

impl Stored for Workflow {
    const KIND: Kind = Kind::Definition;
}

impl Stored for MetaBody {
    const KIND: Kind = Kind::Meta;
}

impl HeadBody {
    pub(super) fn new(head: JobHead) -> Self {
        let JobHead { id: _, workflow, status, submitted_at, changed_at, labels } = head;
        Self { workflow, status, submitted_at, changed_at, labels }
    }

    pub(super) fn into_head(self, id: JobId) -> JobHead {
        let Self { workflow, status, submitted_at, changed_at, labels } = self;
        JobHead { id, workflow, status, submitted_at, changed_at, labels }
    }
}

/// Encodes and decodes; knows where large bodies go.
#[derive(Clone, Debug)]
pub(super) struct Codec {
    values: ArtifactStore,
}

/// A body that fits its envelope, or one that must be put elsewhere first, which blocks.
pub(super) enum Encoded {
    Value(Vec<u8>),
    TooLarge(Vec<u8>),
}

impl Codec {
    pub(super) fn new(values: ArtifactStore) -> Self {
        Self { values }
    }

    /// Encodes without touching a file.
    pub(super) fn encode<T: Stored>(key: &[u8], content: &T) -> Result<Encoded, StoreError> {
        let body = rmp_serde::to_vec_named(content).map_err(|error| {
            StoreError::Refused(format!("a value that has no encoding: {error}"))
        })?;
        if body.len() > MAX_BODY_BYTES {
            let found = body.len();
            let why = format!("a record of {found} bytes; it may have {MAX_BODY_BYTES}");
            return Err(StoreError::Refused(why));
        }
        if HEADER_BYTES + body.len() > MAX_VALUE_BYTES {
            return Ok(Encoded::TooLarge(body));
        }
        Ok(Encoded::Value(seal(T::KIND, key, Body::Here(&body))))
    }

    /// Encodes; a large body is durable in a file of its own when this returns. Blocks.
    pub(super) fn encode_blocking<T: Stored>(
        &self,
        key: &[u8],
        content: &T,
    ) -> Result<Vec<u8>, StoreError> {
        match Self::encode(key, content)? {
            Encoded::Value(value) => Ok(value),
            Encoded::TooLarge(body) => self.put_elsewhere(T::KIND, key, &body),
        }
    }

    /// Puts a large body into a file of its own; answers with the value that names it. Blocks.
    pub(super) fn put_elsewhere(
        &self,
        kind: Kind,
        key: &[u8],
        body: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        assert!(HEADER_BYTES + body.len() > MAX_VALUE_BYTES, "small bodies stay in the log");
        match self.values.put_bytes(body) {
            Ok(digest) => Ok(seal(kind, key, Body::Elsewhere(digest, body.len() as u64))),
            Err(ArtifactError::Full { .. }) => Err(StoreError::Full),
            // Nothing was recorded, so this one is refused and the store goes on.
            Err(error) => Err(StoreError::Unreadable(error.to_string())),
        }
    }

    /// Decodes; the error says what is wrong with the value. Blocks on a large body.
    pub(super) fn decode<T: Stored>(&self, key: &[u8], value: &[u8]) -> Result<T, String> {
        let body = match unseal(T::KIND, key, value).map_err(|error| error.to_string())? {
            Body::Here(body) => Cow::Borrowed(body),
            Body::Elsewhere(digest, length) => {
                let body = self.values.read(&digest).map_err(|error| error.to_string())?;
                if body.len() as u64 != length {
                    return Err(format!("its file has {} bytes, not {length}", body.len()));
                }
                Cow::Owned(body)
            }
        };
        rmp_serde::from_slice(&body).map_err(|error| format!("it cannot be decoded: {error}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{Failure, ItemIndex, StepIndex, Token};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn codec() -> (tempfile::TempDir, Codec) {
        let root = tempfile::tempdir().unwrap();
        let values = ArtifactStore::open(root.path().join("values")).unwrap();
        (root, Codec::new(values))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // Version 1 as it lies on disks: names of fields and variants, and how numbers are written.
    #[test]
    fn version_1_bodies_are_golden() {
        let cancelled =
            RecordBody { events: vec![Event::JobCancelled { at: Timestamp(1_700_000_000_000) }] };
        let golden =
            concat!("81a66576656e74739181ac4a6f6243616e63656c6c656481a26174cf", "0000018bcfe56800");
        assert_eq!(hex(&rmp_serde::to_vec_named(&cancelled).unwrap()), golden);
        let key = KeyBody { job: JobId::from_bytes([7; 16]), request: "r".to_owned() };
        let golden =
            concat!("82a36a6f62c41007070707070707070707070707070707", "a772657175657374a172");
        assert_eq!(hex(&rmp_serde::to_vec_named(&key).unwrap()), golden);
        let meta = MetaBody { format: 1, boot: 3 };
        let golden = "82a6666f726d617401a4626f6f7403";
        assert_eq!(hex(&rmp_serde::to_vec_named(&meta).unwrap()), golden);
        let head = HeadBody {
            workflow: WorkflowRef { name: "w".to_owned(), digest: "d".to_owned() },
            status: JobStatus::Sleeping { until: Timestamp(5) },
            submitted_at: Timestamp(1),
            changed_at: Timestamp(2),
            labels: BTreeMap::new(),
        };
        let golden = concat!(
            "85a8776f726b666c6f7782a46e616d65a177a6646967657374a164a673746174757381a8736c656570",
            "696e6781a5756e74696c05ac7375626d69747465645f617401aa6368616e6765645f617402",
            "a66c6162656c7380"
        );
        assert_eq!(hex(&rmp_serde::to_vec_named(&head).unwrap()), golden);
    }

    #[test]
    fn a_field_that_a_newer_version_adds_is_skipped() {
        #[derive(Serialize)]
        struct Later {
            job: JobId,
            request: &'static str,
            added: u32,
        }
        let job = JobId::from_bytes([1; 16]);
        let bytes = rmp_serde::to_vec_named(&Later { job, request: "r", added: 9 }).unwrap();
        let read: KeyBody = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(read, KeyBody { job, request: "r".to_owned() });
    }

    #[test]
    fn large_bodies_live_elsewhere_and_come_back() {
        let (root, codec) = codec();
        let limit = MAX_VALUE_BYTES - HEADER_BYTES;
        for size in [0, limit - 100, limit, limit + 1, 1_000_000] {
            let body = KeyBody { job: JobId::from_bytes([1; 16]), request: "x".repeat(size) };
            let value = codec.encode_blocking(b"key", &body).unwrap();
            assert!(value.len() <= MAX_VALUE_BYTES);
            assert_eq!(codec.decode::<KeyBody>(b"key", &value), Ok(body));
        }
        let body = KeyBody { job: JobId::from_bytes([1; 16]), request: "x".repeat(5_000) };
        let value = codec.encode_blocking(b"key", &body).unwrap();
        std::fs::remove_dir_all(root.path().join("values")).unwrap();
        let lost = codec.decode::<KeyBody>(b"key", &value).unwrap_err();
        assert!(lost.contains("is not stored"), "{lost}");
    }

    fn json_values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn events() -> impl Strategy<Value = Event> {
        let at = any::<i64>().prop_map(Timestamp);
        prop_oneof![
            (any::<u64>(), json_values(), at.clone()).prop_map(|(token, output, at)| {
                Event::StepSucceeded { token: Token(token), output, at }
            }),
            (any::<u32>(), prop::collection::vec(json_values(), 0..3), at.clone()).prop_map(
                |(step, items, at)| Event::StepExpanded { step: StepIndex(step), items, at }
            ),
            (any::<u32>(), ".*", at.clone()).prop_map(|(item, text, at)| Event::ItemFailed {
                step: StepIndex(0),
                item: ItemIndex(item),
                failure: Failure::retryable("a.b", text.clone()).with_hint(text),
                at,
            }),
            (prop::option::of(".*"), at)
                .prop_map(|(reason, at)| Event::CancelRequested { reason, at }),
        ]
    }

    proptest! {
        #[test]
        fn every_record_comes_back(events in prop::collection::vec(events(), 1..6)) {
            let record = RecordBody { events };
            let bytes = rmp_serde::to_vec_named(&record).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<RecordBody>(&bytes).unwrap(), record);
        }
    }

    #[test]
    fn a_definition_with_every_modifier_comes_back() {
        let workflow: Workflow = serde_json::from_value(json!({
            "name": "w",
            "input": { "type": "object" },
            "steps": [{
                "id": "a", "uses": "k", "with": { "n": 1.5, "deep": [{ "x": null }] },
                "needs": ["b"], "if": true, "for_each": "{{ input.list }}", "concurrency": 2,
                "retry": { "max_attempts": 2, "initial": "1s", "factor": 2.0, "max": "1m",
                           "jitter": 0.1 },
                "timeout": "10m", "fallback": [{ "uses": "z" }], "on_error": "continue"
            }, { "id": "b", "uses": "k", "if": "{{ input.on }}" }],
            "output": { "v": "{{ steps.a }}" }
        }))
        .unwrap();
        let (_root, codec) = codec();
        let value = codec.encode_blocking(b"D", &workflow).unwrap();
        assert_eq!(codec.decode::<Workflow>(b"D", &value), Ok(workflow));
    }
}
