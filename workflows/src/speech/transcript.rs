//! What was said, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::subtitles::Word;

/// The output of `speech.transcribe` and the kinds beside it. Without speech it has no words, which
/// is no failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// Who transcribed.
    pub provider: Provider,
    /// The model that was used, where the provider has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The language as two letters, or as the provider says it; empty when nobody found out.
    pub language: String,
    /// The words in their order, with their times.
    pub words: Vec<Word>,
    /// Whether anything was said.
    pub speech: bool,
    /// The whole text.
    pub text: String,
    /// Whether the text should be read over by a person before others see it.
    pub draft: bool,
}

/// Who transcribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// OpenAI, or a service that speaks like it.
    OpenAi,
    /// `PocketSphinx`, on this machine.
    PocketSphinx,
    /// Several: where the first one failed for a piece, the other one took over.
    Mixed,
    /// Nobody, since there was nothing to hear.
    None,
}
