//! The step kind `scenes.join`: parts become a film, the pictures by copy and the sound in one
//! encode.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use callsheet_actors::{Step, StepContext, StepError, StepResult};
use callsheet_engine::definition::Effect;
use callsheet_storage::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::picture::Pictured;
use super::plan::{default_fps, rate};
use super::rate::Rate;
use super::sound::Sounded;
use crate::ffmpeg::{
    Film, Master, READ_ONLY, Score, Track, check_levels, default_fade_out_s, default_music_volume,
    open_music,
};
use crate::limits::{MAX_DRIFT_S, SAMPLES_PER_SECOND, SCENE_HEADROOM_RATIO};
use crate::lower::Format;
use crate::media::{Facts, StreamKind, input_args};
use crate::slots::Slots;

/// Joins the parts of a film.
#[derive(Clone)]
pub struct JoinScenes {
    slots: Slots,
}

/// The input of `scenes.join`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The parts' pictures in their order, as `scenes.picture` encodes them.
    pub pictures: Vec<Pictured>,
    /// The parts' sounds in the same order, as `scenes.sound` mixes them.
    pub sounds: Vec<Sounded>,
    /// Pictures a second, as the parts were encoded.
    #[serde(default = "default_fps")]
    #[schemars(range(min = 1.0, max = 120.0))]
    pub fps: f64,
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
    /// Captions as SubRip that become a track which viewers can switch on.
    #[serde(default)]
    pub captions: Option<Artifact>,
    /// The language of the captions as a code, such as `en`; the track is tagged with it.
    #[serde(default)]
    pub language: Option<String>,
}

/// The output of `scenes.join`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Joined {
    /// The film: MP4, H.264 and AAC, named `video.mp4`.
    pub video: Artifact,
    /// Its length in seconds.
    pub duration_s: f64,
    /// How many pictures it has.
    pub frames: u64,
    /// Loudness of the written file in LUFS; none when it is silent or shorter than 0.4 s.
    pub loudness_lufs: Option<f64>,
    /// Highest peak of the written file in dBTP; none when it is silent.
    pub true_peak_dbtp: Option<f64>,
    /// Whether the loudness asked for was reached, within 0.5 LU and with no peak over -1.5 dBTP.
    pub loudness_reached: bool,
}

/// What ffmpeg may open through a list of ours: the parts, and nothing else.
const LISTED: &str = "concat,mov,mp4,flac";

/// The list of the pictures, the list of the sounds.
const LISTS: [&str; 2] = ["pictures.ffconcat", "sounds.ffconcat"];

impl JoinScenes {
    pub(crate) fn new(slots: Slots) -> Self {
        Self { slots }
    }
}

impl Step for JoinScenes {
    type Input = Parts;
    type Output = Joined;

    fn kind(&self) -> String {
        "scenes.join".to_owned()
    }

    fn description(&self) -> String {
        "Joins the parts of a film: the pictures by copy, the sound in one encode.".to_owned()
    }

    fn effect(&self) -> Effect {
        Effect::Pure
    }

    fn cache(&self) -> Option<u32> {
        Some(1)
    }

    async fn run(&self, input: Parts, context: StepContext) -> StepResult<Joined> {
        check_levels(
            &[("music_volume", input.music_volume)],
            input.fade_out_s,
            input.loudness_lufs,
        )?;
        let rate = rate(input.fps)?;
        let frames = input.frames(rate)?;
        let work = std::path::absolute(context.work_dir()?)?;
        gather(&input, rate, &work.join(READ_ONLY), &context).await?;
        let film = film(&input, rate, frames, &work, (&context, &self.slots)).await?;
        let mastered = Master::new(film, &context, &self.slots).make(input.loudness_lufs).await?;
        check_length(&mastered.facts, rate, frames)?;
        Ok(Joined {
            duration_s: rate.seconds(frames),
            frames,
            loudness_lufs: mastered.lufs,
            true_peak_dbtp: mastered.peak_dbtp,
            loudness_reached: mastered.reached,
            video: context.put_file(mastered.path, "video.mp4", "video/mp4").await?,
        })
    }
}

impl Parts {
    /// How many pictures the film has.
    fn frames(&self, rate: Rate) -> StepResult<u64> {
        let (pictures, sounds) = (self.pictures.len(), self.sounds.len());
        let frames: u64 = self.pictures.iter().map(|part| part.frames).sum();
        let samples: u64 = self.sounds.iter().map(|part| part.samples).sum();
        let refused = |message: String| Err(StepError::fatal("merge.input", message));
        if pictures != sounds || pictures == 0 {
            return refused(format!("there are {pictures} `pictures` and {sounds} `sounds`"));
        }
        if samples != rate.sample(frames) {
            let expected = rate.sample(frames);
            return refused(format!("`sounds` have {samples} samples, expected {expected}"));
        }
        Ok(frames)
    }
}

/// Puts the parts into the directory under names of ours, and writes the lists of them. They are
/// what is stored itself: the directory is one that nobody writes to from now on.
async fn gather(parts: &Parts, rate: Rate, to: &Path, context: &StepContext) -> StepResult<()> {
    fs::create_dir(to)?;
    for (n, (picture, sound)) in parts.pictures.iter().zip(&parts.sounds).enumerate() {
        for (file, name) in [(&picture.picture, picture_name(n)), (&sound.sound, sound_name(n))] {
            let (from, link) = (context.open(file).await?, to.join(name));
            // A link costs nothing; between two disks there is none.
            if fs::hard_link(&from, &link).is_err() {
                fs::copy(&from, &link)?;
            }
        }
    }
    let frames: Vec<u64> = parts.pictures.iter().map(|part| part.frames).collect();
    for (name, text) in LISTS.iter().zip(lists(&frames, rate)) {
        fs::write(to.join(name), text)?;
    }
    Ok(())
}

fn picture_name(n: usize) -> String {
    format!("picture-{n}.mp4")
}

fn sound_name(n: usize) -> String {
    format!("sound-{n}.flac")
}

/// The lists of the pictures and of the sounds. Each part is given its length, as the difference of
/// two instants, so that what a container rounds does not add up.
fn lists(frames: &[u64], rate: Rate) -> [String; 2] {
    let mut lists = [const { String::new() }; 2];
    let (mut first, mut from) = (0, 0);
    for list in &mut lists {
        list.push_str("ffconcat version 1.0\n");
    }
    for (n, frames) in frames.iter().enumerate() {
        first += frames;
        let until = rate.micros(first);
        let (s, us) = ((until - from) / 1_000_000, (until - from) % 1_000_000);
        from = until;
        for (list, name) in lists.iter_mut().zip([picture_name(n), sound_name(n)]) {
            list.push_str(&format!("file {name}\nduration {s}.{us:06}\n"));
        }
    }
    lists
}

/// What the film is made of: sounds, music, pictures, captions.
async fn film(
    input: &Parts,
    rate: Rate,
    frames: u64,
    work: &Path,
    (context, slots): (&StepContext, &Slots),
) -> StepResult<Film> {
    let [pictures, sounds] = LISTS.map(|name| list_args(&work.join(READ_ONLY).join(name)));
    let mut heard = sounds;
    let mut music = None;
    if let Some(artifact) = &input.music {
        let (path, sound) = open_music(artifact, work, context, slots).await?;
        music = Some(sound);
        heard.extend(["-vn", "-stream_loop", "-1"].map(OsString::from));
        heard.extend(input_args(&path));
    }
    let mut beside = pictures;
    let (picture, captions) = (1 + usize::from(music.is_some()), 2 + usize::from(music.is_some()));
    let ticks = rate.ticks();
    let mut copied = vec!["-map".to_owned(), format!("{picture}:v:0")];
    // What is left of rounding is taken away: every picture begins on its tick.
    let snap = format!("setts=pts=round(PTS/{0})*{0}:dts=round(DTS/{0})*{0}", ticks.1);
    copied.extend(["-c:v", "copy", "-bsf:v", &snap].map(str::to_owned));
    copied.extend(["-video_track_timescale".to_owned(), ticks.0.to_string()]);
    let mut behind = Vec::new();
    if let Some(artifact) = &input.captions {
        let spoken = input.language.as_deref();
        let track = Track::open(artifact, spoken, Format::Mp4, context).await?;
        beside.extend(track.input());
        behind.extend(track.output(captions, 0));
    }
    copied.extend(["-dn", "-map_metadata", "-1", "-map_chapters", "-1"].map(str::to_owned));
    let score = Score {
        speech: Some(0),
        music,
        speech_volume: SCENE_HEADROOM_RATIO,
        music_volume: input.music_volume,
        duck: input.duck,
        fade_out_s: input.fade_out_s,
        length_s: rate.seconds(frames),
    };
    let copied = copied.into_iter().map(OsString::from).collect();
    behind.extend(["-movflags", "+faststart", "-f", "mp4"].map(str::to_owned));
    let behind = behind.into_iter().map(OsString::from).collect();
    Ok(Film { score, heard, beside, copied, behind, to: work.join("video.mp4") })
}

/// The arguments that name a list that was written here.
fn list_args(list: &Path) -> Vec<OsString> {
    let args = ["-protocol_whitelist", "file", "-format_whitelist", LISTED, "-f", "concat", "-i"];
    let mut args: Vec<OsString> = args.map(OsString::from).into();
    args.push(file(list));
    args
}

fn file(path: &Path) -> OsString {
    let mut name = OsString::from("file:");
    name.push(path);
    name
}

/// Checks that the film has the pictures of its parts, and that its sound ends with them.
fn check_length(facts: &Facts, rate: Rate, frames: u64) -> StepResult<()> {
    let end = |kind| facts.first(kind).and_then(|stream| stream.end_s).unwrap_or(0.0);
    let (pictures, sound) = (end(StreamKind::Video), end(StreamKind::Audio));
    if rate.frames(pictures) != frames {
        let found = rate.frames(pictures);
        let message = format!("the film has {found} pictures, expected {frames}");
        return Err(StepError::fatal("merge.frames", message));
    }
    if (sound - pictures).abs() > MAX_DRIFT_S + 1.0 / SAMPLES_PER_SECOND as f64 {
        let message = format!("the sound ends at {sound:.3} s, the pictures at {pictures:.3} s");
        return Err(StepError::fatal("merge.samples", message));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_holds_names_of_ours_and_lengths() {
        let [pictures, sounds] = lists(&[30, 1], Rate::of(29.97).unwrap());
        assert_eq!(
            pictures,
            "ffconcat version 1.0\nfile picture-0.mp4\nduration 1.001000\n\
             file picture-1.mp4\nduration 0.033367\n"
        );
        assert_eq!(sounds, pictures.replace("picture-", "sound-").replace(".mp4", ".flac"));
    }

    proptest! {
        #[test]
        fn the_lengths_in_a_list_add_up(
            frames in proptest::collection::vec(1u64..500, 1..300),
            fps in prop_oneof![Just(29.97), Just(30.0), Just(24.0), Just(59.94), Just(7.0)],
        ) {
            let rate = Rate::of(fps).unwrap();
            let [pictures, _] = lists(&frames, rate);
            let micros: u64 = pictures
                .lines()
                .filter_map(|line| line.strip_prefix("duration "))
                .map(|seconds| seconds.replace('.', "").parse::<u64>().unwrap())
                .sum();
            prop_assert_eq!(micros, rate.micros(frames.iter().sum()));
        }
    }
}
