//! An address that a file is fetched from: what is checked of it before any socket is opened.

use std::net::IpAddr;

use callsheet_actors::{StepError, StepResult};
use reqwest::Url;

use super::address::is_public;

/// Ports below the range of users that speak HTTP; others are other services' (mail, files).
const HTTP_PORTS: [u16; 2] = [80, 443];

/// First port of the range of users.
const FIRST_USER_PORT: u16 = 1_024;

/// Longest part of an address that a message shows.
const SHOWN_CHARS: usize = 200;

/// Reads an address and checks it.
///
/// # Errors
/// `fetch.url`, `fetch.scheme`, `fetch.credentials`, `fetch.port`, `fetch.private_address`.
pub(crate) fn read(text: &str, allow_private: bool) -> StepResult<Url> {
    let url = Url::parse(text).map_err(|error| {
        StepError::fatal("fetch.url", format!("the source is no address: {error}"))
            .with_hint("write it like `https://example.org/talk.mp4`")
    })?;
    check(&url, allow_private)?;
    Ok(url)
}

/// Checks an address: of the source, and of every redirect.
///
/// # Errors
/// As [`read`].
pub(super) fn check(url: &Url, allow_private: bool) -> StepResult<()> {
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(StepError::fatal("fetch.scheme", format!("`{scheme}:` cannot be fetched"))
            .with_hint("use an address that starts with `https://` or `http://`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(StepError::fatal(
            "fetch.credentials",
            format!("the address at `{}` holds a user name or password", host(url)),
        )
        .with_hint("addresses are recorded with the job; use one that is signed or public"));
    }
    if allow_private {
        return Ok(());
    }
    let port = url.port_or_known_default().unwrap_or_default();
    if port < FIRST_USER_PORT && !HTTP_PORTS.contains(&port) {
        return Err(StepError::fatal("fetch.port", format!("port {port} is not one of HTTP"))
            .with_hint("use port 80, 443 or one from 1024 on"));
    }
    match address(url) {
        Some(address) if !is_public(address) => Err(private_address(&host(url))),
        _ => Ok(()),
    }
}

/// The refusal of a host. It says nothing about whether the host answers.
pub(crate) fn private_address(host: &str) -> StepError {
    StepError::fatal("fetch.private_address", format!("`{host}` is not on the public internet"))
        .with_hint("the operator may allow it: start the server with `--allow-private-addresses`")
}

/// An address as messages show it: without what may be secret, which is all after the path.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let text = format!("{}://{}{port}{}", url.scheme(), host(url), url.path());
    text.chars().take(SHOWN_CHARS).collect()
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// The address, when the host is written as one. Names are checked when they are resolved.
fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn code(text: &str, allow_private: bool) -> Option<String> {
        read(text, allow_private).err().map(|error| error.0.code)
    }

    #[test]
    fn addresses_are_checked_before_anything_is_opened() {
        for (text, expected) in [
            ("https://example.com/a.mp4", None),
            ("http://example.com:8080/a.mp4?sig=x", None),
            ("http://93.184.216.34/", None),
            ("http://127.0.0.1:9000/", Some("fetch.private_address")),
            ("http://[::1]/", Some("fetch.private_address")),
            ("http://[::ffff:127.0.0.1]/", Some("fetch.private_address")),
            ("http://0/", Some("fetch.private_address")),
            ("http://2130706433/", Some("fetch.private_address")),
            ("http://0x7f.1/", Some("fetch.private_address")),
            ("http://017700000001/", Some("fetch.private_address")),
            ("http://127。0。0。1/", Some("fetch.private_address")),
            ("http://169.254.169.254/latest/meta-data/", Some("fetch.private_address")),
            ("http://[64:ff9b::7f00:1]/", Some("fetch.private_address")),
            ("http://[fd00::1]/", Some("fetch.private_address")),
            ("http://user@127.0.0.1@ok.example/", Some("fetch.credentials")),
            ("http://user:secret@example.com/", Some("fetch.credentials")),
            ("http://:secret@example.com/", Some("fetch.credentials")),
            ("https://example.com:22/", Some("fetch.port")),
            ("https://example.com:25/", Some("fetch.port")),
            ("file:///etc/passwd", Some("fetch.scheme")),
            ("gopher://example.com/", Some("fetch.scheme")),
            ("ftp://example.com/a.mp4", Some("fetch.scheme")),
            ("data:video/mp4;base64,AAAA", Some("fetch.scheme")),
            ("http://", Some("fetch.url")),
            ("http://exa mple/", Some("fetch.url")),
        ] {
            assert_eq!(code(text, false).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_operator_may_allow_private_addresses_but_nothing_else() {
        for (text, expected) in [
            ("http://127.0.0.1:9000/", None),
            ("http://[::1]:81/", None),
            ("file:///etc/passwd", Some("fetch.scheme")),
            ("http://user:secret@127.0.0.1/", Some("fetch.credentials")),
        ] {
            assert_eq!(code(text, true).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let error = read("http://user:canary@example.com/?key=canary", false).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
        let url = Url::parse("https://example.com:8443/a/b.mp4?sig=canary#canary").unwrap();
        assert_eq!(shown(&url), "https://example.com:8443/a/b.mp4");
    }
}
