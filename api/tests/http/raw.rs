//! Bytes that no well-behaved client sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::Server;

/// Sends bytes as they are and reads until the server closes or is silent.
async fn talk(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may close while it is written to; what it said before is what counts.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(Ok(count)) =
        tokio::time::timeout(Duration::from_millis(500), stream.read(&mut piece)).await
    {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn answers(text: &str) -> Vec<&str> {
    text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect()
}

#[tokio::test]
async fn malformed_requests_get_one_refusal_each() {
    let server = Server::start().await;
    let huge =
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(80_000));
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    for (request, expected) in [
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "403"),
        ("BREW /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        ("GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n", "400"),
        ("GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: b\0c\r\n\r\n", "400"),
        (&huge, "431"),
        (&many, "431"),
    ] {
        let answer = talk(&server, request.as_bytes()).await;
        let shown = &request[..request.len().min(60)];
        assert_eq!(answers(&answer), [expected], "{shown:?}: {answer}");
    }
}

#[tokio::test]
async fn lengths_that_disagree_cannot_smuggle_a_request() {
    let server = Server::start().await;
    let inner = "GET /v1/workflows HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let submit = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    for lengths in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
    ] {
        let answer =
            talk(&server, format!("{submit}{lengths}\r\n{{}}\r\n{inner}").as_bytes()).await;
        assert_eq!(answers(&answer), ["400"], "{lengths:?}: {answer}");
    }
    // Both lengths: one answer, and the connection is not used for what follows.
    let both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n";
    let text = format!("{submit}{both}\r\n2\r\n{{}}\r\n0\r\n\r\n{inner}");
    let answer = talk(&server, text.as_bytes()).await;
    assert_eq!(answers(&answer).first(), Some(&"422"), "{answer}");
    for chunk in ["zz\r\n{}\r\n0\r\n\r\n", "ffffffffffffffffff\r\n{}", "-1\r\n"] {
        let text = format!("{submit}Transfer-Encoding: chunked\r\n\r\n{chunk}");
        let answer = talk(&server, text.as_bytes()).await;
        assert_eq!(answers(&answer), ["400"], "{chunk:?}: {answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_no_job() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 40\r\n\r\n{\"workflow\":\"flaky\"}";
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    // The server is asked something else, so that it has seen the end of the first.
    assert_eq!(server.get("/healthz").await.status(), 200);
    assert_eq!(server.engine.stats().jobs_submitted, 0);
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = Server::start().await;
    let one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = talk(&server, format!("{one}{one}{last}").as_bytes()).await;
    assert_eq!(answers(&answer), ["200", "200", "200"]);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_half_is_shown_out() {
    let server = Server::start().await;
    for half in ["", "GET /healthz HTT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX:"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(half.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The clock of this test runs ahead when all is still, so the limit is reached at once.
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answers(&String::from_utf8_lossy(&answer)).len() <= 1, "{half:?}");
    }
}
