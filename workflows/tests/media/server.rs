//! A server that says and sends what a test wants, to the byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `GET` or `HEAD`.
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    /// Lines such as `range: bytes=0-0`, in lower case.
    headers: Vec<String>,
    /// How many requests of this method for this path came before.
    pub(crate) before: usize,
}

impl Request {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What goes over the wire before the server hangs up.
pub(crate) struct Reply {
    head: String,
    body: Vec<u8>,
    then: Then,
}

/// What a server does after the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    HangUp,
    /// Sends the body again and again.
    GoOn,
    /// Says nothing more, and keeps the line.
    Wait,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let head = format!("HTTP/1.1 {status} Because\r\nconnection: close\r\n");
        Self { head, body: body.into(), then: Then::HangUp }
    }

    pub(crate) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Hangs up after so many bytes of the body.
    pub(crate) fn cut(&mut self, bytes: usize) {
        self.body.truncate(bytes);
    }

    pub(crate) fn endless(mut self) -> Self {
        self.then = Then::GoOn;
        self
    }

    pub(crate) fn silent(mut self) -> Self {
        self.then = Then::Wait;
        self
    }
}

/// A server of one test.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, answer) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(answer));
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (log, answer) = (log.clone(), answer.clone());
                tokio::spawn(async move {
                    let Some(request) = read(&mut socket, &log).await else { return };
                    send(&mut socket, &request, answer(&request)).await;
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests for a path, as method and range.
    pub(crate) fn seen(&self, path: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let asked = seen.iter().filter(|request| request.path == path);
        asked.map(|it| format!("{} {}", it.method, it.header("range").unwrap_or("all"))).collect()
    }
}

async fn read(socket: &mut TcpStream, log: &Mutex<Vec<Request>>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.map(str::to_lowercase).collect();
    let mut log = log.lock().unwrap();
    let before = log.iter().filter(|it| it.method == method && it.path == path).count();
    let request = Request { method, path, headers, before };
    log.push(request.clone());
    Some(request)
}

async fn send(socket: &mut TcpStream, request: &Request, reply: Reply) {
    let _ = socket.write_all(format!("{}\r\n", reply.head).as_bytes()).await;
    if request.method == "HEAD" {
        return;
    }
    // Until the other side hangs up.
    while socket.write_all(&reply.body).await.is_ok() && reply.then == Then::GoOn {}
    if reply.then == Then::Wait {
        let _ = socket.read_u8().await;
    }
}
