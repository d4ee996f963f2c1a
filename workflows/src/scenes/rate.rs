//! Pictures a second as a fraction, and what follows from it: every instant of a joined film lies
//! on a picture, and every picture on a sample of the sound.

use crate::limits::{MAX_FILM_FRAMES_PER_SECOND, MIN_FILM_FRAMES_PER_SECOND, SAMPLES_PER_SECOND};

/// Pictures a second: `above / below`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    above: u64,
    below: u64,
}

/// What television counts in: 29.97 means 30000/1001.
const TELEVISION: [u64; 5] = [24, 30, 48, 60, 120];

/// How far a written rate may lie from that of television to be meant as it: 23.98 is 23.976.
const WRITTEN_SO: f64 = 0.005;

/// Fewest ticks a second of a written stream, as players expect them.
const MIN_TICKS: u64 = 10_000;

impl Rate {
    /// A rate as people write it; none when it is out of bounds.
    pub(crate) fn of(fps: f64) -> Option<Self> {
        if !(MIN_FILM_FRAMES_PER_SECOND..=MAX_FILM_FRAMES_PER_SECOND).contains(&fps) {
            return None;
        }
        let shown = |n: &u64| (fps - *n as f64 * 1_000.0 / 1_001.0).abs() < WRITTEN_SO;
        if let Some(n) = TELEVISION.iter().find(|n| shown(n)) {
            return Some(Self { above: n * 1_000, below: 1_001 });
        }
        let above = (fps * 1_000.0).round() as u64;
        let common = greatest_common_divisor(above, 1_000);
        Some(Self { above: above / common, below: 1_000 / common })
    }

    /// The pictures that make up a time, at least one.
    pub(crate) fn frames(self, seconds: f64) -> u64 {
        let frames = seconds * self.above as f64 / self.below as f64;
        (frames.round() as u64).max(1)
    }

    /// The pictures that end within a time.
    pub(crate) fn whole_frames(self, seconds: f64) -> u64 {
        (seconds * self.above as f64 / self.below as f64) as u64
    }

    /// When a picture begins.
    pub(crate) fn seconds(self, frame: u64) -> f64 {
        frame as f64 * self.below as f64 / self.above as f64
    }

    /// The sample of the sound at which a picture begins.
    pub(crate) fn sample(self, frame: u64) -> u64 {
        self.scaled(frame, SAMPLES_PER_SECOND)
    }

    /// The microsecond at which a picture begins.
    pub(crate) fn micros(self, frame: u64) -> u64 {
        self.scaled(frame, 1_000_000)
    }

    /// Ticks a second that a stream is written with, and ticks of a picture: whole ones, so that
    /// no time is ever rounded.
    pub(crate) fn ticks(self) -> (u64, u64) {
        let mut times = 1;
        while self.above * times < MIN_TICKS {
            times *= 2;
        }
        (self.above * times, self.below * times)
    }

    /// As ffmpeg reads it.
    pub(crate) fn arg(self) -> String {
        format!("{}/{}", self.above, self.below)
    }

    /// The start of a picture in units of which a second has so many, rounded.
    fn scaled(self, frame: u64, a_second: u64) -> u64 {
        let (above, below) = (u128::from(self.above), u128::from(self.below));
        let twice = 2 * u128::from(frame) * u128::from(a_second) * below;
        let scaled = (twice + above) / (2 * above);
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_what_people_mean() {
        for (fps, expected) in [
            (30.0, Some("30/1")),
            (25.0, Some("25/1")),
            (29.97, Some("30000/1001")),
            (23.976, Some("24000/1001")),
            (23.98, Some("24000/1001")),
            (59.94, Some("60000/1001")),
            (12.5, Some("25/2")),
            (1.0, Some("1/1")),
            (0.5, None),
            (121.0, None),
            (f64::NAN, None),
        ] {
            assert_eq!(Rate::of(fps).map(Rate::arg).as_deref(), expected, "{fps}");
        }
    }

    #[test]
    fn pictures_samples_and_ticks_are_counted_in_whole_ones() {
        for (fps, seconds, frames, sample, ticks) in [
            (30.0, 5.0, 150, 240_000, (15_360, 512)),
            (25.0, 0.01, 1, 1_920, (12_800, 512)),
            (29.97, 1.001, 30, 48_048, (30_000, 1_001)),
            (29.97, 0.034, 1, 1_602, (30_000, 1_001)),
            (23.976, 2.0, 48, 96_096, (24_000, 1_001)),
            (30.0, 0.05, 2, 3_200, (15_360, 512)),
        ] {
            let rate = Rate::of(fps).unwrap();
            assert_eq!(rate.frames(seconds), frames, "{fps} {seconds}");
            assert_eq!(rate.sample(frames), sample, "{fps} {seconds}");
            assert_eq!(rate.ticks(), ticks, "{fps}");
        }
    }
}
