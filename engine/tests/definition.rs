//! Definitions as users write them: what loads, and what is said about what does not.

#![allow(missing_docs, clippy::unwrap_used)]

use callsheet_engine::definition::{Catalog, Effect, KindInfo, Problem};
use callsheet_engine::{Millis, Plan};
use serde_json::{Value, json};

fn kind(name: &str, input_schema: Value, output_schema: Value) -> KindInfo {
    KindInfo {
        name: name.to_owned(),
        description: String::new(),
        effect: Effect::Idempotent,
        probes: false,
        cache: None,
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
                                    "words": { "type": "integer" } } }),
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

/// What is said of a definition.
fn problems(text: &str) -> Vec<Problem> {
    Plan::load(text, &catalog()).err().map(|problems| problems.0).unwrap_or_default()
}

#[test]
fn the_example_of_the_design_loads() {
    let plan = Plan::load(CAPTION, &catalog()).unwrap();
    let ids: Vec<&str> = plan.steps().iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["fetch", "transcribe", "burn"]);
    let burn = plan.step(plan.index_of("burn").unwrap());
    let needs: Vec<usize> = burn.needs.iter().map(|index| index.at()).collect();
    assert_eq!(needs, [0, 1]);
    let transcribe = plan.step(plan.index_of("transcribe").unwrap());
    assert_eq!(transcribe.timeout, Millis(600_000));
    assert_eq!(transcribe.retry.max, Millis(60_000));
    assert_eq!(transcribe.candidates[1].uses, "speech.transcribe.offline");
    let input = plan.accept_input(json!({ "video": "talk.mp4" })).unwrap();
    assert_eq!(input, json!({ "video": "talk.mp4", "words_per_line": 3 }));
}

#[test]
fn words_that_are_not_supported_yet_are_said_to_be() {
    let text = CAPTION.replace("    with: { video", "    queue: ffmpeg\n    with: { video");
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "22:5: unknown field `queue` [definition.unknown_field] at `steps[2].queue`\n  \
         hint: `queue` is not supported yet; remove it"
    );
}

#[test]
fn five_mistakes_are_five_problems() {
    let text = "\
name: captions
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
    with: { video: '{{ steps.fecth.file }}', captions: '{{ steps.cut.file }}' }
";
    let said: Vec<String> = problems(text).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "4:11: unknown step kind `media.fetsh` [definition.unknown_kind] at `steps[0].uses`\n  \
         hint: did you mean `media.fetch`?",
            "8:5: unknown field `timeuot` [definition.unknown_field] at `steps[1].timeuot`\n  \
         hint: did you mean `timeout`?",
            "9:13: unknown field `sourc` [with.unknown_field] at `steps[1].with.sourc`\n  \
         hint: did you mean `source`?",
            "12:14: `timeout` is the number `90`, not a length of time [definition.bad_duration] \
             at \
         `steps[2].timeout`\n  hint: give the unit: `90s` or `90ms`",
            "13:20: unknown step `fecth` [definition.unknown_step] at `steps[2].with.video`\n  \
         hint: did you mean `fetch`?",
        ]
    );
}

#[test]
fn problems_of_text_and_of_meaning_come_in_the_order_of_the_text() {
    let text = "\
name: captions
name: twice
steps:
  - { id: a, uses: media.fetch, with: { source: 3 } }
  - { id: b, uses: media.fetch, with: { source: x }, if: 'steps.a.file ==' }
  - { id: c, uses: media.fetch, with: { source: {{ input.video }} } }
output: '{{ steps.d }}'
";
    let found = problems(text);
    let codes: Vec<(u64, &str)> =
        found.iter().map(|problem| (problem.line.unwrap(), problem.code.as_str())).collect();
    assert_eq!(
        codes,
        [
            (2, "definition.duplicate_field"),
            (4, "with.invalid"),
            (5, "expression.syntax"),
            (6, "definition.syntax"),
            (7, "definition.unknown_step"),
        ]
    );
}

#[test]
fn a_problem_inside_an_expression_is_pointed_at() {
    let text = "\
name: captions
steps:
  - id: a
    uses: media.fetch
    with: { source: 'x {{ input.a | uper }}' }
  - id: b
    uses: media.fetch
    with:
      source: |
        first
        {{ input.b | lowr }}
";
    let places: Vec<(u64, u64, String)> = problems(text)
        .into_iter()
        .map(|problem| (problem.line.unwrap(), problem.column.unwrap(), problem.hint.unwrap()))
        .collect();
    assert_eq!(
        places,
        [(5, 37, "did you mean `upper`?".to_owned()), (11, 22, "did you mean `lower`?".to_owned()),]
    );
}

#[test]
fn json_is_accepted_as_text() {
    let plan = Plan::load(CAPTION, &catalog()).unwrap();
    for text in [
        serde_json::to_string(plan.workflow()).unwrap(),
        serde_json::to_string_pretty(plan.workflow()).unwrap().replace("  ", "\t"),
    ] {
        assert_eq!(Plan::load(&text, &catalog()).unwrap(), plan);
    }
}
