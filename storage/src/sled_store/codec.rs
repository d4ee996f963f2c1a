//! Between what the engine knows and what lies in the store: MessagePack with named fields, large
//! bodies in files of their own.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use callsheet_engine::definition::Workflow;
use callsheet_engine::{Event, JobId, Timestamp, WorkflowRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::envelope::{Body, Kind, seal, seal_smaller, unseal, unseal_here};
use crate::artifacts::{ArtifactError, ArtifactStore, Digest};
use crate::error::StoreError;
use crate::limits::{MAX_BODY_BYTES, MAX_INLINE_BYTES};
use crate::store::{JobHead, JobStatus};

const HERE: u8 = 0;
const ELSEWHERE: u8 = 1;

/// An encoded record or head as it lies in the log: one byte that says what follows, and then the
/// MessagePack, or digest and length of the file that it is in. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content(Arc<[u8]>);

/// Something that has a value of its own in the store.
pub(super) trait Stored: Serialize + DeserializeOwned {
    /// What its envelope says.
    const KIND: Kind;
}

/// A record; its job and place stand beside it.
#[derive(Debug, PartialEq, Deserialize)]
struct RecordBody {
    events: Vec<Event>,
}

#[derive(Serialize)]
struct RecordRef<'a> {
    events: &'a [Event],
}

/// A head. Apart from [`JobHead`], so that the wire and the disk can change each for itself; its
/// job stands beside it.
#[derive(Debug, PartialEq, Deserialize)]
struct HeadBody {
    workflow: WorkflowRef,
    status: JobStatus,
    submitted_at: Timestamp,
    changed_at: Timestamp,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct HeadRef<'a> {
    workflow: &'a WorkflowRef,
    status: JobStatus,
    submitted_at: Timestamp,
    changed_at: Timestamp,
    labels: &'a BTreeMap<String, String>,
}

/// What an idempotency key stands for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeyBody {
    pub(super) job: JobId,
    pub(super) request: String,
}

/// What the store says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MetaBody {
    /// The newest format in the store.
    pub(super) format: u8,
    /// How often the store was opened: the upper half of every epoch, so that epochs grow over
    /// restarts without a write a claim.
    pub(super) boot: u32,
    /// Whether jobs of format 1 may still lie where format 1 had them.
    #[serde(default)]
    pub(super) is_moving: bool,
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

impl Content {
    /// What stands in a log or history. Nothing of it is looked at before it is decoded.
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// What an envelope of format 1 held.
    pub(super) fn of(body: Body<'_>) -> Self {
        match body {
            Body::Here(bytes) | Body::Packed(bytes) => Self([&[HERE], bytes].concat().into()),
            Body::Elsewhere(digest, length) => Self::elsewhere(&digest, length),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is at hand, without a file to read.
    pub(super) fn is_here(&self) -> bool {
        self.0.first() == Some(&HERE)
    }

    fn elsewhere(digest: &Digest, length: u64) -> Self {
        Self([&[ELSEWHERE], &digest.as_bytes()[..], &length.to_le_bytes()].concat().into())
    }
}

/// Encodes and decodes; knows where large bodies go.
#[derive(Clone, Debug)]
pub(super) struct Codec {
    values: ArtifactStore,
}

/// An encoded record or head, or one that must be put elsewhere first, which blocks.
#[derive(Debug)]
pub(super) enum Encoded {
    Ready(Content),
    TooLarge(Vec<u8>),
}

impl Codec {
    pub(super) fn new(values: ArtifactStore) -> Self {
        Self { values }
    }

    /// Encodes a record without touching a file.
    pub(super) fn encode_record(events: &[Event]) -> Result<Encoded, StoreError> {
        encode(&RecordRef { events })
    }

    /// Encodes a head without touching a file.
    pub(super) fn encode_head(head: &JobHead) -> Result<Encoded, StoreError> {
        let JobHead { id: _, workflow, status, submitted_at, changed_at, labels } = head;
        let (status, submitted_at, changed_at) = (*status, *submitted_at, *changed_at);
        encode(&HeadRef { workflow, status, submitted_at, changed_at, labels })
    }

    /// What was encoded, with a large body durable in a file of its own. Blocks if it is large.
    pub(super) fn settle(&self, encoded: Encoded) -> Result<Content, StoreError> {
        match encoded {
            Encoded::Ready(content) => Ok(content),
            Encoded::TooLarge(body) => {
                Ok(Content::elsewhere(&self.keep(&body)?, body.len() as u64))
            }
        }
    }

    /// Decodes a record; the error says what is wrong with it. Blocks if it is elsewhere.
    pub(super) fn record(&self, content: &Content) -> Result<Vec<Event>, String> {
        self.open::<RecordBody>(content).map(|body| body.events)
    }

    /// Decodes a job's head; the error says what is wrong with it. Blocks if it is elsewhere.
    pub(super) fn head(&self, job: JobId, content: &Content) -> Result<JobHead, String> {
        let HeadBody { workflow, status, submitted_at, changed_at, labels } = self.open(content)?;
        Ok(JobHead { id: job, workflow, status, submitted_at, changed_at, labels })
    }

    /// Encodes a value; a large one is durable in a file of its own when this returns. Blocks.
    pub(super) fn encode_value<T: Stored>(
        &self,
        key: &[u8],
        content: &T,
    ) -> Result<Vec<u8>, StoreError> {
        let mut body = Vec::new();
        write_body(&mut body, content)?;
        match seal_smaller(T::KIND, key, &body) {
            Some(value) => Ok(value),
            None => {
                let digest = self.keep(&body)?;
                Ok(seal(T::KIND, key, Body::Elsewhere(digest, body.len() as u64)))
            }
        }
    }

    /// Decodes a value; the error says what is wrong with it. Blocks on a large one.
    pub(super) fn decode_value<T: Stored>(&self, key: &[u8], value: &[u8]) -> Result<T, String> {
        let body = match unseal(T::KIND, key, value).map_err(|error| error.to_string())? {
            Body::Elsewhere(digest, length) => Cow::Owned(self.fetch(&digest, length)?),
            Body::Here(_) | Body::Packed(_) => {
                unseal_here(T::KIND, key, value).map_err(|error| error.to_string())?
            }
        };
        decode(&body)
    }

    /// Puts a large body into a file of its own, durably. Blocks.
    fn keep(&self, body: &[u8]) -> Result<Digest, StoreError> {
        match self.values.put_bytes(body) {
            Ok(digest) => Ok(digest),
            Err(ArtifactError::Full { .. }) => Err(StoreError::Full),
            // Nothing was recorded, so this one is refused and the store goes on.
            Err(error) => Err(StoreError::Unreadable(error.to_string())),
        }
    }

    fn fetch(&self, digest: &Digest, length: u64) -> Result<Vec<u8>, String> {
        let body = self.values.read(digest).map_err(|error| error.to_string())?;
        match body.len() as u64 == length {
            true => Ok(body),
            false => Err(format!("its file has {} bytes, not {length}", body.len())),
        }
    }

    fn open<T: DeserializeOwned>(&self, content: &Content) -> Result<T, String> {
        match content.0.split_first() {
            Some((&HERE, body)) => decode(body),
            Some((&ELSEWHERE, place)) => {
                let place = place.split_first_chunk::<32>();
                let place = place.and_then(|(digest, length)| {
                    let length = u64::from_le_bytes(length.try_into().ok()?);
                    Some((Digest::from_bytes(*digest), length))
                });
                let (digest, length) = place.ok_or("the name of its file is cut off")?;
                decode(&self.fetch(&digest, length)?)
            }
            Some((form, _)) => Err(format!("its form {form} is not known")),
            None => Err("it is empty".to_owned()),
        }
    }
}

fn encode(content: &impl Serialize) -> Result<Encoded, StoreError> {
    thread_local! {
        // A record is encoded here and copied once, at its exact size.
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.push(HERE);
        write_body(scratch, content)?;
        if scratch.len() <= MAX_INLINE_BYTES {
            return Ok(Encoded::Ready(Content::new(scratch)));
        }
        let mut large = std::mem::take(scratch);
        large.remove(0);
        Ok(Encoded::TooLarge(large))
    })
}

fn write_body(out: &mut Vec<u8>, content: &impl Serialize) -> Result<(), StoreError> {
    rmp_serde::encode::write_named(out, content)
        .map_err(|error| StoreError::Refused(format!("a value that has no encoding: {error}")))?;
    if out.len() > MAX_BODY_BYTES {
        let found = out.len();
        let why = format!("a record of {found} bytes; it may have {MAX_BODY_BYTES}");
        return Err(StoreError::Refused(why));
    }
    Ok(())
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(body).map_err(|error| format!("it cannot be decoded: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{Failure, ItemIndex, StepIndex, Token};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::limits::MAX_VALUE_BYTES;

    fn codec() -> (tempfile::TempDir, Codec) {
        let root = tempfile::tempdir().unwrap();
        let values = ArtifactStore::open(root.path().join("values")).unwrap();
        (root, Codec::new(values))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn ready(encoded: Result<Encoded, StoreError>) -> Content {
        match encoded.unwrap() {
            Encoded::Ready(content) => content,
            Encoded::TooLarge(body) => panic!("{} bytes are too large", body.len()),
        }
    }

    // What lies on disks: names of fields and variants, and how numbers are written. The bodies of
    // records and heads are those of format 1, behind one byte.
    #[test]
    fn bodies_are_golden() {
        let cancelled = [Event::JobCancelled { at: Timestamp(1_700_000_000_000) }];
        let golden = concat!(
            "0081a66576656e74739181ac4a6f6243616e63656c6c656481a26174cf",
            "0000018bcfe56800"
        );
        assert_eq!(hex(ready(Codec::encode_record(&cancelled)).bytes()), golden);
        let key = KeyBody { job: JobId::from_bytes([7; 16]), request: "r".to_owned() };
        let golden =
            concat!("82a36a6f62c41007070707070707070707070707070707", "a772657175657374a172");
        assert_eq!(hex(&rmp_serde::to_vec_named(&key).unwrap()), golden);
        let meta = MetaBody { format: 1, boot: 3, is_moving: true };
        let golden = "83a6666f726d617401a4626f6f7403a969735f6d6f76696e67c3";
        assert_eq!(hex(&rmp_serde::to_vec_named(&meta).unwrap()), golden);
        let old: MetaBody = rmp_serde::from_slice(&[
            0x82, 0xa6, b'f', b'o', b'r', b'm', b'a', b't', 1, 0xa4, b'b', b'o', b'o', b't', 3,
        ])
        .unwrap();
        assert_eq!(old, MetaBody { format: 1, boot: 3, is_moving: false });
        let head = JobHead {
            id: JobId::from_bytes([7; 16]),
            workflow: WorkflowRef { name: "w".to_owned(), digest: "d".to_owned() },
            status: JobStatus::Sleeping { until: Timestamp(5) },
            submitted_at: Timestamp(1),
            changed_at: Timestamp(2),
            labels: BTreeMap::new(),
        };
        let golden = concat!(
            "0085a8776f726b666c6f7782a46e616d65a177a6646967657374a164a673746174757381a8736c656570",
            "696e6781a5756e74696c05ac7375626d69747465645f617401aa6368616e6765645f617402",
            "a66c6162656c7380"
        );
        let content = ready(Codec::encode_head(&head));
        assert_eq!(hex(content.bytes()), golden);
        assert_eq!(codec().1.head(head.id, &content), Ok(head));
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

    /// Text that does not get smaller when it is packed.
    fn noise(size: usize) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&size.to_le_bytes());
        let mut bytes = vec![0; size];
        hasher.finalize_xof().fill(&mut bytes);
        bytes.iter().map(|byte| char::from(b' ' + byte % 95)).collect()
    }

    #[test]
    fn large_bodies_live_elsewhere_and_come_back() {
        let (root, codec) = codec();
        for size in [0, 100, MAX_INLINE_BYTES - 100, MAX_INLINE_BYTES, 6_000, 1_000_000] {
            let events =
                vec![Event::CancelRequested { reason: Some(noise(size)), at: Timestamp(1) }];
            let encoded = Codec::encode_record(&events).unwrap();
            let large = matches!(encoded, Encoded::TooLarge(_));
            assert_eq!(large, size >= MAX_INLINE_BYTES, "{size}");
            let content = codec.settle(encoded).unwrap();
            assert_eq!(content.is_here(), !large);
            assert!(content.bytes().len() <= MAX_INLINE_BYTES);
            assert_eq!(codec.record(&content), Ok(events));
            let body = KeyBody { job: JobId::from_bytes([1; 16]), request: noise(size) };
            let value = codec.encode_value(b"key", &body).unwrap();
            assert!(value.len() <= MAX_VALUE_BYTES);
            assert_eq!(codec.decode_value::<KeyBody>(b"key", &value), Ok(body));
        }
        let body = KeyBody { job: JobId::from_bytes([1; 16]), request: noise(9_000) };
        let value = codec.encode_value(b"key", &body).unwrap();
        std::fs::remove_dir_all(root.path().join("values")).unwrap();
        let lost = codec.decode_value::<KeyBody>(b"key", &value).unwrap_err();
        assert!(lost.contains("is not stored"), "{lost}");
    }

    #[test]
    fn what_is_no_content_is_said_to_be() {
        let (_root, codec) = codec();
        for (bytes, why) in [
            (&[][..], "it is empty"),
            (&[7, 1], "its form 7 is not known"),
            (&[ELSEWHERE, 1, 2], "the name of its file is cut off"),
            (&[HERE, 0xc1], "it cannot be decoded"),
        ] {
            let error = codec.record(&Content::new(bytes)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
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
                Event::StepSucceeded { token: Token(token), output, cached: false, at }
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
            let content = ready(Codec::encode_record(&events));
            prop_assert_eq!(codec().1.record(&content), Ok(events));
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
        let value = codec.encode_value(b"D", &workflow).unwrap();
        assert_eq!(codec.decode_value::<Workflow>(b"D", &value), Ok(workflow));
    }
}
