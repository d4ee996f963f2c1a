//! Submit, look, wait, list, cancel.

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{ECHO, Server};

#[tokio::test]
async fn a_job_is_submitted_run_and_shown() {
    let server = Server::start().await;
    let body = json!({
        "workflow": "echo", "input": { "text": "hello" }, "labels": { "team": "films" },
    });
    let response = server.post("/v1/jobs", &body).await;
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(!response.headers().contains_key("idempotency-replayed"));
    let accepted: Value = response.json().await.unwrap();
    assert_eq!(accepted["url"], location);
    assert_eq!(accepted["replayed"], false);

    let job = server.get_json(&format!("{location}?wait=30s")).await;
    assert_eq!(job["id"], accepted["id"]);
    assert_eq!(job["workflow"], "echo");
    assert_eq!(job["status"], "succeeded");
    assert_eq!(job["input"], json!({ "text": "hello", "times": 1 }), "defaults are filled in");
    assert_eq!(job["output"], json!({ "said": "hello" }));
    assert_eq!(job["labels"], json!({ "team": "films" }));
    let step = &job["steps"][0];
    assert_eq!(step["id"], "say");
    assert_eq!(step["uses"], "test.echo");
    assert_eq!(step["status"], "succeeded");
    assert_eq!(step["attempts"], 1);
    for time in [&job["submitted_at"], &job["ended_at"], &step["started_at"], &step["ended_at"]] {
        let text = time.as_str().unwrap();
        assert!(text.starts_with("20") && text.ends_with('Z') && text.len() == 24, "{text}");
    }
}

#[tokio::test]
async fn a_definition_can_come_with_the_job() {
    let server = Server::start().await;
    let mut definition: Value = serde_json::from_str(ECHO).unwrap();
    definition["name"] = json!("my_own");
    let body = json!({ "definition": definition, "input": { "text": "x" } });
    let response = server.post("/v1/jobs", &body).await;
    assert_eq!(response.status(), 201);
    let accepted: Value = response.json().await.unwrap();
    let job = server.ended(accepted["id"].as_str().unwrap()).await;
    assert_eq!(job["workflow"], "my_own");
    assert_eq!(job["output"]["said"], "x");
    let list = server.get_json("/v1/workflows").await;
    let known = list["workflows"].as_array().unwrap().iter().any(|it| it["name"] == "my_own");
    assert!(!known, "it is for this job alone");
}

#[tokio::test]
async fn no_input_is_an_empty_object() {
    let server = Server::start().await;
    let response = server.post("/v1/jobs", &json!({ "workflow": "flaky" })).await;
    assert_eq!(response.status(), 201);
    let accepted: Value = response.json().await.unwrap();
    let job = server.ended(accepted["id"].as_str().unwrap()).await;
    assert_eq!(job["input"], json!({}));
    assert_eq!(job["steps"][0]["attempts"], 2);
}

#[tokio::test]
async fn one_key_is_one_job_from_32_connections() {
    let server = Server::start().await;
    let body = json!({ "workflow": "echo", "input": { "text": "once" } });
    let calls = (0..32).map(|_| {
        // A client of its own each, and so a connection of its own.
        let http = reqwest::Client::builder().build().unwrap();
        let call = http.post(server.url("/v1/jobs")).header("Idempotency-Key", "order-17");
        call.json(&body).send()
    });
    let (mut ids, mut created) = (BTreeSet::new(), 0);
    for response in join_all(calls).await {
        let response = response.unwrap();
        let replayed = response.headers().get("idempotency-replayed").cloned();
        match response.status().as_u16() {
            201 => created += 1,
            200 => assert_eq!(replayed.unwrap(), "true"),
            other => panic!("{other}"),
        }
        let accepted: Value = response.json().await.unwrap();
        ids.insert(accepted["id"].as_str().unwrap().to_owned());
    }
    assert_eq!((ids.len(), created), (1, 1));
    let page = server.get_json("/v1/jobs").await;
    assert_eq!(page["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(server.engine.stats().jobs_submitted, 1);
}

#[tokio::test]
async fn one_key_is_not_two_requests() {
    let server = Server::start().await;
    let submit = |body: Value| {
        let call = server.call(Method::POST, "/v1/jobs").header("Idempotency-Key", "k");
        call.json(&body).send()
    };
    let first = submit(json!({ "workflow": "echo", "input": { "text": "a" } })).await.unwrap();
    assert_eq!(first.status(), 201);
    for other in [
        json!({ "workflow": "echo", "input": { "text": "b" } }),
        json!({ "workflow": "flaky", "input": { "text": "a" } }),
        json!({ "workflow": "echo", "input": { "text": "a" }, "labels": { "x": "y" } }),
    ] {
        let response = submit(other).await.unwrap();
        assert_eq!(response.status(), 422);
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "idempotency.conflict");
    }
}

#[tokio::test]
async fn a_wait_ends_with_its_time() {
    let server = Server::start().await;
    let id = server.submit("hold", json!({})).await;
    let job = server.get_json(&format!("/v1/jobs/{id}?wait=50ms")).await;
    assert_eq!(job["status"], "running");
    assert!(job.get("output").is_none() && job.get("ended_at").is_none());

    let waiting = tokio::spawn(server.get_for_later(&format!("/v1/jobs/{id}?wait=30s")));
    server.let_go();
    let job: Value = waiting.await.unwrap();
    assert_eq!(job["status"], "succeeded");
    assert_eq!(job["output"], json!({ "said": "b" }));
}

#[tokio::test]
async fn failures_are_shown_with_their_words() {
    let server = Server::start().await;
    let id = server.submit("broken", json!({})).await;
    let job = server.ended(&id).await;
    assert_eq!(job["status"], "failed");
    assert_eq!(job["failure"]["code"], "test.broken");
    assert_eq!(job["failure"]["hint"], "give up");
    assert_eq!(job["failure"]["retryable"], false);
    assert_eq!(job["steps"][0]["status"], "failed");
    assert_eq!(job["steps"][0]["failure"]["message"], "it cannot be done");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let workflow = if n % 2 == 0 { "flaky" } else { "broken" };
        let id = server.submit(workflow, json!({})).await;
        server.ended(&id).await;
        ids.push(id);
    }
    ids.reverse();

    let (mut seen, mut path) = (Vec::new(), "/v1/jobs?limit=3".to_owned());
    loop {
        let page = server.get_json(&path).await;
        let jobs = page["jobs"].as_array().unwrap();
        assert!(jobs.len() <= 3);
        seen.extend(jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/jobs?limit=3&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids, "newest first, nothing twice, nothing left out");

    for (query, count) in [
        ("status=failed", 3),
        ("status=succeeded", 4),
        ("status=running", 0),
        ("workflow=broken", 3),
        ("workflow=nobody", 0),
        ("workflow=broken&status=succeeded", 0),
    ] {
        let page = server.get_json(&format!("/v1/jobs?{query}")).await;
        assert_eq!(page["jobs"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_cancel_is_recorded_and_final() {
    let server = Server::start().await;
    let id = server.submit("hold", json!({})).await;
    server.until_running(&id, "held").await;
    let path = format!("/v1/jobs/{id}/cancel");
    let response = server.post(&path, &json!({ "reason": "no longer needed" })).await;
    assert_eq!(response.status(), 202);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["outcome"], "accepted");

    let job = server.ended(&id).await;
    assert_eq!(job["status"], "cancelled");
    let states: Vec<&str> =
        job["steps"].as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["succeeded", "cancelled", "cancelled"]);

    // Again, and without a body: the recorded end is told.
    let response = server.call(Method::POST, &path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer, json!({ "id": id, "outcome": "already_ended", "status": "cancelled" }));
}

#[tokio::test]
async fn cancelling_what_has_succeeded_tells_so() {
    let server = Server::start().await;
    let id = server.submit("flaky", json!({})).await;
    server.ended(&id).await;
    let response = server.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["status"], "succeeded");
}

#[tokio::test]
async fn items_of_a_step_are_counted() {
    let server = Server::start().await;
    let id = server.submit("many", json!({ "list": ["a", "b", "c"] })).await;
    let job = server.ended(&id).await;
    assert_eq!(job["output"], json!([{ "text": "a" }, { "text": "b" }, { "text": "c" }]));
    assert_eq!(job["steps"][0]["attempts"], 3);

    let held = server.submit("hold", json!({})).await;
    server.until_running(&held, "held").await;
    let job = server.get_json(&format!("/v1/jobs/{held}")).await;
    assert_eq!(job["steps"][1]["items"], json!({ "done": 0, "total": 1 }));
    assert_eq!(job["steps"][2]["status"], "pending");
}

#[tokio::test]
async fn a_jobs_graph_is_drawn() {
    let server = Server::start().await;
    let id = server.submit("flaky", json!({})).await;
    let response = server.get(&format!("/v1/jobs/{id}/graph")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/vnd.mermaid; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.starts_with("flowchart") && text.contains("try"), "{text}");
}

#[tokio::test]
async fn workflows_are_listed_shown_and_checked() {
    let server = Server::start().await;
    let list = server.get_json("/v1/workflows").await;
    let names: Vec<&str> = list["workflows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["broken", "echo", "file", "flaky", "hold", "many"]);

    let hold = server.get_json("/v1/workflows/hold").await;
    assert_eq!(hold["steps"][1], json!({ "id": "held", "uses": "test.hold", "needs": ["first"] }));
    let echo = server.get_json("/v1/workflows/echo").await;
    assert_eq!(echo["input"]["required"], json!(["text"]));
    assert_eq!(echo["definition"]["steps"][0]["id"], "say");

    let yaml =
        "name: two\nsteps:\n  - id: a\n    uses: test.ecko\n  - id: b\n    usess: test.echo\n";
    for (kind, text, valid) in [
        ("application/json", ECHO, true),
        ("application/yaml; charset=utf-8", "name: one\nsteps: [{id: a, uses: test.broken}]", true),
        ("text/plain", yaml, false),
    ] {
        let call = server.call(Method::POST, "/v1/workflows/validate");
        let response = call.header("content-type", kind).body(text).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["valid"], valid, "{answer}");
        let problems = answer["problems"].as_array().unwrap();
        assert_eq!(problems.is_empty(), valid);
        for problem in problems {
            assert!(problem["line"].as_u64().unwrap() >= 4, "{problem}");
            assert!(problem["column"].is_u64() && problem["code"].is_string(), "{problem}");
        }
    }
}
