//! What the media steps may do: the operator's decisions, not the job's.

use std::fmt;
use std::path::PathBuf;

use crate::sandbox::Sandbox;
use crate::webhook::Secret;

/// Where the service of OpenAI, or one that speaks like it, is reached.
pub const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";

/// The model that gives word times.
pub const OPENAI_MODEL: &str = "whisper-1";

/// What the media steps may do. The default is safe for a server: files come from public addresses
/// only.
#[derive(Clone, Debug)]
pub struct MediaOptions {
    /// Whether `media.fetch` may take files of this machine. Default: no, since a job's author
    /// could read whatever the engine can.
    pub allow_local_paths: bool,
    /// Whether `media.fetch` may go to addresses that are not on the public internet. Default: no,
    /// since a job's author could read from the engine's own network.
    pub allow_private_addresses: bool,
    /// ffmpeg and recogniser processes that run at once over all jobs; others wait. Default: one a
    /// processor, as each of them keeps one busy.
    pub parallel_runs: usize,
    /// Whether ffmpeg, ffprobe and the recogniser are shut in. Default: where that works.
    pub sandbox: Sandbox,
    /// The service that transcribes when it is set. Default: from `OPENAI_API_KEY` and
    /// `OPENAI_BASE_URL`; none without a key.
    pub openai: Option<OpenAi>,
    /// Directory of the PocketSphinx model: `en-us/`, `en-us.lm.bin` and `cmudict-en-us.dict`.
    /// Default: from `CALLSHEET_MODEL_DIR`; without it the program takes its own.
    pub pocketsphinx_models: Option<PathBuf>,
    /// What signs webhooks that come without a secret of their own. It is kept nowhere, so the
    /// journal of no job holds it. Default: from `CALLSHEET_WEBHOOK_SECRET`.
    pub webhook_secret: Option<Secret>,
}

impl Default for MediaOptions {
    fn default() -> Self {
        Self {
            allow_local_paths: false,
            allow_private_addresses: false,
            parallel_runs: std::thread::available_parallelism().map_or(1, usize::from),
            sandbox: Sandbox::default(),
            openai: OpenAi::from_env(),
            pocketsphinx_models: set("CALLSHEET_MODEL_DIR").map(PathBuf::from),
            webhook_secret: set("CALLSHEET_WEBHOOK_SECRET").map(Secret::new),
        }
    }
}

impl MediaOptions {
    /// For a command that a person runs on their own machine: local files and addresses of their
    /// own network are theirs to use.
    #[must_use]
    pub fn local() -> Self {
        Self { allow_local_paths: true, allow_private_addresses: true, ..Self::default() }
    }
}

/// Access to a transcription service.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenAi {
    /// The secret key. It is sent in a header and shown nowhere.
    pub api_key: String,
    /// The address that the service's paths start with.
    pub base_url: String,
    /// The model that is asked unless the step names one.
    pub model: String,
}

impl OpenAi {
    /// Access with this key to the public service.
    pub fn new(api_key: impl Into<String>) -> Self {
        Self {
            api_key: api_key.into().trim().to_owned(),
            base_url: OPENAI_BASE_URL.to_owned(),
            model: OPENAI_MODEL.to_owned(),
        }
    }

    /// Access as `OPENAI_API_KEY` and `OPENAI_BASE_URL` say; none when the key is not set.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let mut access = Self::new(set("OPENAI_API_KEY")?);
        if let Some(base_url) = set("OPENAI_BASE_URL") {
            access.base_url = base_url.trim().trim_end_matches('/').to_owned();
        }
        Some(access)
    }
}

/// The value of an environment variable that is set to more than blanks.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi")
            .field("api_key", &"[secret]")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_safe_and_keys_are_not_shown() {
        let options = MediaOptions::default();
        assert!(!options.allow_local_paths && !options.allow_private_addresses);
        assert!(options.parallel_runs >= 1);
        let local = MediaOptions::local();
        assert!(local.allow_local_paths && local.allow_private_addresses);
        let with_key = MediaOptions { openai: Some(OpenAi::new(" canary\n")), ..options };
        assert_eq!(with_key.openai.as_ref().unwrap().api_key, "canary");
        assert!(!format!("{with_key:?}").contains("canary"));
    }
}
