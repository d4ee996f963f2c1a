//! The request to a receiver, and what its answer means.

use std::sync::{Arc, OnceLock};

use callsheet_actors::{StepError, StepResult};
use chrono::Utc;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url, redirect};
use tokio::sync::Semaphore;

use super::as_target;
use super::sign::Secret;
use crate::fetch::causes;
use crate::fetch::resolver::{PublicOnly, is_not_public};
use crate::fetch::target;
use crate::limits::{MAX_DELIVERIES_COUNT, WEBHOOK_TIMEOUT};

/// Sends messages to receivers.
pub(super) struct Post {
    allow_private: bool,
    client: OnceLock<Client>,
    places: Semaphore,
}

impl Post {
    pub(super) fn new(allow_private: bool) -> Self {
        let places = Semaphore::new(MAX_DELIVERIES_COUNT);
        Self { allow_private, client: OnceLock::new(), places }
    }

    /// Sends a message; answers with the receiver's status, which is one of success.
    pub(super) async fn send(
        &self,
        url: Url,
        id: &str,
        body: Vec<u8>,
        secret: Option<&Secret>,
    ) -> StepResult<u16> {
        let shown = target::shown(&url);
        // Never closed; a full house of slow receivers delays others by their time limit at most.
        // Dated and signed after the wait: receivers refuse what is old.
        let _place = self.places.acquire().await;
        let seconds = Utc::now().timestamp();
        let signature = secret.map(|secret| secret.sign(id, seconds, &body)).transpose()?;
        let mut request = self
            .client()?
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string());
        if let Some(signature) = signature {
            request = request.header("webhook-signature", signature);
        }
        let answer = request.body(body).send().await;
        let answer = answer.map_err(|error| unreachable(&shown, error))?;
        match answer.status() {
            status if status.is_success() => Ok(status.as_u16()),
            StatusCode::GONE => {
                Err(StepError::fatal("webhook.gone", format!("`{shown}` wants no more messages"))
                    .with_hint("its answer was 410; leave the webhook out"))
            }
            status => {
                let message = format!("`{shown}` answered with {}", status.as_u16());
                let hint = match status.is_redirection() {
                    true => "redirects are not followed; use the address that they lead to",
                    false => "a receiver has to answer with 2xx",
                };
                Err(StepError::retryable("webhook.status", message).with_hint(hint))
            }
        }
    }

    /// One client for all: it holds the roots of trust.
    fn client(&self) -> StepResult<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        crate::tls::install();
        let mut builder = Client::builder()
            .timeout(WEBHOOK_TIMEOUT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("callsheet/", env!("CARGO_PKG_VERSION")));
        if !self.allow_private {
            // A proxy would resolve names in our place, unchecked.
            builder = builder.dns_resolver(Arc::new(PublicOnly::system())).no_proxy();
        }
        let client = builder.build().map_err(|error| {
            let message = format!("cannot set up HTTP: {}", causes(&error));
            StepError::fatal("webhook.client", message)
                .with_hint("install the package `ca-certificates`")
        })?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn unreachable(shown: &str, error: reqwest::Error) -> StepError {
    // The address may hold what is secret behind its path.
    let error = error.without_url();
    if is_not_public(&error) {
        return as_target(target::private_address(shown));
    }
    if error.is_timeout() {
        let seconds = WEBHOOK_TIMEOUT.as_secs();
        let message = format!("`{shown}` did not answer within {seconds} s");
        return StepError::retryable("webhook.timeout", message)
            .with_hint("a receiver should answer at once, and work afterwards");
    }
    let message = format!("cannot reach `{shown}`: {}", causes(&error));
    StepError::retryable("webhook.unreachable", message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn a_message_is_dated_when_it_goes_out_not_when_it_begins_to_wait() {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(204)).mount(&server).await;
        let url = Url::parse(&server.uri()).unwrap();
        let post = Post { places: Semaphore::new(0), ..Post::new(true) };
        let let_in = async {
            // Stamps have whole seconds.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            post.places.add_permits(1);
            Utc::now().timestamp()
        };
        let (sent, since) = tokio::join!(post.send(url, "msg_1", Vec::new(), None), let_in);
        assert_eq!(sent.unwrap(), 204);
        let requests = server.received_requests().await.unwrap();
        let dated = requests[0].headers["webhook-timestamp"].to_str().unwrap();
        assert!(dated.parse::<i64>().unwrap() >= since, "{dated} is before {since}");
    }
}
