//! Files of the internet.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use callsheet_actors::{StepError, StepResult};
use reqwest::header::{HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::meter::Meter;
use super::resolver::{PublicOnly, is_not_public};
use super::target;
use crate::limits::{CONNECT_TIMEOUT, MAX_REDIRECTS_COUNT, READ_TIMEOUT};

/// Fetches files over HTTP.
pub(super) struct Downloader {
    allow_private: bool,
    client: OnceLock<Client>,
}

impl Downloader {
    pub(super) fn new(allow_private: bool) -> Self {
        Self { allow_private, client: OnceLock::new() }
    }

    /// Fetches a file to a path, piece by piece.
    ///
    /// # Errors
    /// `fetch.*`; what may pass, such as a broken connection or an overloaded server, is retryable.
    pub(super) async fn download(
        &self,
        source: &str,
        to: &Path,
        mut meter: Meter,
    ) -> StepResult<()> {
        let url = target::read(source, self.allow_private)?;
        let (mut response, url) = self.follow(url).await?;
        let expected = response.content_length();
        meter.expect(expected)?;
        let mut file = File::create(to).await?;
        while let Some(piece) = response.chunk().await.map_err(|error| broken(&url, error))? {
            meter.add(piece.len())?;
            file.write_all(&piece).await?;
        }
        // Without it the last piece may still wait in memory when the file is read.
        file.flush().await?;
        match expected {
            Some(expected) if meter.seen() < expected => {
                let message = format!("{} bytes of {expected} came", meter.seen());
                Err(StepError::retryable("fetch.broken", message))
            }
            _ => Ok(()),
        }
    }

    /// Asks, and follows redirects: each is a new address, checked like the first.
    async fn follow(&self, mut url: Url) -> StepResult<(Response, Url)> {
        for _ in 0..=MAX_REDIRECTS_COUNT {
            let asked = self.client()?.get(url.clone()).send().await;
            let response = asked.map_err(|error| cannot_reach(&url, error))?;
            if !response.status().is_redirection() {
                return check_status(&url, response).map(|response| (response, url));
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
            // What arrives is stored as it is; a file that unpacks itself would pass the limit.
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

fn check_status(url: &Url, response: Response) -> StepResult<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let message = format!("`{}` answered {status}", target::shown(url));
    if may_pass(status) {
        return Err(StepError::retryable("fetch.status", message));
    }
    let error = StepError::fatal("fetch.status", message);
    Err(match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            error.with_hint("the address may be private, or its signature may have expired")
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
}

fn broken(url: &Url, error: reqwest::Error) -> StepError {
    let shown = target::shown(url);
    let error = error.without_url();
    StepError::retryable("fetch.broken", format!("`{shown}` broke off: {}", causes(&error)))
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
