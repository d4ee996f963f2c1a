//! The step kind `speech.recognise`.

use std::sync::Arc;

use callsheet_actors::{Step, StepContext, StepResult};
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::Deserialize;

use super::transcript::Transcript;
use super::{Engaged, Means, language};

/// Turns speech into words with times by the means that are named, and by no other: so the answer
/// is a function of the input, and one that was paid for is kept, as long as the service and the
/// models stay the same.
pub struct Recognise {
    means: Arc<Means>,
    version: u32,
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
    pub(crate) fn new(means: Arc<Means>) -> Self {
        let version = means.version();
        Self { means, version }
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
        Some(self.version)
    }

    async fn run(&self, input: Utterance, context: StepContext) -> StepResult<Transcript> {
        let language = input.language.as_deref().map(language::check).transpose()?;
        let audio = context.open(&input.audio).await?;
        let model = input.model.as_deref();
        self.means.transcribe(input.provider, &audio, language, model, &context).await
    }
}
