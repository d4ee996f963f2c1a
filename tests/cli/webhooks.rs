//! Webhooks from outside: a server, a receiver, and a kill -9 between the job's end and the answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::server::Server;
use super::world::{Finished, Origin, Running, callsheet, place};

/// A request that never comes has been waited for long enough.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request to the receiver, whose sender still waits for the answer.
struct Told {
    head: String,
    body: Value,
    stream: TcpStream,
}

impl Told {
    fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length = value(&head, "content-length").parse::<usize>().unwrap();
                if bytes.len() >= end + 4 + length {
                    let body = serde_json::from_slice(&bytes[end + 4..]).unwrap();
                    return Self { head, body, stream };
                }
            }
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "the request broke off");
            bytes.extend_from_slice(&piece[..count]);
        }
    }

    fn header(&self, name: &str) -> String {
        value(&self.head, name)
    }

    fn answer(mut self, status: &str) {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        self.stream.write_all(answer.as_bytes()).unwrap();
    }
}

fn value(head: &str, name: &str) -> String {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter(|(key, _)| *key == name);
    found.next().unwrap_or_else(|| panic!("no `{name}` in {head}")).1.to_owned()
}

/// A receiver, and what it is told.
fn receiver() -> (String, Receiver<Told>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // The test is over when nobody listens.
            let _ = tell.send(Told::read(stream));
        }
    });
    (url, told)
}

#[test]
fn a_kill_between_the_end_and_the_answer_loses_no_webhook() {
    let (_dir, path) = place();
    let (origin, (hook, told)) = (Origin::start(), receiver());
    let server = Server::start(&path, &[]);
    let url = format!("url={}", origin.url);
    let submit = ["submit", "notes", "-i", &url, "--webhook", &hook, "--webhook-secret", "canary"];
    let id = server.ask(&submit).has_ended_with(0).stdout.trim().to_owned();
    origin.open();

    let first = told.recv_timeout(PATIENCE).expect("the receiver is told");
    assert_eq!(first.body["type"], "job.succeeded");
    assert_eq!(
        (&first.body["data"]["id"], first.body["data"]["status"].as_str()),
        (&id.clone().into(), Some("succeeded"))
    );
    assert!(first.header("webhook-signature").starts_with("v1,"));
    // Nobody has answered; nobody ever will.
    server.running.signal(Signal::KILL);
    drop(server);

    let server = Server::start(&path, &[]);
    let second = told.recv_timeout(PATIENCE).expect("it is told again");
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(second.body, first.body);
    second.answer("204 No Content");

    let shown = server.ask(&["show", &id, "--json"]).has_ended_with(0).json();
    let delivery = shown["followed_by"].as_str().expect("the delivery is named").to_owned();
    let follow = server.ask(&["show", &delivery, "--follow"]).has_ended_with(0).stdout;
    assert!(follow.contains("job_succeeded"), "{follow}");
    for words in [
        vec!["show", &delivery, "--json"],
        vec!["show", &delivery, "--events", "--json"],
        vec!["show", &id, "--json"],
        vec!["jobs", "--json"],
    ] {
        let said = server.ask(&words).has_ended_with(0);
        assert!(!said.stdout.contains("canary"), "{words:?} shows the secret");
    }
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err(), "told once it was answered");
}

#[test]
fn a_receiver_that_may_not_be_asked_is_refused_at_submit() {
    let (_dir, path) = place();
    let server = Server::start(&path, &[]);
    for hook in ["ftp://example.org/", "no address"] {
        let submit = ["submit", "notes", "-i", "url=http://example.org/a", "--webhook", hook];
        let said = server.ask(&submit).stderr;
        assert!(said.contains("[webhook.refused]"), "{hook}: {said}");
    }
    let none = server.ask(&["jobs"]).has_ended_with(0);
    assert!(none.stderr.contains("no jobs"), "nothing was accepted: {}", none.stdout);
}

#[test]
fn a_secret_in_the_environment_that_cannot_sign_stops_the_start() {
    let (_dir, path) = place();
    let mut serve = callsheet(&path, &["serve", "--listen", "127.0.0.1:0", "--data-dir", "state"]);
    serve.env("CALLSHEET_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZ");
    let mut serve = Running::of(serve);
    assert_eq!(serve.hear("callsheet listens on "), None, "it serves all the same");
    let ended = serve.finish().has_ended_with(2);
    assert!(ended.stderr.contains("`CALLSHEET_WEBHOOK_SECRET`: what follows"), "{ended:?}");
    assert!(!path.join("state").exists());
}

#[test]
fn a_secret_in_the_environment_is_no_wish_for_a_webhook() {
    let (_dir, path) = place();
    let server = Server::start(&path, &[]);
    let submit = ["submit", "notes", "-i", "url=http://127.0.0.1:9/"];
    let with = |more: &[&str]| {
        let mut command = callsheet(&path, &[&submit, more].concat());
        command.env("CALLSHEET_SERVER", &server.url).env("CALLSHEET_WEBHOOK_SECRET", "canary");
        Finished::from(command.output().unwrap())
    };
    with(&[]).has_ended_with(0);
    let refused = with(&["--webhook-secret", "k"]).has_ended_with(2);
    assert!(refused.stderr.contains("--webhook"), "{refused:?}");

    // With one it signs it: the server has none.
    let (hook, told) = receiver();
    with(&["--webhook", &hook]).has_ended_with(0);
    let told = told.recv_timeout(PATIENCE).expect("the receiver is told");
    assert!(told.header("webhook-signature").starts_with("v1,"));
    told.answer("204 No Content");
}
