//! The stand-in for the services that steps pay for, as a process of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::world::Running;

/// The key that the stand-in accepts.
pub(crate) const KEY: &str = "sk-fake-callsheet";

/// A stand-in that runs until it is dropped.
pub(crate) struct Fake {
    address: String,
    _running: Running,
}

/// An answer over HTTP, as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Fake {
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        let mut running = Running::start(dir, &[&["fake-providers"], args].concat());
        let line = running.wait_for("fake-providers listens on http://");
        let address = line.split("http://").nth(1).unwrap().split(',').next().unwrap().to_owned();
        Self { address, _running: running }
    }

    /// What `OPENAI_BASE_URL` is set to.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Everything that it has counted.
    pub(crate) fn calls(&self) -> Value {
        self.ask("GET", "/calls", &[], b"").json()
    }

    pub(crate) fn forget(&self) {
        assert_eq!(self.ask("DELETE", "/calls", &[], b"").json()["calls"], 0);
    }

    /// A request, and the answer until the connection ends.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut said = Vec::new();
        // A connection that is cut is an answer too.
        let _ = stream.read_to_end(&mut said);
        let end = said.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or(said.len());
        let head = String::from_utf8_lossy(&said[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let body = said.get(end + 4..).unwrap_or_default().to_vec();
        let body = if head.contains("transfer-encoding: chunked") { joined(&body) } else { body };
        Answer { status, head, body }
    }

    /// Asks for a transcript of a file.
    pub(crate) fn transcribe(
        &self,
        file: &[u8],
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut body = Vec::new();
        for (name, value) in fields {
            let head = format!("content-disposition: form-data; name=\"{name}\"");
            body.extend_from_slice(format!("--xyz\r\n{head}\r\n\r\n{value}\r\n").as_bytes());
        }
        let head = "content-disposition: form-data; name=\"file\"; filename=\"a.wav\"";
        body.extend_from_slice(format!("--xyz\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--xyz--\r\n");
        let key = format!("Bearer {KEY}");
        let mut all = vec![("content-type", "multipart/form-data; boundary=xyz")];
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            all.push(("authorization", &key));
        }
        all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
        self.ask("POST", "/v1/audio/transcriptions", &all, &body)
    }
}

/// The content of a body that came in chunks.
fn joined(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|it| it == b"\r\n") {
        let line = String::from_utf8_lossy(&body[..end]).into_owned();
        let Ok(length) = usize::from_str_radix(line.trim(), 16) else { break };
        let chunk = body.get(end + 2..end + 2 + length).unwrap_or_default();
        whole.extend_from_slice(chunk);
        body = body.get(end + 4 + length..).unwrap_or_default();
        if length == 0 {
            break;
        }
    }
    whole
}
