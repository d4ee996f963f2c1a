//! The step kind `scenes.captions`: the captions of all scenes as those of the film.

use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::timeline::Shot;
use crate::limits::MAX_ASS_BYTES;
use crate::subtitles::{Place, chain_ass, chain_cues, read_srt, write_srt, write_vtt};

/// Puts the captions of scenes one after another.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChainCaptions;

/// The input of `scenes.captions`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Captioned {
    /// The captions of each scene, with times from its start, as `subtitles.compose` gives them.
    pub captions: Vec<SceneCaptions>,
    /// The scenes' places in the film, as `scenes.plan` gives them.
    pub shots: Vec<Shot>,
}

/// The captions of one scene.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct SceneCaptions {
    /// As SubRip.
    pub srt: Artifact,
    /// As ASS.
    pub ass: Artifact,
}

/// The output of `scenes.captions`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Chained {
    /// The film's captions as SubRip, `captions.srt`.
    pub srt: Artifact,
    /// The same as WebVTT, `captions.vtt`.
    pub vtt: Artifact,
    /// The same as ASS, `captions.ass`, with the looks that were burned.
    pub ass: Artifact,
    /// How many captions there are.
    pub cues: usize,
}

impl Step for ChainCaptions {
    type Input = Captioned;
    type Output = Chained;

    fn kind(&self) -> String {
        "scenes.captions".to_owned()
    }

    fn description(&self) -> String {
        "Puts the captions of scenes one after another, as those of the film.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Captioned, context: StepContext) -> StepResult<Chained> {
        let (captions, shots) = (input.captions.len(), input.shots.len());
        if captions != shots {
            let message = format!("there are {captions} `captions` and {shots} `shots`");
            return Err(StepError::fatal("merge.input", message));
        }
        let (mut cues, mut scripts) = (Vec::new(), Vec::new());
        for (scene, shot) in input.captions.iter().zip(&input.shots) {
            let place = place(shot);
            let srt = read(&context.open(&scene.srt).await?)?;
            let read_cues = read_srt(&srt).map_err(|error| not_ours(&error.to_string()))?;
            cues.push((read_cues, place));
            scripts.push((read(&context.open(&scene.ass).await?)?, place));
        }
        let (cues, ass) = (chain_cues(&cues), chain_ass(&scripts));
        let (srt, vtt) = (write_srt(&cues), write_vtt(&cues));
        Ok(Chained {
            srt: context.put_bytes(srt, "captions.srt", "application/x-subrip").await?,
            vtt: context.put_bytes(vtt, "captions.vtt", "text/vtt").await?,
            ass: context.put_bytes(ass, "captions.ass", "text/x-ssa").await?,
            cues: cues.len(),
        })
    }
}

/// A scene's place in milliseconds; both ends are rounded on their own, so that scenes meet.
fn place(shot: &Shot) -> Place {
    let ms = |seconds: f64| (seconds * 1_000.0).round() as u64;
    Place { start_ms: ms(shot.start_s), end_ms: ms(shot.start_s + shot.duration_s) }
}

fn read(path: &Path) -> StepResult<String> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_ASS_BYTES {
        return Err(not_ours(&format!("they have {size} bytes, over {MAX_ASS_BYTES}")));
    }
    std::fs::read_to_string(path).map_err(|error| not_ours(&error.to_string()))
}

fn not_ours(why: &str) -> StepError {
    StepError::fatal("merge.captions", format!("the captions of a scene cannot be read: {why}"))
        .with_hint("use what `subtitles.compose` writes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_meet() {
        let shot = |start_s, duration_s| Shot { frames: 1, samples: 1, start_s, duration_s };
        let (one, two) = (place(&shot(0.0, 1.0005)), place(&shot(1.0005, 0.5)));
        assert_eq!(one.end_ms, two.start_ms);
        assert_eq!(two, Place { start_ms: 1_001, end_ms: 1_501 });
    }
}
