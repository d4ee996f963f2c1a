//! Batches of jobs, and receivers that are told of a job's end.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callsheet_actors::{Engine, EngineBuilder, JobView, StepContext, StepError, Submit};
use callsheet_engine::{Ending, Phase};
use callsheet_storage::{JobStatus, ListQuery};
use callsheet_workflows::{MediaOptions, Secret, WEBHOOK, Webhook, WebhookEvent, register};
use ring::hmac;
use serde_json::{Value, json};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const WORKFLOWS: [&str; 4] = [
    "{ name: good, steps: [{ id: a, uses: say, with: { text: '{{ input.text }}' } }], \
       input: { type: object, required: [text], properties: { text: { type: string } } }, \
       output: '{{ steps.a }}' }",
    "{ name: bad, steps: [{ id: a, uses: fail }] }",
    "{ name: long, steps: [{ id: a, uses: nap }] }",
    "{ name: huge, steps: [{ id: a, uses: huge }], output: '{{ steps.a }}' }",
];

fn options() -> MediaOptions {
    MediaOptions { openai: None, webhook_secret: None, ..MediaOptions::local() }
}

fn builder(options: &MediaOptions) -> EngineBuilder {
    let say = |input: Value, _: StepContext| async move { Ok(input["text"].clone()) };
    let fail = |_: Value, _: StepContext| async {
        Err::<(), _>(StepError::fatal("test.fatal", "will not do"))
    };
    let nap = |_: Value, _: StepContext| async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        Ok(())
    };
    let builder = register(Engine::builder(), options)
        .step_fn("say", say)
        .step_fn("fail", fail)
        .step_fn("nap", nap)
        .step_fn("huge", |_: Value, _: StepContext| async { Ok("x".repeat(100_000)) });
    WORKFLOWS.into_iter().fold(builder, |builder, text| builder.workflow(text))
}

/// An engine whose deliveries are tried again soon, three times in all.
async fn engine(options: &MediaOptions) -> Engine {
    let engine = builder(options).in_memory().open().await.unwrap();
    engine.register(&quick()).unwrap();
    engine
}

fn quick() -> String {
    let quick = WEBHOOK.replace("max_attempts: 22, initial: 10s", "max_attempts: 3, initial: 10ms");
    assert_ne!(quick, WEBHOOK, "the policy is another one now");
    quick.replace("factor: 6", "factor: 1")
}

async fn receiver(
    answers: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static,
) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(answers).mount(&server).await;
    server
}

/// Submits a job with a webhook; answers with the delivery at its end.
async fn deliver(engine: &Engine, job: Submit, webhook: Webhook) -> (JobView, JobView) {
    let hook = webhook.submit(&options()).await.unwrap();
    let job = engine.submit(job.followed_by(hook)).await.unwrap().job;
    if job.view().await.unwrap().head.workflow.name == "long" {
        job.cancel(None).await.unwrap();
    }
    let view = job.wait().await.unwrap();
    let delivery = engine.job(view.kin().followed_by.unwrap());
    (view, delivery.wait().await.unwrap())
}

fn code(view: &JobView) -> String {
    match &view.state.phase {
        Phase::Ended { ending: Ending::Failed(failure), .. } => failure.code.clone(),
        Phase::Ended { ending: Ending::Succeeded(output), .. } => {
            format!("delivered {}", output["delivered"])
        }
        other => format!("{other:?}"),
    }
}

fn header<'r>(request: &'r Request, name: &str) -> &'r str {
    request.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn is_signed(request: &Request, key: &[u8]) -> bool {
    let (id, time) = (header(request, "webhook-id"), header(request, "webhook-timestamp"));
    let message = [format!("{id}.{time}.").as_bytes(), &request.body].concat();
    let Some(signature) = header(request, "webhook-signature").strip_prefix("v1,") else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::verify(&key, &message, &STANDARD.decode(signature).unwrap()).is_ok()
}

fn key() -> Vec<u8> {
    STANDARD.decode(KEY.strip_prefix("whsec_").unwrap()).unwrap()
}

#[tokio::test]
async fn a_receiver_is_told_of_every_end_and_can_check_who_told_it() {
    let engine = engine(&options()).await;
    let text = json!({ "text": "hi" });
    for (workflow, kind) in
        [("good", "job.succeeded"), ("bad", "job.failed"), ("long", "job.cancelled")]
    {
        let server = receiver(|_| ResponseTemplate::new(204)).await;
        let job = Submit::named(workflow, text.clone()).label("team", "films");
        let (job, told) = deliver(&engine, job, Webhook::to(server.uri()).secret(KEY)).await;
        assert_eq!(code(&told), "delivered true", "{workflow}");
        let requests = server.received_requests().await.unwrap();
        let [request] = &requests[..] else { panic!("{} requests", requests.len()) };
        assert!(is_signed(request, &key()) && !is_signed(request, b"other"), "{workflow}");
        assert_eq!(header(request, "webhook-id"), format!("msg_{}", job.head.id));
        let body: Value = request.body_json().unwrap();
        let data = &body["data"];
        assert_eq!(
            (body["type"].as_str(), data["workflow"].as_str()),
            (Some(kind), Some(workflow))
        );
        assert_eq!(data["id"], job.head.id.to_string());
        assert_eq!(data["labels"], json!({ "team": "films" }), "and none of the engine's own");
        assert_eq!(data["output"].as_str(), (workflow == "good").then_some("hi"));
        assert_eq!(data["failure"]["code"].as_str(), (workflow == "bad").then_some("test.fatal"));
    }
}

#[tokio::test]
async fn what_a_receiver_answers_decides_whether_it_is_told_again() {
    let engine = engine(&options()).await;
    let elsewhere = receiver(|_| ResponseTemplate::new(200)).await;
    let to = elsewhere.uri();
    for (answers, expected, tries) in [
        (&[200][..], "delivered true", 1),
        (&[500, 503, 200], "delivered true", 3),
        (&[404, 429, 400, 200], "webhook.status", 3),
        (&[410, 200], "webhook.gone", 1),
        (&[500, 410, 200], "webhook.gone", 2),
        (&[302, 307, 301], "webhook.status", 3),
    ] {
        let (answers, to) = (answers.to_vec(), to.clone());
        let given = std::sync::atomic::AtomicUsize::new(0);
        let server = receiver(move |_| {
            let n = given.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            ResponseTemplate::new(answers[n]).insert_header("location", to.as_str())
        })
        .await;
        let job = Submit::named("good", json!({ "text": "x" }));
        let (_, told) = deliver(&engine, job, Webhook::to(server.uri()).secret(KEY)).await;
        assert_eq!(code(&told), expected);
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests.len(), tries, "{expected}");
        let same = |it: &Request| (header(it, "webhook-id").to_owned(), it.body.clone());
        assert!(requests.iter().all(|it| same(it) == same(&requests[0]) && is_signed(it, &key())));
    }
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0, "no redirect is followed");
}

#[tokio::test]
async fn a_receiver_that_hangs_or_is_not_there_is_told_again_later() {
    let engine = engine(&options()).await;
    let slow = Duration::from_secs(60);
    let server = receiver(move |_| ResponseTemplate::new(200).set_delay(slow)).await;
    let nobody = "http://127.0.0.1:9".to_owned();
    for (url, expected) in [(server.uri(), "webhook.timeout"), (nobody, "webhook.unreachable")] {
        let once = quick().replace("max_attempts: 3", "max_attempts: 1");
        engine.register(&once).unwrap();
        let job = Submit::named("good", json!({ "text": "x" }));
        let (_, told) = deliver(&engine, job, Webhook::to(url)).await;
        assert_eq!(code(&told), expected);
    }
}

#[tokio::test]
async fn only_public_receivers_are_told_unless_others_are_allowed() {
    let public = MediaOptions { allow_private_addresses: false, ..options() };
    for (url, secret, expected) in [
        ("http://127.0.0.1:80/", KEY, "webhook.target"),
        ("http://169.254.169.254/latest", KEY, "webhook.target"),
        ("http://[::1]/", KEY, "webhook.target"),
        ("http://localhost:8080/", KEY, "webhook.target"),
        ("ftp://example.org/", KEY, "webhook.target"),
        ("https://user:secret@example.org/", KEY, "webhook.target"),
        ("https://example.org:25/", KEY, "webhook.target"),
        ("nonsense", KEY, "webhook.target"),
        ("http://93.184.216.34/", "", "webhook.secret"),
        ("http://93.184.216.34/", "whsec_!", "webhook.secret"),
        ("http://93.184.216.34/", KEY, "ok"),
    ] {
        let asked = Webhook::to(url).secret(secret).submit(&public).await;
        let told = asked.map_or_else(|error| error.0.code, |_| "ok".to_owned());
        assert_eq!(told, expected, "{url}");
    }
    let odd = Webhook::to("nonsense").submit(&public).await.unwrap_err().0;
    assert_eq!(odd.message, "the webhook's `url` is no web address");
    assert!(odd.hint.is_some_and(|hint| hint.contains("https://example.org/hook")));
    let none = Webhook::to("http://93.184.216.34/").events([]).submit(&public).await;
    assert_eq!(none.unwrap_err().0.code, "webhook.events");

    // What was allowed at the submit is looked at again before anything is sent.
    let server = receiver(|_| ResponseTemplate::new(200)).await;
    let engine = engine(&public).await;
    let port = server.address().port();
    for url in [server.uri(), format!("http://localhost:{port}/")] {
        let job = Submit::named("good", json!({ "text": "x" }));
        let (_, told) = deliver(&engine, job, Webhook::to(url)).await;
        assert_eq!(code(&told), "webhook.target");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn ends_can_be_chosen_and_the_operator_may_sign() {
    let server = receiver(|_| ResponseTemplate::new(200)).await;
    let hook = || Webhook::to(server.uri());
    let good = || Submit::named("good", json!({ "text": "x" }));
    let unsigned = engine(&options()).await;
    let (_, told) = deliver(&unsigned, good(), hook().events([WebhookEvent::Failed])).await;
    assert_eq!(code(&told), "delivered false");
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
    deliver(&unsigned, good(), hook()).await;
    let secret = Some(Secret::new("operator"));
    let signing = engine(&MediaOptions { webhook_secret: secret, ..options() }).await;
    deliver(&signing, good(), hook()).await;
    deliver(&signing, good(), hook().secret(KEY)).await;
    let requests = server.received_requests().await.unwrap();
    let signed = |n: usize, key: &[u8]| is_signed(&requests[n], key);
    assert_eq!(header(&requests[0], "webhook-signature"), "");
    assert!(signed(1, b"operator") && signed(2, &key()) && requests.len() == 3);
}

#[tokio::test]
async fn nothing_is_told_unsigned_because_the_operators_secret_is_no_good() {
    let server = receiver(|_| ResponseTemplate::new(200)).await;
    let secret = Some(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZ"));
    let engine = engine(&MediaOptions { webhook_secret: secret, ..options() }).await;
    let job = Submit::named("good", json!({ "text": "x" }));
    let (_, told) = deliver(&engine, job, Webhook::to(server.uri())).await;
    assert_eq!(code(&told), "webhook.secret");
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn an_output_that_is_too_large_is_left_out() {
    let server = receiver(|_| ResponseTemplate::new(200)).await;
    let engine = engine(&options()).await;
    deliver(&engine, Submit::named("huge", json!({})), Webhook::to(server.uri())).await;
    let requests = server.received_requests().await.unwrap();
    let body: Value = requests[0].body_json().unwrap();
    assert!(requests[0].body.len() < 2_000 && body["data"].get("output").is_none());
    assert_eq!(body["data"]["output_omitted"]["bytes"], 100_002);
}

#[tokio::test]
async fn a_delivery_survives_restarts_and_is_made_once() {
    let server = receiver(|_| ResponseTemplate::new(200)).await;
    let dir = tempfile::tempdir().unwrap();
    let open = || async { builder(&options()).data_dir(dir.path()).open().await.unwrap() };
    let submit = |engine: Engine| {
        let hook = Webhook::to(server.uri()).secret(KEY);
        async move {
            let hook = hook.submit(&options()).await.unwrap();
            let job = Submit::named("long", json!({})).idempotency_key("k").followed_by(hook);
            engine.submit(job).await.unwrap().job.id()
        }
    };
    let engine = open().await;
    let job = submit(engine.clone()).await;
    engine.stop_now().await;
    drop(engine);
    let engine = open().await;
    assert_eq!(submit(engine.clone()).await, job, "the same key is the same job");
    engine.job(job).cancel(None).await.unwrap();
    let delivery = engine.job(job).view().await.unwrap().kin().followed_by.unwrap();
    let delivery = engine.job(delivery).wait().await.unwrap();
    assert_eq!(code(&delivery), "delivered true");
    let all = engine.jobs(ListQuery { limit: 9, ..ListQuery::default() }).await.unwrap().heads;
    assert_eq!((all.len(), server.received_requests().await.unwrap().len()), (2, 1));
}

fn items() -> Value {
    json!([
        { "id": "one", "workflow": "good", "input": { "text": "a" } },
        { "id": "typo", "workflow": "god", "input": { "text": "a" } },
        { "workflow": "good", "input": { "text": 1 } },
        { "id": "fails", "workflow": "bad" },
        { "id": "itself", "workflow": "batch", "input": { "items": [{ "workflow": "good" }] } },
        { "id": "last", "workflow": "good", "input": { "text": "z" } },
    ])
}

#[tokio::test]
async fn one_bad_item_does_not_sink_a_batch() {
    let engine = engine(&options()).await;
    let batch = Submit::named("batch", json!({ "items": items() }));
    let view = engine.submit(batch).await.unwrap().job.wait().await.unwrap();
    let output = view.state.output().unwrap();
    let told: Vec<_> = output["results"].as_array().unwrap().iter().map(told).collect();
    let expected = [
        "one succeeded \"a\" with a job",
        "typo refused workflow.unknown",
        "null refused input.invalid",
        "fails failed test.fatal with a job",
        "itself refused child.recursion",
        "last succeeded \"z\" with a job",
    ];
    assert_eq!(told, expected);
    let counts = ["total", "succeeded", "failed", "cancelled", "refused"].map(|it| &output[it]);
    assert_eq!(json!(counts), json!([6, 2, 1, 0, 3]));
}

fn told(result: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let what = match result.get("output") {
        Some(output) => output.to_string(),
        None => word(&result["failure"]["code"]),
    };
    let job = if result.get("job").is_some() { " with a job" } else { "" };
    format!("{} {} {what}{job}", word(&result["id"]), word(&result["status"]))
}

#[tokio::test]
async fn a_batch_may_fail_with_the_first_and_its_cancel_ends_all() {
    let engine = engine(&options()).await;
    let long = json!({ "workflow": "long" });
    let items = json!([long, long, { "workflow": "bad" }]);
    let batch = Submit::named("batch", json!({ "items": items, "fail_fast": true }));
    let view = engine.submit(batch).await.unwrap().job.wait().await.unwrap();
    assert_eq!(code(&view), "test.fatal");
    let batch = Submit::named("batch", json!({ "items": [long, long, long] }));
    let job = engine.submit(batch).await.unwrap().job;
    while engine.children(job.id()).len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    job.cancel(None).await.unwrap();
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
    for _ in 0..2_000 {
        let query = ListQuery { workflow: Some("long".into()), limit: 9, ..ListQuery::default() };
        let heads = engine.jobs(query).await.unwrap().heads;
        assert!(heads.len() <= 5);
        if heads.len() >= 3 && heads.iter().all(|head| head.status == JobStatus::Cancelled) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("some go on");
}

#[tokio::test]
async fn a_batch_that_cannot_be_one_is_refused() {
    let engine = engine(&options()).await;
    let many: Vec<_> = (0..1_001).map(|_| json!({ "workflow": "good" })).collect();
    for input in [
        json!({}),
        json!({ "items": [] }),
        json!({ "items": many }),
        json!({ "items": [{ "input": {} }] }),
        json!({ "items": [{ "workflow": "good", "inptu": {} }] }),
    ] {
        let error = engine.submit(Submit::named("batch", input)).await.err().unwrap();
        assert_eq!(error.code(), "input.invalid");
    }
}
