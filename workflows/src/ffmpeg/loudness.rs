//! How loud a sound is, as ffmpeg measures it, and what has to be done to it to reach a target.

use crate::limits::{
    LIMITER_CEILING_DB, LOUDNESS_TOLERANCE_LU, MAX_GAIN_DB, MAX_TRUE_PEAK_DBTP, MIN_CEILING_DB,
};

/// The filter that measures. Its summary is the last that ffmpeg says.
pub(crate) const MEASURE: &str = "ebur128=peak=true:framelog=verbose";

/// Peaks are corrected by this much more than they were too high: the next encode rounds anew.
const SPARE_DB: f64 = 0.2;

/// Below it nothing was found: EBU R128 does not count what is more quiet.
const SILENCE_LUFS: f64 = -69.9;

/// How loud a sound is. Silence, and what is shorter than 0.4 s, has no loudness.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) lufs: Option<f64>,
    pub(crate) peak_dbtp: Option<f64>,
}

impl Measured {
    /// Reads the summary at the end of what ffmpeg said.
    pub(crate) fn read(said: &[String]) -> Option<Self> {
        let lufs = summed_up(said, "I:")?;
        let peak = summed_up(said, "Peak:")?;
        Some(Self {
            lufs: (lufs > SILENCE_LUFS).then_some(lufs),
            peak_dbtp: peak.is_finite().then_some(peak),
        })
    }

    /// Whether this is as loud as it should be, with no peak too high.
    pub(super) fn reaches(&self, target: Option<f64>) -> bool {
        self.miss(target).abs() <= LOUDNESS_TOLERANCE_LU && self.excess() <= 0.0
    }

    /// What is missing to the target; nothing without one, or in silence.
    fn miss(&self, target: Option<f64>) -> f64 {
        target.zip(self.lufs).map_or(0.0, |(target, lufs)| target - lufs)
    }

    fn excess(&self) -> f64 {
        self.peak_dbtp.map_or(f64::NEG_INFINITY, |peak| peak - MAX_TRUE_PEAK_DBTP)
    }
}

/// Loudness range in LU: how far what is loud is from what is soft. None in silence.
pub(crate) fn range_lu(said: &[String]) -> Option<f64> {
    let heard = summed_up(said, "I:").is_some_and(|lufs| lufs > SILENCE_LUFS);
    summed_up(said, "LRA:").filter(|_| heard)
}

/// A field of the summary at the end of what ffmpeg said.
fn summed_up(said: &[String], name: &str) -> Option<f64> {
    // A title in the file may look like a summary too; the filter's own one comes last.
    let start = said.iter().rposition(|line| line.trim_end().ends_with("Summary:"))?;
    let line = said[start..].iter().find_map(|line| line.trim().strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What is done to a sound so that it is as loud as it should be: a gain, and a limiter where
/// peaks would come too high. Unlike a compressor, a gain keeps what is loud and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Level {
    pub(super) gain_db: f64,
    pub(super) ceiling_db: Option<f64>,
}

impl Level {
    /// What a sound needs that was measured as it is.
    pub(super) fn of(mix: &Measured, target: Option<f64>) -> Self {
        Self::default().raised(mix, mix.miss(target))
    }

    /// What it needs when this is what came out; none when there is nothing left to try.
    pub(super) fn corrected(&self, result: &Measured, target: Option<f64>) -> Option<Self> {
        if result.reaches(target) {
            return None;
        }
        let miss = Some(result.miss(target)).filter(|miss| miss.abs() > LOUDNESS_TOLERANCE_LU);
        let mut level = self.raised(result, miss.unwrap_or(0.0));
        if result.excess() > 0.0 {
            let ceiling = level.ceiling_db.unwrap_or(LIMITER_CEILING_DB);
            let lower = ceiling - result.excess() - SPARE_DB;
            level.ceiling_db = Some(lower.max(MIN_CEILING_DB));
        }
        (level != *self).then_some(level)
    }

    /// Adds a gain, and the limiter when peaks that lie there would come too high.
    fn raised(&self, measured: &Measured, by_db: f64) -> Self {
        let gain_db = (self.gain_db + by_db).clamp(-MAX_GAIN_DB, MAX_GAIN_DB);
        let peak = measured.peak_dbtp.map(|peak| peak + gain_db - self.gain_db);
        let high = peak.is_some_and(|peak| peak > LIMITER_CEILING_DB);
        let ceiling_db = self.ceiling_db.or(high.then_some(LIMITER_CEILING_DB));
        Self { gain_db, ceiling_db }
    }

    /// The filters that do it. The limiter works on four times the samples, because peaks lie
    /// between them.
    pub(super) fn filters(&self) -> String {
        let gain = format!("volume={:.2}dB", self.gain_db);
        match self.ceiling_db {
            None => gain,
            Some(ceiling) => {
                let limit = 10_f64.powf(ceiling / 20.0);
                format!("{gain},aresample=192000,alimiter=limit={limit:.5}:level=disabled")
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn measured(lufs: f64, peak: f64) -> Measured {
        Measured { lufs: Some(lufs), peak_dbtp: Some(peak) }
    }

    #[test]
    fn the_last_summary_is_read() {
        let summary = |i: &str, peak: &str| {
            let text = format!(
                "[Parsed_ebur128_3 @ 0x55] [info] Summary:\n\nIntegrated loudness:\n\
                 I:         {i} LUFS\nThreshold: -28.8 LUFS\n\nTrue peak:\nPeak:  {peak} dBFS"
            );
            said(&text)
        };
        let expected = Some(measured(-14.9, -5.9));
        assert_eq!(Measured::read(&summary("-14.9", "-5.9")), expected);
        let fake = said("[info] title : Summary:\nI: -1.0 LUFS\nPeak: 3.0 dBFS");
        assert_eq!(Measured::read(&[fake, summary("-14.9", "-5.9")].concat()), expected);
        let silence = Measured::read(&summary("-70.0", "-inf"));
        assert_eq!(silence, Some(Measured::default()));
        let ranged =
            |i: &str| [summary(i, "-5.9"), said("LRA: 5.2 LU\nLRA low: -26.9 LUFS")].concat();
        assert_eq!(range_lu(&ranged("-14.9")), Some(5.2));
        assert_eq!(range_lu(&ranged("-70.0")), None);
        for text in ["", "Summary:", "Summary:\nI: loud LUFS\nPeak: 1 dBFS", "I: -3 LUFS"] {
            assert_eq!(Measured::read(&said(text)), None, "{text}");
        }
    }

    #[test]
    fn a_gain_is_enough_until_peaks_come_too_high() {
        for (mix, target, gain_db, ceiling_db) in [
            (measured(-20.0, -10.0), Some(-16.0), 4.0, None),
            (measured(-20.0, -3.0), Some(-16.0), 4.0, Some(LIMITER_CEILING_DB)),
            (measured(-10.0, 0.0), Some(-16.0), -6.0, None),
            (measured(-10.0, 0.0), None, 0.0, Some(LIMITER_CEILING_DB)),
            (measured(-20.0, -10.0), None, 0.0, None),
            (measured(-69.0, -60.0), Some(-16.0), MAX_GAIN_DB, None),
            (Measured::default(), Some(-16.0), 0.0, None),
        ] {
            let level = Level::of(&mix, target);
            assert_eq!(level, Level { gain_db, ceiling_db }, "{mix:?}");
        }
    }

    #[test]
    fn a_result_is_corrected_until_nothing_is_left_to_try() {
        let plain = Level { gain_db: 4.0, ceiling_db: None };
        let limited = Level { gain_db: 4.0, ceiling_db: Some(LIMITER_CEILING_DB) };
        for (level, result, expected) in [
            (plain, measured(-16.3, -1.5), None),
            (plain, Measured::default(), None),
            (plain, measured(-17.0, -9.0), Some(Level { gain_db: 5.0, ceiling_db: None })),
            (limited, measured(-18.0, -1.9), Some(Level { gain_db: 6.0, ..limited })),
            (
                plain,
                measured(-16.0, -1.0),
                Some(Level { gain_db: 4.0, ceiling_db: Some(LIMITER_CEILING_DB - 0.5 - SPARE_DB) }),
            ),
            (Level { gain_db: MAX_GAIN_DB, ceiling_db: None }, measured(-40.0, -30.0), None),
        ] {
            assert_eq!(level.corrected(&result, Some(-16.0)), expected, "{result:?}");
        }
    }

    #[test]
    fn filters_are_numbers_and_fixed_words() {
        let filters = |gain_db, ceiling_db| Level { gain_db, ceiling_db }.filters();
        assert_eq!(filters(-3.456, None), "volume=-3.46dB");
        let limited = "volume=2.00dB,aresample=192000,alimiter=limit=0.50119:level=disabled";
        assert_eq!(filters(2.0, Some(-6.0)), limited);
    }
}
