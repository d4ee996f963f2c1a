//! Sound that is brought to its loudness and written beside pictures that are only copied.
//!
//! The encoder has its share in how loud a sound is, so what was written is measured, corrected,
//! and written again when it is not right.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use callsheet_actors::{StepContext, StepError, StepResult};
use callsheet_storage::Artifact;

use super::loudness::{Level, MEASURE, Measured};
use super::run::Run;
use super::score::Score;
use crate::limits::{
    MAX_DRIFT_S, MAX_FADE_S, MAX_LOUDNESS_LUFS, MAX_MIX_ROUNDS_COUNT, MAX_VOLUME_RATIO,
    MIN_LOUDNESS_LUFS,
};
use crate::media::{Facts, OpenMedia, Promise, StreamKind, copied_length, input_args};
use crate::slots::Slots;

/// A film, or its sound alone, that is being made.
pub(crate) struct Master<'a> {
    context: &'a StepContext,
    slots: &'a Slots,
    film: Film,
    /// Percents that those who watch were told.
    done: f64,
}

/// What a film is made of.
pub(crate) struct Film {
    /// How the sounds stand to each other, and how long they last.
    pub(crate) score: Score,
    /// The arguments of the inputs that are heard, in the order that the score counts them in.
    pub(crate) heard: Vec<OsString>,
    /// The arguments of inputs behind them of which something is copied.
    pub(crate) beside: Vec<OsString>,
    /// What the file says of its pictures, when there are any that are copied.
    pub(crate) promise: Option<Promise>,
    /// Which streams come before the sound, and how they are copied.
    pub(crate) copied: Vec<OsString>,
    /// Which streams come behind it, and the container.
    pub(crate) behind: Vec<OsString>,
    /// The file to write.
    pub(crate) to: PathBuf,
}

/// A film with its sound.
pub(crate) struct Mastered {
    /// Where it is, and what is in it.
    pub(crate) media: OpenMedia,
    /// Length of its pictures in seconds, of its sound where there are none.
    pub(crate) length_s: f64,
    /// Loudness in LUFS; none in silence, and in what is shorter than 0.4 s.
    pub(crate) lufs: Option<f64>,
    /// Highest peak in dBTP; none in silence.
    pub(crate) peak_dbtp: Option<f64>,
    /// Whether it is as loud as it should be, with no peak too high.
    pub(crate) reached: bool,
}

impl<'a> Master<'a> {
    pub(crate) fn new(film: Film, context: &'a StepContext, slots: &'a Slots) -> Self {
        Self { context, slots, film, done: 0.0 }
    }

    /// Writes the film, as often as it takes until its loudness and its length are right.
    ///
    /// # Errors
    /// `ffmpeg.*`; `music.not_measured` when ffmpeg does not say how loud a sound is.
    pub(crate) async fn make(mut self, target: Option<f64>) -> StepResult<Mastered> {
        let mut level = Level::of(&self.measure(&Level::default()).await?, target);
        let mut measured = self.write(&level).await?;
        let mut media = self.look().await?;
        for _ in 1..MAX_MIX_ROUNDS_COUNT {
            let drifted = self.correct_length(&media.facts)?;
            match level.corrected(&measured, target) {
                Some(better) => level = better,
                None if drifted => {}
                None => break,
            }
            measured = self.write(&level).await?;
            media = self.look().await?;
        }
        let silent = measured.lufs.is_none() && target.is_some();
        Ok(Mastered {
            media,
            length_s: self.film.score.length_s,
            lufs: measured.lufs,
            peak_dbtp: measured.peak_dbtp,
            reached: measured.reaches(target) && !silent,
        })
    }

    /// How loud the mix is, before anything is written.
    async fn measure(&mut self, level: &Level) -> StepResult<Measured> {
        let span = self.next(0.3);
        let run = self
            .run(span)
            .args(&self.film.heard)
            .args(["-filter_complex", &self.film.score.graph(level, Some(MEASURE))])
            .args(["-map", "[out]", "-f", "null"])
            .nowhere();
        read(&run.run(self.slots).await?.said)
    }

    /// Writes the file; tells how loud it then is, since the encoder has its share in that.
    async fn write(&mut self, level: &Level) -> StepResult<Measured> {
        let span = self.next(0.6);
        self.run(span)
            .args(&self.film.heard)
            .args(&self.film.beside)
            .args(["-filter_complex", &self.film.score.graph(level, None)])
            .args(&self.film.copied)
            .args(["-map", "[out]"])
            .args(["-c:a", "aac", "-b:a", "192k", "-ar", "48000", "-ac", "2"])
            .args(["-max_muxing_queue_size", "4096"])
            .args(&self.film.behind)
            .output(&self.film.to)
            .run(self.slots)
            .await?;
        let span = self.next(0.6);
        let run = self
            .run(span)
            .args(input_args(&self.film.to))
            .args(["-map", "0:a:0", "-vn", "-af", MEASURE, "-f", "null"])
            .nowhere();
        read(&run.run(self.slots).await?.said)
    }

    /// Corrects the length when the written sound does not end with the pictures: what a file says
    /// of its own length may be wrong, what was just written says it exactly.
    ///
    /// # Errors
    /// `media.cut_off` when there are far fewer pictures than their file says.
    fn correct_length(&mut self, written: &Facts) -> StepResult<bool> {
        let end = |kind| written.first(kind).and_then(|stream| stream.end_s);
        let (Some(video), Some(audio)) = (end(StreamKind::Video), end(StreamKind::Audio)) else {
            return Ok(false);
        };
        if let Some(promise) = self.film.promise.filter(|promise| video < promise.least_s()) {
            return Err(promise.broken("`video`", video));
        }
        let drifted = (video - audio).abs() > MAX_DRIFT_S;
        if drifted {
            self.film.score.length_s += video - audio;
        }
        Ok(drifted)
    }

    /// What is in the written file.
    async fn look(&self) -> StepResult<OpenMedia> {
        OpenMedia::written(&self.film.to, self.context).await
    }

    fn run(&self, (from, to): (f64, f64)) -> Run {
        Run::new(self.context, Some(self.film.score.length_s)).span(from, to)
    }

    /// The percents of the next run: a share of what is left, since nobody knows how many come.
    fn next(&mut self, share: f64) -> (f64, f64) {
        let from = self.done;
        self.done += (100.0 - from) * share;
        (from, self.done)
    }
}

/// Opens music: where it is, and its first sound track. A recorder that was cut off, and a browser,
/// write files that do not say how long they are; repeated, such a one would never end.
///
/// # Errors
/// `music.no_audio` when nothing can be heard in it; `media.*`.
pub(crate) async fn open_music(
    artifact: &Artifact,
    work: &Path,
    context: &StepContext,
    slots: &Slots,
) -> StepResult<(PathBuf, u32)> {
    let named = |mut error: StepError| {
        error.0.message = format!("`music`: {}", error.0.message);
        error
    };
    let music = OpenMedia::open(artifact, context).await.map_err(named)?;
    let silent = |_| no_music("the music file has no sound");
    let sound = music.facts.audio().map_err(silent)?.index;
    if music.facts.duration_s.is_some() {
        return Ok((music.path, sound));
    }
    let copy = work.join("music.mka");
    match copied_length((&music.path, sound), &copy, context, slots).await? {
        Some(_) => Ok((copy, 0)),
        None => Err(no_music("the music's sound track is empty")),
    }
}

fn no_music(message: &str) -> StepError {
    StepError::fatal("music.no_audio", message)
        .with_hint("give `music` a file that can be heard, such as an MP3")
}

/// Refuses volumes, fades and loudnesses beyond their bounds, by their names.
///
/// # Errors
/// `ffmpeg.input`.
pub(crate) fn check_levels(
    volumes: &[(&str, f64)],
    fade_out_s: f64,
    loudness_lufs: Option<f64>,
) -> StepResult<()> {
    let volumes = volumes.iter().map(|(field, value)| (*field, *value, 0.0, MAX_VOLUME_RATIO));
    let loudness = loudness_lufs.unwrap_or(MIN_LOUDNESS_LUFS);
    let others = [
        ("fade_out_s", fade_out_s, 0.0, MAX_FADE_S),
        ("loudness_lufs", loudness, MIN_LOUDNESS_LUFS, MAX_LOUDNESS_LUFS),
    ];
    for (field, value, least, most) in volumes.chain(others) {
        if !(least..=most).contains(&value) {
            let message = format!("`{field}` is {value}, expected {least} to {most}");
            return Err(StepError::fatal("ffmpeg.input", message));
        }
    }
    Ok(())
}

fn read(said: &[String]) -> StepResult<Measured> {
    Measured::read(said).ok_or_else(|| {
        let message = "ffmpeg ended without saying how loud the sound is";
        StepError::fatal("music.not_measured", message)
            .with_hint("`ffmpeg -filters` must list `ebur128`; on Debian, use its `ffmpeg`")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_their_bounds_are_refused_by_name() {
        for (volume, fade_out_s, loudness_lufs, named) in [
            (1.0, 2.0, Some(-16.0), None),
            (10.0, 0.0, None, None),
            (-0.1, 0.0, None, Some("music_volume")),
            (10.1, 0.0, None, Some("music_volume")),
            (f64::NAN, 0.0, None, Some("music_volume")),
            (1.0, 61.0, None, Some("fade_out_s")),
            (1.0, 0.0, Some(-7.0), Some("loudness_lufs")),
            (1.0, 0.0, Some(-41.0), Some("loudness_lufs")),
        ] {
            let volumes = [("video_volume", 1.0), ("music_volume", volume)];
            let refused = check_levels(&volumes, fade_out_s, loudness_lufs).err();
            assert_eq!(refused.is_some(), named.is_some(), "{volume} {fade_out_s}");
            if let (Some(StepError(failure)), Some(named)) = (refused, named) {
                assert_eq!(failure.code, "ffmpeg.input");
                assert!(failure.message.contains(named), "{}", failure.message);
            }
        }
    }
}
