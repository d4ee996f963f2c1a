//! How the server says that it is well, and what it counts.

use serde_json::json;

use crate::server::Server;

#[tokio::test]
async fn health_and_readiness_follow_the_engine() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
    server.engine.shutdown().await;
    let response = server.get("/readyz").await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["content-type"], "application/problem+json");

    let refused = server.post("/v1/jobs", &json!({ "workflow": "flaky" })).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "engine.draining");
}

#[tokio::test]
async fn metrics_count_jobs_attempts_and_requests() {
    let server = Server::start().await;
    for workflow in ["flaky", "flaky", "broken"] {
        let id = server.submit(workflow, json!({})).await;
        server.ended(&id).await;
    }
    let held = server.submit("hold", json!({})).await;
    server.until_running(&held, "held").await;
    server.get("/v1/jobs?limit=0").await;
    server.get("/nowhere/at/all").await;
    let response = server.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = response.text().await.unwrap();
    for line in [
        "callsheet_jobs_submitted_total 4",
        "callsheet_jobs_ended_total{status=\"succeeded\"} 2",
        "callsheet_jobs_ended_total{status=\"failed\"} 1",
        "callsheet_jobs_ended_total{status=\"cancelled\"} 0",
        "callsheet_attempts_started_total 7",
        "callsheet_jobs_active 1",
        "callsheet_attempts_open 1",
        "callsheet_event_streams_open 0",
        "callsheet_http_requests_total{method=\"POST\",route=\"/v1/jobs\",status=\"201\"} 4",
        "callsheet_http_requests_total{method=\"GET\",route=\"/v1/jobs\",status=\"400\"} 1",
        "callsheet_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "# TYPE callsheet_http_request_duration_seconds histogram",
        "# TYPE callsheet_store_commits_total counter",
    ] {
        assert!(text.lines().any(|it| it == line), "no line `{line}` in\n{text}");
    }
    assert!(!text.contains(&held), "a job's id is no label");
}

#[tokio::test]
async fn actors_are_listed() {
    let server = Server::start().await;
    let held = server.submit("hold", json!({})).await;
    server.until_running(&held, "held").await;
    let list = server.get_json("/v1/actors").await;
    let actors = list["actors"].as_array().unwrap();
    let job = actors.iter().find(|actor| actor["kind"] == "job").unwrap();
    assert!(job["name"].as_str().unwrap().contains(&held), "{job}");
    assert!(job["handled"].is_u64() && job["waiting"].is_u64());
    assert!(job["started_at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn every_answer_has_a_number() {
    let server = Server::start().await;
    let call = server.http.get(server.url("/healthz")).header("x-request-id", "forged");
    let one = call.send().await.unwrap().headers()["x-request-id"].clone();
    let two = server.get("/nowhere").await.headers()["x-request-id"].clone();
    assert_ne!(one, "forged");
    assert_ne!(one, two);
}

#[tokio::test]
async fn two_engines_in_one_process_count_apart() {
    let (one, two) = (Server::start().await, Server::start().await);
    let id = one.submit("flaky", json!({})).await;
    one.ended(&id).await;
    for (server, count) in [(&one, 1), (&two, 0)] {
        let text = server.get("/metrics").await.text().await.unwrap();
        let line = format!("callsheet_jobs_submitted_total {count}");
        assert!(text.lines().any(|it| it == line), "{text}");
    }
    assert_eq!(two.get(&format!("/v1/jobs/{id}")).await.status(), 404);
}

#[tokio::test]
async fn the_routes_fit_into_another_server() {
    let engine = callsheet_actors::Engine::builder().in_memory().open().await.unwrap();
    let api = callsheet_api::router(engine, callsheet_api::ApiOptions::default());
    let app = axum::Router::new().nest_service("/callsheet", api);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callsheet", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let client = callsheet_api::client::Client::new(&url, None).unwrap();
    client.ready().await.unwrap();
    assert_eq!(client.workflows().await.unwrap().workflows, []);
    serving.abort();
}
