//! Kept results and the life of files, as they are told over the wire.

use std::time::Duration;

use callsheet_actors::{Keeping, Step, StepContext, StepResult};
use callsheet_storage::Artifact;
use futures::{StreamExt, stream};
use reqwest::{Body, Method};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::Server;

/// Makes files whose results are kept.
const NOTES: &str = r#"{
    "name": "notes",
    "steps": [
        { "id": "many", "uses": "test.note",
          "for_each": "{{ input.list }}", "with": { "text": "{{ item }}" } },
        { "id": "one", "uses": "test.note", "needs": ["many"], "with": { "text": "one" } }
    ],
    "output": { "file": "{{ steps.one }}" }
}"#;

pub(crate) struct Note;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Text {
    text: String,
}

impl Step for Note {
    type Input = Text;
    type Output = Artifact;

    fn kind(&self) -> String {
        "test.note".to_owned()
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Text, context: StepContext) -> StepResult<Artifact> {
        context.put_bytes(input.text, "note.txt", "text/plain").await
    }
}

async fn server(keeping: Keeping) -> Server {
    let server = Server::keeping(keeping).await;
    server.engine.register(NOTES).unwrap();
    server
}

async fn done(server: &Server, body: &Value) -> Value {
    let response = server.post("/v1/jobs", body).await;
    assert_eq!(response.status(), 201);
    let accepted: Value = response.json().await.unwrap();
    server.ended(accepted["id"].as_str().unwrap()).await
}

fn notes(list: &[&str]) -> Value {
    json!({ "workflow": "notes", "input": { "list": list } })
}

#[tokio::test]
async fn a_result_that_was_recalled_is_marked_in_steps_events_and_figures() {
    let server = server(Keeping::default()).await;
    let first = done(&server, &notes(&["a", "b"])).await;
    assert_eq!(first["steps"][0].get("cached"), None);
    assert_eq!(first["steps"][0].get("cached_items"), None);
    let second = done(&server, &notes(&["a", "c", "b"])).await;
    let steps = &second["steps"];
    assert_eq!((steps[0].get("cached"), &steps[0]["cached_items"]), (None, &json!(2)));
    assert_eq!((&steps[1]["cached"], &steps[1]["cached_items"]), (&json!(true), &json!(1)));
    let third = done(&server, &notes(&["a", "c", "b"])).await;
    assert_eq!(third["steps"][0]["cached"], true);
    let path = format!("/v1/jobs/{}/events", third["id"].as_str().unwrap());
    let events = server.get(&path).await.text().await.unwrap();
    assert_eq!(events.matches("\"cached\":true").count(), 4, "{events}");
    let mut all_run = notes(&["a"]);
    all_run["cache"] = json!(false);
    let fourth = done(&server, &all_run).await;
    assert!(!fourth["steps"].to_string().contains("cached"), "{fourth}");
    let text = server.get("/metrics").await.text().await.unwrap();
    for line in [
        "callsheet_cache_lookups_total{result=\"hit\"} 7",
        "callsheet_cache_lookups_total{result=\"miss\"} 4",
        "callsheet_cache_lookups_total{result=\"joined\"} 0",
        "callsheet_cache_results_kept_total 4",
        "callsheet_artifact_bytes 6",
        "callsheet_artifact_max_bytes 0",
    ] {
        assert!(text.lines().any(|it| it == line), "no line `{line}` in\n{text}");
    }
}

#[tokio::test]
async fn a_file_whose_time_is_over_is_gone_and_the_answer_says_why() {
    let keeping = Keeping { grace: Duration::ZERO, cache_max_bytes: 0, ..Keeping::default() };
    let server = server(keeping).await;
    let mut body = notes(&[]);
    body["retention"] = json!("1ms");
    let job = done(&server, &body).await;
    assert_eq!(job["retention"], "1ms");
    let path = format!("/v1/artifacts/{}", job["output"]["file"]["artifact"].as_str().unwrap());
    while server.engine.sweep().await.unwrap().files == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let response = server.get(&path).await;
    assert_eq!(response.status(), 404);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "artifact.unknown");
    assert!(problem["hint"].as_str().unwrap().contains("retention"), "{problem}");
    // The job itself stays, and tells what it made.
    let again = server.get_json(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await;
    assert_eq!(again["output"], job["output"]);
    body["retention"] = json!("forever");
    let kept = done(&server, &body).await;
    assert_eq!(kept.get("retention"), None);
    assert_eq!(server.engine.sweep().await.unwrap().files, 0);
    assert_eq!(server.get(&path).await.status(), 200);
}

#[tokio::test]
async fn a_retention_that_is_no_time_is_refused() {
    let server = server(Keeping::default()).await;
    for given in ["soon", "", "2", "-1h", "Forever"] {
        let mut body = notes(&[]);
        body["retention"] = json!(given);
        let response = server.post("/v1/jobs", &body).await;
        assert_eq!(response.status(), 422, "{given}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "request.field");
        assert!(problem["hint"].as_str().unwrap().contains("`forever`"), "{problem}");
    }
}

#[tokio::test]
async fn without_room_for_files_a_job_is_refused_with_507() {
    let server = server(Keeping { max_bytes: Some(3), ..Keeping::default() }).await;
    done(&server, &notes(&[])).await;
    let response = server.post("/v1/jobs", &notes(&["two"])).await;
    assert_eq!(
        response.status(),
        201,
        "there is less than nothing, a hundredth of three, to spare"
    );
    let accepted: Value = response.json().await.unwrap();
    let refused = server.engine.artifacts().max_bytes();
    assert_eq!(refused, Some(3));
    server.engine.artifacts().set_max_bytes(Some(2));
    let response = server.post("/v1/jobs", &notes(&[])).await;
    assert_eq!(response.status(), 507);
    assert_eq!(response.headers()["retry-after"], "5");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], "artifact.quota");
    assert!(problem["detail"].as_str().unwrap().contains("3 of 2 bytes"), "{problem}");
    server.engine.artifacts().set_max_bytes(None);
    let job = server.ended(accepted["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "its retries found room: {job}");
}

#[tokio::test]
async fn an_upload_has_an_end_and_counts_under_the_bound() {
    let hour = Duration::from_secs(3_600);
    let short = Some(Duration::ZERO);
    for (retention, grace, is_left) in
        [(None, Duration::ZERO, true), (short, Duration::ZERO, false), (short, hour, true)]
    {
        let keeping = Keeping { retention, grace, max_bytes: Some(4), ..Keeping::default() };
        let server = server(keeping).await;
        let upload = |bytes: &'static str| {
            let request = server.call(reqwest::Method::POST, "/v1/uploads?name=a.txt");
            request.header("content-type", "text/plain").body(bytes).send()
        };
        let stored = upload("1234").await.unwrap();
        assert_eq!(stored.status(), 201);
        let stored: Value = stored.json().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        if is_left {
            let refused = upload("5").await.unwrap();
            assert_eq!(refused.status(), 507);
            let problem: Value = refused.json().await.unwrap();
            assert_eq!(problem["code"], "artifact.quota");
        }
        server.engine.sweep().await.unwrap();
        let path = format!("/v1/artifacts/{}", stored["artifact"].as_str().unwrap());
        let status = server.get(&path).await.status();
        assert_eq!(status == 200, is_left, "{retention:?} {grace:?}");
        assert_eq!(upload("5").await.unwrap().status() == 201, !is_left);
    }
}

#[tokio::test]
async fn uploads_that_come_at_once_do_not_count_on_the_same_room() {
    let server = server(Keeping::default()).await;
    for (is_told, most, after) in [(true, 100, 60), (false, 160, 120)] {
        server.engine.artifacts().set_max_bytes(Some(most));
        let (mut send, pieces) = futures::channel::mpsc::channel(2);
        let pieces = pieces.map(Ok::<&'static [u8], std::io::Error>);
        let first = server.call(Method::POST, "/v1/uploads").body(Body::wrap_stream(pieces));
        let first = if is_told { first.header("content-length", "60") } else { first };
        let first = tokio::spawn(first.send());
        send.try_send(&[b'a'; 59][..]).unwrap();
        until_staged(&server, 59).await;
        let second = stream::iter([Ok::<_, std::io::Error>(vec![b'b'; 60])]);
        let second = server.call(Method::POST, "/v1/uploads").body(Body::wrap_stream(second));
        let refused = second.send().await.unwrap();
        assert_eq!(refused.status(), 507, "{is_told}");
        // The first one keeps what it was given, and comes to its end.
        let last: &[u8] = if is_told { b"a" } else { b"b" };
        send.try_send(last).unwrap();
        drop(send);
        assert_eq!(first.await.unwrap().unwrap().status(), 201, "{is_told}");
        assert_eq!(server.engine.artifacts().used_bytes(), after, "{is_told}");
    }
}

async fn until_staged(server: &Server, bytes: u64) {
    let root = server.engine.artifacts().root().join("tmp");
    let staged = || -> u64 {
        let dirs = std::fs::read_dir(&root).unwrap().flatten();
        let files = dirs.filter_map(|dir| std::fs::read_dir(dir.path()).ok()).flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|known| known.len()).sum()
    };
    while staged() != bytes {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn room_is_made_for_an_upload_that_does_not_tell_its_length() {
    let keeping = Keeping {
        retention: Some(Duration::ZERO),
        grace: Duration::ZERO,
        max_bytes: Some(5),
        ..Keeping::default()
    };
    let server = server(keeping).await;
    let upload = |bytes: &'static [u8]| {
        let pieces = stream::iter(bytes.chunks(1).map(Ok::<_, std::io::Error>));
        server.call(Method::POST, "/v1/uploads").body(Body::wrap_stream(pieces)).send()
    };
    assert_eq!(upload(b"1234").await.unwrap().status(), 201);
    tokio::time::sleep(Duration::from_millis(5)).await;
    // The first byte fits; for the others the file before has to go.
    assert_eq!(upload(b"5678").await.unwrap().status(), 201);
    assert_eq!(server.engine.artifacts().used_bytes(), 4);
}
