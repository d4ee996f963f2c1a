//! The step kind `media.extract_audio`.

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OpenMedia, input_args};
use crate::ffmpeg::Run;
use crate::slots::Slots;
use crate::wav::Wav;

/// Takes the sound out of a media file, as recognisers want it.
#[derive(Clone)]
pub struct ExtractAudio {
    slots: Slots,
}

/// The input of `media.extract_audio`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// The media file.
    pub media: Artifact,
}

/// The output of `media.extract_audio`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Extracted {
    /// The sound: WAV, 16 kHz, one channel, 16 bits; named `audio.wav`.
    pub audio: Artifact,
    /// Its length in seconds.
    pub duration_s: f64,
}

impl ExtractAudio {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for ExtractAudio {
    type Input = Media;
    type Output = Extracted;

    fn kind(&self) -> String {
        "media.extract_audio".to_owned()
    }

    fn description(&self) -> String {
        "Takes the sound out of a media file as 16 kHz mono WAV.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Media, context: StepContext) -> StepResult<Extracted> {
        let media = OpenMedia::open(&input.media, &context).await?;
        let sound = media.facts.audio()?;
        let (stream, delay) = (sound.index, media.facts.delay(sound));
        let to = context.work_dir()?.join("audio.wav");
        Run::new(&context, media.facts.duration_s)
            .args(input_args(&media.path))
            .arg("-map")
            .arg(format!("0:{stream}"))
            .args(["-vn", "-sn", "-dn", "-map_metadata", "-1"])
            // Sound that starts later than the pictures is preceded by silence, so that times in
            // the sound are times in the film.
            .args(["-af", &format!("{delay}aresample=16000:async=1:first_pts=0")])
            .args(["-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le"])
            // No date and no version in the file: the same sound gives the same artifact.
            .args(["-fflags", "+bitexact", "-flags:a", "+bitexact", "-f", "wav"])
            .output(&to)
            .run(&self.slots)
            .await?;
        let wav = Wav::of_file(&to)?;
        if wav.duration_s() <= 0.0 {
            return Err(StepError::fatal("media.no_audio", "the file's audio track is empty"));
        }
        let audio = context.put_file(to, "audio.wav", "audio/wav").await?;
        Ok(Extracted { audio, duration_s: wav.duration_s() })
    }
}
