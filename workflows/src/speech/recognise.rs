//! The step kind `speech.recognise`.

use callsheet_actors::{Step, StepContext, StepResult};
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::Deserialize;

use super::transcript::Transcript;
use super::{Engaged, Means, language};
use crate::options::MediaOptions;
use crate::slots::Slots;

/// Turns speech into words with times by the means that are named, and by no other: so the answer
/// is a function of the input, and one that was paid for is kept.
pub struct Recognise {
    means: Means,
}

/// The input of `speech.recognise`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Utterance {
    /// The sound, as `media.extract_audio` or `speech.cut` give it.
    pub audio: Artifact,
    /// Who transcribes, as `speech.choose` says.
    pub provider: Engaged,
    /// The model that the service is asked for, as `speech.choose` says.
    #[serde(default)]
    pub model: Option<String>,
    /// The language that is spoken: two letters or an English name; absent: the service finds out.
    #[serde(default)]
    pub language: Option<String>,
}

impl Recognise {
    pub(crate) fn new(options: &MediaOptions, slots: &Slots) -> Self {
        Self { means: Means::new(options, slots) }
    }
}

impl Step for Recognise {
    type Input = Utterance;
    type Output = Transcript;

    fn kind(&self) -> String {
        "speech.recognise".to_owned()
    }

    fn description(&self) -> String {
        "Turns speech into words with times by the provider that is named.".to_owned()
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Utterance, context: StepContext) -> StepResult<Transcript> {
        let language = input.language.as_deref().map(language::check).transpose()?;
        let audio = context.open(&input.audio).await?;
        let model = input.model.as_deref();
        self.means.transcribe(input.provider, &audio, language, model, &context).await
    }
}
