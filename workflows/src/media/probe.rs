//! The step kind `media.probe`.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Facts, OpenMedia};

/// Looks into a media file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe;

/// The input of `media.probe`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// The media file.
    pub media: Artifact,
    /// Whether it must have moving pictures.
    #[serde(default)]
    pub expect_video: bool,
    /// Whether it must have sound.
    #[serde(default)]
    pub expect_audio: bool,
}

impl Step for Probe {
    type Input = Look;
    type Output = Facts;

    fn kind(&self) -> String {
        "media.probe".to_owned()
    }

    fn description(&self) -> String {
        "Looks into a media file: its length, its streams, its size. Refuses it when it has not \
         what it must have."
            .to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Look, context: StepContext) -> StepResult<Facts> {
        let facts = OpenMedia::open(&input.media, &context).await?.facts;
        if !facts.has_video && !facts.has_audio {
            let message = "the file holds neither moving pictures nor sound";
            return Err(StepError::fatal("media.no_streams", message));
        }
        if input.expect_video {
            facts.video()?;
        }
        if input.expect_audio {
            facts.audio()?;
        }
        Ok(facts)
    }
}
