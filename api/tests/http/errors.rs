//! Every refusal: a given request, the status and the code of its problem.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::Server;

const UNKNOWN: &str = "0190c5a8-7c3e-7abc-8def-0123456789ab";
const DIGEST: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

/// One refused request: method, path, media type, body, status, code.
type Row = (Method, String, Option<&'static str>, Vec<u8>, u16, &'static str);

const JSON: Option<&str> = Some("application/json");

fn get(path: impl Into<String>, status: u16, code: &'static str) -> Row {
    (Method::GET, path.into(), None, Vec::new(), status, code)
}

fn post(
    path: &str,
    kind: Option<&'static str>,
    body: &str,
    status: u16,
    code: &'static str,
) -> Row {
    (Method::POST, path.into(), kind, body.into(), status, code)
}

fn submit(body: &str, status: u16, code: &'static str) -> Row {
    post("/v1/jobs", JSON, body, status, code)
}

fn refused_submits() -> Vec<Row> {
    let deep = "{\"input\":".to_owned() + &"[".repeat(5_000) + &"]".repeat(5_000) + "}";
    vec![
        submit("", 400, "request.json"),
        submit("{", 400, "request.json"),
        submit("{\"workflow\":\"echo\",}", 400, "request.json"),
        submit("\u{0}", 400, "request.json"),
        submit(&deep, 400, "request.json"),
        submit("{\"workflow\":1}", 422, "request.field"),
        submit("[]", 422, "request.field"),
        submit("[\"flaky\"]", 422, "request.field"),
        submit("[", 400, "request.json"),
        submit("7", 422, "request.field"),
        submit("null", 422, "request.field"),
        submit("{\"workflow\":\"echo\",\"inptu\":{}}", 422, "request.field"),
        submit("{\"workflow\":\"a\",\"workflow\":\"b\"}", 422, "request.field"),
        submit("{}", 422, "workflow.choice"),
        submit("{\"workflow\":\"echo\",\"definition\":{}}", 422, "workflow.choice"),
        submit("{\"workflow\":\"ecko\"}", 404, "workflow.unknown"),
        submit("{\"workflow\":\"echo\",\"input\":{\"text\":7}}", 422, "input.invalid"),
        submit("{\"workflow\":\"echo\",\"input\":null}", 422, "input.invalid"),
        submit("{\"definition\":{\"name\":\"x\"}}", 422, "definition.invalid"),
        submit("{\"definition\":7}", 422, "definition.invalid"),
        submit("{\"workflow\":\"echo\",\"labels\":{\"a\\n\":\"b\"}}", 400, "labels.invalid"),
        submit("{\"workflow\":\"echo\",\"labels\":{\"a\":1}}", 422, "request.field"),
        post("/v1/jobs", None, "{}", 415, "request.media_type"),
        post("/v1/jobs", Some("text/plain"), "{}", 415, "request.media_type"),
        post("/v1/jobs", Some("multipart/form-data"), "{}", 415, "request.media_type"),
    ]
}

fn refused_requests() -> Vec<Row> {
    let job = format!("/v1/jobs/{UNKNOWN}");
    let cancel = format!("{job}/cancel");
    let upper = format!("/v1/jobs/{}", UNKNOWN.to_uppercase());
    let artifact = format!("/v1/artifacts/{DIGEST}");
    vec![
        get("/nowhere", 404, "route.unknown"),
        get("/v1", 404, "route.unknown"),
        get("/v1/jobs/", 404, "route.unknown"),
        get(format!("{job}/cancel/x"), 404, "route.unknown"),
        get(cancel.clone(), 405, "request.method"),
        (Method::DELETE, "/v1/jobs".into(), None, vec![], 405, "request.method"),
        (Method::TRACE, "/v1/jobs".into(), None, vec![], 405, "request.method"),
        (Method::OPTIONS, "/v1/jobs".into(), None, vec![], 405, "request.method"),
        get(job.clone(), 404, "job.unknown"),
        get(format!("{job}?wait=1s"), 404, "job.unknown"),
        get(format!("{job}/events"), 404, "job.unknown"),
        get(format!("{job}/graph"), 404, "job.unknown"),
        post(&cancel, None, "", 404, "job.unknown"),
        post(&cancel, JSON, "{\"why\":1}", 422, "request.field"),
        post(&cancel, JSON, "{\"reason\":\"a\\u001b[2J\"}", 422, "request.field"),
        post(&cancel, JSON, "x", 400, "request.json"),
        post(&cancel, Some("text/plain"), "x", 415, "request.media_type"),
        get("/v1/jobs/1", 400, "request.path"),
        get(upper, 400, "request.path"),
        get("/v1/jobs/%ff", 400, "request.path"),
        get("/v1/jobs/..%2f..%2fetc", 400, "request.path"),
        get(format!("{job}?wait=1h"), 400, "request.query"),
        get(format!("{job}?wait=soon"), 400, "request.query"),
        get(format!("{job}?wat=1s"), 400, "request.query"),
        get("/v1/jobs?limit=0", 400, "request.query"),
        get("/v1/jobs?limit=501", 400, "request.query"),
        get("/v1/jobs?limit=1e9", 400, "request.query"),
        get("/v1/jobs?status=faild", 400, "request.query"),
        get("/v1/jobs?stauts=failed", 400, "request.query"),
        get("/v1/jobs?cursor=abc", 400, "request.query"),
        get("/v1/workflows/ecko", 404, "workflow.unknown"),
        get("/v1/workflows/%1b%5b2J", 404, "workflow.unknown"),
        post("/v1/workflows/validate", None, "name: a", 415, "request.media_type"),
        post("/v1/workflows/validate", Some("text/html"), "name: a", 415, "request.media_type"),
        (
            Method::POST,
            "/v1/workflows/validate".into(),
            Some("text/plain"),
            vec![0xff, 0xfe],
            400,
            "request.body",
        ),
        get(artifact, 404, "artifact.unknown"),
        get("/v1/artifacts/abc", 400, "request.path"),
        get(format!("/v1/artifacts/{}", DIGEST.to_uppercase()), 400, "request.path"),
        get("/v1/artifacts/..%2f..%2fetc%2fpasswd", 400, "request.path"),
        get(format!("/v1/artifacts/{DIGEST}?name={}", "n".repeat(256)), 400, "request.query"),
    ]
}

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let server = Server::start().await;
    for (method, path, kind, body, status, code) in
        refused_submits().into_iter().chain(refused_requests())
    {
        let mut call = server.call(method.clone(), &path).body(body.clone());
        if let Some(kind) = kind {
            call = call.header("content-type", kind);
        }
        let response = call.send().await.unwrap();
        let shown =
            format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(60)]));
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{shown}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let got = response.status().as_u16();
        let problem: Value = response.json().await.unwrap();
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{shown}: {problem}");
        assert_eq!(problem["status"], status, "{shown}");
        assert_eq!(problem["type"], format!("urn:callsheet:error:{code}"));
        for field in ["title", "detail", "hint"] {
            let text = problem[field].as_str().unwrap_or_else(|| panic!("{shown}: {field}"));
            assert!(!text.is_empty() && !text.contains('\u{1b}'), "{shown}: {text:?}");
        }
        assert!(!problem["detail"].as_str().unwrap().contains(".rs"), "{shown}: {problem}");
    }
    assert_eq!(server.engine.stats().jobs_submitted, 0, "nothing was done");
}

#[tokio::test]
async fn hints_name_what_was_meant() {
    let server = Server::start().await;
    for (body, hint) in [
        (json!({ "workflow": "ecko" }), "did you mean `echo`?"),
        (json!({ "workflow": "echo", "inptu": {} }), "did you mean `input`?"),
    ] {
        let problem: Value = server.post("/v1/jobs", &body).await.json().await.unwrap();
        assert_eq!(problem["hint"], hint);
    }
    for (path, hint) in [
        ("/v1/workflows/flakey", "did you mean `flaky`?"),
        ("/v1/jobs?status=faild", "did you mean `failed`?"),
        ("/v1/jobs?stauts=failed", "did you mean `status`?"),
    ] {
        let problem: Value = server.get(path).await.json().await.unwrap();
        assert_eq!(problem["hint"], hint, "{path}");
    }
}

#[tokio::test]
async fn all_problems_of_an_input_and_a_definition_come_at_once() {
    let server = Server::start().await;
    let input = json!({ "workflow": "echo", "input": { "text": 1, "times": "x", "other": 1 } });
    let problem: Value = server.post("/v1/jobs", &input).await.json().await.unwrap();
    assert!(problem["problems"].as_array().unwrap().len() >= 3, "{problem}");

    let definition = json!({
        "name": "bad name!",
        "steps": [{ "id": "a", "uses": "test.ecko" }, { "id": "a", "uses": "test.echo" }],
    });
    let body = json!({ "definition": definition });
    let problem: Value = server.post("/v1/jobs", &body).await.json().await.unwrap();
    let problems = problem["problems"].as_array().unwrap();
    assert!(problems.len() >= 3, "{problem}");
    for one in problems {
        assert!(one["code"].is_string() && one.get("line").is_none(), "{one}");
    }
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let server = Server::start().await;
    let text = "x".repeat(callsheet_api::limits::MAX_BODY_BYTES);
    let body = json!({ "workflow": "echo", "input": { "text": text } });
    let response = server.post("/v1/jobs", &body).await;
    assert_eq!(response.status(), 413);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "request.too_large");

    // One byte less than the limit is read, and refused for what is in it.
    let spaces = " ".repeat(callsheet_api::limits::MAX_BODY_BYTES - 2);
    let call = server.call(Method::POST, "/v1/jobs").header("content-type", "application/json");
    let response = call.body(format!("{{}}{spaces}")).send().await.unwrap();
    assert_eq!(response.status(), 422);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = Server::start().await;
    for (path, allowed) in [
        ("/v1/jobs", "GET,HEAD,POST"),
        ("/healthz", "GET,HEAD"),
        ("/v1/workflows/validate", "GET,HEAD,POST"),
    ] {
        let response = server.call(Method::PUT, path).send().await.unwrap();
        if response.status() == 405 {
            let allow = response.headers()["allow"].to_str().unwrap();
            for method in allow.split(',') {
                assert!(allowed.contains(method.trim()), "{path}: {allow}");
            }
        } else {
            panic!("{path}: {}", response.status());
        }
    }
}

#[tokio::test]
async fn idempotency_keys_are_checked() {
    let server = Server::start().await;
    let body = json!({ "workflow": "flaky" });
    let long = "k".repeat(256);
    for (key, status) in [("k", 201), ("", 400), (&*long, 400), ("a\tb", 400)] {
        let call = server.call(Method::POST, "/v1/jobs").header("Idempotency-Key", key);
        let response = call.json(&body).send().await.unwrap();
        assert_eq!(response.status(), status, "{key:?}");
    }
}
