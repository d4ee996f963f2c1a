//! The step kind `speech.choose`: who is to transcribe, decided before any work and any cost.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Choice, Engaged, language, pocketsphinx};
use crate::limits::{LOCAL_PIECE_S, OPENAI_PIECE_S};
use crate::options::MediaOptions;

/// Decides who transcribes.
#[derive(Clone, Debug)]
pub struct ChooseSpeech {
    model: Option<String>,
}

/// The input of `speech.choose`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Who should transcribe.
    #[serde(default)]
    pub provider: Choice,
    /// The model that the service is to be asked for; it must give word times.
    #[serde(default)]
    pub model: Option<String>,
    /// The language that is spoken: two letters or an English name; absent: the service finds out.
    #[serde(default)]
    pub language: Option<String>,
}

/// The output of `speech.choose`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Chosen {
    /// Who transcribes.
    pub provider: Engaged,
    /// The model that the service is asked for.
    pub model: Option<String>,
    /// The language that is spoken, as two letters, where it is known.
    pub language: Option<String>,
    /// Length of pieces that suits the provider, in seconds: at least, where a pause comes later.
    pub min_piece_s: f64,
    /// The same: at most.
    pub max_piece_s: f64,
}

impl ChooseSpeech {
    pub(crate) fn new(options: &MediaOptions) -> Self {
        Self { model: options.openai.as_ref().map(|access| access.model.clone()) }
    }

    fn choose(&self, wish: Wish) -> StepResult<Chosen> {
        let language = wish.language.as_deref().map(language::check).transpose()?;
        let provider = engage(wish.provider, self.model.is_some())?;
        let (model, (min_piece_s, max_piece_s)) = match provider {
            Engaged::OpenAi => (wish.model.or(self.model.clone()), OPENAI_PIECE_S),
            Engaged::PocketSphinx => {
                pocketsphinx::check_language(language)?;
                (None, LOCAL_PIECE_S)
            }
        };
        let language = language.map(|language| language.code.to_owned());
        Ok(Chosen { provider, model, language, min_piece_s, max_piece_s })
    }
}

/// Who it is, given whether there is a key.
///
/// # Errors
/// `speech.no_key` when OpenAI is asked for without one.
pub(super) fn engage(choice: Choice, has_key: bool) -> StepResult<Engaged> {
    match (choice, has_key) {
        (Choice::PocketSphinx, _) | (Choice::Auto, false) => Ok(Engaged::PocketSphinx),
        (Choice::Auto | Choice::OpenAi, true) => Ok(Engaged::OpenAi),
        (Choice::OpenAi, false) => Err(no_key()),
    }
}

pub(super) fn no_key() -> StepError {
    StepError::fatal("speech.no_key", "OpenAI was asked for, and there is no key for it")
        .with_hint("set `OPENAI_API_KEY`, or use the provider `pocketsphinx`")
}

impl Step for ChooseSpeech {
    type Input = Wish;
    type Output = Chosen;

    fn kind(&self) -> String {
        "speech.choose".to_owned()
    }

    fn description(&self) -> String {
        "Decides who transcribes, and checks that they know the language.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, input: Wish, _: StepContext) -> StepResult<Chosen> {
        self.choose(input)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::options::OpenAi;

    fn choose(has_key: bool, wish: Value) -> Result<Value, String> {
        let openai = has_key.then(|| OpenAi::new("k"));
        let chooser = ChooseSpeech::new(&MediaOptions { openai, ..MediaOptions::default() });
        let wish = serde_json::from_value(wish).unwrap();
        let chosen = chooser.choose(wish).map_err(|error| error.0.code)?;
        Ok(serde_json::to_value(chosen).unwrap())
    }

    #[test]
    fn a_key_decides_where_nothing_else_does() {
        for (has_key, wish, provider, model, language) in [
            (true, json!({}), "openai", json!("whisper-1"), json!(null)),
            (true, json!({ "model": "m" }), "openai", json!("m"), json!(null)),
            (true, json!({ "language": "German" }), "openai", json!("whisper-1"), json!("de")),
            (true, json!({ "provider": "pocketsphinx" }), "pocketsphinx", json!(null), json!(null)),
            (false, json!({}), "pocketsphinx", json!(null), json!(null)),
            (false, json!({ "language": "en-GB" }), "pocketsphinx", json!(null), json!("en")),
        ] {
            let chosen = choose(has_key, wish.clone()).unwrap();
            assert_eq!(chosen["provider"], provider, "{wish}");
            assert_eq!((&chosen["model"], &chosen["language"]), (&model, &language), "{wish}");
            assert!(chosen["min_piece_s"].as_f64() < chosen["max_piece_s"].as_f64());
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_any_work() {
        for (has_key, wish, code) in [
            (false, json!({ "provider": "openai" }), "speech.no_key"),
            (false, json!({ "language": "de" }), "speech.language"),
            (true, json!({ "provider": "pocketsphinx", "language": "de" }), "speech.language"),
            (true, json!({ "language": "klingon" }), "speech.language"),
        ] {
            assert_eq!(choose(has_key, wish.clone()), Err(code.to_owned()), "{wish}");
        }
    }
}
