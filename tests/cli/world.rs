//! What the tests of the command share: the program, a place for its files, and an origin that
//! holds its answers back until it is told to give them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Long enough for any machine; only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program, in an environment without variables of its own.
pub(crate) fn callsheet(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callsheet"));
    command.current_dir(dir).args(args).stdin(Stdio::null());
    for name in ["DATA_DIR", "SERVER", "TOKEN", "LOG", "WEBHOOK_SECRET"] {
        command.env_remove(format!("CALLSHEET_{name}"));
    }
    command.env_remove("COLUMNS").env_remove("OPENAI_API_KEY").env("RUST_BACKTRACE", "0");
    command
}

/// Runs the program to its end.
pub(crate) fn finish(dir: &Path, args: &[&str]) -> Finished {
    Finished::from(callsheet(dir, args).output().unwrap())
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Finished {
    /// What was printed, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn has_ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// The program while it runs; killed when the test is over, however it ends.
pub(crate) struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    listener: Option<thread::JoinHandle<()>>,
    answer: Option<thread::JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        Self::of(callsheet(dir, args))
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, into) = (child.stderr.take().unwrap(), said.clone());
        let listener = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let answer = thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        Self { child, said, listener: Some(listener), answer: Some(answer) }
    }

    /// What it has said on stderr so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this, and answers with the line.
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        self.hear(words).unwrap_or_else(|| panic!("never said `{words}`: {}", self.said()))
    }

    /// The same; none when it ends before.
    pub(crate) fn hear(&mut self, words: &str) -> Option<String> {
        let since = Instant::now();
        loop {
            let ended = self.is_over();
            if let Some(line) = self.said().lines().find(|line| line.contains(words)) {
                return Some(line.to_owned());
            }
            if ended {
                return None;
            }
            assert!(since.elapsed() < PATIENCE, "never said `{words}`: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether it has ended and all of its words are here.
    fn is_over(&mut self) -> bool {
        let gone = self.child.try_wait().unwrap().is_some();
        gone && self.listener.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end, but not for ever.
    pub(crate) fn finish(mut self) -> Finished {
        let since = Instant::now();
        while !self.is_over() {
            assert!(since.elapsed() < PATIENCE, "does not end: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
        let code = self.child.wait().unwrap().code();
        let stdout = self.answer.take().unwrap().join().unwrap();
        Finished { code, stdout, stderr: self.said() }
    }

    /// Kills it, and answers with all that it has said on stderr.
    pub(crate) fn last_words(mut self) -> String {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
        self.listener.take().unwrap().join().unwrap();
        self.said()
    }

    /// Whether it ends by itself within a time.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        let since = Instant::now();
        while since.elapsed() < time {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < PATIENCE, "does not end: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        };
        (status, self.answer.take().unwrap().join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A web server with one file, which it gives only while its gate is open.
pub(crate) struct Origin {
    pub(crate) url: String,
    open: Arc<AtomicBool>,
    hits: Arc<AtomicUsize>,
    asked: Receiver<()>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/notes.txt", listener.local_addr().unwrap());
        let open = Arc::new(AtomicBool::new(false));
        let hits = Arc::new(AtomicUsize::new(0));
        let (asks, asked) = channel();
        let (gate, count) = (open.clone(), hits.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (gate, count, asks) = (gate.clone(), count.clone(), asks.clone());
                thread::spawn(move || answer(stream, &gate, &count, &asks));
            }
        });
        Self { url, open, hits, asked }
    }

    /// Waits until somebody asks for the file.
    pub(crate) fn wait_until_asked(&self) {
        self.asked.recv_timeout(PATIENCE).expect("nobody asked for the file");
    }

    /// Gives the file from now on, also to those who wait for it.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

/// The file.
const BODY: &str = "some notes\n";

fn answer(mut stream: TcpStream, gate: &AtomicBool, count: &AtomicUsize, asks: &Sender<()>) {
    let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = head.next().and_then(Result::ok).unwrap_or_default();
    while head.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
    if request.starts_with("HEAD") {
        // Whoever only wants to know how large it is fetches nothing.
        let length = BODY.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        return;
    }
    count.fetch_add(1, Ordering::SeqCst);
    let _ = asks.send(());
    let since = Instant::now();
    while !gate.load(Ordering::SeqCst) && since.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    let length = BODY.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{BODY}"
    );
}

/// A workflow that composes subtitles, fetches a file, and composes again.
pub(crate) const NOTES: &str = r#"
name: notes
input:
  type: object
  required: [url]
  additionalProperties: false
  properties:
    url: { type: string }
    words_per_line: { type: integer, default: 3 }
steps:
  - id: first
    uses: subtitles.compose
    with:
      words: [{ text: hello, start_s: 0.5, end_s: 1.0 }, { text: world, start_s: 1.0, end_s: 1.5 }]
      words_per_line: "{{ input.words_per_line }}"
      width: 640
      height: 360
      duration_s: 3
  - id: fetch
    uses: media.fetch
    needs: [first]
    with: { source: "{{ input.url }}" }
  - id: last
    uses: subtitles.compose
    needs: [fetch]
    with:
      words: [{ text: bye, start_s: 0.5, end_s: 1.0 }]
      width: 640
      height: 360
      duration_s: 3
output:
  first: "{{ steps.first.srt }}"
  last: "{{ steps.last.srt }}"
  vtt: "{{ steps.first.vtt }}"
  cues: "{{ steps.first.cues }}"
"#;

/// A directory with that workflow in `notes.yaml`.
pub(crate) fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.yaml"), NOTES).unwrap();
    let path = dir.path().to_owned();
    (dir, path)
}

/// The attempts of each step, as `show --json` and `run --json` give them.
pub(crate) fn attempts(result: &Value) -> Vec<(String, u64)> {
    let steps = result["steps"].as_array().unwrap();
    let pair = |step: &Value| {
        (step["id"].as_str().unwrap().to_owned(), step["attempts"].as_u64().unwrap())
    };
    steps.iter().map(pair).collect()
}

pub(crate) fn counts(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
    pairs.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect()
}
