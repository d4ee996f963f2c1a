//! Why an attempt, a step or a job did not succeed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_FAILURE_MESSAGE_BYTES;
use crate::time::Millis;

/// A recorded failure: a stable code for programs, a message and a hint for people, and whether
/// trying again may help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable and dotted, such as `step.timeout`; listed in `docs/errors.md`.
    pub code: String,
    /// What went wrong, lower case, without a final stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the same attempt made again may succeed. The retry policy decides how often.
    pub retryable: bool,
    /// The least wait before another attempt, as whoever was asked has asked for: an overloaded
    /// provider says when to come again. It does not make an attempt more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Millis>,
}

impl Failure {
    /// A failure that a retry cannot mend.
    pub fn fatal(code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), cut(message.into()));
        Self { code, message, hint: None, retryable: false, retry_after: None }
    }

    /// A failure that may pass: an overloaded provider, a lost connection.
    pub fn retryable(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::fatal(code, message) }
    }

    /// The same failure with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, with a wait before another attempt that is no shorter than this.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Millis) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Bounds a message at a character's edge, so that a failing child cannot fill the journal.
fn cut(mut message: String) -> String {
    if message.len() > MAX_FAILURE_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_FAILURE_MESSAGE_BYTES));
        message.push_str(" … (cut)");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let failure = Failure::fatal("x.y", "ä".repeat(MAX_FAILURE_MESSAGE_BYTES));
        assert!(failure.message.ends_with("(cut)"));
        assert!(failure.message.len() < MAX_FAILURE_MESSAGE_BYTES + 16);
    }

    #[test]
    fn display_gives_code_and_hint() {
        let failure = Failure::retryable("a.b", "no answer").with_hint("try later");
        assert_eq!(failure.to_string(), "no answer [a.b]\nhint: try later");
    }
}
