//! Speech becomes words with times: by a service where the operator has a key for one, else by a
//! recogniser on this machine. Which one it was is part of the answer.
//!
//! A long recording is cut at its pauses (`speech.cut`), its pieces are recognised side by side
//! (`speech.recognise`), each a recorded result of its own, and joined (`speech.join`).

mod choose;
mod cut;
mod join;
pub(crate) mod language;
mod levels;
mod openai;
mod pieces;
mod pocketsphinx;
mod recognise;
mod tighten;
mod transcript;

use std::path::Path;
use std::sync::Arc;

use callsheet_actors::{Step, StepContext, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::{Artifact, Digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::MediaOptions;
use crate::slots::Slots;
use crate::wanted;
use crate::wav::Wav;
pub use choose::{ChooseSpeech, Chosen, Wish};
pub use cut::{Cut, CutSpeech, Piece, Recording};
pub use join::{Heard, JoinSpeech};
use language::Language;
use levels::Levels;
use openai::Service;
use pocketsphinx::Recogniser;
pub use recognise::{Recognise, Utterance};
use tighten::tighten;
pub use transcript::{Provider, Transcript};

/// Counted up when the same sound gives other words from now on, by the same service and model.
const HEARD_VERSION: u32 = 1;

/// Turns speech into words with times, by the best means that there is.
pub struct Transcribe {
    means: Arc<Means>,
}

/// Turns speech into words with times on this machine: slow to understand, but needs no key.
pub struct TranscribeOffline {
    means: Arc<Means>,
    version: u32,
}

/// The input of `speech.transcribe`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Speech {
    /// The sound, as `media.extract_audio` gives it.
    pub audio: Artifact,
    /// The language that is spoken: two letters such as `en`, or an English name such as `german`;
    /// absent: the service finds out.
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
    /// The language that is spoken; the recogniser knows `en` only.
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

/// Who transcribes, once that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engaged {
    /// OpenAI, or a service that speaks like it.
    OpenAi,
    /// `PocketSphinx`, on this machine.
    PocketSphinx,
}

/// The means to transcribe that there are: the same for all kinds, so that bounds hold over them.
pub(crate) struct Means {
    service: Option<Service>,
    recogniser: Recogniser,
}

impl Means {
    pub(crate) fn new(options: &MediaOptions, slots: &Slots) -> Self {
        let service = options.openai.clone().map(|access| Service::new(access, slots.clone()));
        Self { service, recogniser: Recogniser::new(options, slots.clone()) }
    }

    /// The version of what is heard: another service or another model hears the same otherwise.
    fn version(&self) -> u32 {
        let service = self.service.as_ref().map(Service::stamp);
        let stamp = format!("{HEARD_VERSION}\n{service:?}\n{}", self.recogniser.stamp());
        let [a, b, c, d, ..] = *Digest::of(stamp.as_bytes()).as_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    async fn transcribe(
        &self,
        provider: Engaged,
        audio: &Path,
        language: Option<Language>,
        model: Option<&str>,
        context: &StepContext,
    ) -> StepResult<Transcript> {
        let transcript = match (provider, &self.service) {
            (Engaged::OpenAi, Some(service)) => {
                service.transcribe(audio, language, model, context).await?
            }
            (Engaged::OpenAi, None) => return Err(choose::no_key()),
            (Engaged::PocketSphinx, _) => {
                self.recogniser.transcribe(audio, language, context).await?
            }
        };
        tightened(transcript, audio, context).await
    }
}

/// The transcript with the edges of its words where the sound is.
async fn tightened(
    mut transcript: Transcript,
    audio: &Path,
    context: &StepContext,
) -> StepResult<Transcript> {
    let (audio, wanted) = (audio.to_owned(), wanted::by(context));
    let work = move || {
        if let Some(levels) = Levels::of_file(&audio, &Wav::of_file(&audio)?, &wanted)? {
            tighten(&mut transcript.words, &levels);
        }
        Ok(transcript)
    };
    context.blocking(work).await
}

impl Transcribe {
    pub(crate) fn new(means: Arc<Means>) -> Self {
        Self { means }
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
        let language = input.language.as_deref().map(language::check).transpose()?;
        let provider = choose::engage(input.provider, self.means.service.is_some())?;
        let audio = context.open(&input.audio).await?;
        let model = input.model.as_deref();
        self.means.transcribe(provider, &audio, language, model, &context).await
    }
}

impl TranscribeOffline {
    pub(crate) fn new(means: Arc<Means>) -> Self {
        let version = means.version();
        Self { means, version }
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

    fn cache(&self) -> Option<u32> {
        Some(self.version)
    }

    async fn run(&self, input: OfflineSpeech, context: StepContext) -> StepResult<Transcript> {
        let language = input.language.as_deref().map(language::check).transpose()?;
        let audio = context.open(&input.audio).await?;
        let transcript = self.means.recogniser.transcribe(&audio, language, &context).await?;
        tightened(transcript, &audio, &context).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::options::OpenAi;

    #[test]
    fn another_service_or_model_is_another_version() {
        let directory = tempfile::tempdir().unwrap();
        let options = |base_url: &str, model: &str| {
            let (base_url, model) = (base_url.to_owned(), model.to_owned());
            MediaOptions {
                openai: Some(OpenAi { base_url, model, ..OpenAi::new("k") }),
                pocketsphinx_models: Some(directory.path().to_owned()),
                ..MediaOptions::default()
            }
        };
        let version = |options: &MediaOptions| Means::new(options, &Slots::new(1)).version();
        let (given, same) = (options("http://a", "m"), options("http://a", "m"));
        let first = version(&given);
        assert_eq!(version(&same), first);
        let other_key = OpenAi::new("other key");
        let mut changed = same;
        changed.openai.as_mut().unwrap().api_key = other_key.api_key;
        assert_eq!(version(&changed), first, "the key says nothing of what is heard");
        for other in [
            options("http://b", "m"),
            options("http://a", "n"),
            MediaOptions { openai: None, ..given.clone() },
            MediaOptions { pocketsphinx_models: None, ..given.clone() },
        ] {
            assert_ne!(version(&other), first, "{other:?}");
        }
        std::fs::create_dir(directory.path().join("en-us")).unwrap();
        std::fs::write(directory.path().join("en-us/mdef"), "another").unwrap();
        assert_ne!(version(&given), first);
    }
}
