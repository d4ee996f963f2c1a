//! Where a request claims to come from and to go to: what keeps web pages away from an engine on
//! the same machine.
//!
//! No answer carries a CORS header, so a page cannot read one. A page could still send: under a
//! name of its own that it lets point at this machine (the `Host` list stops that), or as a form
//! without asking first (the `Origin` check stops that).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::Refusal;
use crate::state::AppState;

/// The names of this machine as seen from itself.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The host names that are served; empty: all.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn serve(&self, authority: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|name| *name == host_of(authority))
    }
}

/// The names to serve when whoever starts the server names none: those of this machine if only it
/// can reach the address.
pub(crate) fn local_names(address: IpAddr) -> Vec<String> {
    if !address.is_loopback() {
        return Vec::new();
    }
    let mut names: Vec<String> = LOCAL_NAMES.iter().map(ToString::to_string).collect();
    let own = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    if !names.contains(&own) {
        names.push(own);
    }
    names
}

/// Refuses requests to a foreign host name and from a foreign page.
pub(crate) async fn check_source(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    match check(&state.hosts, request.version(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check(hosts: &Hosts, version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().map_err(|_| Refusal::NoHost)?,
        // HTTP/2 and absolute URIs name the host there; HTTP/1.0 need not name one.
        (None, _) => match uri.authority() {
            Some(authority) => authority.as_str(),
            None if version == Version::HTTP_11 => return Err(Refusal::NoHost),
            None => "",
        },
        (Some(_), Some(_)) => return Err(Refusal::NoHost),
    };
    if !hosts.serve(host) {
        return Err(Refusal::Host(host.to_owned()));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("null");
        let own = origin.split_once("://").is_some_and(|(_, page)| page == host);
        if !own {
            return Err(Refusal::Origin(origin.to_owned()));
        }
    }
    Ok(())
}

/// The name in `name:port`, in lower case.
fn host_of(authority: &str) -> String {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    name.to_ascii_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::error::HttpError;

    #[test]
    fn sources_are_checked() {
        let any = Hosts::default();
        let local = Hosts::new(&local_names("127.0.0.1".parse().unwrap()));
        for (hosts, host, origin, answer) in [
            (&any, Some("evil.example"), None, "ok"),
            (&any, None, None, "request.host"),
            (&any, Some("a:80"), Some("http://a:80"), "ok"),
            (&any, Some("a:80"), Some("http://a:81"), "request.origin_refused"),
            (&any, Some("a"), Some("https://evil"), "request.origin_refused"),
            (&any, Some("a"), Some("null"), "request.origin_refused"),
            (&local, Some("localhost:8080"), None, "ok"),
            (&local, Some("LOCALHOST"), None, "ok"),
            (&local, Some("127.0.0.1:1"), None, "ok"),
            (&local, Some("[::1]:9"), None, "ok"),
            (&local, Some("[::1]"), None, "ok"),
            (&local, Some("evil.example"), None, "request.host_refused"),
            (&local, Some("localhost.evil.example:80"), None, "request.host_refused"),
            (&local, Some("evil:80"), Some("http://evil:80"), "request.host_refused"),
            (&local, Some(""), None, "request.host_refused"),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_str(value).unwrap());
                }
            }
            let checked = check(hosts, Version::HTTP_11, &Uri::from_static("/v1/jobs"), &headers);
            let code = checked.map_or_else(|refusal| refusal.code(), |()| "ok");
            assert_eq!(code, answer, "{host:?} {origin:?}");
        }
    }

    #[test]
    fn two_hosts_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("a"));
        headers.append(header::HOST, HeaderValue::from_static("b"));
        let checked = check(&Hosts::default(), Version::HTTP_11, &Uri::from_static("/"), &headers);
        assert!(matches!(checked, Err(Refusal::NoHost)));
    }

    #[test]
    fn only_a_loopback_address_narrows_the_names() {
        assert!(local_names("0.0.0.0".parse().unwrap()).is_empty());
        assert!(local_names("10.1.2.3".parse().unwrap()).is_empty());
        assert!(local_names("127.0.0.5".parse().unwrap()).contains(&"127.0.0.5".to_owned()));
        assert!(local_names("::1".parse().unwrap()).contains(&"[::1]".to_owned()));
    }
}
