//! What was said, and when.

use schemars::JsonSchema;
use serde::Serialize;

use crate::subtitles::Word;

/// The output of `speech.transcribe`. Without speech it has no words, which is no failure.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Transcript {
    /// Who transcribed.
    pub provider: Provider,
    /// The model that was used, where the provider has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The language, as the provider says it.
    pub language: String,
    /// The words in their order, with their times.
    pub words: Vec<Word>,
    /// The whole text.
    pub text: String,
    /// Whether the text should be read over by a person before others see it.
    pub draft: bool,
}

/// Who transcribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// OpenAI, or a service that speaks like it.
    OpenAi,
    /// `PocketSphinx`, on this machine.
    PocketSphinx,
}
