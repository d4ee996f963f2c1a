//! A client for a running server: what the command and the admin screen speak through.

mod backup;
mod download;
mod error;
mod events;
mod patience;
mod sse;
mod upload;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde::de::DeserializeOwned;

pub use error::ClientError;
pub use events::Update;

use crate::limits::{CLIENT_CONNECT_SECONDS, CLIENT_READ_SECONDS, CLIENT_WAIT_SECONDS};
use crate::wire::{
    Accepted, ActorList, CancelAnswer, CancelRequest, Job, JobPage, JobsQuery, Problem,
    ResolveRequest, Resolved, SubmitRequest, Validation, Webhook, Workflow, WorkflowList,
};
use patience::Patience;

/// A client of one server. Cheap to clone.
///
/// ```no_run
/// # async fn demo() -> Result<(), callsheet_api::client::ClientError> {
/// use callsheet_api::client::Client;
/// use callsheet_api::wire::SubmitRequest;
///
/// let client = Client::new("http://127.0.0.1:7070", None)?;
/// let request = SubmitRequest { workflow: Some("caption".into()), ..Default::default() };
/// let accepted = client.submit(&request, Some("order-17")).await?;
/// let job = client.wait(&accepted.id).await?;
/// println!("{}", job.head.status.as_str());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// For what a server may be silent about for as long as it takes.
    patient: reqwest::Client,
    base: Url,
    token: Option<header::HeaderValue>,
}

impl Client {
    /// A client of the server at this URL, such as `http://127.0.0.1:7070`, with the token that it
    /// asks for.
    ///
    /// # Errors
    /// When the URL is none, or the token cannot stand in a header.
    pub fn new(base_url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let mut base = Url::parse(base_url).map_err(|error| ClientError::url(base_url, &error))?;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(ClientError::url(base_url, &"expected `http://` or `https://`"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let token = token.map(|token| bearer(&token)).transpose()?;
        // Another part of the program may have chosen a provider before; that one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let common = || {
            reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(CLIENT_CONNECT_SECONDS))
                // The token is for this server alone.
                .redirect(reqwest::redirect::Policy::none())
        };
        let http = common().read_timeout(Duration::from_secs(CLIENT_READ_SECONDS)).build();
        let http = http.map_err(|error| ClientError::connection(&error))?;
        let patient = common().build().map_err(|error| ClientError::connection(&error))?;
        Ok(Self { http, patient, base, token })
    }

    /// Submits a job. With a key the same request may be sent again, after a lost answer for
    /// example, and gives the same job.
    ///
    /// # Errors
    /// The server's refusal, or [`ClientError::Connection`]; without a key it is then not known
    /// whether the job was accepted.
    pub async fn submit(
        &self,
        request: &SubmitRequest,
        idempotency_key: Option<&str>,
    ) -> Result<Accepted, ClientError> {
        let mut call = self.call(Method::POST, &["v1", "jobs"])?.json(request);
        if let Some(key) = idempotency_key {
            call = call.header("idempotency-key", key);
        }
        json(call).await
    }

    /// Has somebody told of a job's end, also of one that has ended.
    ///
    /// # Errors
    /// `job.unknown`, `webhook.refused`, `webhook.unavailable`, and as every call.
    pub async fn webhook(&self, id: &str, webhook: &Webhook) -> Result<Accepted, ClientError> {
        json(self.call(Method::POST, &["v1", "jobs", id, "webhook"])?.json(webhook)).await
    }

    /// A job as it is recorded.
    ///
    /// # Errors
    /// `job.unknown`, and as every call.
    pub async fn job(&self, id: &str) -> Result<Job, ClientError> {
        json(self.call(Method::GET, &["v1", "jobs", id])?).await
    }

    /// Waits until a job has ended, however long that takes. A server that is started again in
    /// between is waited for.
    ///
    /// # Errors
    /// `job.unknown`, or [`ClientError::Connection`] when the server stays away.
    pub async fn wait(&self, id: &str) -> Result<Job, ClientError> {
        let mut patience = Patience::new();
        let wait = format!("{CLIENT_WAIT_SECONDS}s");
        loop {
            let call = self.call(Method::GET, &["v1", "jobs", id])?.query(&[("wait", &wait)]);
            match json::<Job>(call).await {
                Ok(job) if job.head.status.has_ended() => return Ok(job),
                Ok(_) => patience.renew(),
                Err(error) => patience.after(error).await?,
            }
            // A server that stops answers waits at once, so without a pause this loop would spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A page of jobs, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn jobs(&self, query: &JobsQuery) -> Result<JobPage, ClientError> {
        json(self.call(Method::GET, &["v1", "jobs"])?.query(query)).await
    }

    /// Cancels a job. The cancel is on stable storage when this answers.
    ///
    /// # Errors
    /// `job.unknown`, and as every call; a job that had ended is no error.
    pub async fn cancel(
        &self,
        id: &str,
        reason: Option<&str>,
    ) -> Result<CancelAnswer, ClientError> {
        let request = CancelRequest { reason: reason.map(ToOwned::to_owned) };
        json(self.call(Method::POST, &["v1", "jobs", id, "cancel"])?.json(&request)).await
    }

    /// Says what became of a step that is held. That is on stable storage when this answers.
    ///
    /// # Errors
    /// `job.unknown`, `step.unknown`, `step.not_held`, and as every call.
    pub async fn resolve(
        &self,
        id: &str,
        step: &str,
        request: &ResolveRequest,
    ) -> Result<Resolved, ClientError> {
        let path = ["v1", "jobs", id, "steps", step, "resolve"];
        json(self.call(Method::POST, &path)?.json(request)).await
    }

    /// A job's graph as a Mermaid flowchart.
    ///
    /// # Errors
    /// `job.unknown`, and as every call.
    pub async fn graph(&self, id: &str) -> Result<String, ClientError> {
        text(self.call(Method::GET, &["v1", "jobs", id, "graph"])?).await
    }

    /// All workflows that are registered.
    ///
    /// # Errors
    /// As every call.
    pub async fn workflows(&self) -> Result<WorkflowList, ClientError> {
        json(self.call(Method::GET, &["v1", "workflows"])?).await
    }

    /// One workflow.
    ///
    /// # Errors
    /// `workflow.unknown`, and as every call.
    pub async fn workflow(&self, name: &str) -> Result<Workflow, ClientError> {
        json(self.call(Method::GET, &["v1", "workflows", name])?).await
    }

    /// Checks a definition, YAML or JSON, against the step kinds of the server.
    ///
    /// # Errors
    /// As every call; a definition with problems is no error.
    pub async fn validate(&self, definition: &str) -> Result<Validation, ClientError> {
        let call = self
            .call(Method::POST, &["v1", "workflows", "validate"])?
            .header(header::CONTENT_TYPE, "application/yaml")
            .body(definition.to_owned());
        json(call).await
    }

    /// The actors of the server's engine.
    ///
    /// # Errors
    /// As every call.
    pub async fn actors(&self) -> Result<ActorList, ClientError> {
        json(self.call(Method::GET, &["v1", "actors"])?).await
    }

    /// Whether the server takes new jobs.
    ///
    /// # Errors
    /// `engine.draining`, `store.failed`, or [`ClientError::Connection`].
    pub async fn ready(&self) -> Result<(), ClientError> {
        text(self.call(Method::GET, &["readyz"])?).await.map(drop)
    }

    /// A request to a path of the server; each part is one segment, whatever is in it.
    fn call(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        self.call_by(&self.http, method, path)
    }

    /// The same, by one of the two clients beneath.
    fn call_by(
        &self,
        http: &reqwest::Client,
        method: Method,
        path: &[&str],
    ) -> Result<RequestBuilder, ClientError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        // `.` and `..` would be taken away, and the rest would be another route.
        if path.iter().any(|part| part.is_empty() || matches!(*part, "." | "..")) {
            return Err(ClientError::url(&path.join("/"), &"a part of the path is not a name"));
        }
        let call = http.request(method, url);
        Ok(match &self.token {
            Some(token) => call.header(header::AUTHORIZATION, token.clone()),
            None => call,
        })
    }
}

fn bearer(token: &str) -> Result<header::HeaderValue, ClientError> {
    let mut value = header::HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends a request; an answer that is none of success becomes the error that it tells of.
async fn send(call: RequestBuilder) -> Result<Response, ClientError> {
    let response = call.send().await.map_err(|error| ClientError::connection(&error))?;
    if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
}

async fn refused(response: Response) -> ClientError {
    let status = response.status();
    match response.json::<Problem>().await {
        Ok(problem) => ClientError::Refused(Box::new(problem)),
        // Not an answer of ours: a proxy's, most likely.
        Err(_) => ClientError::Foreign { status: status.as_u16() },
    }
}

async fn json<T: DeserializeOwned>(call: RequestBuilder) -> Result<T, ClientError> {
    let response = send(call).await?;
    let bytes = response.bytes().await.map_err(|error| ClientError::connection(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(error.to_string()))
}

async fn text(call: RequestBuilder) -> Result<String, ClientError> {
    let response = send(call).await?;
    response.text().await.map_err(|error| ClientError::connection(&error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_checked() {
        for (url, answer) in [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070/v1/jobs"),
            ("http://127.0.0.1:7070/", "http://127.0.0.1:7070/v1/jobs"),
            ("https://films.example/callsheet", "https://films.example/callsheet/v1/jobs"),
            ("127.0.0.1:7070", "client.url"),
            ("localhost:7070", "client.url"),
            ("ftp://films.example", "client.url"),
            ("", "client.url"),
        ] {
            let made = Client::new(url, None).map(|client| {
                let call = client.call(Method::GET, &["v1", "jobs"]).unwrap();
                call.build().unwrap().url().to_string()
            });
            assert_eq!(made.unwrap_or_else(|error| error.code().to_owned()), answer, "{url}");
        }
    }

    #[test]
    fn a_path_stays_one_segment() {
        let client = Client::new("http://h", None).unwrap();
        let path = |id: &str| {
            let call = client.call(Method::GET, &["v1", "jobs", id]).ok()?;
            Some(call.build().unwrap().url().path().to_owned())
        };
        assert_eq!(path("a/b?c#d").unwrap(), "/v1/jobs/a%2Fb%3Fc%23d");
        for id in ["", ".", ".."] {
            assert_eq!(path(id), None, "{id}");
        }
    }

    #[test]
    fn tokens_that_cannot_be_sent_are_refused() {
        for token in ["a\nb", "a\0"] {
            let error = Client::new("http://h", Some(token.to_owned())).unwrap_err();
            assert_eq!(error.code(), "client.token");
        }
    }
}
