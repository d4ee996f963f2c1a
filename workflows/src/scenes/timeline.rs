//! The timeline of a joined film: how long each scene is, and where it begins, in pictures and in
//! samples. Pure, so that what adds up here adds up in the file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rate::Rate;

/// What a scene lasts as long as.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Lasting {
    /// One of the two, or the longer one.
    As(LastingAs),
    /// So many seconds.
    Seconds(f64),
}

/// What of a scene gives its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LastingAs {
    /// The scene's pictures.
    Scene,
    /// The voice-over.
    Voice,
    /// The longer one of the two.
    Longest,
}

/// The length of a scene's pictures and of its voice-over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lengths {
    /// Length of the pictures in seconds.
    pub scene_s: f64,
    /// Length of the voice-over in seconds.
    pub voice_s: f64,
}

/// A scene's place in the film.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    /// How many pictures it has.
    pub frames: u64,
    /// How many samples its sound has, at 48 kHz.
    pub samples: u64,
    /// When it begins, in seconds from the start of the film.
    pub start_s: f64,
    /// How long it lasts in seconds: a whole number of pictures.
    pub duration_s: f64,
}

impl Lasting {
    /// The length of a scene in seconds, before it is rounded to whole pictures.
    pub(crate) fn of(self, lengths: Lengths) -> f64 {
        match self {
            Self::As(LastingAs::Scene) => lengths.scene_s,
            Self::As(LastingAs::Voice) => lengths.voice_s,
            Self::As(LastingAs::Longest) => lengths.scene_s.max(lengths.voice_s),
            Self::Seconds(seconds) => seconds,
        }
    }
}

/// Lays scenes one after another. Each has whole pictures; its samples are those between the
/// instants at which it begins and ends, so that no rounding ever adds up.
pub(crate) fn timeline(lengths_s: impl IntoIterator<Item = f64>, rate: Rate) -> Vec<Shot> {
    let mut first = 0;
    lengths_s
        .into_iter()
        .map(|seconds| {
            let (start, frames) = (first, rate.frames(seconds));
            first += frames;
            Shot {
                frames,
                samples: rate.sample(first) - rate.sample(start),
                start_s: rate.seconds(start),
                duration_s: rate.seconds(frames),
            }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_scene_lasts_as_long_as_was_chosen() {
        for (chosen, scene_s, voice_s, expected) in [
            (json!("scene"), 3.0, 5.0, Some(3.0)),
            (json!("voice"), 3.0, 5.0, Some(5.0)),
            (json!("longest"), 3.0, 5.0, Some(5.0)),
            (json!("longest"), 6.0, 5.0, Some(6.0)),
            (json!(2.5), 3.0, 5.0, Some(2.5)),
            (json!("shortest"), 3.0, 5.0, None),
            (Value::Null, 3.0, 5.0, None),
        ] {
            let lasting = serde_json::from_value::<Lasting>(chosen.clone()).ok();
            let found = lasting.map(|lasting| lasting.of(Lengths { scene_s, voice_s }));
            assert_eq!(found, expected, "{chosen}");
        }
    }

    #[test]
    fn scenes_follow_one_another() {
        let shots = timeline([1.0, 0.5, 2.02], Rate::of(25.0).unwrap());
        let places: Vec<_> = shots.iter().map(|shot| (shot.frames, shot.start_s)).collect();
        assert_eq!(places, [(25, 0.0), (13, 1.0), (51, 1.52)]);
        assert_eq!(shots[2].samples, 51 * 1_920);
    }

    proptest! {
        #[test]
        fn pictures_and_samples_add_up(
            lengths in proptest::collection::vec(0.001f64..20.0, 1..300),
            fps in prop_oneof![
                Just(23.976), Just(24.0), Just(25.0), Just(29.97), Just(30.0), Just(59.94),
                Just(60.0), 1.0f64..120.0,
            ],
        ) {
            let rate = Rate::of(fps).unwrap();
            let shots = timeline(lengths.clone(), rate);
            let frames: u64 = shots.iter().map(|shot| shot.frames).sum();
            let samples: u64 = shots.iter().map(|shot| shot.samples).sum();
            let expected: u64 = lengths.iter().map(|seconds| rate.frames(*seconds)).sum();
            prop_assert_eq!(frames, expected);
            let (pictures_s, sound_s) = (rate.seconds(frames), samples as f64 / 48_000.0);
            prop_assert!((pictures_s - sound_s).abs() <= 0.5 / 48_000.0 + 1e-9);
            for (shot, seconds) in shots.iter().zip(&lengths) {
                let half = 0.5 / (fps - 0.01);
                prop_assert!((shot.duration_s - seconds).abs() <= half || shot.frames == 1);
            }
            // Each voice begins with its pictures, wherever in the film.
            let mut before = 0;
            for shot in &shots {
                let begins = before as f64 / 48_000.0;
                prop_assert!((begins - shot.start_s).abs() <= 0.5 / 48_000.0 + 1e-9);
                before += shot.samples;
            }
        }
    }
}
