//! Who may come in: tokens, hosts, origins.

use callsheet_api::ApiOptions;
use callsheet_api::client::Client;
use reqwest::Method;
use serde_json::Value;

use crate::server::Server;

#[tokio::test]
async fn every_v1_route_needs_the_token() {
    let server = Server::with(ApiOptions::default().token("open sesame")).await;
    let document = server.get_json("/openapi.json").await;
    for (path, item) in document["paths"].as_object().unwrap() {
        let filled = path
            .replace("{id}", "0190c5a8-7c3e-7abc-8def-0123456789ab")
            .replace("{digest}", &"0".repeat(64))
            .replace("{name}", "echo");
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for (token, status) in [(None, 401), (Some("open"), 401), (Some("open sesame"), 0)] {
                let mut call = server.call(method.clone(), &filled);
                if let Some(token) = token {
                    call = call.bearer_auth(token);
                }
                let response = call.send().await.unwrap();
                let guarded = path.starts_with("/v1");
                let refused = response.status() == 401;
                assert_eq!(refused, guarded && status == 401, "{method} {path} {token:?}");
                if refused {
                    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
                    assert!(challenge.starts_with("Bearer"), "{challenge}");
                }
            }
        }
    }
    // Also where there is no route: a stranger cannot tell one from none.
    assert_eq!(server.get("/v1/nothing").await.status(), 401);
}

#[tokio::test]
async fn the_client_brings_the_token() {
    let server = Server::with(ApiOptions::default().token("t0ken")).await;
    let with = Client::new(&server.url(""), Some("t0ken".into())).unwrap();
    assert_eq!(with.workflows().await.unwrap().workflows.len(), 6);
    let without = server.client();
    let error = without.workflows().await.unwrap_err();
    assert_eq!(error.code(), "auth.missing");
    let wrong = Client::new(&server.url(""), Some("other".into())).unwrap();
    assert_eq!(wrong.workflows().await.unwrap_err().code(), "auth.refused");
}

#[tokio::test]
async fn foreign_hosts_and_pages_are_refused() {
    let server = Server::start().await;
    let own = format!("http://{}", server.address);
    for (name, value, status) in [
        ("host", "evil.example", 403),
        ("host", "localhost:1", 200),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", &*own, 200),
    ] {
        let response =
            server.call(Method::GET, "/v1/jobs").header(name, value).send().await.unwrap();
        assert_eq!(response.status(), status, "{name}: {value}");
        assert!(!response.headers().contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn hosts_can_be_chosen() {
    let server = Server::with(ApiOptions::default().host("films.example")).await;
    for (host, status) in [("films.example:8443", 200), ("FILMS.example", 200), ("localhost", 403)]
    {
        let call = server.call(Method::GET, "/v1/jobs").header("host", host);
        assert_eq!(call.send().await.unwrap().status(), status, "{host}");
    }
}

#[tokio::test]
async fn text_from_outside_comes_back_harmless() {
    let server = Server::start().await;
    let response = server.get("/v1/workflows/a%0a%1b%5d52;c;%E2%80%AEx").await;
    let text = response.text().await.unwrap();
    let problem: Value = serde_json::from_str(&text).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("\\u{a}\\u{1b}") && detail.contains("\\u{202e}"), "{detail}");
}
