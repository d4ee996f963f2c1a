//! The clients of the FFmpeg service: their requests, word for word, and what they get.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::media::{address, ffprobe_seconds, moving_picture, speaking_picture};
use super::world::{Running, callsheet, finish};

const PREFIX: &str = "/compat/ffmpeg-service";

/// Long enough for any machine; only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(600);

/// An answer: its status, its head in small letters, its body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

struct Service {
    url: String,
    _running: Running,
}

impl Service {
    fn start(path: &Path, more: &[&str]) -> Self {
        let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "state"];
        let private = ["--allow-private-addresses"];
        let mut running = Running::of(callsheet(path, &[&args[..], &private, more].concat()));
        let url = address(&mut running).expect("the server lives");
        Self { url, _running: running }
    }

    fn ask(&self, method: &str, path: &str, fields: &[&str], body: &Value) -> Answer {
        let host = self.url.strip_prefix("http://").unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        request.push_str("Connection: close\r\nContent-Type: application/json\r\n");
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        fields.iter().for_each(|field| request.push_str(&format!("{field}\r\n")));
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let status = head[9..12].parse().unwrap();
        Answer { status, head, body: answer.split_off(end + 4) }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", &format!("{PREFIX}{path}"), &[], &Value::Null)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", &format!("{PREFIX}{path}"), &[], body)
    }

    /// Puts a file where the service can fetch it.
    fn offer(&self, path: &Path) -> String {
        let args = ["upload", path.to_str().unwrap(), "--server", &self.url];
        let reference = finish(path.parent().unwrap(), &args).has_ended_with(0).json();
        let (digest, name) = (&reference["artifact"], &reference["name"]);
        format!(
            "{}/v1/artifacts/{}?name={}",
            self.url,
            digest.as_str().unwrap(),
            name.as_str().unwrap()
        )
    }

    /// Does what a client of the original does: asks for work, polls, fetches the video.
    fn work(&self, path: &Path, task: &str, body: &Value) -> f64 {
        let queued = self.post(&format!("/tasks/{task}"), body);
        assert_eq!(queued.status, 201, "{}", String::from_utf8_lossy(&queued.body));
        let queued = queued.json();
        assert_eq!(queued["status"], "queued");
        assert!(queued["message"].as_str().unwrap().contains("queued"));
        let id = queued["task_id"].as_str().unwrap();
        let since = Instant::now();
        let done = loop {
            let task = self.get(&format!("/tasks/{id}")).json();
            match task["status"].as_str().unwrap() {
                "queued" | "running" => {
                    let nothing = [&task["video_url"], &task["error"], &task["completed_at"]];
                    assert_eq!(nothing, [&Value::Null; 3], "{task}");
                    assert!(since.elapsed() < PATIENCE, "{task}");
                    std::thread::sleep(Duration::from_millis(100));
                }
                _ => break task,
            }
        };
        assert_eq!((&done["status"], &done["error"]), (&json!("success"), &Value::Null), "{done}");
        assert_eq!(done["task_id"], id);
        assert!(done["created_at"].as_str() <= done["completed_at"].as_str(), "{done}");
        let url = done["video_url"].as_str().unwrap();
        let place = url.strip_prefix(&self.url).unwrap().strip_prefix(PREFIX).unwrap();
        let video = self.get(place);
        assert_eq!(video.status, 200);
        for field in ["content-type: video/mp4", "content-disposition: inline", "max-age=3600"] {
            assert!(video.head.contains(field), "{field}: {}", video.head);
        }
        let part =
            self.ask("GET", &format!("{PREFIX}{place}"), &["Range: bytes=4-7"], &Value::Null);
        assert_eq!((part.status, &*part.body), (206, &b"ftyp"[..]));
        let file = path.join(place.rsplit('/').next().unwrap());
        std::fs::write(&file, video.body).unwrap();
        ffprobe_seconds(&file)
    }
}

#[test]
fn clients_of_the_ffmpeg_service_go_on_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    moving_picture(&path.join("one.mp4"), 2, "160x90");
    moving_picture(&path.join("two.mp4"), 1, "160x90");
    speaking_picture(&path.join("talk.mp4"), "the quick brown fox jumps over the lazy dog");
    let service = Service::start(path, &["--compat-ffmpeg-service"]);
    let [one, two, talk] =
        ["one", "two", "talk"].map(|name| service.offer(&path.join(format!("{name}.mp4"))));

    let body =
        json!({ "video_url": one, "music_url": two, "music_volume": 0.3, "video_volume": 1.0 });
    let seconds = service.work(path, "background-music", &body);
    assert!((seconds - 2.0).abs() < 0.1, "{seconds}");

    // Each scene lasts as long as what is said over it, and not 5 s.
    let body = json!({
        "scene_clip_urls": [one, two], "voiceover_urls": [two, one], "width": 480, "height": 480,
        "video_volume": 0.2, "voiceover_volume": 2.0,
    });
    let seconds = service.work(path, "merge", &body);
    assert!((seconds - 3.0).abs() < 0.15, "{seconds}");

    let body = json!({ "video_url": talk, "model_size": "small" });
    let seconds = service.work(path, "caption", &body);
    assert!((seconds - ffprobe_seconds(&path.join("talk.mp4"))).abs() < 0.2, "{seconds}");

    // A task that fails says why, and has no video; nor has one of sound alone.
    let gone = format!("{}/v1/artifacts/{}?name=a.mp4", service.url, "0".repeat(64));
    let sound = service.offer(&path.join("talk.wav"));
    for (task, body, file, said) in [
        (
            "background-music",
            json!({ "video_url": gone, "music_url": one }),
            "with_music",
            "[fetch.",
        ),
        ("caption", json!({ "video_url": sound }), "captioned", "[media.no_video]"),
    ] {
        let id = service.post(&format!("/tasks/{task}"), &body).json()["task_id"].clone();
        let id = id.as_str().unwrap();
        let failed = loop {
            let task = service.get(&format!("/tasks/{id}")).json();
            if task["completed_at"] != Value::Null {
                break task;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        assert_eq!(failed["status"], "failed", "{failed}");
        assert!(failed["error"].as_str().unwrap().contains(said), "{failed}");
        assert_eq!(failed["video_url"], Value::Null);
        assert_eq!(service.get(&format!("/video/{id}_{file}.mp4")).status, 404);
    }
}

#[test]
fn refusals_are_those_of_the_ffmpeg_service() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &["--compat-ffmpeg-service"]);
    let health = service.get("/health").json();
    assert_eq!(
        health,
        json!({ "status": "healthy", "redis": "connected", "supabase": "connected",
            "queue_length": 0 })
    );
    let url = "https://example.com/a.mp4";
    let lists = json!({ "scene_clip_urls": [url, url], "voiceover_urls": [url] });
    let unknown = "0190c5a8-7c3e-7abc-8def-0123456789ab";
    for (method, path, body, status, words) in [
        ("POST", "/tasks/merge", lists, 400, "must match"),
        ("POST", "/tasks/caption", json!({}), 422, "Field required"),
        ("POST", "/tasks/other", json!({}), 405, "Method Not Allowed"),
        ("GET", "/tasks/caption", Value::Null, 405, "Method Not Allowed"),
        ("GET", &format!("/tasks/{unknown}"), Value::Null, 404, "Task not found"),
        ("GET", "/tasks/x", Value::Null, 422, "valid UUID"),
        ("GET", &format!("/video/{unknown}_merged.mp4"), Value::Null, 404, "Video not found"),
        ("GET", "/video/..%2F..%2Fetc%2Fpasswd", Value::Null, 404, "Video not found"),
        ("GET", "/nothing", Value::Null, 404, "Not Found"),
    ] {
        let answer = service.ask(method, &format!("{PREFIX}{path}"), &[], &body);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["detail"].to_string().contains(words), "{path}: {}", answer.json());
    }
    // A job that did not come in this way is none of its tasks.
    let input = json!({ "workflow": "background-music", "input": { "video": url, "music": url } });
    let job = service.ask("POST", "/v1/jobs", &[], &input).json();
    assert_eq!(service.get(&format!("/tasks/{}", job["id"].as_str().unwrap())).status, 404);
}

#[test]
fn the_routes_are_there_only_when_asked_for_and_behind_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let without = Service::start(dir.path(), &[]);
    let answer = without.get("/health");
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("route.unknown")));
    drop(without);
    let guarded = Service::start(dir.path(), &["--compat-ffmpeg-service", "--token", "s3cret"]);
    assert_eq!(guarded.get("/health").status, 401);
    let token = ["Authorization: Bearer s3cret"];
    let health = guarded.ask("GET", &format!("{PREFIX}/health"), &token, &Value::Null);
    assert_eq!(health.status, 200);
}
