//! The filter graph that lays music under a sound, where there is any. Nothing in it comes from a
//! user but numbers.

use super::loudness::Level;

/// What every sound is made before two of them meet. Filters that take several inputs agree on a
/// layout at run time only, and fail there when nothing says which.
pub(crate) const FORMAT: &str = "aresample=48000,aformat=sample_fmts=fltp:sample_rates=48000:\
    channel_layouts=stereo";

/// Sound that starts later than the pictures is preceded by silence, as it is in the film.
pub(crate) const FROM_THE_START: &str = "aresample=48000:async=1:first_pts=0";

/// What is encoded is rounded to 16 bits before: the coder would spend most of its time on what
/// lies below them, three times as long over a voice with pauses, and nobody could hear it.
const ROUNDED: &str = "aformat=sample_fmts=s16";

/// The music gives way when the other sound is above -30 dB, to a sixth of what is above, within
/// a syllable, and comes back in the pause behind a sentence, not in the one behind a word.
const DUCK: &str = "sidechaincompress=threshold=0.03:ratio=6:attack=50:release=500";

/// The music's volume where none is given: it lies under speech without covering it.
pub(crate) fn default_music_volume() -> f64 {
    0.3
}

/// How long the music fades out where nothing is said of it.
pub(crate) fn default_fade_out_s() -> f64 {
    2.0
}

/// What is laid under what, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score {
    /// Stream of the first input that is heard above the music, if there is one.
    pub(crate) speech: Option<u32>,
    /// Stream of the second input that lies under it, if there is one. One of the two is there.
    pub(crate) music: Option<u32>,
    pub(crate) speech_volume: f64,
    pub(crate) music_volume: f64,
    pub(crate) duck: bool,
    pub(crate) fade_out_s: f64,
    pub(crate) length_s: f64,
}

impl Score {
    /// The whole graph; its one output is called `out`. A filter that measures comes last.
    pub(super) fn graph(&self, level: &Level, measure: Option<&str>) -> String {
        let tail = measure.unwrap_or(ROUNDED);
        let level = level.filters();
        // `normalize` would take the half of each sound, 6 dB, whatever the volumes say.
        let mix = "amix=inputs=2:duration=first:normalize=0";
        let sounds = match (self.speech, self.music) {
            (None, None) => format!("{},", self.silence()),
            (Some(speech), None) => format!("{},", self.speech_of(speech)),
            (None, Some(music)) => format!("{},", self.music_alone(music)),
            (Some(speech), Some(music)) if self.duck => format!(
                "{},asplit=2[speech][key];{}[loud];[loud][key]{DUCK},{}[music];\
                 [speech][music]{mix},",
                self.speech_of(speech),
                self.music_unfaded(music),
                self.fade(),
            ),
            (Some(speech), Some(music)) => format!(
                "{}[speech];{}[music];[speech][music]{mix},",
                self.speech_of(speech),
                self.music_alone(music),
            ),
        };
        format!("{sounds}{level},{FORMAT},{tail}[out]")
    }

    fn silence(&self) -> String {
        format!("anullsrc=r=48000:cl=stereo,atrim=end={:.6}", self.length_s)
    }

    fn speech_of(&self, stream: u32) -> String {
        // The pictures may go on when the sound has ended, and the music with them.
        let (volume, end) = (self.speech_volume, self.length_s);
        format!("[0:{stream}]{FROM_THE_START},{FORMAT},volume={volume:.4},apad,atrim=end={end:.6}")
    }

    fn music_unfaded(&self, stream: u32) -> String {
        let (volume, end) = (self.music_volume, self.length_s);
        // Times begin anew: at the seam of a loop they may jump, and `atrim` counts by them.
        format!("[1:{stream}]{FORMAT},asetpts=N/SR/TB,volume={volume:.4},atrim=end={end:.6}")
    }

    fn music_alone(&self, stream: u32) -> String {
        format!("{},{}", self.music_unfaded(stream), self.fade())
    }

    fn fade(&self) -> String {
        let fade = self.fade_out_s.min(self.length_s);
        if fade <= 0.0 {
            return "anull".to_owned();
        }
        format!("afade=t=out:st={:.6}:d={fade:.6}", self.length_s - fade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORE: Score = Score {
        speech: Some(1),
        music: Some(0),
        speech_volume: 1.0,
        music_volume: 0.3,
        duck: false,
        fade_out_s: 2.0,
        length_s: 12.0,
    };

    fn graph(score: Score) -> String {
        score.graph(&Level::default(), None)
    }

    #[test]
    fn every_sound_ends_with_the_pictures_and_is_stereo() {
        for duck in [false, true] {
            let graph = graph(Score { duck, ..SCORE });
            assert_eq!(graph.matches("atrim=end=12.000000").count(), 2);
            assert_eq!(graph.matches("channel_layouts=stereo").count(), 3);
            assert_eq!(graph.matches("normalize=0").count(), 1);
            assert_eq!(graph.contains("sidechaincompress"), duck);
            assert!(graph.contains("afade=t=out:st=10.000000:d=2.000000"));
            assert!(graph.contains("[0:1]") && graph.contains("[1:0]"));
        }
    }

    #[test]
    fn a_silent_video_has_the_music_alone() {
        for duck in [false, true] {
            let graph = graph(Score { speech: None, duck, ..SCORE });
            assert!(!graph.contains("amix") && !graph.contains("[0:"), "{graph}");
        }
    }

    #[test]
    fn a_fade_is_no_longer_than_the_film_and_may_be_left_out() {
        for (fade_out_s, expected) in [
            (0.0, "anull"),
            (2.0, "afade=t=out:st=10.000000:d=2.000000"),
            (60.0, "afade=t=out:st=0.000000:d=12.000000"),
        ] {
            assert!(graph(Score { fade_out_s, ..SCORE }).contains(expected), "{fade_out_s}");
        }
    }

    #[test]
    fn what_is_encoded_is_rounded_and_the_measure_comes_last() {
        assert!(graph(SCORE).ends_with(",aformat=sample_fmts=s16[out]"));
        let graph = SCORE.graph(&Level::default(), Some("ebur128"));
        assert!(graph.ends_with("channel_layouts=stereo,ebur128[out]"), "{graph}");
    }
}
