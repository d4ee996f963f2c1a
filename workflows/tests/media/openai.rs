//! `speech.transcribe` against a server that plays OpenAI.

use callsheet_actors::Engine;
use callsheet_workflows::{MediaOptions, OpenAi};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::samples::Samples;
use crate::support::{code, engine, offline, run, step, stored};

const KEY: &str = "sk-canary-0123456789";

async fn fake(answer: ResponseTemplate) -> (MockServer, Engine) {
    let server = MockServer::start().await;
    let at = path("/v1/audio/transcriptions");
    Mock::given(method("POST")).and(at).respond_with(answer).mount(&server).await;
    let access = OpenAi { base_url: format!("{}/v1", server.uri()), ..OpenAi::new(KEY) };
    let engine = engine(&MediaOptions { openai: Some(access), ..offline() }).await;
    (server, engine)
}

fn second_of_sound(engine: &Engine) -> Value {
    let samples = Samples::new();
    stored(engine, &samples.ffmpeg("-f lavfi -t 1 -i sine -ar 16000 -ac 1", "a.wav"))
}

fn hello() -> Value {
    json!({
        "text": "Hello, world.",
        "language": "english",
        "words": [
            { "word": "Hello", "start": 0.1, "end": 0.4 },
            { "word": "world", "start": 0.5, "end": 0.9 },
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn words_come_with_their_times_and_the_call_carries_its_key() {
    let (server, engine) = fake(ResponseTemplate::new(200).set_body_json(hello())).await;
    let with = json!({ "audio": second_of_sound(&engine), "language": "en-US" });
    let heard = step(&engine, "speech.transcribe", with).await.unwrap();
    let expected = json!([
        { "text": "Hello,", "start_s": 0.1, "end_s": 0.4 },
        { "text": "world.", "start_s": 0.5, "end_s": 0.9 },
    ]);
    assert_eq!(heard["words"], expected);
    assert_eq!((&heard["provider"], &heard["model"]), (&json!("openai"), &json!("whisper-1")));
    assert_eq!((&heard["language"], &heard["draft"]), (&json!("en"), &json!(false)));

    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    let header = |name: &str| requests[0].headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("authorization"), format!("Bearer {KEY}"));
    assert!(header("idempotency-key").ends_with("/only/0"), "{}", header("idempotency-key"));
    let body = String::from_utf8_lossy(&requests[0].body).into_owned();
    for part in ["whisper-1", "verbose_json", "timestamp_granularities[]", "word", "\r\nen\r\n"] {
        assert!(body.contains(part), "{part}");
    }
    assert!(body.contains("filename=\"audio.wav\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_attempt_is_one_call_and_errors_say_whether_another_may_help() {
    let error = |code: &str| json!({ "error": { "message": format!("no {KEY}"), "code": code } });
    for (status, body, expected, retryable) in [
        (500, error("server_error"), "speech.provider_failed", true),
        (503, json!("busy"), "speech.provider_failed", true),
        (429, error("rate_limit_exceeded"), "speech.provider_busy", true),
        (429, error("insufficient_quota"), "speech.provider_quota", false),
        (401, error("invalid_api_key"), "speech.provider_key", false),
        (400, error("bad_request"), "speech.provider_refused", false),
        (200, json!({ "text": "no times" }), "speech.no_word_times", false),
        (200, json!("odd"), "speech.provider_answer", true),
    ] {
        let (server, engine) = fake(ResponseTemplate::new(status).set_body_json(body)).await;
        let with = json!({ "audio": second_of_sound(&engine), "provider": "openai" });
        let failure = step(&engine, "speech.transcribe", with).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retryable), (expected, retryable), "{status}");
        assert!(!failure.to_string().contains(KEY), "{failure}");
        assert_eq!(server.received_requests().await.unwrap().len(), 1, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recogniser_here_takes_over_only_where_the_workflow_says_so() {
    let body = json!({ "error": { "message": "no", "code": "invalid_api_key" } });
    let (_server, engine) = fake(ResponseTemplate::new(401).set_body_json(body)).await;
    let with = json!({ "audio": second_of_sound(&engine) });
    assert_eq!(code(step(&engine, "speech.transcribe", with).await), "speech.provider_key");
    let samples = Samples::new();
    let (film, _) = samples.film();
    let input = json!({ "video": film, "preset": "ultrafast" });
    let output = run(&engine, "caption", input).await.unwrap();
    assert_eq!(output["provider"], "pocketsphinx");
    assert_eq!(output["draft"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_one_is_refused_before_a_call() {
    let access = OpenAi::new("sk-one\nsk-two");
    let engine = engine(&MediaOptions { openai: Some(access), ..offline() }).await;
    let with = json!({ "audio": second_of_sound(&engine) });
    assert_eq!(code(step(&engine, "speech.transcribe", with).await), "speech.no_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_recording_is_sent_compressed() {
    let (server, engine) = fake(ResponseTemplate::new(200).set_body_json(hello())).await;
    let samples = Samples::new();
    let sound = samples.ffmpeg("-f lavfi -t 840 -i anullsrc=r=16000:cl=mono", "long.wav");
    let size = std::fs::metadata(&sound).unwrap().len();
    let with = json!({ "audio": stored(&engine, &sound) });
    step(&engine, "speech.transcribe", with).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let body = &requests[0].body;
    assert!((body.len() as u64) < size / 4, "{} of {size} bytes", body.len());
    assert!(String::from_utf8_lossy(&body[..1_000]).contains("filename=\"audio.mp3\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_only_when_it_is_chosen() {
    let (server, engine) = fake(ResponseTemplate::new(200).set_body_json(hello())).await;
    let audio = second_of_sound(&engine);
    for (provider, calls) in [("pocketsphinx", 0), ("openai", 1), ("auto", 2)] {
        let with = json!({ "audio": audio, "provider": provider, "model": "other-model" });
        let heard = step(&engine, "speech.transcribe", with).await.unwrap();
        let named = if provider == "auto" { "openai" } else { provider };
        assert_eq!(heard["provider"], named);
        assert_eq!(server.received_requests().await.unwrap().len(), calls, "{provider}");
    }
    let requests = server.received_requests().await.unwrap();
    assert!(String::from_utf8_lossy(&requests[0].body).contains("other-model"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_may_come_back() {
    let access = OpenAi { base_url: "http://127.0.0.1:9/v1".to_owned(), ..OpenAi::new(KEY) };
    let engine = engine(&MediaOptions { openai: Some(access), ..offline() }).await;
    let with = json!({ "audio": second_of_sound(&engine) });
    let failure = step(&engine, "speech.transcribe", with).await.unwrap_err();
    assert_eq!(failure.code, "speech.provider_unreachable");
    assert!(failure.retryable && !failure.message.contains(KEY));
}
