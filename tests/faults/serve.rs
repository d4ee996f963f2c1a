//! `callsheet serve`, the shipped binary, under the preloaded library.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use callsheet::server::client::{Client, ClientError};
use callsheet::server::wire::{Job, SubmitRequest};
use serde_json::{Value, json};

use crate::shim::{self, Control};

/// Only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A directory with a disk for a server, a file for it to fetch, and a hand on its switches.
pub struct Place {
    pub control: Control,
    disk: PathBuf,
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let mut place = Self::on(Path::new(""));
        place.disk = place.dir.path().canonicalize().unwrap().join("disk");
        std::fs::create_dir(&place.disk).unwrap();
        place
    }

    /// With its data on a disk of their own.
    pub fn on(disk: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("notes.txt"), "some notes\n".repeat(1_000)).unwrap();
        Self { control: Control::new(&root), disk: disk.to_owned(), dir }
    }

    pub fn data(&self) -> PathBuf {
        self.disk.join("data")
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A job that brings the file in, and tries again when that fails.
    pub fn job(&self) -> SubmitRequest {
        let definition = json!({
            "name": "bring",
            "steps": [
                { "id": "first", "uses": "media.fetch", "with": { "source": "{{ input.path }}" },
                  "retry": { "max_attempts": 1_000, "initial": "20ms", "max": "100ms" } },
                { "id": "second", "uses": "media.fetch", "needs": ["first"],
                  "with": { "source": "{{ input.path }}" },
                  "retry": { "max_attempts": 1_000, "initial": "20ms", "max": "100ms" } },
            ],
            "output": "{{ steps.second.file }}",
        });
        let input = json!({ "path": self.dir.path().join("notes.txt") });
        SubmitRequest { definition: Some(definition), input, ..SubmitRequest::default() }
    }
}

/// A running server; killed when the test is over, however it ends.
pub struct Server {
    child: Child,
    said: Arc<Mutex<String>>,
    pub client: Client,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(place: &Place) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_callsheet"))
            .current_dir(place.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-local-paths", "--data-dir"])
            .arg(place.data())
            .env("LD_PRELOAD", shim::library())
            .env("SHIM_DIR", &place.disk)
            .env("SHIM_CONTROL", &place.control.path)
            .env_remove("CALLSHEET_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, into) = (child.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let since = Instant::now();
        let url = loop {
            let text = said.lock().unwrap().clone();
            let mut words = text.split([' ', ',']).filter(|word| word.starts_with("http://"));
            if let Some(url) = words.next() {
                break url.to_owned();
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && since.elapsed() < PATIENCE, "{ended:?}: {text}");
            std::thread::sleep(Duration::from_millis(5));
        };
        Self { child, said, client: Client::new(&url, None).unwrap() }
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends by itself.
    pub fn end(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub async fn submit(&self, place: &Place) -> Result<String, ClientError> {
        self.client.submit(&place.job(), None).await.map(|accepted| accepted.id)
    }

    pub async fn succeeds(&self, job: &str) -> Job {
        let job = self.client.wait(job).await.unwrap();
        assert_eq!(job.head.status.as_str(), "succeeded", "{}", json!(job));
        job
    }

    /// The code of the last failure that a job's step has met so far.
    pub async fn failure_of(&self, job: &str) -> Option<String> {
        let job: Value = json!(self.client.job(job).await.unwrap());
        let steps = job["steps"].as_array().unwrap();
        let mut codes = steps.iter().filter_map(|step| step["failure"]["code"].as_str());
        codes.next_back().map(str::to_owned)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so, however slow the machine.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !is_so().await {
        assert!(since.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}
