//! `media.fetch` against a server that misbehaves, and against files of this machine.

use std::time::Duration;

use callsheet_actors::{EngineError, Submit};
use callsheet_workflows::MediaOptions;
use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::samples::Samples;
use crate::server::{Reply, Request, Server};
use crate::support::{artifact, bytes, code, engine, offline, run, step};

const KIND: &str = "media.fetch";

async fn serve(server: &MockServer, at: &str, answer: ResponseTemplate) {
    Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_fetched_over_redirects_within_its_limit() {
    let server = MockServer::start().await;
    let film = b"\0\0\0\x20ftypisom and so on".to_vec();
    serve(&server, "/film", ResponseTemplate::new(200).set_body_bytes(film.clone())).await;
    serve(&server, "/moved", ResponseTemplate::new(302).insert_header("location", "/film")).await;
    serve(&server, "/round", ResponseTemplate::new(302).insert_header("location", "/round")).await;
    serve(&server, "/lost", ResponseTemplate::new(302)).await;
    let to_file = ResponseTemplate::new(302).insert_header("location", "file:///etc/passwd");
    serve(&server, "/file", to_file).await;
    let engine = engine(&offline()).await;
    let fetch = async |at: &str, max_bytes: u64| {
        let source = format!("{}{at}", server.uri());
        step(&engine, KIND, json!({ "source": source, "max_bytes": max_bytes })).await
    };
    let fetched = fetch("/moved", film.len() as u64).await.unwrap();
    assert_eq!(bytes(&engine, &fetched["file"]), film);
    assert_eq!(fetched["file"]["name"], "source.mp4");
    assert_eq!(fetched["file"]["media_type"], "video/mp4");
    for (at, max_bytes, expected) in [
        ("/film", film.len() as u64 - 1, "fetch.too_large"),
        ("/round", 100, "fetch.redirects"),
        ("/lost", 100, "fetch.redirects"),
        ("/file", 100, "fetch.scheme"),
        ("/none", 100, "fetch.status"),
    ] {
        assert_eq!(code(fetch(at, max_bytes).await), expected, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_pass_is_retryable() {
    let server = MockServer::start().await;
    for status in [404, 403, 500, 503, 429] {
        serve(&server, &format!("/{status}"), ResponseTemplate::new(status)).await;
    }
    let slow = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    serve(&server, "/slow", slow).await;
    let engine = engine(&offline()).await;
    for (at, expected, retryable) in [
        ("/404?key=canary", "fetch.status", false),
        ("/403", "fetch.status", false),
        ("/500", "fetch.status", true),
        ("/503", "fetch.status", true),
        ("/429", "fetch.status", true),
        ("/slow", "fetch.timeout", true),
    ] {
        let timeout = if at == "/slow" { "1s" } else { "60s" };
        let with = json!({ "source": format!("{}{at}", server.uri()), "timeout": timeout });
        let failure = step(&engine, KIND, with).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retryable), (expected, retryable), "{at}");
        assert!(!failure.to_string().contains("canary"), "{failure}");
    }
    // Nobody listens there.
    let with = json!({ "source": "http://127.0.0.1:9/" });
    let failure = step(&engine, KIND, with).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retryable), ("fetch.connect", true));
    assert!(failure.hint.is_some());
}

/// A film of no particular content, long enough to come in several pieces.
fn film(seed: usize) -> Vec<u8> {
    let mut film = b"\0\0\0\x20ftypisom".to_vec();
    film.extend((film.len()..300_000).map(|n| (n * 31 + seed) as u8));
    film
}

/// The whole film as a good server gives it.
fn whole(film: Vec<u8>, tag: &str) -> Reply {
    Reply::new(200, film.clone()).header("content-length", film.len()).header("etag", tag)
}

/// What is left of the film from a byte on.
fn rest(film: &[u8], from: usize, tag: &str) -> Reply {
    let range = format!("bytes {from}-{}/{}", film.len() - 1, film.len());
    let reply = Reply::new(206, &film[from..]).header("content-range", range);
    reply.header("content-length", film.len() - from).header("etag", tag)
}

/// A good server for all that is asked of it, with the faults that a path names.
fn answer(request: &Request) -> Reply {
    let (one, two) = (film(1), film(2));
    let (is_head, again) = (request.method == "HEAD", request.before > 0);
    let from =
        request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let from: Option<usize> = from.and_then(|(from, _)| from.parse().ok());
    let half = || Reply::new(200, &one[..150_000]).header("content-length", one.len());
    let chunked = |body: &[u8]| Reply::new(200, body).header("transfer-encoding", "chunked");
    match request.path.as_str() {
        "/head-403" if is_head => Reply::new(403, ""),
        "/head-405" | "/no-ranges" if is_head => Reply::new(405, ""),
        "/head-403" | "/head-405" if from == Some(0) => rest(&one, 0, "\"1\""),
        "/no-length" if is_head => Reply::new(200, ""),
        "/no-length" => chunked(b"6\r\nRIFFxx\r\n0\r\n\r\n"),
        "/says-less" if is_head => Reply::new(200, "").header("content-length", 10),
        "/huge" => Reply::new(200, "").header("content-length", 1u64 << 60),
        "/endless" if is_head => Reply::new(200, ""),
        "/endless" => chunked(format!("400\r\n{}\r\n", "x".repeat(1_024)).as_bytes()).endless(),
        "/expired" => Reply::new(403, "<Message>Request has expired</Message>"),
        path if path.starts_with("/signed") => Reply::new(403, "no"),
        "/silent" if is_head => whole(one, "\"1\""),
        "/silent" => half().silent(),
        "/packed" if !is_head => whole(one, "\"1\"").header("content-encoding", "gzip"),
        "/cut" | "/cut-changed" | "/cut-lying" if !is_head && !again => {
            half().header("etag", "\"1\"")
        }
        "/cut" if from.is_some() => {
            assert_eq!(request.header("if-range"), Some("\"1\""));
            rest(&one, from.unwrap(), "\"1\"")
        }
        "/cut-changed" => whole(two, "\"2\""),
        "/cut-lying" if from.is_some() => rest(&two, from.unwrap(), "\"2\""),
        "/cut-lying" => whole(two, "\"2\""),
        "/cut-unmarked" if !is_head && !again => half(),
        "/cut-forever" if !is_head => half(),
        "/cut-often" if request.before == 3 && !is_head => Reply::new(503, "busy"),
        "/cut-often" if !is_head => {
            let (from, to) = (from.unwrap_or(0), from.unwrap_or(0) + 40_000);
            let mut reply = if from == 0 { whole(one, "\"1\"") } else { rest(&one, from, "\"1\"") };
            reply.cut(to - from);
            reply
        }
        "/cut-unsure" if !is_head && !again => half().header("etag", "\"1\""),
        "/cut-unsure" if from.is_some() => Reply::new(416, ""),
        _ => whole(one, "\"1\""),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_whole_whatever_the_server_can() {
    let server = Server::start(answer).await;
    let engine = engine(&offline()).await;
    for (path, expected, asked) in [
        ("/film", film(1), vec!["HEAD all", "GET all"]),
        ("/head-403", film(1), vec!["HEAD all", "GET bytes=0-0", "GET all"]),
        ("/head-405", film(1), vec!["HEAD all", "GET bytes=0-0", "GET all"]),
        ("/no-ranges", film(1), vec!["HEAD all", "GET bytes=0-0", "GET all"]),
        ("/no-length", b"RIFFxx".to_vec(), vec!["HEAD all", "GET bytes=0-0", "GET all"]),
        ("/packed", film(1), vec!["HEAD all", "GET all"]),
        // Taken up where it broke off; begun anew when it is another film by now.
        ("/cut", film(1), vec!["HEAD all", "GET all", "GET bytes=150000-"]),
        ("/cut-changed", film(2), vec!["HEAD all", "GET all", "GET bytes=150000-"]),
        ("/cut-lying", film(2), vec!["HEAD all", "GET all", "GET bytes=150000-", "GET all"]),
        ("/cut-unmarked", film(1), vec!["HEAD all", "GET all", "GET all"]),
    ] {
        let with = json!({ "source": server.url(path), "max_bytes": "1MiB" });
        let fetched = step(&engine, KIND, with).await;
        let fetched = fetched.unwrap_or_else(|failure| panic!("{path}: {failure}"));
        assert!(bytes(&engine, &fetched["file"]) == expected, "{path}: other bytes");
        assert_eq!(server.seen(path), asked, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_often_comes_as_long_as_more_of_it_comes() {
    let server = Server::start(answer).await;
    let engine = engine(&offline()).await;
    for (path, asked) in [("/cut-often", 10), ("/cut-unsure", 4)] {
        let with = json!({ "source": server.url(path), "max_bytes": "1MiB" });
        let fetched = step(&engine, KIND, with).await;
        let fetched = fetched.unwrap_or_else(|failure| panic!("{path}: {failure}"));
        assert!(bytes(&engine, &fetched["file"]) == film(1), "{path}: other bytes");
        assert_eq!(server.seen(path).len(), asked, "{path}: {:?}", server.seen(path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_come_is_refused_with_its_reason() {
    let server = Server::start(answer).await;
    let engine = engine(&offline()).await;
    let early = vec!["HEAD all"];
    let looked = vec!["HEAD all", "GET bytes=0-0"];
    let signed = "/signed?X-Amz-Date=20200101T000000Z&X-Amz-Expires=60&X-Amz-Signature=canary";
    for (path, max_bytes, expected, retryable, asked) in [
        // Known before a byte of it was asked for.
        ("/film", 1_000, "fetch.too_large", false, early.clone()),
        ("/head-403", 1_000, "fetch.too_large", false, looked.clone()),
        ("/huge", u64::MAX >> 1, "fetch.no_room", true, early),
        ("/expired", 1_000, "fetch.expired", false, looked.clone()),
        (signed, 1_000, "fetch.expired", false, looked.clone()),
        ("/signed", 1_000, "fetch.status", false, looked),
        // Whatever the server says of it.
        ("/says-less", 1_000, "fetch.too_large", false, vec!["HEAD all", "GET all"]),
        (
            "/endless",
            100_000,
            "fetch.too_large",
            false,
            vec!["HEAD all", "GET bytes=0-0", "GET all"],
        ),
        ("/silent", 1 << 20, "fetch.timeout", true, vec!["HEAD all", "GET all"]),
    ] {
        let timeout = if path == "/silent" { "2s" } else { "60s" };
        let with =
            json!({ "source": server.url(path), "max_bytes": max_bytes, "timeout": timeout });
        let failure = step(&engine, KIND, with).await.unwrap_err();
        let found = (failure.code.as_str(), failure.retryable);
        assert_eq!(found, (expected, retryable), "{path}: {failure}");
        assert!(!failure.to_string().contains("canary"), "{failure}");
        assert_eq!(server.seen(path), asked, "{path}");
    }
    let with = json!({ "source": server.url("/cut-forever"), "timeout": "60s" });
    let failure = step(&engine, KIND, with).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retryable), ("fetch.broken", true), "{failure}");
    assert!(failure.message.contains("150000 bytes of 300000 came"), "{failure}");
    assert_eq!(server.seen("/cut-forever").len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_told_otherwise_takes_public_addresses_only() {
    let server = MockServer::start().await;
    serve(&server, "/film", ResponseTemplate::new(200).set_body_string("secret")).await;
    let port = server.address().port();
    let samples = Samples::new();
    let file = samples.write("film.mp4", "secret");
    let engine = engine(&MediaOptions { openai: None, ..MediaOptions::default() }).await;
    for (source, expected) in [
        (format!("http://127.0.0.1:{port}/film"), "fetch.private_address"),
        (format!("http://localhost:{port}/film"), "fetch.private_address"),
        (format!("http://[::1]:{port}/film"), "fetch.private_address"),
        (format!("http://[::ffff:7f00:1]:{port}/film"), "fetch.private_address"),
        (format!("http://2130706433:{port}/film"), "fetch.private_address"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "fetch.private_address"),
        (file.to_str().unwrap().to_owned(), "fetch.local_path"),
        ("film.mp4".to_owned(), "fetch.local_path"),
        (format!("file://{}", file.display()), "fetch.scheme"),
        (String::new(), "fetch.local_path"),
    ] {
        let failure = step(&engine, KIND, json!({ "source": source })).await.unwrap_err();
        assert_eq!(failure.code, expected, "{source}");
        assert!(!failure.retryable, "{source}");
        let way_out = match expected {
            "fetch.private_address" => "`--allow-private-addresses`",
            "fetch.local_path" => "`callsheet submit --upload NAME=FILE`",
            _ => "`https://`",
        };
        let hint = failure.hint.unwrap_or_default();
        assert!(hint.contains(way_out), "{source}: {hint}");
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_this_machine_are_copied_and_kept() {
    let samples = Samples::new();
    let file = samples.write("ä film.wav", b"RIFF\0\0\0\0WAVEfmt ");
    let engine = engine(&offline()).await;
    let fetched = step(&engine, KIND, json!({ "source": file })).await.unwrap();
    assert_eq!(fetched["file"]["name"], "source.wav");
    assert!(file.exists());
    std::os::unix::fs::symlink("/dev/zero", samples.path("zero.mp4")).unwrap();
    for (source, expected) in [
        (samples.path("none.mp4"), "fetch.not_found"),
        (samples.path("."), "fetch.not_a_file"),
        (samples.path("zero.mp4"), "fetch.not_a_file"),
    ] {
        let failure = step(&engine, KIND, json!({ "source": source })).await.unwrap_err();
        assert_eq!(failure.code, expected);
        assert!(failure.hint.is_some(), "{expected}");
    }
    let with = json!({ "source": file, "max_bytes": 4 });
    assert_eq!(code(step(&engine, KIND, with).await), "fetch.too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_there_already_is_taken_as_it_is() {
    // Allowed in any case: no path and no address is in it.
    let engine = engine(&MediaOptions { openai: None, ..MediaOptions::default() }).await;
    let film = artifact(&engine, b"\0\0\0\x20ftypisom and so on", "holiday.mp4");
    let mut bare = json!({ "artifact": film["artifact"] });
    for source in [&film, &bare] {
        let fetched = step(&engine, KIND, json!({ "source": source })).await.unwrap();
        // The same film gives the same output, whatever somebody has called it.
        let expected = json!({ "artifact": film["artifact"], "name": "source.mp4",
            "media_type": "video/mp4", "size": film["size"] });
        assert_eq!(fetched["file"], expected);
    }
    let with = json!({ "source": film, "max_bytes": 4 });
    assert_eq!(code(step(&engine, KIND, with).await), "fetch.too_large");
    let path = engine.artifacts().path(&serde_json::from_value(film["artifact"].clone()).unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another film").unwrap();
    assert_eq!(code(step(&engine, KIND, json!({ "source": film })).await), "artifact.damaged");
    bare["artifact"] = json!("0".repeat(64));
    let failure = step(&engine, KIND, json!({ "source": bare })).await.unwrap_err();
    assert_eq!(failure.code, "artifact.missing");
    assert!(failure.hint.unwrap().contains("upload the file again"));
    for source in [json!({}), json!({ "artifact": "../../etc/passwd" }), json!(3), json!(["a"])] {
        let refused = step(&engine, KIND, json!({ "source": source })).await.unwrap_err();
        assert!(refused.code.starts_with("with."), "{source}: {}", refused.code);
    }
}

/// The three ways to name a file, at the door of a workflow.
#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_no_file_is_refused_before_any_work() {
    let engine = engine(&offline()).await;
    for (video, message, hint) in [
        (json!(""), "`\"\"` is too short", "at least 1 character"),
        (json!({}), "the field `artifact` is missing", "add `artifact`"),
        (
            json!({ "artifact": "x" }),
            "`\"x\"` has not the form wanted here",
            "it has to match `^[0-9a-f]{64}$`",
        ),
        (
            json!(3),
            "`3` has none of the forms allowed here",
            "expected a path or an address, or the reference of an uploaded file or of an artifact",
        ),
    ] {
        for workflow in ["caption", "background-music"] {
            let input = json!({ "video": video, "music": "a.mp3" });
            let submitted = engine.submit(Submit::named(workflow, input)).await;
            let Err(EngineError::Refused(problems)) = submitted else { panic!("{video}") };
            let problem = problems.0.iter().find(|it| it.path.contains("video")).unwrap();
            assert_eq!(
                (&*problem.message, problem.hint.as_deref()),
                (message, Some(hint)),
                "{workflow}"
            );
        }
    }
    let text = artifact(&engine, b"hello", "film.mp4");
    let failure = run(&engine, "caption", json!({ "video": text })).await;
    assert_eq!(code(failure), "media.not_allowed");
}
