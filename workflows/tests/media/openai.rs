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
async fn a_busy_service_is_asked_again_when_it_says() {
    let busy = ResponseTemplate::new(429)
        .insert_header("Retry-After", "2")
        .set_body_json(json!({ "error": { "message": "slow down", "code": "rate_limit" } }));
    let (server, engine) = fake(ResponseTemplate::new(200).set_body_json(hello())).await;
    let at = Mock::given(method("POST")).and(path("/v1/audio/transcriptions"));
    at.respond_with(busy).up_to_n_times(1).with_priority(1).mount(&server).await;
    let with = json!({ "audio": second_of_sound(&engine), "provider": "openai" });
    let retry = json!({ "max_attempts": 2, "initial": "10ms", "jitter": 0 });
    let step = json!({ "id": "it", "uses": "speech.recognise", "with": with, "retry": retry });
    let definition = json!({ "name": "busy", "steps": [step], "output": "{{ steps.it }}" });
    let plan = engine.validate(&definition.to_string()).unwrap();
    let begun = std::time::Instant::now();
    let submit = callsheet_actors::Submit::plan(plan, json!({}));
    let heard = crate::support::ended(&engine, submit).await.unwrap();
    assert_eq!(heard["text"], "Hello, world.");
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2));
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
    // Where it cannot help, the failure of the service is that of the job.
    let input = json!({ "video": film, "language": "de" });
    assert_eq!(code(run(&engine, "caption", input).await), "speech.provider_key");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_captions_cannot_be_made_with_is_refused_before_anybody_is_paid() {
    let (server, engine) = fake(ResponseTemplate::new(200).set_body_json(hello())).await;
    let samples = Samples::new();
    let (film, _) = samples.film();
    let stretch = json!([{ "from_s": 5, "to_s": 5 }]);
    let input = json!({ "video": film, "exclude": stretch });
    assert_eq!(code(run(&engine, "caption", input).await), "subtitles.input");
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
    // What the schema can say is refused with the job.
    for (field, value) in [
        ("style", json!({ "font": " " })),
        ("style", json!({ "font": "a".repeat(65) })),
        ("replace", json!([{ "find": " ", "replace": "a" }])),
        ("exclude", json!([{ "from_s": 5, "to_s": 400_000 }])),
    ] {
        let input = json!({ "video": film, field: value });
        let submit = callsheet_actors::Submit::named("caption", input.clone());
        assert!(engine.submit(submit).await.is_err(), "{input}");
        let input = json!({ "scenes": [film], "voices": [film], field: value });
        let submit = callsheet_actors::Submit::named("compose", input.clone());
        assert!(engine.submit(submit).await.is_err(), "{input}");
    }
    for style in [json!({ "font": "-" }), json!({ "font": "字".repeat(64) })] {
        let with = json!({ "words": [], "style": style });
        step(&engine, "subtitles.check", with).await.unwrap();
    }
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

/// Three seconds of tone with pauses between, cut into a piece each.
const PIECES: &str = r#"{ "name": "pieces", "input": { "type": "object" }, "steps": [
    { "id": "cut", "uses": "speech.cut",
      "with": { "audio": "{{ input.audio }}", "min_piece_s": 1, "max_piece_s": 2 } },
    { "id": "hear", "uses": "speech.recognise", "for_each": "{{ steps.cut.pieces }}",
      "with": { "audio": "{{ item.audio }}", "provider": "openai" },
      "retry": { "max_attempts": 2, "initial": "10ms" },
      "fallback": [
          { "uses": "speech.transcribe.offline", "with": { "audio": "{{ item.audio }}" } } ] },
    { "id": "join", "uses": "speech.join",
      "with": { "pieces": "{{ steps.cut.pieces }}", "transcripts": "{{ steps.hear }}" } } ],
    "output": "{{ steps.join }}" }"#;

fn three_pieces(engine: &Engine) -> Value {
    let samples = Samples::new();
    // Each of another height, so that no two pieces are the same file.
    let sound = samples.ffmpeg(
        "-f lavfi -i aevalsrc=0.5*sin(2*PI*(300+100*floor(t/1.5))*t)*lt(mod(t\\,1.5)\\,1)\
         :d=4.5:s=16000",
        "a.wav",
    );
    stored(engine, &sound)
}

/// How many items of a step have their result.
async fn settled(job: &callsheet_actors::JobHandle, step: &str) -> usize {
    let state = job.view().await.unwrap().state;
    let index = state.plan.index_of(step).unwrap();
    match &state.steps[index.at()].status {
        callsheet_engine::StepStatus::Active(active) => active.progress().0,
        _ => 0,
    }
}

/// The calls that a server has had, by the sound that they carried.
async fn calls(server: &MockServer) -> Vec<usize> {
    let requests = server.received_requests().await.unwrap();
    let mut counts: std::collections::BTreeMap<Vec<u8>, usize> = std::collections::BTreeMap::new();
    for request in requests {
        let at = request.body.windows(4).position(|four| four == b"RIFF").unwrap();
        let size = u32::from_le_bytes(request.body[at + 4..at + 8].try_into().unwrap());
        let sound = request.body[at..at + 8 + size as usize].to_vec();
        *counts.entry(sound).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_is_recognised_is_not_paid_for_again() {
    let at = || Mock::given(method("POST")).and(path("/v1/audio/transcriptions"));
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(std::time::Duration::from_secs(600));
    at().respond_with(ResponseTemplate::new(200).set_body_json(hello()))
        .up_to_n_times(2)
        .mount(&server)
        .await;
    at().respond_with(slow).up_to_n_times(1).mount(&server).await;
    let access = OpenAi { base_url: format!("{}/v1", server.uri()), ..OpenAi::new(KEY) };
    let options = MediaOptions { openai: Some(access), ..offline() };
    let directory = tempfile::tempdir().unwrap();
    let open = async || {
        let builder = Engine::builder().data_dir(directory.path());
        callsheet_workflows::register(builder, &options).open().await.unwrap()
    };

    let engine = open().await;
    let plan = engine.validate(PIECES).unwrap();
    let input = json!({ "audio": three_pieces(&engine) });
    let job = engine.submit(callsheet_actors::Submit::plan(plan, input)).await.unwrap().job;
    let id = job.id();
    loop {
        // Two are recorded, the third is waited for.
        if settled(&job, "hear").await == 2 && calls(&server).await.len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    engine.stop_now().await;

    at().respond_with(ResponseTemplate::new(200).set_body_json(hello())).mount(&server).await;
    let engine = open().await;
    let view = engine.job(id).wait().await.unwrap();
    let callsheet_engine::Phase::Ended { ending, .. } = view.state.phase else { panic!() };
    let callsheet_engine::Ending::Succeeded(output) = ending else { panic!("{ending:?}") };
    assert_eq!(output["words"].as_array().unwrap().len(), 6);
    assert!(output["words"][2]["start_s"].as_f64().unwrap() > 1.0, "{output}");
    assert_eq!(calls(&server).await, [1, 1, 2]);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_of_calls_holds_over_all_kinds() {
    let never = ResponseTemplate::new(200).set_delay(std::time::Duration::from_secs(600));
    let (server, engine) = fake(never).await;
    let steps = [("one", "speech.recognise"), ("two", "speech.transcribe")].map(|(id, kind)| {
        // Of models each, so that no two are the same call.
        let with = json!({ "audio": "{{ input.audio }}", "provider": "openai", "model":
            "{{ 'm' ~ item }}" });
        let six = "{{ range(6) | list }}";
        json!({ "id": id, "uses": kind, "for_each": six, "concurrency": 6, "with": with })
    });
    let definition = json!({ "name": "many", "input": { "type": "object" }, "steps": steps });
    let plan = engine.validate(&definition.to_string()).unwrap();
    let input = json!({ "audio": second_of_sound(&engine) });
    engine.submit(callsheet_actors::Submit::plan(plan, input)).await.unwrap();
    let made = async || server.received_requests().await.unwrap().len();
    while made().await < 8 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // The others have had the time to follow.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(made().await, 8);
    engine.stop_now().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_one_service_are_not_given_out_as_those_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let says = async |word: &str| {
        let server = MockServer::start().await;
        let words = json!([{ "word": word, "start": 0.1, "end": 0.4 }]);
        let answer = json!({ "text": word, "language": "english", "words": words });
        let at = Mock::given(method("POST")).and(path("/v1/audio/transcriptions"));
        at.respond_with(ResponseTemplate::new(200).set_body_json(answer)).mount(&server).await;
        server
    };
    let (one, other) = (says("one").await, says("other").await);
    for (server, word, calls) in [(&one, "one", 1), (&other, "other", 1), (&one, "one", 1)] {
        let access = OpenAi { base_url: format!("{}/v1", server.uri()), ..OpenAi::new(KEY) };
        let options = MediaOptions { openai: Some(access), ..offline() };
        let builder = Engine::builder().data_dir(directory.path());
        let engine = callsheet_workflows::register(builder, &options).open().await.unwrap();
        let with = json!({ "audio": second_of_sound(&engine), "provider": "openai" });
        let heard = step(&engine, "speech.recognise", with).await.unwrap();
        assert_eq!(heard["text"], word);
        assert_eq!(server.received_requests().await.unwrap().len(), calls, "{word}");
        engine.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_takes_over_from_the_other_is_said() {
    let refusal = json!({ "error": { "message": "no", "code": "bad_request" } });
    let (server, engine) = fake(ResponseTemplate::new(400).set_body_json(refusal)).await;
    server.reset().await;
    let at = || Mock::given(method("POST")).and(path("/v1/audio/transcriptions"));
    let good = ResponseTemplate::new(200).set_body_json(hello());
    at().respond_with(good).up_to_n_times(2).mount(&server).await;
    at().respond_with(ResponseTemplate::new(400)).mount(&server).await;
    let plan = engine.validate(PIECES).unwrap();
    let input = json!({ "audio": three_pieces(&engine) });
    let submit = callsheet_actors::Submit::plan(plan, input);
    let output = crate::support::ended(&engine, submit).await.unwrap();
    assert_eq!((&output["provider"], &output["draft"]), (&json!("mixed"), &json!(true)));
    assert_eq!(output["words"].as_array().unwrap().len(), 4, "{output}");
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
