//! The step kind `media.analyze`: what can be told of a file from decoding each of its streams
//! once, or not at all.

use std::fs;
use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::marks::{Scene, Silence, last_silence, scenes, silences};
use super::{OpenMedia, Stream, StreamKind, input_args};
use crate::ffmpeg::{MEASURE, Measured, Run, range_lu};
use crate::limits::{
    MAX_MARKS_COUNT, MAX_SILENCE_S, MAX_WAVE_SAMPLES_COUNT, MAX_WAVE_SAMPLES_PER_SECOND,
    MAX_WAVE_SIDE_PIXELS, MIN_SILENCE_DB, MIN_SILENCE_S, MIN_WAVE_SIDE_PIXELS,
};
use crate::lower::fork;
use crate::slots::Slots;

/// Tells what a media file is like.
#[derive(Clone)]
pub struct Analyze {
    slots: Slots,
}

/// The input of `media.analyze`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The media file.
    pub media: Artifact,
    /// The level in dB below which nothing is heard.
    #[serde(default = "default_silence_db")]
    #[schemars(range(min = -90.0, max = 0.0))]
    pub silence_db: f64,
    /// The shortest silence that is told, in seconds.
    #[serde(default = "default_silence_min_s")]
    #[schemars(range(min = 0.05, max = 600.0))]
    pub silence_min_s: f64,
    /// Whether changes of scene are looked for; only then the pictures are decoded.
    #[serde(default)]
    pub scenes: bool,
    /// How unlike the one before a picture must be, 0 to 1.
    #[serde(default = "default_scene_threshold")]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub scene_threshold: f64,
    /// Whether a picture of the waveform is drawn.
    #[serde(default = "default_waveform")]
    pub waveform: bool,
    /// Width of that picture in pixels.
    #[serde(default = "default_wave_width")]
    #[schemars(range(min = 32, max = 8192))]
    pub waveform_width: u32,
    /// Height of that picture in pixels.
    #[serde(default = "default_wave_height")]
    #[schemars(range(min = 32, max = 8192))]
    pub waveform_height: u32,
    /// Whether the sound is written as 16 kHz mono WAV too, as recognisers want it.
    #[serde(default)]
    pub wav: bool,
}

fn default_silence_db() -> f64 {
    -35.0
}

fn default_silence_min_s() -> f64 {
    0.5
}

fn default_scene_threshold() -> f64 {
    0.3
}

fn default_waveform() -> bool {
    true
}

fn default_wave_width() -> u32 {
    1_200
}

fn default_wave_height() -> u32 {
    240
}

/// The output of `media.analyze`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Analysis {
    /// Length in seconds, where the file says it.
    pub duration_s: Option<f64>,
    /// The streams in their order.
    pub streams: Vec<Stream>,
    /// How loud the first track of sound is; none without sound.
    pub loudness: Option<Loudness>,
    /// Where nothing is heard; the first 2,000.
    pub silences: Vec<Silence>,
    /// Where the scene changes; the first 2,000.
    pub scenes: Vec<Scene>,
    /// All of the above as `analysis.json`, with nothing left out.
    pub report: Artifact,
    /// The waveform as `waveform.png`.
    pub waveform: Option<Artifact>,
    /// The sound as `audio.wav`.
    pub wav: Option<Artifact>,
}

/// How loud a sound is, by EBU R128.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Loudness {
    /// Integrated loudness in LUFS; none when it is silent or shorter than 0.4 s.
    pub integrated_lufs: Option<f64>,
    /// Loudness range in LU.
    pub range_lu: Option<f64>,
    /// Highest peak in dBTP; none when it is silent.
    pub true_peak_dbtp: Option<f64>,
}

/// What is written as a report.
#[derive(Serialize)]
struct Report<'a> {
    duration_s: Option<f64>,
    streams: &'a [Stream],
    loudness: Option<Loudness>,
    silences: &'a [Silence],
    scenes: &'a [Scene],
}

/// The files that filters and encoders write into the working directory.
const SILENCES: &str = "silences.txt";
const SCENES: &str = "scenes.txt";
const WAVEFORM: &str = "waveform.png";
const SOUND: &str = "audio.wav";

impl Analyze {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for Analyze {
    type Input = Question;
    type Output = Analysis;

    fn kind(&self) -> String {
        "media.analyze".to_owned()
    }

    fn description(&self) -> String {
        "Tells how loud a file is, where it is silent and where its scenes change, and draws its \
         waveform, all from one decode."
            .to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Question, context: StepContext) -> StepResult<Analysis> {
        input.check()?;
        let media = OpenMedia::open(&input.media, &context).await?;
        let work = std::path::absolute(context.work_dir()?)?;
        let sound = media.facts.first(StreamKind::Audio);
        let pictures = media.facts.first(StreamKind::Video).filter(|_| input.scenes);
        let length_s = media.facts.duration_s;
        let (mut loudness, mut end_s) = (None, None);
        if sound.is_some() || pictures.is_some() {
            let run = Run::new(&context, length_s).directory(&work).args(input_args(&media.path));
            // With pictures beside it the sound stands in its place.
            let from = sound.map(|sound| match pictures {
                Some(_) => format!("[0:{}]", sound.index),
                None => format!("[0:{}]{}", sound.index, media.facts.delay(sound)),
            });
            let run = input.ask(run, (from, pictures), length_s, &work);
            let ended = run.run(&self.slots).await?;
            loudness = sound.map(|_| heard(&ended.said)).transpose()?;
            end_s = last_silence(&ended.said);
        }
        let end_s = end_s.or(sound.and_then(|sound| sound.end_s)).or(length_s);
        let silences = silences(&read(&work.join(SILENCES))?, end_s.unwrap_or(0.0));
        let scenes = scenes(&read(&work.join(SCENES))?);
        let streams = media.facts.streams;
        let report = Report {
            duration_s: length_s,
            streams: &streams,
            loudness,
            silences: &silences,
            scenes: &scenes,
        };
        let json = serde_json::to_vec_pretty(&report)
            .map_err(|error| StepError::fatal("media.report", error.to_string()))?;
        Ok(Analysis {
            report: context.put_bytes(json, "analysis.json", "application/json").await?,
            waveform: keep(&context, &work, WAVEFORM, "image/png").await?,
            wav: keep(&context, &work, SOUND, "audio/wav").await?,
            duration_s: length_s,
            streams,
            loudness,
            silences: silences.into_iter().take(MAX_MARKS_COUNT).collect(),
            scenes: scenes.into_iter().take(MAX_MARKS_COUNT).collect(),
        })
    }
}

impl Question {
    fn check(&self) -> StepResult<()> {
        let (least, most) = (f64::from(MIN_WAVE_SIDE_PIXELS), f64::from(MAX_WAVE_SIDE_PIXELS));
        for (field, value, least, most) in [
            ("silence_db", self.silence_db, MIN_SILENCE_DB, 0.0),
            ("silence_min_s", self.silence_min_s, MIN_SILENCE_S, MAX_SILENCE_S),
            ("scene_threshold", self.scene_threshold, 0.01, 1.0),
            ("waveform_width", f64::from(self.waveform_width), least, most),
            ("waveform_height", f64::from(self.waveform_height), least, most),
        ] {
            if !(least..=most).contains(&value) {
                let message = format!("`{field}` is {value}, expected {least} to {most}");
                return Err(StepError::fatal("ffmpeg.input", message));
            }
        }
        Ok(())
    }

    /// The graph and its outputs: each stream is decoded once, whatever is asked of it.
    fn ask(
        &self,
        run: Run,
        (sound, pictures): (Option<String>, Option<&Stream>),
        length_s: Option<f64>,
        work: &Path,
    ) -> Run {
        let heard = sound.as_ref().map(|sound| self.sound_graph(sound, length_s));
        let seen = pictures.map(|pictures| self.scene_graph(pictures.index));
        let graph: Vec<String> = heard.into_iter().chain(seen).collect();
        let mut run = run.args(["-filter_complex", &graph.join(";")]);
        if sound.is_some() {
            run = run.args(["-map", "[loud]", "-f", "null"]).nowhere();
        }
        if sound.is_some() && self.waveform {
            run = run.args(["-map", "[wave]", "-frames:v", "1", "-c:v", "png"]);
            run = run.args(["-f", "image2", "-update", "1"]).output(&work.join(WAVEFORM));
        }
        if sound.is_some() && self.wav {
            run =
                run.args(["-map", "[wav]", "-ac", "1", "-c:a", "pcm_s16le", "-map_metadata", "-1"]);
            // No date and no version in the file: the same sound gives the same artifact.
            run = run.args(["-fflags", "+bitexact", "-flags:a", "+bitexact", "-f", "wav"]);
            run = run.output(&work.join(SOUND));
        }
        if pictures.is_some() {
            run =
                run.args(["-map", "[scenes]", "-fps_mode", "passthrough", "-f", "null"]).nowhere();
        }
        run
    }

    fn sound_graph(&self, from: &str, length_s: Option<f64>) -> String {
        // The marks are written before the meter, which passes marks of its own on.
        let (level, least) = (self.silence_db, self.silence_min_s);
        let marks =
            format!("silencedetect=n={level:.2}dB:d={least:.3},ametadata=print:file={SILENCES}");
        let mut chains = vec![(format!("{marks},{MEASURE}"), "loud".to_owned())];
        if self.waveform {
            let most = MAX_WAVE_SAMPLES_COUNT as f64 / length_s.unwrap_or(1.0).max(1.0);
            let rate = most.min(MAX_WAVE_SAMPLES_PER_SECOND) as u32;
            let (width, height) = (self.waveform_width, self.waveform_height);
            let wave = format!(
                "aresample={rate},aformat=sample_fmts=s16:channel_layouts=mono,\
                 atrim=end_sample={MAX_WAVE_SAMPLES_COUNT},asetnsamples=8192,\
                 showwavespic=s={width}x{height}:colors=0x2563eb:filter=peak"
            );
            chains.push((wave, "wave".to_owned()));
        }
        if self.wav {
            // Sound that starts later than the pictures is preceded by silence.
            chains.push(("aresample=16000:async=1:first_pts=0".to_owned(), "wav".to_owned()));
        }
        fork(from, "asplit", &chains)
    }

    fn scene_graph(&self, stream: u32) -> String {
        // In small, a change is as large, and found with a fraction of the work.
        let threshold = self.scene_threshold;
        format!(
            "[0:{stream}]scale=320:-2:flags=fast_bilinear,select=gt(scene\\,{threshold:.3}),\
             metadata=print:file={SCENES}[scenes]"
        )
    }
}

fn heard(said: &[String]) -> StepResult<Loudness> {
    let measured = Measured::read(said).ok_or_else(|| {
        let message = "ffmpeg ended without saying how loud the sound is";
        StepError::fatal("media.not_measured", message)
            .with_hint("`ffmpeg -filters` must list `ebur128`; on Debian, use its `ffmpeg`")
    })?;
    Ok(Loudness {
        integrated_lufs: measured.lufs,
        range_lu: range_lu(said),
        true_peak_dbtp: measured.peak_dbtp,
    })
}

/// What filters wrote; nothing when they had nothing to write, or were not asked.
fn read(path: &Path) -> StepResult<String> {
    if path.exists() { Ok(fs::read_to_string(path)?) } else { Ok(String::new()) }
}

async fn keep(
    context: &StepContext,
    work: &Path,
    name: &str,
    media_type: &str,
) -> StepResult<Option<Artifact>> {
    let path = work.join(name);
    if !path.exists() {
        return Ok(None);
    }
    context.put_file(path, name, media_type).await.map(Some)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn question(fields: serde_json::Value) -> Question {
        let file = json!({ "artifact": "0".repeat(64), "name": "a", "media_type": "b", "size": 1 });
        let mut input = json!({ "media": file });
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(input).unwrap()
    }

    #[test]
    fn the_sound_is_decoded_once_for_all_that_is_asked() {
        for (fields, ways) in [
            (json!({ "waveform": false }), 1),
            (json!({}), 2),
            (json!({ "wav": true }), 3),
            (json!({ "wav": true, "waveform": false }), 2),
        ] {
            let graph = question(fields).sound_graph("[0:1]", Some(60.0));
            assert_eq!(graph.matches("[0:1]").count(), 1, "{graph}");
            assert_eq!(graph.contains(&format!("asplit={ways}")), ways > 1, "{graph}");
            let marks = graph.find("ametadata").unwrap();
            assert!(marks < graph.find("ebur128").unwrap(), "{graph}");
        }
    }

    #[test]
    fn a_long_sound_is_drawn_of_fewer_samples() {
        for (length_s, rate) in [(Some(60.0), 8_000), (None, 8_000), (Some(86_400.0), 776)] {
            let graph = question(json!({})).sound_graph("[0:0]", length_s);
            assert!(graph.contains(&format!("aresample={rate},")), "{graph}");
            // A file that does not say how long it is may be longer than memory.
            assert!(graph.contains(",atrim=end_sample=67108864,asetnsamples"), "{graph}");
        }
    }

    #[test]
    fn values_beyond_their_bounds_are_refused_by_name() {
        for (fields, named) in [
            (json!({ "silence_db": 1 }), "silence_db"),
            (json!({ "silence_min_s": 0.01 }), "silence_min_s"),
            (json!({ "scene_threshold": 0 }), "scene_threshold"),
            (json!({ "waveform_width": 9_000 }), "waveform_width"),
            (json!({ "waveform_height": 1 }), "waveform_height"),
        ] {
            let refused = question(fields).check().unwrap_err();
            assert!(refused.0.message.contains(named), "{}", refused.0.message);
        }
        question(json!({})).check().unwrap();
    }
}
