//! Files of the internet.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use callsheet_actors::{StepError, StepResult};
use callsheet_storage::Hashed;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE,
};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};

use super::body::{Body, content_range};
use super::expired::is_expired;
use super::meter::Meter;
use super::resolver::{PublicOnly, is_not_public};
use super::target;
use crate::limits::{
    CONNECT_TIMEOUT, MAX_REDIRECTS_COUNT, MAX_REFUSAL_BYTES, MAX_RESUMES_COUNT, READ_TIMEOUT,
    RESUME_PAUSE,
};

/// Fetches files over HTTP.
pub(super) struct Downloader {
    allow_private: bool,
    client: OnceLock<Client>,
}

impl Downloader {
    pub(super) fn new(allow_private: bool) -> Self {
        Self { allow_private, client: OnceLock::new() }
    }

    /// Fetches a file to a path, piece by piece. What breaks off is taken up again where it broke,
    /// when the server has a way to say that the file is still the same.
    ///
    /// # Errors
    /// `fetch.*`; what may pass, such as a broken connection or an overloaded server, is retryable.
    pub(super) async fn download(
        &self,
        source: &str,
        to: &Path,
        meter: Meter,
    ) -> StepResult<Hashed> {
        let url = target::read(source, self.allow_private)?;
        let mut body = Body::create(to, meter).await?;
        body.announce(self.length(&url).await?)?;
        // Rounds since more came than ever before.
        let mut idle = 0;
        loop {
            let had = body.most();
            if self.go_on(&url, &mut body).await? {
                return Ok(body.hashed());
            }
            idle = if body.most() > had { 1 } else { idle + 1 };
            if idle > MAX_RESUMES_COUNT {
                return Err(body.broken(&target::shown(&url)));
            }
            tokio::time::sleep(RESUME_PAUSE * idle).await;
        }
    }

    /// Asks for what is missing; answers whether all is there.
    async fn go_on(&self, url: &Url, body: &mut Body) -> StepResult<bool> {
        let mut headers = HeaderMap::new();
        if let Some((from, validator)) = body.resume_at() {
            headers.insert(RANGE, header(&format!("bytes={from}-"))?);
            headers.insert(IF_RANGE, header(validator)?);
        }
        match self.follow(Method::GET, url, &headers).await {
            Ok((response, _)) => Ok(body.take(response).await?.is_some()),
            // A server that just fell over needs a moment; the first failure is the caller's.
            Err(error) if error.0.retryable && body.most() > 0 => {
                if error.0.code == "fetch.range" {
                    body.ask_for_the_whole();
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// How long the file is, as far as the server says so before it sends it. Signed addresses
    /// often allow nothing but `GET`: then one byte is asked for, and the answer tells.
    async fn length(&self, url: &Url) -> StepResult<Option<u64>> {
        if let Ok((response, _)) = self.follow(Method::HEAD, url, &HeaderMap::new()).await {
            let length = response.headers().get(CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            if length.is_some_and(|length: u64| length > 0) {
                return Ok(length);
            }
        }
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        match self.follow(Method::GET, url, &headers).await {
            Ok((response, _)) if response.status() == StatusCode::PARTIAL_CONTENT => {
                Ok(content_range(response.headers()).and_then(|(_, whole)| whole))
            }
            Ok((response, _)) => Ok(response.content_length()),
            // There is no first byte in an empty file.
            Err(error) if error.0.code == "fetch.range" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks, and follows redirects: each is a new address, checked like the first.
    async fn follow(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
    ) -> StepResult<(Response, Url)> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS_COUNT {
            let request = self.client()?.request(method.clone(), url.clone());
            // What arrives is stored as it is; a file that unpacks itself would pass the limit.
            let request = request.header(ACCEPT_ENCODING, "identity").headers(headers.clone());
            let response = request.send().await.map_err(|error| cannot_reach(&url, error))?;
            if !response.status().is_redirection() {
                return check_status(&url, response).await.map(|response| (response, url));
            }
            let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
            url = next(&url, location, self.allow_private)?;
        }
        let message = format!("more than {MAX_REDIRECTS_COUNT} redirects");
        Err(StepError::fatal("fetch.redirects", message)
            .with_hint("use the address that the redirects end at"))
    }

    /// One client for all fetches: it holds the roots of trust and the open connections.
    fn client(&self) -> StepResult<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        crate::tls::install();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("callsheet/", env!("CARGO_PKG_VERSION")))
            .no_gzip();
        if !self.allow_private {
            // A proxy would resolve names in our place, unchecked.
            builder = builder.dns_resolver(Arc::new(PublicOnly::system())).no_proxy();
        }
        let client = builder.build().map_err(|error| {
            StepError::fatal("fetch.client", format!("cannot set up HTTP: {}", causes(&error)))
                .with_hint("install the package `ca-certificates`")
        })?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// Where a redirect leads: an address like any other, which nobody has checked yet.
fn next(url: &Url, location: Option<&[u8]>, allow_private: bool) -> StepResult<Url> {
    let location = location.and_then(|location| std::str::from_utf8(location).ok());
    let next = location.and_then(|location| url.join(location).ok()).ok_or_else(|| {
        let shown = target::shown(url);
        StepError::fatal("fetch.redirects", format!("`{shown}` redirects to no address"))
    })?;
    target::check(&next, allow_private)?;
    Ok(next)
}

fn header(value: &str) -> StepResult<HeaderValue> {
    HeaderValue::from_str(value).map_err(|error| {
        StepError::fatal("fetch.client", format!("a mark of the server cannot be sent: {error}"))
    })
}

async fn check_status(url: &Url, mut response: Response) -> StepResult<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let message = format!("`{}` answered {status}", target::shown(url));
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(StepError::retryable("fetch.range", message));
    }
    if may_pass(status) {
        return Err(StepError::retryable("fetch.status", message));
    }
    // The reason stands in the body; its first piece is enough.
    let said = if status.is_client_error() { response.chunk().await } else { Ok(None) };
    let said = said.ok().flatten().unwrap_or_default();
    let said = String::from_utf8_lossy(&said[..said.len().min(MAX_REFUSAL_BYTES)]);
    if is_expired(url, &said) {
        let message = format!("{message}: the time that the address was signed for is over");
        return Err(StepError::fatal("fetch.expired", message)
            .with_hint("sign the address anew, for longer than the job may wait and work"));
    }
    let error = StepError::fatal("fetch.status", message);
    Err(match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            error.with_hint("the address may be private, or signed for another method or host")
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => error.with_hint("check the address"),
        _ => error,
    })
}

/// Answers that another try may not get.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

fn cannot_reach(url: &Url, error: reqwest::Error) -> StepError {
    if is_not_public(&error) {
        return target::private_address(url.host_str().unwrap_or_default());
    }
    let shown = target::shown(url);
    let error = error.without_url();
    let message = format!("cannot fetch `{shown}`: {}", causes(&error));
    StepError::retryable("fetch.connect", message)
        .with_hint("check the address, and that the engine's machine reaches it")
}

/// An error with all its causes.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_addresses_like_any_other() {
        let from = Url::parse("https://example.com/a/b?key=canary").unwrap();
        for (location, expected) in [
            (Some("c"), Ok("https://example.com/a/c")),
            (Some("/c?d"), Ok("https://example.com/c?d")),
            (Some("//other.example/c"), Ok("https://other.example/c")),
            (Some("http://93.184.216.34/"), Ok("http://93.184.216.34/")),
            (Some("http://127.0.0.1/"), Err("fetch.private_address")),
            (Some("//[::1]/"), Err("fetch.private_address")),
            (Some("http://169.254.169.254/latest"), Err("fetch.private_address")),
            (Some("http://2130706433/"), Err("fetch.private_address")),
            (Some("https://example.com:22/"), Err("fetch.port")),
            (Some("file:///etc/passwd"), Err("fetch.scheme")),
            (Some("gopher://example.com/"), Err("fetch.scheme")),
            (Some("https://user:secret@example.com/"), Err("fetch.credentials")),
            (Some("https://"), Err("fetch.redirects")),
            (None, Err("fetch.redirects")),
        ] {
            let found = next(&from, location.map(str::as_bytes), false);
            let found = found.map(String::from).map_err(|error| {
                assert!(!error.to_string().contains("canary"), "{error}");
                error.0.code
            });
            assert_eq!(
                found.as_deref(),
                expected.map_err(str::to_owned).as_deref(),
                "{location:?}"
            );
        }
        assert!(next(&from, Some(b"\xff"), false).is_err());
        assert!(next(&from, Some(b"http://127.0.0.1/"), true).is_ok());
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, expected) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (410, false),
            (413, false),
            (425, true),
            (429, true),
            (500, true),
            (502, true),
            (503, true),
        ] {
            assert_eq!(may_pass(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }
}
