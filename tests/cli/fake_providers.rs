//! `callsheet fake-providers` over HTTP: what it answers, what it refuses, what it breaks on
//! purpose, what it counts; and how the real client takes it.

use std::path::Path;
use std::process::Command;

use callsheet::media::{MediaOptions, OpenAi, step_kinds};
use callsheet::{Engine, Failure, Submit};
use serde_json::{Value, json};

use super::fakes::{Fake, KEY};
use super::world::{Finished, callsheet, finish};

const MODEL: (&str, &str) = ("model", "whisper-1");
const VERBOSE: (&str, &str) = ("response_format", "verbose_json");
const WORDS: (&str, &str) = ("timestamp_granularities[]", "word");

fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_transcript_comes_in_every_form_and_is_counted_by_its_content() {
    let dir = place();
    let fake = Fake::start(dir.path(), &["--text", "Hello, world."]);
    let verbose = fake.transcribe(b"RIFF", &[MODEL, VERBOSE, WORDS], &[]);
    assert_eq!(verbose.status, 200, "{verbose:?}");
    assert!(verbose.head.contains("content-type: application/json"), "{}", verbose.head);
    let verbose = verbose.json();
    let words = json!([
        { "word": "Hello", "start": 0.0, "end": 0.4 }, { "word": "world", "start": 0.5, "end": 0.9 }
    ]);
    assert_eq!((&verbose["words"], &verbose["text"]), (&words, &json!("Hello, world.")));
    assert_eq!((&verbose["task"], &verbose["duration"]), (&json!("transcribe"), &json!(1.0)));
    for (format, expected) in [
        ("text", "Hello, world.\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:00,900\nHello world\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:00.900\nHello world\n\n"),
    ] {
        let answer = fake.transcribe(b"RIFF", &[MODEL, ("response_format", format)], &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{format}");
    }
    let german = fake.transcribe(b"RIFF", &[MODEL, VERBOSE, ("language", "de")], &[]);
    assert_eq!(german.json()["language"], "german");
    fake.transcribe(b"RIFF", &[MODEL, VERBOSE, WORDS], &[("idempotency-key", "once")]);

    let calls = fake.calls();
    assert_eq!((&calls["calls"], &calls["paid"]), (&json!(6), &json!(6)));
    assert_eq!(calls["routes"]["POST /v1/audio/transcriptions"]["paid"], 6);
    let log = calls["log"].as_array().unwrap();
    assert_eq!(log[0]["body"], log[5]["body"]);
    assert_ne!(log[0]["body"], log[1]["body"]);
    assert_eq!(calls["bodies"][log[0]["body"].as_str().unwrap()], json!({ "calls": 2, "paid": 2 }));
    assert_eq!(log[5]["idempotency_key"], "once");
    assert!(log.iter().all(|call| call["outcome"] == "answered"), "{calls}");
    fake.forget();
    assert_eq!(fake.calls()["log"], json!([]));
}

#[test]
fn what_the_service_refuses_is_refused_in_its_words_and_not_paid() {
    let dir = place();
    let fake = Fake::start(dir.path(), &["--text", "hello"]);
    let no_key = [("authorization", "")];
    let wrong_key = [("authorization", "Bearer sk-canary-0123456789")];
    let large = vec![0; 25 * 1024 * 1024];
    let url = "/v1/audio/transcriptions";
    let key = format!("Bearer {KEY}");
    let key = ("authorization", key.as_str());
    let error = |answer: super::fakes::Answer| (answer.status, answer.json()["error"].clone());
    for ((status, error), expected, code) in [
        (error(fake.transcribe(b"R", &[MODEL], &no_key)), 401, Value::Null),
        (error(fake.transcribe(b"R", &[MODEL], &wrong_key)), 401, json!("invalid_api_key")),
        (error(fake.transcribe(&large, &[MODEL], &[])), 413, Value::Null),
        (error(fake.transcribe(b"R", &[("model", "other")], &[])), 404, json!("model_not_found")),
        (error(fake.transcribe(b"R", &[], &[])), 400, Value::Null),
        (error(fake.transcribe(b"", &[MODEL], &[])), 400, json!("audio_too_short")),
        (
            error(fake.transcribe(b"R", &[("model", "gpt-4o-transcribe"), VERBOSE], &[])),
            400,
            json!("unsupported_value"),
        ),
        (error(fake.ask("POST", url, &[key], b"{}")), 400, Value::Null),
        (error(fake.ask("GET", url, &[key], b"")), 405, json!("method_not_supported")),
        (error(fake.ask("POST", "/v1/chat/completions", &[key], b"{}")), 404, Value::Null),
    ] {
        assert_eq!((status, &error["code"]), (expected, &code), "{error}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
        assert!(error["type"].is_string() && error.as_object().unwrap().contains_key("param"));
        assert!(!error.to_string().contains("canary-0123"), "a key is shown: {error}");
    }
    assert_eq!(fake.calls()["paid"], 0, "{}", fake.calls());
}

#[test]
fn faults_befall_the_calls_that_they_are_for() {
    let dir = place();
    let script = "faults:\n  - { calls: 3, fault: '429:1500ms' }\n  - { calls: 4, fault: 429 }\n";
    std::fs::write(dir.path().join("faults.yaml"), script).unwrap();
    let faults = ["--fault", "1-2=500", "--fault", "5=quota", "--fault", "6=cut"];
    let more = ["--fault", "7=html", "--script", "faults.yaml", "--text", "one two three"];
    let fake = Fake::start(dir.path(), &[&faults[..], &more].concat());
    let ask = |headers: &[(&str, &str)]| fake.transcribe(b"R", &[MODEL, VERBOSE], headers);
    for (n, status, code) in [
        (1, 500, Value::Null),
        (2, 500, Value::Null),
        (3, 429, json!("rate_limit_exceeded")),
        (4, 429, json!("rate_limit_exceeded")),
        (5, 429, json!("insufficient_quota")),
    ] {
        let answer = ask(&[]);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &code), "{n}");
        assert_eq!(answer.head.contains("retry-after: 2"), n == 3, "{n}: {}", answer.head);
    }
    let cut = ask(&[]);
    let length = cut.head.split("content-length: ").nth(1).unwrap();
    let length: usize = length.lines().next().unwrap().parse().unwrap();
    assert_eq!((cut.status, cut.body.len()), (200, length / 2));
    let page = ask(&[]);
    assert!(page.status == 200 && page.head.contains("text/html"), "{page:?}");
    assert_eq!(ask(&[]).status, 200);
    assert_eq!(ask(&[("x-fake-fault", "503")]).status, 503);
    assert_eq!(ask(&[("x-fake-fault", "delay:10ms")]).status, 200);
    let wrong = ask(&[("x-fake-fault", "explode")]);
    assert!(wrong.text().contains("`explode` is no fault"), "{wrong:?}");

    let calls = fake.calls();
    let outcomes: Vec<&str> =
        calls["log"].as_array().unwrap().iter().map(|it| it["outcome"].as_str().unwrap()).collect();
    let refused = ["refused"; 5];
    let rest = ["cut", "answered", "answered", "refused", "answered", "refused"];
    assert_eq!(outcomes, [&refused[..], &rest].concat());
    // The cut answer was worked out; the page came from something in between.
    assert_eq!(calls["paid"], 3, "{calls}");
}

#[test]
fn a_client_that_goes_away_has_paid_all_the_same() {
    let dir = place();
    let fake = Fake::start(dir.path(), &["--text", "hello", "--fault", "all=delay:1m"]);
    let base_url = fake.base_url();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = engine(&base_url).await;
        let job = submit(&engine, 60_000).await;
        until(|| fake.calls()["paid"] == 1).await;
        assert_eq!(fake.calls()["log"][0]["outcome"], "open");
        job.cancel(None).await.unwrap();
        until(|| fake.calls()["log"][0]["outcome"] == "abandoned").await;
        assert_eq!(fake.calls()["paid"], 1);
        job.wait().await.unwrap();
    });
}

/// The step `speech.transcribe`, with its real client, on a second of sound.
#[test]
fn the_real_client_takes_its_faults_for_what_they_are() {
    let dir = place();
    let faults = ["1=401", "2=500", "3=429:1s", "4=quota", "5=cut", "6=html", "7=delay:1m"];
    let args: Vec<&str> = faults.iter().flat_map(|fault| ["--fault", fault]).collect();
    let fake = Fake::start(dir.path(), &[&args[..], &["--text", "Hello, world."]].concat());
    let base_url = fake.base_url();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = engine(&base_url).await;
        for (code, retryable) in [
            ("speech.provider_key", false),
            ("speech.provider_failed", true),
            ("speech.provider_busy", true),
            ("speech.provider_quota", false),
            ("speech.provider_unreachable", true),
            ("speech.provider_answer", true),
            ("step.timeout", true),
        ] {
            let failure = heard(&engine, if code == "step.timeout" { 300 } else { 60_000 }).await;
            let failure = failure.unwrap_err();
            assert_eq!((failure.code.as_str(), failure.retryable), (code, retryable), "{failure}");
        }
        let output = heard(&engine, 60_000).await.unwrap();
        let words: Vec<&str> = output["words"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word["text"].as_str().unwrap())
            .collect();
        assert_eq!(words, ["Hello,", "world."]);
        assert_eq!(output["provider"], "openai");
    });
    assert_eq!(fake.calls()["calls"], 8);
}

#[test]
fn without_given_words_it_says_what_it_hears() {
    let dir = place();
    let voice = dir.path().join("voice.wav");
    let text = "once upon a time there was a young man";
    let args = ["-voice", "slt", "-t", text, "-o", voice.to_str().unwrap()];
    assert!(Command::new("flite").args(args).status().unwrap().success());
    let fake = Fake::start(dir.path(), &[]);
    let sound = std::fs::read(&voice).unwrap();
    let answer = fake.transcribe(&sound, &[MODEL, VERBOSE, WORDS], &[]).json();
    assert_eq!(answer["text"], text, "{answer}");
    let (first, last) = (&answer["words"][0], &answer["words"][8]);
    assert_eq!((&first["word"], &last["word"]), (&json!("once"), &json!("man")));
    assert!(last["end"].as_f64().unwrap() <= answer["duration"].as_f64().unwrap());
    let noise = fake.transcribe(b"this is no sound", &[MODEL], &[]);
    assert_eq!(noise.status, 400, "{noise:?}");
    assert!(noise.text().contains("could not be decoded"), "{noise:?}");
}

#[test]
fn a_wrong_script_or_word_file_is_explained() {
    let dir = place();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("bad.yaml", "faults:\n  - { calls: 1, fault: fifty }\n");
    write("bad.json", "[{\"word\": 1}]");
    for (args, code, expected) in [
        (["--script", "bad.yaml"], 1, "`bad.yaml`: fault 1: `fifty` is no fault"),
        (["--script", "none.yaml"], 1, "cannot read `none.yaml`"),
        (["--words", "bad.json"], 1, "hint: expected a verbose_json answer"),
        (["--fault", "500"], 2, "should be CALLS=FAULT"),
        (["--listen", "127.0.0.1"], 2, "invalid value '127.0.0.1'"),
    ] {
        let ended = finish(dir.path(), &[&["fake-providers"], &args[..]].concat());
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    }
    // Without the recogniser it says how to get it, or how to do without.
    let mut alone = callsheet(dir.path(), &["fake-providers"]);
    let ended = Finished::from(alone.env("PATH", "/nowhere").output().unwrap());
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("hint: apt-get install"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--text"), "{}", ended.stderr);
}

/// An engine whose speech goes to the stand-in.
async fn engine(base_url: &str) -> Engine {
    let access = OpenAi { base_url: base_url.to_owned(), ..OpenAi::new(KEY) };
    let options = MediaOptions { openai: Some(access), ..MediaOptions::local() };
    step_kinds(Engine::builder().in_memory(), &options).open().await.unwrap()
}

/// A job that has a second of silence transcribed, once.
async fn submit(engine: &Engine, timeout_ms: u64) -> callsheet::JobHandle {
    let definition = json!({
        "name": "one",
        "steps": [{
            "id": "only",
            "uses": "speech.transcribe",
            "with": { "audio": silence(engine), "provider": "openai" },
            "retry": { "max_attempts": 1 },
            "timeout": format!("{timeout_ms}ms"),
        }],
        "output": "{{ steps.only }}",
    });
    let plan = engine.validate(&definition.to_string()).unwrap();
    engine.submit(Submit::plan(plan, json!({}))).await.unwrap().job
}

async fn heard(engine: &Engine, timeout_ms: u64) -> Result<Value, Failure> {
    let view = submit(engine, timeout_ms).await.wait().await.unwrap();
    let failure = view.state.failure().cloned();
    view.state.output().cloned().ok_or_else(|| failure.expect("it has ended"))
}

/// A second of 16 kHz silence as WAV.
fn silence(engine: &Engine) -> Value {
    let (rate, bytes) = (16_000_u32, 32_000_u32);
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + bytes).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&rate.to_le_bytes());
    wav.extend_from_slice(&(rate * 2).to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&bytes.to_le_bytes());
    wav.resize(wav.len() + bytes as usize, 0);
    let artifact = engine.artifacts().put_bytes(&wav).unwrap();
    let size = wav.len();
    json!({ "artifact": artifact, "name": "a.wav", "media_type": "audio/wav", "size": size })
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it never came true");
}

#[test]
fn the_two_lines_that_it_prints_are_all_that_a_user_needs() {
    let dir = place();
    let mut running = super::world::Running::start(dir.path(), &["fake-providers", "--text", "a"]);
    running.wait_for("fake-providers listens on ");
    running.signal(rustix::process::Signal::TERM);
    let (status, printed) = running.end();
    assert!(status.success());
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], format!("export OPENAI_API_KEY={KEY}"));
    assert!(lines[1].starts_with("export OPENAI_BASE_URL=http://127.0.0.1:"), "{printed}");
    assert!(lines[1].ends_with("/v1") && lines.len() == 2, "{printed}");
    assert!(Path::new(dir.path()).is_dir());
}
