//! A server for a test, with step kinds that a test can hold and let go.

use std::net::SocketAddr;
use std::time::Duration;

use callsheet_actors::{Engine, Keeping, StepContext, StepError};
use callsheet_api::client::Client;
use callsheet_api::{ApiOptions, serve};
use reqwest::{Method, RequestBuilder, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Says what it is given.
pub(crate) const ECHO: &str = r#"{
    "name": "echo",
    "description": "says what it is given",
    "input": {
        "type": "object",
        "required": ["text"],
        "properties": {
            "text": { "type": "string" },
            "times": { "type": "integer", "default": 1 }
        },
        "additionalProperties": false
    },
    "steps": [{ "id": "say", "uses": "test.echo", "with": { "text": "{{ input.text }}" } }],
    "output": { "said": "{{ steps.say.text }}" }
}"#;

/// Works until it is let go, telling of its progress.
pub(crate) const HOLD: &str = r#"{
    "name": "hold",
    "steps": [
        { "id": "first", "uses": "test.echo", "with": { "text": "a" } },
        { "id": "held", "uses": "test.hold", "needs": ["first"] },
        { "id": "last", "uses": "test.echo", "needs": ["held"], "with": { "text": "b" } }
    ],
    "output": { "said": "{{ steps.last.text }}" }
}"#;

/// Makes a file.
pub(crate) const FILE: &str = r#"{
    "name": "file",
    "steps": [{ "id": "make", "uses": "test.file", "with": { "text": "{{ input.text }}" } }],
    "output": { "file": "{{ steps.make }}" }
}"#;

/// Fails once, then succeeds.
pub(crate) const FLAKY: &str = r#"{
    "name": "flaky",
    "steps": [{
        "id": "try", "uses": "test.flaky",
        "retry": { "max_attempts": 3, "initial": "1ms", "jitter": 0 }
    }]
}"#;

/// Fails for good, whatever is tried.
pub(crate) const BROKEN: &str = r#"{
    "name": "broken",
    "steps": [{ "id": "break", "uses": "test.broken" }]
}"#;

/// Does one thing for each of a list.
pub(crate) const MANY: &str = r#"{
    "name": "many",
    "steps": [{
        "id": "each", "uses": "test.echo",
        "for_each": "{{ input.list }}", "with": { "text": "{{ item }}" }
    }],
    "output": "{{ steps.each }}"
}"#;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Text {
    text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Nothing {}

/// A running server.
pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
    gate: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
    serving: Serving,
}

type Serving = JoinHandle<std::io::Result<()>>;

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(ApiOptions::default()).await
    }

    pub(crate) async fn with(options: ApiOptions) -> Self {
        Self::over(options, Keeping::default()).await
    }

    pub(crate) async fn keeping(keeping: Keeping) -> Self {
        Self::over(ApiOptions::default(), keeping).await
    }

    async fn over(options: ApiOptions, keeping: Keeping) -> Self {
        let (gate, held) = watch::channel(false);
        let engine = engine(held, keeping).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, serving) = start(listener, engine.clone(), options);
        // The crate's own client has installed the provider of cryptography that reqwest asks for.
        Client::new("http://localhost", None).unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Self { engine, address, http, gate, stop: Some(stop), serving }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url(""), None).unwrap()
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.call(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn get_json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.call(Method::POST, path).json(body).send().await.unwrap()
    }

    /// A request that can be awaited elsewhere.
    pub(crate) fn get_for_later(&self, path: &str) -> impl Future<Output = Value> + use<> {
        let call = self.call(Method::GET, path).send();
        async move { call.await.unwrap().json().await.unwrap() }
    }

    /// Submits a job and answers with its id.
    pub(crate) async fn submit(&self, workflow: &str, input: Value) -> String {
        let body = json!({ "workflow": workflow, "input": input });
        let response = self.post("/v1/jobs", &body).await;
        assert_eq!(response.status(), 201, "{workflow}");
        let accepted: Value = response.json().await.unwrap();
        accepted["id"].as_str().unwrap().to_owned()
    }

    /// Waits for a job over the wire.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        let job = self.get_json(&format!("/v1/jobs/{id}?wait=30s")).await;
        let status = job["status"].as_str().unwrap();
        assert!(["succeeded", "failed", "cancelled"].contains(&status), "{status}");
        job
    }

    /// Waits until a step of a job is at work.
    pub(crate) async fn until_running(&self, id: &str, step: &str) {
        loop {
            let job = self.get_json(&format!("/v1/jobs/{id}")).await;
            let steps = job["steps"].as_array().unwrap();
            if steps.iter().any(|it| it["id"] == step && it["status"] == "running") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets go of what `test.hold` holds.
    pub(crate) fn let_go(&self) {
        self.gate.send_replace(true);
    }

    /// Tells the server to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.halt().await;
    }

    /// Stops the server and starts another at the same address, over the same engine.
    pub(crate) async fn restart(mut self) -> Self {
        self.halt().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (stop, serving) = start(listener, self.engine.clone(), ApiOptions::default());
        Self { stop: Some(stop), serving, ..self }
    }

    async fn halt(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.serving).await.unwrap().unwrap();
    }
}

fn start(
    listener: TcpListener,
    engine: Engine,
    options: ApiOptions,
) -> (oneshot::Sender<()>, Serving) {
    let (stop, stopped) = oneshot::channel();
    let shutdown = async { drop(stopped.await) };
    (stop, tokio::spawn(serve(listener, engine, options, shutdown)))
}

async fn engine(held: watch::Receiver<bool>, keeping: Keeping) -> Engine {
    let builder = Engine::builder()
        .in_memory()
        .keeping(keeping)
        .step(crate::doubt::Letter)
        .step(crate::keeping::Note)
        .step_fn("test.echo", |input: Text, _: StepContext| async move { Ok(input) })
        .step_fn("test.hold", move |_: Nothing, context: StepContext| {
            let mut held = held.clone();
            async move {
                let mut percent = 0.0;
                while !*held.borrow_and_update() {
                    percent += 0.5;
                    context.progress(percent, "holding");
                    let a_while = Duration::from_millis(20);
                    let _ = tokio::time::timeout(a_while, held.changed()).await;
                }
                Ok(json!({}))
            }
        })
        .step_fn("test.file", |input: Text, context: StepContext| async move {
            context.put_bytes(input.text.into_bytes(), "note.txt", "text/plain").await
        })
        .step_fn("test.flaky", |_: Nothing, context: StepContext| async move {
            match context.attempt() {
                1 => Err(StepError::retryable("test.flaky", "not yet")),
                _ => Ok(json!({})),
            }
        })
        .step_fn("test.broken", |_: Nothing, _: StepContext| async move {
            let error = StepError::fatal("test.broken", "it cannot be done").with_hint("give up");
            Err::<Value, _>(error)
        });
    let builder = [ECHO, HOLD, FILE, FLAKY, BROKEN, MANY]
        .iter()
        .fold(builder, |builder, text| builder.workflow(*text));
    builder.open().await.unwrap()
}
