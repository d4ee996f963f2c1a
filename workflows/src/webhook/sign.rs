//! How a message is signed: by the convention of Standard Webhooks, so that receivers check it with
//! the library that they have.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

    /// What is wrong with it, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        if self.0.is_empty() || self.0.len() > MAX_SECRET_BYTES {
            return Some(format!("the secret has not 1 to {MAX_SECRET_BYTES} bytes"));
        }
        match self.key() {
            Some(_) => None,
            None => Some(format!("what follows `{PREFIX}` in the secret is no Base64")),
        }
    }

    fn key(&self) -> Option<Key> {
        let bytes = match self.0.strip_prefix(PREFIX) {
            Some(coded) => STANDARD.decode(coded).ok()?,
            None => self.0.clone().into_bytes(),
        };
        Some(Key::new(HMAC_SHA256, &bytes))
    }

    /// The signature of a message, as its header has it; none for a secret with a problem.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
        let message = [format!("{id}.{seconds}.").as_bytes(), body].concat();
        let signature = sign(&self.key()?, &message);
        Some(format!("v1,{}", STANDARD.encode(signature)))
    }
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
        assert_ne!(secret.sign("a", 1, b"x"), secret.sign("b", 1, b"x"));
        assert_ne!(secret.sign("a", 1, b"x"), secret.sign("a", 2, b"x"));
        assert_ne!(secret.sign("a", 1, b"x"), secret.sign("a", 1, b"y"));
        assert_ne!(secret.sign("a", 1, b"x"), Secret::new("other").sign("a", 1, b"x"));
        assert!(!format!("{secret:?}").contains("canary"));
    }

    #[test]
    fn a_secret_that_cannot_sign_is_refused() {
        for (text, is_good) in [
            ("k", true),
            ("whsec_AAAA", true),
            ("", false),
            ("whsec_!", false),
            (&"x".repeat(MAX_SECRET_BYTES + 1), false),
        ] {
            assert_eq!(Secret::new(text).problem().is_none(), is_good, "{text}");
        }
    }
}
