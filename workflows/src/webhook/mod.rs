//! Completion webhooks: when a job has ended, a receiver is told by a signed request.
//!
//! A delivery is a job of its own, of the workflow [`WEBHOOK`], that follows the job it tells of.
//! So it is as durable as that, tried again over hours by the policy of its step, listed, looked at
//! and cancelled like any other, and asleep until there is something to tell.

mod message;
mod post;
mod sign;

use callsheet_actors::{Step, StepContext, StepError, StepResult, Submit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::fetch::resolver::PublicOnly;
use crate::fetch::target;
use crate::limits::MAX_WEBHOOK_URL_BYTES;
use crate::options::MediaOptions;
pub use message::WebhookEvent;
use post::Post;
pub use sign::Secret;

/// The workflow `webhook`: tell a receiver how the job before ended.
pub const WEBHOOK: &str = include_str!("../../definitions/webhook.yaml");

/// Whom to tell of a job's end.
///
/// ```no_run
/// # use callsheet_actors::{Engine, StepResult, Submit};
/// # use callsheet_workflows::{MediaOptions, Webhook};
/// # async fn example(engine: Engine, options: MediaOptions) -> StepResult<()> {
/// let hook = Webhook::to("https://example.org/hook");
/// let hook = hook.secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
/// let hook = hook.submit(&options).await?;
/// let video = serde_json::json!({ "video": "https://example.org/talk.mp4" });
/// engine.submit(Submit::named("caption", video).followed_by(hook)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Webhook {
    url: String,
    secret: Option<Secret>,
    events: Vec<WebhookEvent>,
}

impl Webhook {
    /// Tells a receiver at this address, however the job ends.
    pub fn to(url: impl Into<String>) -> Self {
        Self { url: url.into(), secret: None, events: WebhookEvent::ALL.to_vec() }
    }

    /// The same, signed with this secret; without one the operator's own signs, if there is one.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(Secret::new(secret));
        self
    }

    /// The same, but only when the job ends like this.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = WebhookEvent>) -> Self {
        self.events = events.into_iter().collect();
        self
    }

    /// Checks the receiver, and makes the job that will tell it: for [`Submit::followed_by`] or
    /// [`Engine::follow`](callsheet_actors::Engine::follow).
    ///
    /// # Errors
    /// `webhook.target`, `webhook.secret`, `webhook.events`.
    pub async fn submit(self, options: &MediaOptions) -> StepResult<Submit> {
        let url = check(&self.url, options.allow_private_addresses)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        if !options.allow_private_addresses && PublicOnly::system().refuses(host.clone()).await {
            return Err(as_target(target::private_address(&host)));
        }
        self.secret.as_ref().map_or(Ok(()), Secret::check)?;
        if self.events.is_empty() {
            return Err(StepError::fatal("webhook.events", "no event is to be told of")
                .with_hint("name some of `succeeded`, `failed`, `cancelled`, or leave it out"));
        }
        let mut input = json!({ "url": self.url, "events": self.events });
        if let Some(secret) = self.secret {
            input["secret"] = json!(secret);
        }
        Ok(Submit::named("webhook", input))
    }
}

/// Checks an address as those of files are checked.
fn check(url: &str, allow_private: bool) -> StepResult<reqwest::Url> {
    if url.len() > MAX_WEBHOOK_URL_BYTES {
        let message = format!("the address has more than {MAX_WEBHOOK_URL_BYTES} bytes");
        return Err(StepError::fatal("webhook.target", message));
    }
    let is_web = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https");
    if !reqwest::Url::parse(url).is_ok_and(|url| is_web(&url)) {
        return Err(StepError::fatal("webhook.target", "the webhook's `url` is no web address")
            .with_hint("write it like `https://example.org/hook`"));
    }
    target::read(url, allow_private).map_err(as_target)
}

/// Whatever is wrong with a receiver's address has one code.
fn as_target(mut error: StepError) -> StepError {
    error.0.code = "webhook.target".to_owned();
    error
}

/// The step kind `webhook.deliver`: tells a receiver how the job that this one follows has ended.
pub struct Deliver {
    allow_private: bool,
    secret: Option<Secret>,
    post: Post,
}

/// The input of `webhook.deliver`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The receiver's address.
    url: String,
    /// What signs the message; the operator's secret when absent, and nothing when there is none.
    #[serde(default)]
    secret: Option<Secret>,
    /// The ends that are told of; all when absent.
    #[serde(default = "all")]
    events: Vec<WebhookEvent>,
}

fn all() -> Vec<WebhookEvent> {
    WebhookEvent::ALL.to_vec()
}

/// The output of `webhook.deliver`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Delivered {
    /// The message's id: the same at every try, and of every webhook of the job.
    pub id: String,
    /// How the job ended.
    pub event: WebhookEvent,
    /// Whether it was told; false when the webhook is not for this end.
    pub delivered: bool,
    /// What the receiver answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl Deliver {
    /// The step kind, as far as the operator allows.
    #[must_use]
    pub fn new(options: &MediaOptions) -> Self {
        let allow_private = options.allow_private_addresses;
        let secret = options.webhook_secret.clone();
        Self { allow_private, secret, post: Post::new(allow_private) }
    }
}

impl Step for Deliver {
    type Input = Delivery;
    type Output = Delivered;

    fn kind(&self) -> String {
        "webhook.deliver".to_owned()
    }

    fn description(&self) -> String {
        "Tells a receiver, by a signed request, how the job that this one follows ended.".to_owned()
    }

    async fn run(&self, input: Delivery, context: StepContext) -> StepResult<Delivered> {
        let view = context.followed().await?;
        let id = format!("msg_{}", view.head.id);
        let (event, body) = message::of(&view)
            .ok_or_else(|| StepError::retryable("webhook.early", "the job has not ended"))?;
        if !input.events.contains(&event) {
            return Ok(Delivered { id, event, delivered: false, status: None });
        }
        let url = check(&input.url, self.allow_private)?;
        let secret = input.secret.as_ref().or(self.secret.as_ref());
        let status = self.post.send(url, &id, body, secret).await?;
        Ok(Delivered { id, event, delivered: true, status: Some(status) })
    }
}
