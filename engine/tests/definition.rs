//! Definitions as users write them: what loads, and what is said about what does not.

#![allow(missing_docs, clippy::unwrap_used)]

use callsheet_engine::Plan;
use callsheet_engine::definition::{Catalog, Effect, KindInfo};
use serde_json::{Value, json};

fn kind(name: &str, input_schema: Value, output_schema: Value) -> KindInfo {
    KindInfo {
        name: name.to_owned(),
        description: String::new(),
        effect: Effect::Idempotent,
        input_schema,
        output_schema,
    }
}

/// Kinds with schemas as the real ones have them.
fn catalog() -> Catalog {
    let file = json!({ "type": "object", "properties": { "file": { "type": "string" } },
                       "additionalProperties": false });
    let words = json!({ "type": "object", "properties": { "segments": { "type": "array" } },
                        "additionalProperties": false });
    let mut catalog = Catalog::default();
    for kind in [
        kind(
            "media.fetch",
            json!({ "type": "object", "required": ["source"], "additionalProperties": false,
                    "properties": {
                        "source": { "type": "string", "description": "A path or an URL." },
                        "max_bytes": { "type": ["string", "integer"] },
                        "mode": { "enum": ["copy", "link"] } } }),
            file.clone(),
        ),
        kind(
            "speech.transcribe",
            json!({ "type": "object", "required": ["media"], "additionalProperties": false,
                    "properties": { "media": { "type": "string" },
                                    "words": { "type": "integer", "minimum": 1, "maximum": 12 } } }),
            words.clone(),
        ),
        kind("speech.transcribe.offline", json!({ "type": "object" }), words),
        kind(
            "ffmpeg.burn_subtitles",
            json!({ "type": "object", "required": ["video", "captions"],
                    "properties": { "video": { "type": "string" }, "captions": {} } }),
            file,
        ),
    ] {
        catalog.insert(kind);
    }
    catalog
}

/// The example of the design, without the words that this version does not know.
const CAPTION: &str = r#"
name: caption
description: Transcribe a video and burn the captions in.
input:                                   # JSON Schema, checked at submit
  type: object
  required: [video]
  properties:
    video: { type: string }
    words_per_line: { type: integer, default: 3, minimum: 1, maximum: 12 }
steps:
  - id: fetch
    uses: media.fetch
    with: { source: "{{ input.video }}", max_bytes: 100MiB }
  - id: transcribe
    uses: speech.transcribe
    with: { media: "{{ steps.fetch.file }}" }
    retry: { max_attempts: 5, initial: 1s, factor: 2, max: 1m, jitter: 0.2 }
    timeout: 10m
    fallback: [ { uses: speech.transcribe.offline } ]
  - id: burn
    uses: ffmpeg.burn_subtitles
    with: { video: "{{ steps.fetch.file }}", captions: "{{ steps.transcribe.segments }}" }
output: { video: "{{ steps.burn.file }}" }
"#;

fn problems(text: &str) -> String {
    match Plan::load(text, &catalog()) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn show() {
    println!("{}", problems(CAPTION));
    for text in [
        &CAPTION.replace("    with: { video", "    queue: ffmpeg\n    with: { video"),
        "\
name: five mistakes
steps:
  - id: fetch
    uses: media.fetsh
    with: { source: x }
  - id: cut
    uses: media.fetch
    timeuot: 5m
    with: { sourc: y }
  - id: burn
    uses: ffmpeg.burn_subtitles
    timeout: 90
    with: { video: '{{ steps.fecth.file }}', captions: '{{ steps.cut.nothing }}' }
    if: steps.cut.file ==
",
        "name: x\nsteps:\n\t- id: a\n",
        "name: x\nsteps:\n  - id: a\n    with: { source: {{ input.video }} }\n",
        "name: x\nsteps: [\n  { id: a, uses: b }\n",
        "name: x\nname: y\nsteps: []\n",
        "",
        "[]",
        "name: x: y\n",
        "name: x\nsteps:\n  - id: a\n   uses: b\n",
        "name: x\nsteps:\n  - { id: a, uses: media.fetch, with: {source: '{{ steps.b.file }}'} }\n  - { id: b, uses: media.fetch, with: {source: '{{ steps.c.file }}'} }\n  - { id: c, uses: media.fetch, with: {source: '{{ steps.a.file }}'} }",
        "name: x\nsteps:\n  - { id: a, uses: media.fetch, with: {source: '{{ steps.a.file }}'}, if: 'x|uper', concurrency: 3 }\n",
        "{\"name\": \"x\", \"steps\": [{\"id\":\"a\",\"uses\":\"media.fetch\",\n\t\"with\":{\"source\":\"\\ud83d\\ude00 \\/ a\"}}]}",
        "name: x\ninput: { video: { type: string } }\nsteps:\n  - { id: a, uses: media.fetch, with: {source: 3, mode: cpoy} }\n",
    ] {
        println!("=====\n{text}\n-----\n{}", problems(text));
    }
}
