//! Speech becomes words with times: by a service where the operator has a key for one, else by a
//! recogniser on this machine. Which one it was is part of the answer.

mod openai;
mod pocketsphinx;
mod transcript;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::MediaOptions;
use crate::slots::Slots;
use openai::Service;
use pocketsphinx::Recogniser;
pub use transcript::{Provider, Transcript};

/// Turns speech into words with times, by the best means that there is.
pub struct Transcribe {
    service: Option<Service>,
    recogniser: Recogniser,
}

/// Turns speech into words with times on this machine: slow to understand, but needs no key.
pub struct TranscribeOffline {
    recogniser: Recogniser,
}

/// The input of `speech.transcribe`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Speech {
    /// The sound, as `media.extract_audio` gives it.
    pub audio: Artifact,
    /// The language that is spoken, as two letters such as `en`; absent: the service finds out.
    #[serde(default)]
    pub language: Option<String>,
    /// Who transcribes.
    #[serde(default)]
    pub provider: Choice,
    /// The model that the service is asked for; it must give word times.
    #[serde(default)]
    pub model: Option<String>,
}

/// The input of `speech.transcribe.offline`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfflineSpeech {
    /// The sound, as `media.extract_audio` gives it.
    pub audio: Artifact,
    /// The language that is spoken, as two letters; the recogniser knows `en` only.
    #[serde(default)]
    pub language: Option<String>,
}

/// Who transcribes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// OpenAI when there is a key, else `PocketSphinx`.
    #[default]
    Auto,
    /// OpenAI, or a service that speaks like it.
    OpenAi,
    /// `PocketSphinx`, on this machine.
    PocketSphinx,
}

impl Transcribe {
    pub(crate) fn new(options: &MediaOptions, slots: &Slots) -> Self {
        let service = options.openai.clone().map(|access| Service::new(access, slots.clone()));
        Self { service, recogniser: Recogniser::new(options, slots.clone()) }
    }
}

impl Step for Transcribe {
    type Input = Speech;
    type Output = Transcript;

    fn kind(&self) -> String {
        "speech.transcribe".to_owned()
    }

    fn description(&self) -> String {
        "Turns speech into words with times: by OpenAI with a key, else offline.".to_owned()
    }

    async fn run(&self, input: Speech, context: StepContext) -> StepResult<Transcript> {
        let language = input.language.as_deref().map(check_language).transpose()?;
        let audio = context.open(&input.audio).await?;
        let service = match (input.provider, &self.service) {
            (Choice::PocketSphinx, _) | (Choice::Auto, None) => None,
            (Choice::Auto | Choice::OpenAi, Some(service)) => Some(service),
            (Choice::OpenAi, None) => {
                let message = "OpenAI was asked for, and there is no key for it";
                return Err(StepError::fatal("speech.no_key", message)
                    .with_hint("set `OPENAI_API_KEY`, or use the provider `pocketsphinx`"));
            }
        };
        match service {
            Some(service) => {
                service.transcribe(&audio, language, input.model.as_deref(), &context).await
            }
            None => self.recogniser.transcribe(&audio, language, &context).await,
        }
    }
}

impl TranscribeOffline {
    pub(crate) fn new(options: &MediaOptions, slots: &Slots) -> Self {
        Self { recogniser: Recogniser::new(options, slots.clone()) }
    }
}

impl Step for TranscribeOffline {
    type Input = OfflineSpeech;
    type Output = Transcript;

    fn kind(&self) -> String {
        "speech.transcribe.offline".to_owned()
    }

    fn description(&self) -> String {
        "Turns English speech into words with times on this machine; a draft.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, input: OfflineSpeech, context: StepContext) -> StepResult<Transcript> {
        let language = input.language.as_deref().map(check_language).transpose()?;
        let audio = context.open(&input.audio).await?;
        self.recogniser.transcribe(&audio, language, &context).await
    }
}

/// Two or three letters, perhaps with a region: `en`, `en-US`. The region is cut off.
fn check_language(language: &str) -> StepResult<&str> {
    let letters = language.split(['-', '_']).next().unwrap_or_default();
    let is_code = (2..=3).contains(&letters.len())
        && letters.bytes().all(|byte| byte.is_ascii_lowercase())
        && language.len() <= 16;
    if is_code {
        return Ok(letters);
    }
    let shown: String = language.chars().take(40).collect();
    Err(StepError::fatal("speech.language", format!("`{shown}` is not the code of a language"))
        .with_hint("use two letters, such as `en`"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_codes() {
        for (given, expected) in [
            ("en", Some("en")),
            ("en-US", Some("en")),
            ("yue", Some("yue")),
            ("English", None),
            ("", None),
            ("e", None),
            ("-i", None),
            ("EN", None),
        ] {
            assert_eq!(check_language(given).ok(), expected, "{given}");
        }
    }
}
