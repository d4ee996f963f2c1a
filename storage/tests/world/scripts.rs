//! The jobs: one for every state that a job can be found in, and every event that it can hold.

use std::collections::BTreeMap;

use callsheet_engine::{Failure, JobId, Millis, Outcome, Timestamp};
use callsheet_storage::{Artifact, Digest, Idempotency};
use serde_json::{Value, json};
use uuid::Uuid;

use super::life::{lasting, transient};

/// When the first job was submitted.
const BEGINNING: i64 = 1_760_000_000_000;
const HOUR: Millis = Millis(3_600_000);

/// Every modifier that makes an event of its own.
const FILM: &str = "
name: film
description: a golden workflow
input:
  type: object
  properties: { extra: { type: boolean, default: false }, parts: {} }
steps:
  - id: fetch
    uses: test.work
    with: { source: 'https://example.org/film' }
    retry: { max_attempts: 3, initial: 1h, factor: 2, max: 4h, jitter: 0.2 }
    timeout: 10m
  - id: part
    uses: test.work
    needs: [fetch]
    for_each: '{{ input.parts }}'
    concurrency: 2
    with: { n: '{{ item }}' }
    retry: { max_attempts: 1 }
    fallback: [{ uses: test.other }]
    on_error: continue
  - { id: extra, uses: test.work, if: '{{ input.extra }}' }
  - { id: burn, uses: test.work, needs: [part], with: { film: '{{ steps.fetch.file }}' } }
output: { burnt: '{{ steps.burn }}', parts: '{{ steps.part }}' }
";

const NOTE: &str = "{ name: note, steps: [{ id: a, uses: test.work, retry: { jitter: 0 } }] }";

const PAIR: &str = "
{ name: pair, steps: [{ id: a, uses: test.work }, { id: b, uses: test.work }],
  output: '{{ steps.a }}' }";

/// The life of one job: what happens before a restart, and after it.
pub struct Script {
    pub id: JobId,
    pub workflow: &'static str,
    pub input: Value,
    pub labels: BTreeMap<String, String>,
    pub key: Option<Idempotency>,
    pub submitted_at: Timestamp,
    pub before: Vec<Turn>,
    pub after: Vec<Turn>,
}

/// What happens to a job.
pub enum Turn {
    /// The attempt at this place comes to its end.
    Ends(&'static str, Outcome),
    /// Time passes.
    Passes(Millis),
    /// Somebody cancels it.
    Cancels(Option<&'static str>),
    /// Its owner dies and another takes over.
    Dies,
}

/// All scripts, oldest job first.
pub fn all() -> Vec<Script> {
    let parts = |n: u64| json!({ "parts": (0..n).collect::<Vec<_>>() });
    let fetched = || ok("fetch", json!({ "file": film_reference() }));
    vec![
        script(0, FILM, parts(3))
            .labelled("who", "grüße\u{1F3AC}")
            .keyed("first key", "request of the first")
            .before(vec![fetched(), ok("part[1]", large("m", 9_000))])
            .after(vec![ok("part[0]", json!(0.5)), fails("part[2]", transient())]),
        script(1, FILM, parts(1)).before(vec![fails("fetch", transient())]),
        script(2, FILM, parts(2))
            .keyed("second key", "request of the second")
            .before(vec![fetched()])
            .after(vec![Turn::Cancels(Some("not wanted any more")), stopped("part[0]")]),
        script(3, FILM, json!({ "parts": [7], "extra": true }))
            .labelled("empty", "")
            .keyed("third key", "request of the third")
            .before(vec![fetched(), ok("extra", Value::Null), ok("part[0]", large("x", 12_000))])
            .after(vec![ok("burn", json!({ "files": [film_reference()] }))]),
        script(4, PAIR, json!(null)).before(vec![fails("a", lasting()), stopped("b")]),
        script(5, PAIR, json!("text")).before(vec![
            Turn::Cancels(None),
            stopped("a"),
            stopped("b"),
        ]),
        script(6, NOTE, json!({ "deep": [[[{ "n": u64::MAX, "m": i64::MIN, "half": 0.5 }]]] }))
            .before(vec![Turn::Dies, Turn::Dies])
            .after(vec![]),
        script(7, FILM, json!({ "parts": "no list" })).before(vec![fetched()]),
        script(8, wide(), json!({})).before(vec![released("a"), Turn::Passes(Millis(1))]),
        script(9, NOTE, large("i", 5_000)).keyed("fourth key", "request of the fourth"),
        script(10, NOTE, json!({ "again": true })).before(vec![
            fails("a", transient()),
            Turn::Passes(HOUR),
            ok("a", json!([])),
        ]),
    ]
}

/// What is in the film that the jobs name.
pub fn film() -> String {
    "moving pictures ".repeat(40)
}

/// How the jobs name it.
pub fn film_reference() -> Artifact {
    let (artifact, size) = (Digest::of(film().as_bytes()), film().len() as u64);
    Artifact { artifact, name: "film.mp4".into(), media_type: "video/mp4".into(), size }
}

/// A definition that is too large for the store's tree.
fn wide() -> &'static str {
    let description = "a workflow that says much about itself. ".repeat(150);
    let text = format!(
        "{{ name: wide, description: '{description}', steps: [{{ id: a, uses: test.work }}] }}"
    );
    text.leak()
}

fn large(text: &str, bytes: usize) -> Value {
    json!({ "text": text.repeat(bytes) })
}

fn ok(name: &'static str, output: Value) -> Turn {
    Turn::Ends(name, Outcome::Succeeded(output))
}

fn fails(name: &'static str, failure: Failure) -> Turn {
    Turn::Ends(name, Outcome::Failed(failure))
}

fn stopped(name: &'static str) -> Turn {
    Turn::Ends(name, Outcome::Stopped)
}

fn released(name: &'static str) -> Turn {
    Turn::Ends(name, Outcome::Released)
}

fn script(n: u64, workflow: &'static str, input: Value) -> Script {
    let submitted_at = Timestamp(BEGINNING + i64::try_from(n).unwrap() * 1_000);
    let millis = u128::try_from(submitted_at.0).unwrap();
    let id = (millis << 80) | 0x7000_8000_0000_0000_0000 | (u128::from(n) * 0x0101_0101);
    Script {
        id: JobId(Uuid::from_u128(id)),
        workflow,
        input,
        labels: BTreeMap::new(),
        key: None,
        submitted_at,
        before: Vec::new(),
        after: Vec::new(),
    }
}

impl Script {
    fn labelled(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    fn keyed(self, key: &str, request: &str) -> Self {
        let key = Some(Idempotency { key: key.to_owned(), request: request.to_owned() });
        Self { key, ..self }
    }

    fn before(self, before: Vec<Turn>) -> Self {
        Self { before, ..self }
    }

    fn after(self, after: Vec<Turn>) -> Self {
        Self { after, ..self }
    }
}
