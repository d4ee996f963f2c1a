//! The step kind `scenes.score`: the sound of a whole film, its parts and the music under them, in
//! one encode. It needs no pictures, so it is made while they are encoded.

use std::ffi::OsString;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::listed;
use super::sound::Sounded;
use crate::ffmpeg::{
    Film, Master, Score, check_levels, default_fade_out_s, default_music_volume, open_music,
};
use crate::limits::{SAMPLES_PER_SECOND, SCENE_HEADROOM_RATIO};
use crate::media::input_args;
use crate::slots::Slots;

/// Joins the sounds of a film's parts and lays music under them.
#[derive(Clone)]
pub struct ScoreFilm {
    slots: Slots,
}

/// The input of `scenes.score`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sounds {
    /// The parts' sounds in their order, as `scenes.sound` mixes them.
    pub sounds: Vec<Sounded>,
    /// Loudness of the film in LUFS; `null` leaves it as the volumes make it, and holds peaks.
    #[serde(default)]
    #[schemars(range(min = -40.0, max = -8.0))]
    pub loudness_lufs: Option<f64>,
    /// Music that is laid under the whole film and repeated until it ends.
    #[serde(default)]
    pub music: Option<Artifact>,
    /// Factor on the music.
    #[serde(default = "default_music_volume")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub music_volume: f64,
    /// Whether the music gives way while the scenes are heard.
    #[serde(default)]
    pub duck: bool,
    /// Seconds in which the music fades out at the end; 0 for none.
    #[serde(default = "default_fade_out_s")]
    #[schemars(range(min = 0.0, max = 60.0))]
    pub fade_out_s: f64,
}

/// The output of `scenes.score`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// The sound: AAC in MP4, 48 kHz, stereo.
    pub sound: Artifact,
    /// How many samples were put in.
    pub samples: u64,
    /// Loudness of what was written in LUFS; none when it is silent or shorter than 0.4 s.
    pub loudness_lufs: Option<f64>,
    /// Highest peak of what was written in dBTP; none when it is silent.
    pub true_peak_dbtp: Option<f64>,
    /// Whether the loudness asked for was reached, within 0.5 LU and with no peak over -1.5 dBTP.
    pub loudness_reached: bool,
}

impl ScoreFilm {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for ScoreFilm {
    type Input = Sounds;
    type Output = Scored;

    fn kind(&self) -> String {
        "scenes.score".to_owned()
    }

    fn description(&self) -> String {
        "Makes the sound of a film of its parts and of music, in one encode, as loud as asked."
            .to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Sounds, context: StepContext) -> StepResult<Scored> {
        let volumes = [("music_volume", input.music_volume)];
        check_levels(&volumes, input.fade_out_s, input.loudness_lufs)?;
        let samples = input.sounds.iter().map(|part| part.samples).sum();
        if samples == 0 {
            return Err(StepError::fatal("merge.input", "there are no `sounds`"));
        }
        let film = self.film(&input, samples, &context).await?;
        let mastered = Master::new(film, &context, &self.slots).make(input.loudness_lufs).await?;
        Ok(Scored {
            samples,
            loudness_lufs: mastered.lufs,
            true_peak_dbtp: mastered.peak_dbtp,
            loudness_reached: mastered.reached,
            sound: mastered.media.store("sound.m4a", "audio/mp4", &context).await?,
        })
    }
}

impl ScoreFilm {
    /// A film of sound alone: the parts one behind the other, the music under them.
    async fn film(&self, input: &Sounds, samples: u64, context: &StepContext) -> StepResult<Film> {
        let work = std::path::absolute(context.work_dir()?)?;
        let ends = input.sounds.iter().scan(0, |end, part| {
            *end += part.samples;
            Some((&part.sound, micros(*end)))
        });
        let mut heard = listed("flac", &ends.collect::<Vec<_>>(), &work, context).await?;
        let mut music = None;
        if let Some(artifact) = &input.music {
            let (path, sound) = open_music(artifact, &work, context, &self.slots).await?;
            music = Some(sound);
            heard.extend(["-vn", "-stream_loop", "-1"].map(OsString::from));
            heard.extend(input_args(&path));
        }
        let score = Score {
            speech: Some(0),
            music,
            speech_volume: SCENE_HEADROOM_RATIO,
            music_volume: input.music_volume,
            duck: input.duck,
            fade_out_s: input.fade_out_s,
            length_s: samples as f64 / SAMPLES_PER_SECOND as f64,
        };
        // No date and no version in the file: the same sounds give the same artifact.
        let behind = ["-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact"];
        let behind = behind.into_iter().chain(["-flags:a", "+bitexact", "-f", "mp4"]);
        Ok(Film {
            score,
            heard,
            beside: Vec::new(),
            promise: None,
            copied: Vec::new(),
            behind: behind.map(OsString::from).collect(),
            to: work.join("sound.m4a"),
        })
    }
}

/// The microsecond at which a sample begins, rounded.
fn micros(sample: u64) -> u64 {
    (sample * 1_000_000 + SAMPLES_PER_SECOND / 2) / SAMPLES_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_told_in_microseconds() {
        for (sample, expected) in [(0, 0), (1, 21), (48_000, 1_000_000), (96_001, 2_000_021)] {
            assert_eq!(micros(sample), expected);
        }
    }
}
