//! Files that come in: whole and once, or not at all.

use std::time::Duration;

use callsheet_api::ApiOptions;
use futures::stream;
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::Server;

/// Bytes in the store, those of half files included.
fn stored(server: &Server) -> u64 {
    let mut bytes = 0;
    let mut dirs = vec![server.engine.artifacts().root().to_owned()];
    while let Some(dir) = dirs.pop() {
        // A file may go away between the list and the look at it.
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(known) if known.is_dir() => dirs.push(entry.path()),
                Ok(known) => bytes += known.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came true: {what}");
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_file_is_taken_in_once_and_handed_out_again() {
    let server = Server::start().await;
    for _ in 0..2 {
        let call = server.call(Method::POST, "/v1/uploads?name=my%20note.txt");
        let response = call.body("hello").send().await.unwrap();
        assert_eq!(response.status(), 201);
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let reference: Value = response.json().await.unwrap();
        let digest = reference["artifact"].as_str().unwrap();
        assert_eq!(location, format!("/v1/artifacts/{digest}"));
        assert_eq!(
            reference,
            json!({ "artifact": digest, "name": "my note.txt",
                "media_type": "text/plain; charset=utf-8", "size": 5 })
        );
        assert_eq!(server.get(&location).await.text().await.unwrap(), "hello");
        assert_eq!(stored(&server), 5);
    }
    let call = server.call(Method::POST, "/v1/uploads");
    let call = call.header("content-disposition", "attachment; filename=\"../a.bin\"");
    let response = call.header("content-type", "video/x-own").body("x").send().await.unwrap();
    let reference: Value = response.json().await.unwrap();
    assert_eq!(
        (&reference["name"], &reference["media_type"]),
        (&json!("a.bin"), &json!("video/x-own"))
    );
}

#[tokio::test]
async fn the_client_sends_files() {
    let server = Server::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("talk.mp4");
    let bytes: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &bytes).unwrap();
    let client = server.client();
    let reference = client.upload(&path, None, None).await.unwrap();
    assert_eq!((reference.name.as_str(), reference.media_type.as_str()), ("talk.mp4", "video/mp4"));
    assert_eq!(reference.size, 2_800_000);
    let back = dir.path().join("back");
    client.download(&reference.artifact, &back).await.unwrap();
    assert_eq!(std::fs::read(back).unwrap(), bytes);
    let named = client.upload(&path, Some("b"), Some("audio/own")).await.unwrap();
    assert_eq!((named.name.as_str(), named.media_type.as_str()), ("b", "audio/own"));
    assert_eq!(named.artifact, reference.artifact);
    let refused = client.upload(dir.path(), None, None).await.unwrap_err();
    assert_eq!(refused.code(), "client.file");
}

#[tokio::test]
async fn what_is_too_large_is_refused_told_or_not() {
    let server = Server::with(ApiOptions::default().max_upload_bytes(1_000)).await;
    let send = |body: Body| server.call(Method::POST, "/v1/uploads").body(body).send();
    let whole = send(vec![7; 1_001].into()).await.unwrap();
    assert_eq!(code(whole).await, (413, "upload.too_large".to_owned()));
    let pieces = stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(vec![7u8; 400])));
    let piecewise = send(Body::wrap_stream(pieces)).await.unwrap();
    assert_eq!(code(piecewise).await, (413, "upload.too_large".to_owned()));
    until("nothing is left", async || stored(&server) == 0).await;
    assert_eq!(send(vec![7; 1_000].into()).await.unwrap().status(), 201);
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    let server = Server::start().await;
    for (query, kind, expected) in [
        ("?name=..%2Fx", "video/mp4", (400, "request.query")),
        ("?nmae=x", "video/mp4", (400, "request.query")),
        ("", "multipart/form-data; boundary=b", (415, "request.media_type")),
        ("", "mp4", (415, "request.media_type")),
    ] {
        let call = server.call(Method::POST, &format!("/v1/uploads{query}"));
        let response = call.header("content-type", kind).body("x").send().await.unwrap();
        let (status, code) = code(response).await;
        assert_eq!((status, &*code), expected, "{query} {kind}");
    }
    assert_eq!(stored(&server), 0);
}

/// Begins an upload of 1,000 bytes and sends half of it.
async fn half(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[7; 500]).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let server = Server::start().await;
    let stream = half(&server).await;
    until("half of it is there", async || stored(&server) == 500).await;
    drop(stream);
    until("nothing is left", async || stored(&server) == 0).await;
}

#[tokio::test]
async fn uploads_are_bounded() {
    let server = Server::start().await;
    let mut open = Vec::new();
    for _ in 0..callsheet_api::limits::MAX_UPLOADS_COUNT {
        open.push(half(&server).await);
    }
    let send = || server.call(Method::POST, "/v1/uploads").body("x").send();
    until("all places are taken", async || send().await.unwrap().status() == 503).await;
    let refused = send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "5");
    assert_eq!(code(refused).await, (503, "upload.limit".to_owned()));
    // One of them comes to its end, and gives its place to the next.
    let mut last = open.pop().unwrap();
    last.write_all(&[7; 500]).await.unwrap();
    let mut answer = [0; 12];
    last.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    assert_eq!(send().await.unwrap().status(), 201);
}
