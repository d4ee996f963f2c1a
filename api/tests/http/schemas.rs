//! What is answered against what the description says is answered.

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{ECHO, Server};

/// Checks a value against a schema of the description.
fn check(document: &Value, name: &str, value: &Value) {
    let schema = json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let misfits: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(misfits.is_empty(), "{name}: {misfits:?} in {value}");
    check_no_more(&document["components"]["schemas"], name, value);
}

/// Nothing is answered that is not described.
fn check_no_more(schemas: &Value, name: &str, value: &Value) {
    let mut known: Vec<&String> = Vec::new();
    let parts = schemas[name]["allOf"].as_array().cloned().unwrap_or_default();
    let inherited = parts.iter().filter_map(|part| part["$ref"].as_str()).map(|reference| {
        let other = reference.rsplit('/').next().unwrap();
        &schemas[other]["properties"]
    });
    let own = parts.iter().map(|part| &part["properties"]);
    for properties in own.chain(inherited).chain([&schemas[name]["properties"]]) {
        known.extend(properties.as_object().into_iter().flat_map(|fields| fields.keys()));
    }
    if known.is_empty() {
        return; // one of several shapes; the schema itself tells them apart
    }
    for field in value.as_object().unwrap().keys() {
        assert!(known.contains(&field), "{name} does not describe `{field}`");
    }
}

#[tokio::test]
async fn answers_are_as_described() {
    let server = Server::start().await;
    let document = server.get_json("/openapi.json").await;
    let mut jobs = Vec::new();
    for (workflow, input) in [
        ("flaky", json!({})),
        ("broken", json!({})),
        ("many", json!({ "list": ["a"] })),
        ("file", json!({ "text": "x" })),
    ] {
        let id = server.submit(workflow, input).await;
        server.ended(&id).await;
        jobs.push(id);
    }
    let held = server.submit("hold", json!({})).await;
    server.until_running(&held, "held").await;
    check(&document, "Job", &server.get_json(&format!("/v1/jobs/{held}")).await);
    let cancel = server.post(&format!("/v1/jobs/{held}/cancel"), &json!({})).await;
    check(&document, "CancelAnswer", &cancel.json().await.unwrap());
    jobs.push(held);
    for id in &jobs {
        check(&document, "Job", &server.ended(id).await);
    }
    for (path, name) in [
        ("/v1/jobs?limit=2", "JobPage"),
        ("/v1/workflows", "WorkflowList"),
        ("/v1/workflows/echo", "Workflow"),
        ("/v1/actors", "ActorList"),
        ("/healthz", "Status"),
        ("/readyz", "Status"),
    ] {
        check(&document, name, &server.get_json(path).await);
    }
    for (text, kind) in [(ECHO, "application/json"), ("name: 1", "application/yaml")] {
        let call = server.call(Method::POST, "/v1/workflows/validate").header("content-type", kind);
        let answer = call.body(text).send().await.unwrap().json().await.unwrap();
        check(&document, "Validation", &answer);
    }
    let upload = server.call(Method::POST, "/v1/uploads").body("x").send().await.unwrap();
    check(&document, "FileReference", &upload.json().await.unwrap());
    let refused = server.post("/v1/jobs", &json!({ "workflow": "echo", "input": {} })).await;
    check(&document, "Problem", &refused.json().await.unwrap());
    let accepted = server.post("/v1/jobs", &json!({ "workflow": "flaky" })).await;
    check(&document, "Accepted", &accepted.json().await.unwrap());
}

#[tokio::test]
async fn events_are_as_described() {
    let server = Server::start().await;
    let document = server.get_json("/openapi.json").await;
    let client = server.client();
    for (workflow, input) in
        [("flaky", json!({})), ("broken", json!({})), ("many", json!({ "list": ["a", "b"] }))]
    {
        let id = server.submit(workflow, input).await;
        server.ended(&id).await;
        let response = server.get(&format!("/v1/jobs/{id}/events")).await;
        let text = response.text().await.unwrap();
        let events: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert!(events.len() >= 4, "{text}");
        for event in &events {
            check(&document, "Event", &serde_json::from_str(event).unwrap());
        }
        let read = client.events(&id, None).filter(|update| {
            let good = update.is_ok();
            async move { good }
        });
        assert_eq!(read.count().await, events.len(), "the client reads every one of them");
    }
}
