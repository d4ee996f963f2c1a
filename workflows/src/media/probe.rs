//! The step kind `media.probe`.

use callsheet_actors::{Step, StepContext, StepResult};
use callsheet_engine::definition::Effect;

use super::audio::Media;
use super::{Facts, OpenMedia};

/// Looks into a media file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe;

impl Step for Probe {
    type Input = Media;
    type Output = Facts;

    fn kind(&self) -> String {
        "media.probe".to_owned()
    }

    fn description(&self) -> String {
        "Looks into a media file: its length, its streams, its size.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Media, context: StepContext) -> StepResult<Facts> {
        Ok(OpenMedia::open(&input.media, &context).await?.facts)
    }
}
