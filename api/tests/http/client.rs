//! The client against a real server, and against one that is cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use callsheet_api::client::{Client, Update};
use callsheet_api::wire::{CancelOutcome, Event, JobStatus, JobsQuery, StepStatus, SubmitRequest};
use futures::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Server;

fn request(workflow: &str, input: serde_json::Value) -> SubmitRequest {
    SubmitRequest { workflow: Some(workflow.to_owned()), input, ..SubmitRequest::default() }
}

#[tokio::test]
async fn the_client_speaks_every_route() {
    let server = Server::start().await;
    let client = server.client();
    client.ready().await.unwrap();
    let first = client.submit(&request("flaky", json!({})), Some("k1")).await.unwrap();
    let again = client.submit(&request("flaky", json!({})), Some("k1")).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.id, again.id);

    let job = client.wait(&first.id).await.unwrap();
    assert_eq!(job.head.status, JobStatus::Succeeded);
    assert_eq!(job.steps[0].status, StepStatus::Succeeded);
    assert_eq!(client.job(&first.id).await.unwrap(), job);

    let query = JobsQuery { status: Some(JobStatus::Succeeded), ..JobsQuery::default() };
    let page = client.jobs(&query).await.unwrap();
    assert_eq!(page.jobs.len(), 1);
    assert_eq!(page.jobs[0], job.head);

    let held = client.submit(&request("hold", json!({})), None).await.unwrap();
    let answer = client.cancel(&held.id, Some("why not")).await.unwrap();
    assert_eq!(answer.outcome, CancelOutcome::Accepted);
    assert_eq!(client.wait(&held.id).await.unwrap().head.status, JobStatus::Cancelled);
    let answer = client.cancel(&held.id, None).await.unwrap();
    assert_eq!(answer.outcome, CancelOutcome::AlreadyEnded);

    assert!(client.graph(&first.id).await.unwrap().contains("try"));
    assert_eq!(client.workflow("hold").await.unwrap().steps.len(), 3);
    assert!(!client.actors().await.unwrap().actors.is_empty());
    let checked =
        client.validate("name: x\nsteps:\n  - id: a\n    uses: test.nope\n").await.unwrap();
    assert!(!checked.valid && checked.problems[0].line == Some(4), "{checked:?}");
}

#[tokio::test]
async fn errors_carry_the_servers_words() {
    let server = Server::start().await;
    let client = server.client();
    let error = client.submit(&request("ecko", json!({})), None).await.unwrap_err();
    assert_eq!(error.code(), "workflow.unknown");
    assert_eq!(error.hint(), Some("did you mean `echo`?"));
    let error = client.submit(&request("echo", json!({ "text": 1 })), None).await.unwrap_err();
    assert_eq!(error.code(), "input.invalid");
    assert_eq!(error.problems().len(), 1);
    let error = client.job("../workflows").await.unwrap_err();
    assert_eq!(error.code(), "request.path");

    let nobody = Client::new("http://127.0.0.1:1", None).unwrap();
    let error = nobody.job("x").await.unwrap_err();
    assert_eq!(error.code(), "client.connection");
    assert!(error.may_pass());
}

#[tokio::test]
async fn events_come_once_and_in_order_over_a_connection_that_keeps_breaking() {
    let server = Server::start().await;
    let proxy = Breaking::start(&server, 2_400).await;
    let client = Client::new(&proxy.url, None).unwrap();
    let list: Vec<String> = (0..12).map(|n| format!("{n}{}", "x".repeat(80))).collect();
    let id = client.submit(&request("many", json!({ "list": list })), Some("k")).await.unwrap().id;

    let through: Vec<(String, Event)> = recorded(&client, &id).await;
    let direct = recorded(&server.client(), &id).await;
    assert_eq!(through, direct);
    assert!(proxy.connections() > 3, "it did break: {}", proxy.connections());
    assert!(matches!(direct.last().unwrap().1, Event::JobSucceeded { .. }));
}

async fn recorded(client: &Client, id: &str) -> Vec<(String, Event)> {
    let updates: Vec<_> = client.events(id, None).collect().await;
    updates
        .into_iter()
        .filter_map(|update| match update.unwrap() {
            Update::Event { id, event } => Some((id, event)),
            Update::Progress(_) | Update::JobProgress(_) => None,
        })
        .collect()
}

#[tokio::test]
async fn events_go_on_after_an_id_and_end() {
    let server = Server::start().await;
    let client = server.client();
    let id = server.submit("flaky", json!({})).await;
    let all = recorded(&client, &id).await;
    let rest: Vec<_> = client.events(&id, Some(all[1].0.clone())).collect().await;
    assert_eq!(rest.len(), all.len() - 2);
    let none: Vec<_> = client.events(&id, Some(all.last().unwrap().0.clone())).collect().await;
    assert!(none.is_empty());
    let wrong: Vec<_> = client.events(&id, Some("9.9".into())).collect().await;
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].as_ref().unwrap_err().code(), "events.position");
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let server = Server::start().await;
    let bytes: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
    let digest = server.engine.artifacts().put_bytes(&bytes).unwrap().to_string();
    let proxy = Breaking::start(&server, 600_000).await;
    let client = Client::new(&proxy.url, None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    assert_eq!(client.download(&digest, &path).await.unwrap(), bytes.len() as u64);
    assert!(std::fs::read(&path).unwrap() == bytes);
    assert!(proxy.connections() >= 3, "it did break: {}", proxy.connections());
    assert!(proxy.sent() < 2 * bytes.len() as u64, "nothing is fetched again");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no part is left");
}

#[tokio::test]
async fn a_wrong_part_is_found_out() {
    let server = Server::start().await;
    let digest = server.engine.artifacts().put_bytes(b"the right bytes").unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    let part = dir.path().join(format!(".a.txt.{}.part", &digest[..16]));
    std::fs::write(&part, "the wrong").unwrap();
    let client = server.client();
    assert_eq!(client.download(&digest, &path).await.unwrap_err().code(), "client.damaged");
    assert!(!path.exists() && !part.exists());
    client.download(&digest, &path).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "the right bytes");

    // A part that is whole already is only checked.
    std::fs::rename(&path, &part).unwrap();
    assert_eq!(client.download(&digest, &path).await.unwrap(), 15);
    let error = client.download(&"0".repeat(64), &path).await.unwrap_err();
    assert_eq!(error.code(), "artifact.unknown");
}

#[tokio::test]
async fn a_wait_and_a_stream_outlive_a_restart_of_the_server() {
    let server = Server::start().await;
    let client = server.client();
    let id = server.submit("hold", json!({})).await;
    server.until_running(&id, "held").await;
    let waiting = tokio::spawn({
        let (client, id) = (client.clone(), id.clone());
        async move { client.wait(&id).await }
    });
    let following = tokio::spawn({
        let (client, id) = (client.clone(), id.clone());
        async move { recorded(&client, &id).await }
    });
    // Both are under way once a first answer has come; the stop then cuts them off.
    while !server.get("/metrics").await.text().await.unwrap().contains("streams_open 1") {
        tokio::task::yield_now().await;
    }
    let server = server.restart().await;
    server.let_go();
    assert_eq!(waiting.await.unwrap().unwrap().head.status, JobStatus::Succeeded);
    let story = following.await.unwrap();
    assert_eq!(story, recorded(&client, &id).await);
}

#[tokio::test]
async fn who_is_no_callsheet_server_is_found_out() {
    for (answer, code) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "client.answer"),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "client.foreign"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "client.foreign",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "client.connection"),
        ("", "client.connection"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stranger = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let client = Client::new(&url, None).unwrap();
        let (told, ()) = tokio::join!(client.job("x"), stranger);
        assert_eq!(told.unwrap_err().code(), code, "{answer:?}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_an_error_of_the_clients_own() {
    let server = Server::start().await;
    let digest = server.engine.artifacts().put_bytes(b"x").unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("not/there/a.txt");
    let error = server.client().download(&digest, &nowhere).await.unwrap_err();
    assert_eq!(error.code(), "client.file");
    let taken = dir.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    let error = server.client().download(&digest, &taken).await.unwrap_err();
    assert_eq!(error.code(), "client.file", "a directory is not replaced");
}

/// A proxy that cuts every connection after so many bytes of answers.
struct Breaking {
    url: String,
    counts: Arc<(AtomicU64, AtomicU64)>,
}

impl Breaking {
    async fn start(server: &Server, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let (target, counted) = (server.address, counts.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counted.0.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(target).await.unwrap();
                tokio::spawn(pass_some(client, server, after, counted.clone()));
            }
        });
        Self { url, counts }
    }

    fn connections(&self) -> u64 {
        self.counts.0.load(Ordering::SeqCst)
    }

    fn sent(&self) -> u64 {
        self.counts.1.load(Ordering::SeqCst)
    }
}

async fn pass_some(
    client: TcpStream,
    server: TcpStream,
    after: usize,
    counts: Arc<(AtomicU64, AtomicU64)>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let (mut left, mut piece) = (after, vec![0; 16 * 1024]);
    while left > 0 {
        let most = left.min(piece.len());
        match from_server.read(&mut piece[..most]).await {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                left -= count;
                counts.1.fetch_add(count as u64, Ordering::SeqCst);
                if to_client.write_all(&piece[..count]).await.is_err() {
                    break;
                }
            }
        }
    }
    asking.abort();
}
