//! The step kind `scenes.sound`: a scene's own sound and its voice-over, to the sample.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ffmpeg::{FORMAT, FROM_THE_START, Run, check_levels};
use crate::limits::{MAX_DURATION_S, SAMPLES_PER_SECOND, SCENE_HEADROOM_RATIO};
use crate::media::{Facts, OpenMedia, Promise, Stream, StreamKind, input_args};
use crate::slots::Slots;

/// Mixes a scene's own sound and its voice-over into a part of the film's sound.
#[derive(Clone)]
pub struct MixSound {
    slots: Slots,
}

/// The input of `scenes.sound`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Voiced {
    /// The scene, whose own sound is heard where it has one.
    pub scene: Artifact,
    /// The voice-over.
    pub voice: Artifact,
    /// How many samples are written, at 48 kHz: longer sound is cut, shorter sound is followed by
    /// silence.
    #[schemars(range(min = 1))]
    pub samples: u64,
    /// Factor on the scene's own sound; 0 leaves it out.
    #[serde(default = "default_video_volume")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub video_volume: f64,
    /// Factor on the voice-over.
    #[serde(default = "default_voiceover_volume")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub voiceover_volume: f64,
}

fn default_video_volume() -> f64 {
    0.2
}

fn default_voiceover_volume() -> f64 {
    2.0
}

/// The output of `scenes.sound`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sounded {
    /// The sound: FLAC, 24 bits, 48 kHz, stereo, 30 dB below what it will be, so that nothing is
    /// clipped before the whole film is put together.
    pub sound: Artifact,
    /// How many samples there are.
    pub samples: u64,
}

impl MixSound {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for MixSound {
    type Input = Voiced;
    type Output = Sounded;

    fn kind(&self) -> String {
        "scenes.sound".to_owned()
    }

    fn description(&self) -> String {
        "Mixes a scene's own sound and its voice-over, as long as the scene to the sample."
            .to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Voiced, context: StepContext) -> StepResult<Sounded> {
        let volumes =
            [("video_volume", input.video_volume), ("voiceover_volume", input.voiceover_volume)];
        check_levels(&volumes, 0.0, None)?;
        let most = MAX_DURATION_S as u64 * SAMPLES_PER_SECOND;
        if !(1..=most).contains(&input.samples) {
            let message = format!("`samples` is {}, expected 1 to {most}", input.samples);
            return Err(StepError::fatal("merge.input", message));
        }
        let scene = OpenMedia::open(&input.scene, &context).await?;
        let voice = OpenMedia::open(&input.voice, &context).await?;
        let heard = scene.facts.first(StreamKind::Audio).filter(|_| input.video_volume > 0.0);
        let graph = Graph {
            scene: heard.map(|stream| Part::of(&scene.facts, stream, input.video_volume)),
            voice: Part::of(&voice.facts, voice.facts.audio()?, input.voiceover_volume),
            samples: input.samples,
        };
        let to = std::path::absolute(context.work_dir()?)?.join("sound.flac");
        Run::new(&context, Some(input.samples as f64 / SAMPLES_PER_SECOND as f64))
            .args(input_args(&scene.path))
            .args(input_args(&voice.path))
            .args(["-filter_complex", &graph.text(), "-map", "[out]"])
            .args(["-vn", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"])
            .args(["-c:a", "flac", "-sample_fmt", "s32", "-bits_per_raw_sample", "24"])
            .args(["-fflags", "+bitexact", "-flags:a", "+bitexact", "-f", "flac"])
            .output(&to)
            .run(&self.slots)
            .await?;
        let found = samples_of(&to)?;
        if found != input.samples {
            return Err(graph.too_short(found));
        }
        let sound = context.put_file(to, "sound.flac", "audio/flac").await?;
        Ok(Sounded { sound, samples: input.samples })
    }
}

/// How many samples a FLAC file says that it has: the encoder writes it when it has ended.
fn samples_of(path: &Path) -> StepResult<u64> {
    let mut head = [0; FLAC_HEAD_BYTES];
    File::open(path)?.read_exact(&mut head)?;
    Ok(read_samples(&head))
}

/// The mark, the head of the first block, and the block up to the count: its last 36 bits.
const FLAC_HEAD_BYTES: usize = 4 + 4 + 18;

fn read_samples(head: &[u8; FLAC_HEAD_BYTES]) -> u64 {
    let count = head[FLAC_HEAD_BYTES - 5..].iter();
    count.fold(0, |count, byte| count << 8 | u64::from(*byte)) & 0xF_FFFF_FFFF
}

/// What is mixed: the scene is the first input, the voice-over the second.
struct Graph {
    scene: Option<Part>,
    voice: Part,
    samples: u64,
}

/// A sound that is mixed.
#[derive(Clone)]
struct Part {
    stream: u32,
    /// What brings it to its place in its film.
    delay: String,
    volume: f64,
    promise: Option<Promise>,
}

impl Part {
    fn of(facts: &Facts, stream: &Stream, volume: f64) -> Self {
        let (delay, promise) = (facts.delay(stream), Promise::of(facts, stream));
        Self { stream: stream.index, delay, volume, promise }
    }

    /// The filters that bring it to its length. What a cut-off file does not hold is not made up.
    fn text(&self, input: u32, samples: u64) -> String {
        let Self { stream, delay, volume, promise } = self;
        let found = |promise: Promise| (promise.least_s() * SAMPLES_PER_SECOND as f64) as u64;
        let pad = match promise.map(|promise| samples.saturating_sub(found(promise))) {
            None => "apad,".to_owned(),
            Some(0) => String::new(),
            Some(pad) => format!("apad=pad_len={pad},"),
        };
        format!(
            "[{input}:{stream}]{delay}{FROM_THE_START},{FORMAT},volume={volume:.4},\
             {pad}atrim=end_sample={samples}"
        )
    }
}

impl Graph {
    fn text(&self) -> String {
        let voice = self.voice.text(1, self.samples);
        let both = match &self.scene {
            None => voice,
            Some(scene) => format!(
                "{voice}[voice];{}[scene];\
                 [voice][scene]amix=inputs=2:duration=shortest:normalize=0",
                scene.text(0, self.samples)
            ),
        };
        format!("{both},volume={:.8}[out]", SCENE_HEADROOM_RATIO.recip())
    }

    /// Why fewer samples were written than planned.
    fn too_short(&self, found: u64) -> StepError {
        let found_s = found as f64 / SAMPLES_PER_SECOND as f64;
        let scene = self.scene.as_ref().and_then(|scene| scene.promise);
        let promises = [("the voice-over", self.voice.promise), ("the scene's sound", scene)];
        for (what, promise) in promises {
            if let Some(promise) = promise.filter(|promise| found_s < promise.least_s()) {
                return promise.broken(what, found_s);
            }
        }
        let message = format!("{found} samples were written, expected {}", self.samples);
        StepError::fatal("merge.samples", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sounds_have_the_length_that_was_planned() {
        let graph = Graph { scene: Some(part(1, 0.2)), voice: part(0, 2.0), samples: 48_001 };
        let graph = graph.text();
        assert_eq!(graph.matches("apad,atrim=end_sample=48001").count(), 2, "{graph}");
        assert!(graph.contains("[0:1]") && graph.contains("[1:0]"), "{graph}");
        assert!(graph.contains("volume=0.2000") && graph.contains("volume=2.0000"), "{graph}");
        assert!(graph.ends_with("normalize=0,volume=0.03125000[out]"), "{graph}");
    }

    fn part(stream: u32, volume: f64) -> Part {
        Part { stream, delay: String::new(), volume, promise: None }
    }

    #[test]
    fn silence_follows_only_what_may_have_ended() {
        let said = Stream { end_s: Some(2.0), ..Stream::default() };
        let facts = Facts { format: "wav".to_owned(), ..Facts::default() };
        for (samples, expected) in [
            (48_000, "volume=1.0000,atrim=end_sample=48000"),
            (96_000, "apad=pad_len=28800,atrim=end_sample=96000"),
            (480_000, "apad=pad_len=412800,"),
        ] {
            let voice = Part::of(&facts, &said, 1.0);
            let graph = Graph { scene: None, voice, samples };
            assert!(graph.text().contains(expected), "{}", graph.text());
            assert_eq!(graph.too_short(48_000).0.code, "media.cut_off");
            assert_eq!(graph.too_short(90_000).0.code, "merge.samples");
        }
    }

    #[test]
    fn a_scene_without_sound_has_the_voice_alone() {
        let graph = Graph { scene: None, voice: part(0, 2.0), samples: 10 }.text();
        assert!(!graph.contains("[0:") && !graph.contains("amix"), "{graph}");
    }

    #[test]
    fn the_count_of_samples_is_read_from_the_head() {
        for (bytes, expected) in [
            ([0xF0, 0, 0, 0, 0], 0),
            ([0x70, 0, 0, 0xBB, 0x80], 48_000),
            ([0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 0xF_FFFF_FFFF),
        ] {
            let mut head = [0xAA; FLAC_HEAD_BYTES];
            head[FLAC_HEAD_BYTES - 5..].copy_from_slice(&bytes);
            assert_eq!(read_samples(&head), expected);
        }
    }
}
