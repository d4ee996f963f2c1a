//! The description against the routes: neither has what the other has not.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::server::Server;

/// Every route there is.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/healthz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/readyz"),
    ("get", "/v1/actors"),
    ("get", "/v1/artifacts/{digest}"),
    ("get", "/v1/backup"),
    ("get", "/v1/jobs"),
    ("get", "/v1/jobs/{id}"),
    ("get", "/v1/jobs/{id}/events"),
    ("get", "/v1/jobs/{id}/graph"),
    ("get", "/v1/workflows"),
    ("get", "/v1/workflows/{name}"),
    ("head", "/v1/artifacts/{digest}"),
    ("post", "/v1/jobs"),
    ("post", "/v1/jobs/{id}/cancel"),
    ("post", "/v1/jobs/{id}/steps/{step}/resolve"),
    ("post", "/v1/jobs/{id}/webhook"),
    ("post", "/v1/uploads"),
    ("post", "/v1/workflows/validate"),
];

fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = ["get", "head", "post", "put", "delete", "patch", "options", "trace"];
    paths
        .iter()
        .flat_map(|(path, item)| {
            let item = item.as_object().unwrap();
            item.keys()
                .filter(|key| methods.contains(&key.as_str()))
                .map(move |method| (method.clone(), path.clone()))
        })
        .collect()
}

#[tokio::test]
async fn the_description_lists_every_route() {
    let server = Server::start().await;
    let document = server.get_json("/openapi.json").await;
    let expected: BTreeSet<(String, String)> =
        ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described(&document), expected);
}

#[test]
fn no_route_is_added_without_its_description() {
    let source = include_str!("../../src/router.rs");
    for other_way in [".route(", ".nest(", ".route_service(", ".nest_service(", ".merge(axum"] {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        // Those of the caller's own are the caller's to describe.
        let own = code.filter(|line| !line.contains("router.nest_service(path, routes)"));
        assert_eq!(own.filter(|line| line.contains(other_way)).count(), 0, "{other_way}");
    }
}

#[tokio::test]
async fn the_router_takes_what_is_described_and_nothing_else() {
    let server = Server::start().await;
    let document = server.get_json("/openapi.json").await;
    let described = described(&document);
    let paths: BTreeSet<&String> = described.iter().map(|(_, path)| path).collect();
    for path in paths {
        let filled = path
            .replace("{id}", "0190c5a8-7c3e-7abc-8def-0123456789ab")
            .replace("{digest}", &"0".repeat(64))
            .replace("{name}", "echo");
        for method in ["get", "post", "put", "delete", "patch", "options"] {
            let wanted = described.contains(&(method.to_owned(), path.clone()));
            let upper = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let response = server.call(upper, &filled).send().await.unwrap();
            assert_eq!(response.status() != 405, wanted, "{method} {path}");
            if response.status() == 404 {
                let problem: Value = response.json().await.unwrap();
                assert_ne!(problem["code"], "route.unknown", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_description_is_whole() {
    let server = Server::start().await;
    let document = server.get_json("/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(document["info"]["title"], "Callsheet");
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");

    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (method, path) in ROUTES {
        let operation = &document["paths"][path][method];
        assert!(operation["summary"].is_string(), "{method} {path} has no summary");
        let guarded = path.starts_with("/v1");
        assert_eq!(operation["security"].is_array(), guarded, "{method} {path}");
        assert_eq!(operation["responses"]["401"].is_object(), guarded, "{method} {path}");
    }
}

#[tokio::test]
async fn every_code_of_the_description_is_one() {
    let server = Server::start().await;
    let text = server.get("/openapi.json").await.text().await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    for (method, path) in ROUTES {
        let responses = document["paths"][path][method]["responses"].as_object().unwrap();
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
            let text = response["description"].as_str().unwrap();
            for code in text.split('`').skip(1).step_by(2).filter(|code| !code.ends_with('*')) {
                let known = callsheet_api::CODES.iter().find(|known| known.code == code);
                let known = known.unwrap_or_else(|| panic!("{method} {path}: `{code}`"));
                let body = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(body, "#/components/schemas/Problem", "{method} {path} {status}");
                assert_eq!(known.status.to_string(), *status, "{method} {path}: `{code}`");
            }
        }
    }
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "$ref" => into.push(text.to_owned()),
                    _ => collect_references(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}
