//! The events of a job: all of them, once, from any place on.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Response;
use serde_json::{Value, json};

use crate::server::Server;

/// One event as it came: id, type, data.
type Event = (Option<String>, String, Value);

/// Reads events until the stream ends or `enough` says so.
async fn read(response: Response, mut enough: impl FnMut(&Event) -> bool) -> Vec<Event> {
    let mut pieces = response.bytes_stream();
    let (mut text, mut events) = (String::new(), Vec::new());
    while let Some(piece) = pieces.next().await {
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        while let Some((block, rest)) = text.split_once("\n\n") {
            let event = parse(block);
            text = rest.to_owned();
            if let Some(event) = event {
                let stop = enough(&event);
                events.push(event);
                if stop {
                    return events;
                }
            }
        }
    }
    events
}

fn parse(block: &str) -> Option<Event> {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data")?;
    let kind = field("event").unwrap_or_default().to_owned();
    Some((field("id").map(ToOwned::to_owned), kind, serde_json::from_str(data).unwrap()))
}

/// The recorded ones among events.
fn recorded(events: &[Event]) -> Vec<Event> {
    events.iter().filter(|event| event.0.is_some()).cloned().collect()
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| &*event.1).collect()
}

#[tokio::test]
async fn events_tell_the_whole_story_and_end() {
    let server = Server::start().await;
    let id = server.submit("flaky", json!({})).await;
    let response = server.get(&format!("/v1/jobs/{id}/events")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = recorded(&read(response, |_| false).await);
    assert_eq!(
        kinds(&events),
        [
            "job_submitted",
            "step_started",
            "attempt_failed",
            "step_started",
            "step_succeeded",
            "job_succeeded"
        ]
    );
    let failed = &events[2].2;
    assert_eq!(failed["step"], "try");
    assert_eq!(failed["attempt"], 1);
    assert_eq!(failed["failure"]["code"], "test.flaky");
    for (_, kind, data) in &events {
        assert_eq!(data["type"], **kind);
        assert!(data["at"].as_str().unwrap().ends_with('Z'));
    }
}

#[tokio::test]
async fn cancels_are_told() {
    let server = Server::start().await;
    let id = server.submit("hold", json!({})).await;
    server.until_running(&id, "held").await;
    let following = server.get(&format!("/v1/jobs/{id}/events")).await;
    server.post(&format!("/v1/jobs/{id}/cancel"), &json!({ "reason": "enough" })).await;
    let events = recorded(&read(following, |_| false).await);
    let told = kinds(&events);
    assert_eq!(told[told.len() - 3..], ["cancel_requested", "attempt_cancelled", "job_cancelled"]);
    assert_eq!(events[told.len() - 3].2["reason"], "enough");
    assert_eq!(events[told.len() - 2].2["step"], "held");
}

#[tokio::test]
async fn progress_comes_live_and_without_id() {
    let server = Server::start().await;
    let id = server.submit("hold", json!({})).await;
    let other = server.submit("hold", json!({})).await;
    let response = server.get(&format!("/v1/jobs/{id}/events")).await;
    let mut notes = 0;
    let events = read(response, |event| {
        notes += usize::from(event.1 == "progress");
        notes == 5
    })
    .await;
    let progress: Vec<&Event> = events.iter().filter(|event| event.1 == "progress").collect();
    assert_eq!(progress.len(), 5);
    let mut before = 0.0;
    for (id, _, data) in progress {
        assert_eq!(*id, None);
        // One of three steps is done, and one is on its way.
        let whole = data["progress"].as_f64().unwrap();
        let share = (100.0 + data["percent"].as_f64().unwrap()) / 3.0;
        assert!((whole - share).abs() <= 0.1, "{whole} for {share}");
        assert_eq!(data["step"], "held");
        assert_eq!(data["message"], "holding");
        // Notes of the other job would not rise one by one.
        let percent = data["percent"].as_f64().unwrap();
        assert!(percent > before, "{percent} after {before}");
        before = percent;
    }
    drop(other);
}

#[tokio::test]
async fn the_progress_of_a_job_is_told_wherever_it_is_shown() {
    let server = Server::start().await;
    let id = server.submit("hold", json!({})).await;
    server.until_running(&id, "held").await;
    let response = server.get(&format!("/v1/jobs/{id}/events")).await;
    let events = read(response, |event| event.1 == "job_progress").await;
    let told = events.last().unwrap();
    assert_eq!(told.0, None);
    let told = told.2["progress"].as_f64().unwrap();
    assert!((33.3..67.0).contains(&told), "{told}");

    let page = server.get_json("/v1/jobs").await;
    let listed = page["jobs"][0]["progress"].as_f64().unwrap();
    let shown = server.get_json(&format!("/v1/jobs/{id}")).await["progress"].as_f64().unwrap();
    assert!(told <= listed && listed <= shown && shown < 67.0, "{told} {listed} {shown}");

    server.let_go();
    assert_eq!(server.ended(&id).await["progress"], 100.0);
    assert_eq!(server.get_json("/v1/jobs").await["jobs"][0]["progress"], 100.0);
    let broken = server.submit("broken", json!({})).await;
    assert_eq!(server.ended(&broken).await["progress"], 0.0);
    let whole = server.get(&format!("/v1/jobs/{id}/events")).await;
    assert_eq!(read(whole, |_| false).await.last().unwrap().1, "job_succeeded");
}

#[tokio::test]
async fn a_stream_goes_on_after_every_event_without_loss_or_repetition() {
    let server = Server::start().await;
    let id = server.submit("many", json!({ "list": ["a", "b", "c", "d", "e"] })).await;
    server.ended(&id).await;
    let path = format!("/v1/jobs/{id}/events");
    let all = recorded(&read(server.get(&path).await, |_| false).await);
    assert!(all.len() >= 13, "{}", all.len());

    for (at, (id, _, _)) in all.iter().enumerate() {
        let id = id.clone().unwrap();
        let by_header = server.http.get(server.url(&path)).header("Last-Event-ID", &id);
        let by_query = server.http.get(server.url(&format!("{path}?after={id}")));
        for call in [by_header, by_query] {
            let response = call.send().await.unwrap();
            if at + 1 == all.len() {
                assert_eq!(response.status(), 204, "all was received");
                continue;
            }
            assert_eq!(response.status(), 200);
            assert_eq!(recorded(&read(response, |_| false).await), all[at + 1..], "after {id}");
        }
    }
}

#[tokio::test]
async fn a_live_stream_that_is_cut_again_and_again_loses_nothing() {
    let server = Server::start().await;
    let id = server.submit("hold", json!({})).await;
    let path = format!("/v1/jobs/{id}/events");
    let (mut seen, mut last): (Vec<Event>, Option<String>) = (Vec::new(), None);
    loop {
        let mut call = server.http.get(server.url(&path));
        if let Some(last) = &last {
            call = call.header("Last-Event-ID", last);
        }
        let response = call.send().await.unwrap();
        if response.status() == 204 {
            break;
        }
        // One event, then the connection is dropped.
        let mut some = recorded(&read(response, |event| event.0.is_some()).await);
        assert!(some.len() <= 1);
        last = some.last().and_then(|event| event.0.clone()).or(last);
        seen.append(&mut some);
        if seen.last().is_some_and(|event| event.2["step"] == "held") {
            server.let_go();
        }
    }
    let whole = recorded(&read(server.get(&path).await, |_| false).await);
    assert_eq!(seen, whole);
    assert_eq!(whole.last().unwrap().1, "job_succeeded");
}

#[tokio::test]
async fn positions_that_are_none_are_refused() {
    let server = Server::start().await;
    let id = server.submit("flaky", json!({})).await;
    server.ended(&id).await;
    let path = format!("/v1/jobs/{id}/events");
    for after in ["x", "1", "-1.0", "0.99", "999.0", "01.0", "1.0.0"] {
        let call = server.http.get(server.url(&path)).header("Last-Event-ID", after);
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), 400, "{after}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "events.position", "{after}");
    }
}

#[tokio::test]
async fn streams_end_when_the_server_stops_and_readers_are_counted() {
    let server = Server::start().await;
    let id = server.submit("hold", json!({})).await;
    let response = server.get(&format!("/v1/jobs/{id}/events")).await;
    let reading = tokio::spawn(read(response, |_| false));
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("callsheet_event_streams_open 1"), "{metrics}");

    let waiting = tokio::spawn(server.get_for_later(&format!("/v1/jobs/{id}?wait=60s")));
    // The wait is under way when the server stops, or is refused: the sleep makes it the first.
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop().await;
    assert!(!reading.await.unwrap().is_empty());
    assert_eq!(
        waiting.await.unwrap()["status"],
        "running",
        "a wait is answered with what there is"
    );
}
