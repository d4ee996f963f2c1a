//! The step kind `scenes.measure`: how long a scene and its voice-over are.

use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::Deserialize;

use super::timeline::Lengths;
use crate::media::{OpenMedia, Stream, copied_length};
use crate::slots::Slots;

/// Measures a scene and its voice-over, and refuses what cannot be seen or heard.
#[derive(Clone)]
pub struct MeasureScene {
    slots: Slots,
}

/// A scene with its voice-over.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// The scene: any file with moving pictures; sound it may have.
    pub scene: Artifact,
    /// The voice-over: any file with sound, a film too.
    pub voice: Artifact,
}

impl MeasureScene {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for MeasureScene {
    type Input = Scene;
    type Output = Lengths;

    fn kind(&self) -> String {
        "scenes.measure".to_owned()
    }

    fn description(&self) -> String {
        "Measures how long a scene and its voice-over are.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Scene, context: StepContext) -> StepResult<Lengths> {
        let number = context.item().0 + 1;
        let open = async |what: &str, artifact| {
            let named = |mut error: StepError| {
                error.0.message = format!("{what} {number}: {}", error.0.message);
                error
            };
            OpenMedia::open(artifact, &context).await.map_err(named)
        };
        let (scene, voice) =
            tokio::join!(open("scene", &input.scene), open("voice-over", &input.voice));
        let (scene, voice) = (scene?, voice?);
        let pictures = scene.facts.video().map_err(|_| no_pictures(number))?;
        let sound = voice.facts.audio().map_err(|_| no_voice(number))?;
        let work = std::path::absolute(context.work_dir()?)?;
        let scene_s = self.length(&scene, pictures, &work.join("scene.mkv"), &context).await?;
        let voice_s = self.length(&voice, sound, &work.join("voice.mka"), &context).await?;
        Ok(Lengths {
            scene_s: scene_s.ok_or_else(|| no_pictures(number))?,
            voice_s: voice_s.ok_or_else(|| no_voice(number))?,
        })
    }
}

impl MeasureScene {
    /// When a stream ends, counted from the start of its file; none when it is empty.
    async fn length(
        &self,
        media: &OpenMedia,
        stream: &Stream,
        copy: &Path,
        context: &StepContext,
    ) -> StepResult<Option<f64>> {
        let said = stream.end_s.or(stream.duration_s).or(media.facts.duration_s);
        let said = said.filter(|seconds| *seconds > 0.0);
        if said.is_some() && !media.facts.guesses_length() {
            return Ok(said);
        }
        copied_length((&media.path, stream.index), copy, context, &self.slots).await
    }
}

fn no_pictures(number: u32) -> StepError {
    StepError::fatal("merge.no_video", format!("scene {number} has no moving pictures"))
        .with_hint("`scenes` takes files with pictures; `voices` takes what is heard")
}

fn no_voice(number: u32) -> StepError {
    StepError::fatal("merge.no_audio", format!("voice-over {number} has no sound"))
        .with_hint("give `voices` files that can be heard, in the order of the scenes")
}
