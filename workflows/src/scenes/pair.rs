//! The step kind `scenes.pair`: what can be refused before anything is fetched.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::MAX_SCENES_COUNT;

/// Puts each scene together with its voice-over.
#[derive(Clone, Copy, Debug, Default)]
pub struct PairScenes;

/// The input of `scenes.pair`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unpaired {
    /// The scenes: addresses, paths or references of files.
    pub scenes: Vec<Value>,
    /// The voice-overs in the same order, one for each scene.
    pub voices: Vec<Value>,
}

/// The output of `scenes.pair`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Paired {
    /// Each scene with its voice-over.
    pub pairs: Vec<Pair>,
}

/// A scene and its voice-over, as they were given.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Pair {
    /// The scene.
    pub scene: Value,
    /// The voice-over.
    pub voice: Value,
}

impl Step for PairScenes {
    type Input = Unpaired;
    type Output = Paired;

    fn kind(&self) -> String {
        "scenes.pair".to_owned()
    }

    fn description(&self) -> String {
        "Puts each scene together with its voice-over; refuses lists that do not match.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    async fn run(&self, input: Unpaired, _: StepContext) -> StepResult<Paired> {
        input.check()?;
        let both = input.scenes.into_iter().zip(input.voices);
        Ok(Paired { pairs: both.map(|(scene, voice)| Pair { scene, voice }).collect() })
    }
}

impl Unpaired {
    fn check(&self) -> StepResult<()> {
        let (scenes, voices) = (self.scenes.len(), self.voices.len());
        if scenes != voices {
            let message = format!("there are {scenes} `scenes` and {voices} `voices`");
            return Err(StepError::fatal("merge.counts", message)
                .with_hint("give one voice-over for each scene, in the same order"));
        }
        if !(1..=MAX_SCENES_COUNT).contains(&scenes) {
            let message = format!("there are {scenes} `scenes`, expected 1 to {MAX_SCENES_COUNT}");
            return Err(StepError::fatal("merge.input", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_that_do_not_match_are_refused_with_both_counts() {
        for (scenes, voices, code, said) in [
            (1, 1, None, ""),
            (MAX_SCENES_COUNT, MAX_SCENES_COUNT, None, ""),
            (2, 1, Some("merge.counts"), "2 `scenes` and 1 `voices`"),
            (0, 3, Some("merge.counts"), "0 `scenes` and 3 `voices`"),
            (0, 0, Some("merge.input"), "0 `scenes`"),
            (MAX_SCENES_COUNT + 1, MAX_SCENES_COUNT + 1, Some("merge.input"), "`scenes`"),
        ] {
            let unpaired = Unpaired {
                scenes: vec![json!("a.mp4"); scenes],
                voices: vec![json!("b.mp3"); voices],
            };
            let refused = unpaired.check().err().map(|error| error.0);
            assert_eq!(refused.as_ref().map(|failure| failure.code.as_str()), code, "{scenes}");
            let message = refused.map(|failure| failure.message).unwrap_or_default();
            assert!(message.contains(said), "{message}");
        }
    }
}
