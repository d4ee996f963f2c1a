//! What whoever starts the server may choose.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use callsheet_actors::Submit;
use callsheet_engine::Failure;
use futures::future::BoxFuture;

use crate::limits::DEFAULT_UPLOAD_BYTES;
use crate::wire::Webhook;

/// How the routes behave. [`Default`] is right for a server on the loopback address.
#[derive(Clone)]
pub struct ApiOptions {
    /// When set, every route under `/v1` needs `Authorization: Bearer <token>`. Set it whenever the
    /// server can be reached from other machines. Default: none.
    pub token: Option<String>,
    /// The names that the `Host` header may have, without port; empty: any. Default: empty, and
    /// [`serve`](crate::serve) without a token on a loopback address then takes only the names of
    /// this machine, so that a web page cannot reach the engine under a name of its own.
    pub hosts: Vec<String>,
    /// The largest file that `POST /v1/uploads` takes, in bytes. Default: 2 GiB.
    pub max_upload_bytes: u64,
    /// What makes the job that delivers a webhook. Default: none, and webhooks are refused.
    pub webhooks: Option<Webhooks>,
    /// Routes of the caller's own, each set below a path of its own such as `/compat/old`. They are
    /// guarded, bounded, counted and logged like the others; the description does not have them.
    pub below: Vec<(String, Router)>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            token: None,
            hosts: Vec::new(),
            max_upload_bytes: DEFAULT_UPLOAD_BYTES,
            webhooks: None,
            below: Vec::new(),
        }
    }
}

/// What makes the job that delivers a webhook, to follow the job that it is about; or says why not.
#[derive(Clone)]
pub struct Webhooks(pub(crate) Arc<MakeWebhook>);

type MakeWebhook =
    dyn Fn(Webhook) -> BoxFuture<'static, Result<Submit, Failure>> + Send + Sync + 'static;

impl ApiOptions {
    /// The same options with a token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The same options with another bound on uploads.
    #[must_use]
    pub fn max_upload_bytes(mut self, bytes: u64) -> Self {
        self.max_upload_bytes = bytes;
        self
    }

    /// The same options with more routes, below a path such as `/compat/old`.
    #[must_use]
    pub fn below(mut self, path: impl Into<String>, routes: Router) -> Self {
        self.below.push((path.into(), routes));
        self
    }

    /// The same options with one more name for the `Host` header.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// The same options with webhooks: whatever is made here is submitted to follow the job that
    /// the webhook is about.
    #[must_use]
    pub fn webhooks<F, M>(mut self, make: F) -> Self
    where
        F: Fn(Webhook) -> M + Send + Sync + 'static,
        M: Future<Output = Result<Submit, Failure>> + Send + 'static,
    {
        self.webhooks = Some(Webhooks(Arc::new(move |webhook| Box::pin(make(webhook)))));
        self
    }
}

impl fmt::Debug for ApiOptions {
    /// Shows whether there is a token, never which.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiOptions")
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("hosts", &self.hosts)
            .field("max_upload_bytes", &self.max_upload_bytes)
            .field("webhooks", &self.webhooks.is_some())
            .field("below", &self.below.iter().map(|(path, _)| path).collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_shown() {
        let shown = format!("{:?}", ApiOptions::default().token("s3cret").host("localhost"));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("localhost"), "{shown}");
    }
}
