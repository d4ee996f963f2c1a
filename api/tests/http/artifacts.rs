//! Files: whole, in parts, under a name, and only when they are wanted.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::server::Server;

const TEXT: &str = "0123456789abcdef";

/// Headers of a request; status, `Content-Range` and body of the answer.
type Row<'t> = (Vec<(&'t str, &'t str)>, u16, &'t str, &'t str);

async fn file(server: &Server) -> Value {
    let id = server.submit("file", json!({ "text": TEXT })).await;
    server.ended(&id).await["output"]["file"].clone()
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_file_is_handed_out_as_the_output_names_it() {
    let server = Server::start().await;
    let file = file(&server).await;
    assert_eq!(file["name"], "note.txt");
    assert_eq!(file["size"], 16);
    let digest = file["artifact"].as_str().unwrap();

    for (query, kind, disposition) in [
        ("", "application/octet-stream", "attachment"),
        (
            "?name=note.txt",
            "text/plain; charset=utf-8",
            "inline; filename=\"note.txt\"; filename*=UTF-8''note.txt",
        ),
        (
            "?name=note.txt&download=1",
            "text/plain; charset=utf-8",
            "attachment; filename=\"note.txt\"; filename*=UTF-8''note.txt",
        ),
        (
            "?name=a.html&download=0",
            "application/octet-stream",
            "attachment; filename=\"a.html\"; filename*=UTF-8''a.html",
        ),
        (
            "?name=..%2F..%2Fx%0d%0aSet-Cookie:%20a=b%22.mp4",
            "video/mp4",
            "inline; filename=\"xSet-Cookie: a=b_.mp4\"; \
             filename*=UTF-8''xSet-Cookie%3A%20a%3Db%22.mp4",
        ),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let path = format!("/v1/artifacts/{digest}{query}");
            let response = server.call(method.clone(), &path).send().await.unwrap();
            assert_eq!(response.status(), 200, "{query}");
            assert_eq!(header(&response, "content-type"), kind);
            assert_eq!(header(&response, "content-disposition"), disposition);
            assert_eq!(header(&response, "content-length"), "16");
            assert_eq!(header(&response, "etag"), format!("\"{digest}\""));
            assert_eq!(header(&response, "accept-ranges"), "bytes");
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            assert!(header(&response, "cache-control").starts_with("private"));
            assert!(header(&response, "cache-control").ends_with("immutable"));
            assert!(header(&response, "content-security-policy").starts_with("sandbox"));
            assert_eq!(header(&response, "set-cookie"), "");
            let body = response.text().await.unwrap();
            assert_eq!(body, if method == Method::GET { TEXT } else { "" });
        }
    }
}

#[tokio::test]
async fn ranges_and_conditions() {
    let server = Server::start().await;
    let file = file(&server).await;
    let digest = file["artifact"].as_str().unwrap();
    let path = format!("/v1/artifacts/{digest}");
    let tag = format!("\"{digest}\"");
    let weak = format!("W/{tag}");
    let rows: Vec<Row> = vec![
        (vec![("range", "bytes=0-3")], 206, "bytes 0-3/16", "0123"),
        (vec![("range", "bytes=10-")], 206, "bytes 10-15/16", "abcdef"),
        (vec![("range", "bytes=-2")], 206, "bytes 14-15/16", "ef"),
        (vec![("range", "bytes=-99")], 206, "bytes 0-15/16", TEXT),
        (vec![("range", "bytes=15-99")], 206, "bytes 15-15/16", "f"),
        (vec![("range", "bytes=0-1,3-4")], 200, "", TEXT),
        (vec![("range", "bytes=5-1")], 200, "", TEXT),
        (vec![("range", "lines=0-1")], 200, "", TEXT),
        (vec![("range", "bytes=0-3"), ("if-range", &tag)], 206, "bytes 0-3/16", "0123"),
        (vec![("range", "bytes=0-3"), ("if-range", "\"x\"")], 200, "", TEXT),
        (vec![("range", "bytes=0-3"), ("if-range", &weak)], 200, "", TEXT),
        (vec![("if-none-match", &tag)], 304, "", ""),
        (vec![("if-none-match", &weak)], 304, "", ""),
        (vec![("if-none-match", "*"), ("range", "bytes=0-3")], 304, "", ""),
        (vec![("if-none-match", "\"x\"")], 200, "", TEXT),
    ];
    for (fields, status, range, body) in rows {
        let mut call = server.call(Method::GET, &path);
        for (name, value) in &fields {
            call = call.header(*name, *value);
        }
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), status, "{fields:?}");
        assert_eq!(header(&response, "content-range"), range, "{fields:?}");
        assert_eq!(header(&response, "etag"), tag, "{fields:?}");
        assert_eq!(response.text().await.unwrap(), body, "{fields:?}");
    }
    for outside in ["bytes=16-", "bytes=99-100", "bytes=-0"] {
        let response =
            server.call(Method::GET, &path).header("range", outside).send().await.unwrap();
        assert_eq!(response.status(), 416, "{outside}");
        assert_eq!(header(&response, "content-range"), "bytes */16");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "range.unsatisfiable");
    }
    let head = server.call(Method::HEAD, &path).header("range", "bytes=0-3").send().await.unwrap();
    assert_eq!(head.status(), 200, "a range means nothing for HEAD");
}

/// What a browser asks for that plays a video: all of it, then the index at its end, then the place
/// that somebody jumped to, each time giving up the answer before.
#[tokio::test]
async fn a_player_can_jump_about() {
    let server = Server::start().await;
    let bytes: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    let digest = server.engine.artifacts().put_bytes(&bytes).unwrap();
    let path = format!("/v1/artifacts/{digest}?name=talk.mp4");
    let tag = format!("\"{digest}\"");
    for (range, start, end) in [
        ("bytes=0-", 0, 4_000_000),
        ("bytes=3999000-", 3_999_000, 4_000_000),
        ("bytes=131072-", 131_072, 4_000_000),
        ("bytes=2000000-2065535", 2_000_000, 2_065_536),
        ("bytes=0-1", 0, 2),
    ] {
        let call = server.call(Method::GET, &path).header("range", range);
        let mut response = call.header("if-range", &tag).send().await.unwrap();
        assert_eq!(response.status(), 206, "{range}");
        assert_eq!(header(&response, "content-type"), "video/mp4");
        assert!(header(&response, "content-disposition").starts_with("inline"));
        let told = format!("bytes {start}-{}/4000000", end - 1);
        assert_eq!(header(&response, "content-range"), told);
        assert_eq!(header(&response, "content-length"), (end - start).to_string());
        // It reads on for a little and then jumps elsewhere.
        let piece = response.chunk().await.unwrap().unwrap();
        assert_eq!(piece, bytes[start..start + piece.len()], "{range}");
    }
    let no = server.get(&format!("/v1/artifacts/{digest}?download=yes")).await;
    assert_eq!(no.status(), 400);
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let server = Server::start().await;
    let digest = server.engine.artifacts().put_bytes(b"").unwrap();
    let response = server.get(&format!("/v1/artifacts/{digest}")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-length"), "0");
    assert_eq!(response.text().await.unwrap(), "");
}

#[tokio::test]
async fn a_damaged_file_never_arrives_whole() {
    let server = Server::start().await;
    let digest = server.engine.artifacts().put_bytes(&[7; 300_000]).unwrap();
    let path = server.engine.artifacts().path(&digest);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, [8; 300_000]).unwrap();
    let response = server.get(&format!("/v1/artifacts/{digest}")).await;
    assert_eq!(response.status(), 200, "it is seen on the way");
    assert!(response.bytes().await.is_err(), "the body breaks off");
}
