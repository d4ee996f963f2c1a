//! Names become addresses once, every one of them is checked, and the connection goes to a checked
//! one: a name that changes its answer in between gains nothing.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::is_public;

/// What asks the name service.
pub(super) type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// A resolver that gives public addresses only.
#[derive(Clone)]
pub(crate) struct PublicOnly {
    lookup: Lookup,
}

/// A name stands for an address that is not public.
#[derive(Clone, Debug)]
pub(super) struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host is not on the public internet")
    }
}

impl Error for NotPublic {}

impl PublicOnly {
    pub(crate) fn system() -> Self {
        Self {
            lookup: Arc::new(|host| {
                Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) })
            }),
        }
    }

    /// Whether a name stands for an address that is not public, as far as can be told now.
    pub(crate) async fn refuses(self, host: String) -> bool {
        self.resolve_checked(host).await.is_err_and(|error| is_not_public(&*error))
    }

    async fn resolve_checked(self, host: String) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
        let addresses = (self.lookup)(host).await?;
        // One private address among public ones is enough: which one is taken is not ours to say.
        if addresses.iter().any(|address| !is_public(address.ip())) {
            return Err(Box::new(NotPublic));
        }
        Ok(Box::new(addresses.into_iter()))
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(self.clone().resolve_checked(name.as_str().to_owned()))
    }
}

/// Whether an error goes back to a refused address.
pub(crate) fn is_not_public(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn answering(answers: Vec<Vec<&'static str>>) -> PublicOnly {
        let asked = AtomicUsize::new(0);
        PublicOnly {
            lookup: Arc::new(move |_| {
                let n = asked.fetch_add(1, Ordering::SeqCst);
                let answer = answers[n.min(answers.len() - 1)].clone();
                let answer = answer.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
                let answer = answer.collect();
                Box::pin(async move { Ok(answer) })
            }),
        }
    }

    async fn refused(resolver: &PublicOnly) -> bool {
        match resolver.clone().resolve_checked("host.example".to_owned()).await {
            Ok(_) => false,
            Err(error) => is_not_public(&*error),
        }
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_checked() {
        for (addresses, expected) in [
            (vec!["8.8.8.8"], false),
            (vec!["8.8.8.8", "2a00:1450:4001:82a::200e"], false),
            (vec!["127.0.0.1"], true),
            (vec!["8.8.8.8", "10.0.0.1"], true),
            (vec!["8.8.8.8", "::1"], true),
        ] {
            let resolver = answering(vec![addresses.clone()]);
            assert_eq!(refused(&resolver).await, expected, "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_changes_its_answer_is_checked_again() {
        let resolver = answering(vec![vec!["8.8.8.8"], vec!["127.0.0.1"]]);
        assert!(!refused(&resolver).await);
        assert!(refused(&resolver).await);
    }
}
