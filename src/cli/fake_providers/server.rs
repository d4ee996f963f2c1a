//! The routes, and where a call meets its fate.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt;
use serde_json::Value;

use super::answer;
use super::fault::{Fate, Fault};
use super::form::Form;
use super::openai;
use super::refusal::{CONTENT_BYTES, Refusal};
use super::script::{Rule, fate};
use super::tally::{Call, Outcome, Tally};
use super::voice::Voice;

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

/// What something between the client and the service may answer in its place.
const PAGE: &str = "<html><body><h1>502 Bad Gateway</h1></body></html>\n";

/// The stand-in.
pub(super) struct Fake {
    key: String,
    rules: Vec<Rule>,
    voice: Voice,
    tally: Tally,
}

impl Fake {
    /// A stand-in that accepts one key.
    pub(super) fn new(key: String, rules: Vec<Rule>, voice: Voice) -> Self {
        Self { key, rules, voice, tally: Tally::default() }
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match given.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim) {
            None | Some("") => Err(Refusal::no_key()),
            Some(key) if key == self.key => Ok(()),
            Some(key) => Err(Refusal::wrong_key(key)),
        }
    }

    /// What befalls a call: what its client asked for comes before the script.
    fn fate(&self, call: &Call, headers: &HeaderMap) -> Result<Fate, Refusal> {
        let scripted = fate(&self.rules, call.number);
        let Some(asked) = headers.get("x-fake-fault") else { return Ok(scripted) };
        let asked = asked.to_str().unwrap_or_default().parse::<Fault>();
        let asked = Fate::from_iter([asked.map_err(Refusal::invalid)?]);
        Ok(Fate { delay: scripted.delay + asked.delay, fault: asked.fault.or(scripted.fault) })
    }
}

/// The routes.
pub(super) fn router(fake: Fake) -> Router {
    Router::new()
        .route(TRANSCRIPTIONS, post(transcribe).fallback(wrong_method))
        .route("/calls", get(show).delete(forget))
        .fallback(no_route)
        .with_state(Arc::new(fake))
}

async fn show(State(fake): State<Arc<Fake>>) -> Json<Value> {
    Json(fake.tally.show())
}

async fn forget(State(fake): State<Arc<Fake>>) -> Json<Value> {
    fake.tally.forget();
    Json(fake.tally.show())
}

async fn no_route(request: Request) -> Refusal {
    Refusal::no_route(request.method().as_str(), request.uri().path())
}

async fn wrong_method(request: Request) -> Refusal {
    Refusal::wrong_method(request.method().as_str(), request.uri().path())
}

async fn transcribe(State(fake): State<Arc<Fake>>, headers: HeaderMap, body: Body) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let call = fake.tally.begin(&format!("POST {TRANSCRIPTIONS}"), key.map(ToOwned::to_owned));
    // When the client goes away, this is dropped where it stands, and the call with it.
    match answer(&fake, &call, &headers, body).await {
        Ok((response, Some(Fault::Cut))) => cut(response, call).await,
        Ok((response, _)) => {
            let outcome =
                if response.status().is_success() { Outcome::Answered } else { Outcome::Refused };
            finish(response, call, outcome)
        }
        Err(refusal) => {
            let status = refusal.status;
            call.end(status, Outcome::Refused);
            refusal.into_response()
        }
    }
}

/// The answer to a call, and the fault that is still to befall it.
async fn answer(
    fake: &Fake,
    call: &Call,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Response, Option<Fault>), Refusal> {
    fake.check_key(headers)?;
    let body = read(body).await?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = Form::read(content_type.unwrap_or_default(), &body);
    if let Some(form) = &form {
        call.sent(form.digest());
    }
    let fate = fake.fate(call, headers)?;
    if let Some(response) = fate.fault.and_then(refusal) {
        tokio::time::sleep(fate.delay).await;
        return Ok((response, None));
    }
    let form = form.ok_or_else(|| {
        Refusal::invalid("Could not parse multipart form, is the boundary missing?")
    })?;
    let asked = openai::check(&form)?;
    // From here on it is billed, whatever becomes of the answer.
    call.pay(true);
    tokio::time::sleep(fate.delay).await;
    if fate.fault == Some(Fault::Hang) {
        std::future::pending::<()>().await;
    }
    let mut heard = fake.voice.hear(asked.file.content).await.map_err(|why| {
        call.pay(false);
        eprintln!("call {}: {why}", call.number);
        Refusal::invalid("The audio file could not be decoded or its format is not supported.")
            .param("file")
    })?;
    if let Some(language) = asked.language {
        heard.language = long_name(&language);
    }
    Ok((answer::response(answer::write(&heard, asked.format)), fate.fault))
}

/// Reads a body. Of one that is too large the rest is read all the same, as a client that is still
/// sending does not listen.
async fn read(body: Body) -> Result<Bytes, Refusal> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut count) = (Vec::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Refusal::invalid("the request was cut"))?;
        count += chunk.len();
        if count <= CONTENT_BYTES {
            bytes.extend_from_slice(&chunk);
        }
    }
    if count > CONTENT_BYTES { Err(Refusal::too_large(count)) } else { Ok(bytes.into()) }
}

/// The answer in place of the work, where that is the fault.
fn refusal(fault: Fault) -> Option<Response> {
    let refusal = match fault {
        Fault::Status(status) => Refusal::of_status(status),
        Fault::Quota => Refusal::no_credit(),
        Fault::Busy(after) => return Some(busy(after)),
        Fault::Html => return Some(([(CONTENT_TYPE, "text/html")], PAGE).into_response()),
        Fault::Cut | Fault::Hang | Fault::Delay(_) => return None,
    };
    Some(refusal.into_response())
}

fn busy(after: Option<Duration>) -> Response {
    let mut response = Refusal::busy().into_response();
    if let Some(after) = after {
        // In whole seconds, and never sooner than was said.
        let seconds = after.as_millis().div_ceil(1_000) as u64;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Ends a call when its answer has been handed to the connection, not before.
fn finish(response: Response, call: Call, outcome: Outcome) -> Response {
    let status = response.status().as_u16();
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(HeaderName::from_static("x-request-id"), HeaderValue::from(call.number));
    let mut call = Some(call);
    let end = futures::stream::poll_fn(move |_| {
        if let Some(call) = call.take() {
            call.end(status, outcome);
        }
        Poll::Ready(None)
    });
    let stream = body.into_data_stream().chain(end);
    Response::from_parts(parts, Body::from_stream(stream))
}

/// Sends a half: the length says more, then the connection is closed.
async fn cut(response: Response, call: Call) -> Response {
    let status = response.status().as_u16();
    let (mut parts, body) = response.into_parts();
    let whole = read(body).await.unwrap_or_default();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let half = whole.slice(..whole.len() / 2);
    call.end(status, Outcome::Cut);
    let broken = std::io::Error::other("cut on purpose");
    // A body that breaks at once takes with it what was written before; a moment lets that go out.
    let rest = futures::stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(broken)
    });
    let stream = futures::stream::iter([Ok(half)]).chain(rest);
    Response::from_parts(parts, Body::from_stream(stream))
}

/// The service is asked with a code and answers with a name.
fn long_name(language: &str) -> String {
    const NAMES: [(&str, &str); 12] = [
        ("en", "english"),
        ("de", "german"),
        ("fr", "french"),
        ("es", "spanish"),
        ("it", "italian"),
        ("pt", "portuguese"),
        ("nl", "dutch"),
        ("ru", "russian"),
        ("zh", "chinese"),
        ("ja", "japanese"),
        ("ko", "korean"),
        ("hi", "hindi"),
    ];
    let name = NAMES.iter().find(|(code, _)| *code == language).map(|(_, name)| *name);
    name.unwrap_or(language).to_owned()
}
