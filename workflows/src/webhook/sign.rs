//! How a message is signed: by the convention of Standard Webhooks, so that receivers check it with
//! the library that they have.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callsheet_actors::{StepError, StepResult};
use ring::hmac::{HMAC_SHA256, Key, sign};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_SECRET_BYTES;

/// What a secret starts with that is the Base64 of the key.
const PREFIX: &str = "whsec_";

/// A secret that the receiver knows too. Nothing shows it but what has to hold it: the request of a
/// submit and the job's journal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("writeOnly" = true))]
pub struct Secret(String);

impl Secret {
    /// A secret from text: `whsec_` and the Base64 of the key, or the key itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it can sign.
    ///
    /// # Errors
    /// `webhook.secret`.
    pub fn check(&self) -> StepResult<()> {
        self.key().map(drop)
    }

    fn key(&self) -> StepResult<Key> {
        if self.0.is_empty() || self.0.len() > MAX_SECRET_BYTES {
            return Err(refused(format!("the secret has not 1 to {MAX_SECRET_BYTES} bytes")));
        }
        let bytes = match self.0.strip_prefix(PREFIX) {
            Some(coded) => STANDARD.decode(coded).map_err(|_| {
                refused(format!("what follows `{PREFIX}` in the secret is no Base64"))
            })?,
            None => self.0.clone().into_bytes(),
        };
        Ok(Key::new(HMAC_SHA256, &bytes))
    }

    /// The signature of a message, as its header has it.
    ///
    /// # Errors
    /// `webhook.secret`: nothing goes out unsigned because its secret is no good.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> StepResult<String> {
        let message = [format!("{id}.{seconds}.").as_bytes(), body].concat();
        let signature = sign(&self.key()?, &message);
        Ok(format!("v1,{}", STANDARD.encode(signature)))
    }
}

fn refused(what: String) -> StepError {
    StepError::fatal("webhook.secret", what)
        .with_hint("use `whsec_` and the Base64 of 24 to 64 random bytes")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_convention_has_its_signature() {
        // From the libraries of Standard Webhooks.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_text_is_a_key_too_and_nothing_of_it_is_shown() {
        let secret = Secret::new("canary");
        let signed = secret.sign("a", 1, b"x").unwrap();
        assert_ne!(signed, secret.sign("b", 1, b"x").unwrap());
        assert_ne!(signed, secret.sign("a", 2, b"x").unwrap());
        assert_ne!(signed, secret.sign("a", 1, b"y").unwrap());
        assert_ne!(signed, Secret::new("other").sign("a", 1, b"x").unwrap());
        assert!(!format!("{secret:?}").contains("canary"));
    }

    #[test]
    fn a_secret_that_cannot_sign_is_refused() {
        for (text, is_good) in [
            ("k", true),
            ("whsec_AAAA", true),
            ("", false),
            ("whsec_!", false),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZ", false),
            (&"x".repeat(MAX_SECRET_BYTES + 1), false),
        ] {
            let secret = Secret::new(text);
            assert_eq!(secret.check().is_ok(), is_good, "{text}");
            assert_eq!(secret.sign("a", 1, b"x").is_ok(), is_good, "{text}");
        }
    }
}
