//! How loud a recording is, hundredth of a second by hundredth: where somebody may be speaking, and
//! where there is a pause.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use callsheet_actors::StepResult;

use crate::wanted::Wanted;
use crate::wav::Wav;

/// Levels that are taken in a second.
pub(super) const FRAMES_PER_SECOND: usize = 100;

/// Level of a frame of nothing but noughts, in dB of full scale.
const NOTHING_DB: f32 = -100.0;

/// Below this level nobody can be heard.
const INAUDIBLE_DB: f32 = -60.0;

/// What sound has to stand out from the quietest twentieth of a recording, so that there is a
/// difference between sound and pauses at all.
const CONTRAST_DB: f32 = 10.0;

/// Share of the way from the quiet to the loud at which sound begins.
const SOUND_SHARE: f32 = 0.35;
const FAINT_SHARE: f32 = 0.2;

/// How far below the loud sound begins at the lowest: quieter is the room, or the coding.
const SOUND_RANGE_DB: f32 = 35.0;
const FAINT_RANGE_DB: f32 = 42.0;

/// The levels of a recording.
pub(super) struct Levels {
    frames: Vec<f32>,
    /// From here on a frame is sound that is worth a word.
    sound_db: f32,
    /// From here on it may be the soft beginning or end of a word.
    faint_db: f32,
}

impl Levels {
    /// Reads the samples of a file, as long as somebody wants them. None when they are not of 16
    /// bits.
    ///
    /// # Errors
    /// When the file cannot be read; `step.cancelled`.
    pub(super) fn of_file(path: &Path, wav: &Wav, wanted: Wanted<'_>) -> StepResult<Option<Self>> {
        let samples = wav.sample_rate as usize * usize::from(wav.channels) / FRAMES_PER_SECOND;
        if wav.bits != 16 || samples == 0 {
            return Ok(None);
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(wav.data_at))?;
        let mut reader = BufReader::with_capacity(1 << 20, file.take(wav.data_bytes));
        let mut frames = Vec::new();
        let mut frame = vec![0; samples * 2];
        loop {
            // Once a minute of sound.
            if frames.len().is_multiple_of(60 * FRAMES_PER_SECOND) {
                wanted()?;
            }
            let length = fill(&mut reader, &mut frame)?;
            if length < 2 {
                return Ok(Some(Self::of_frames(frames)));
            }
            frames.push(level(&frame[..length]));
        }
    }

    fn of_frames(frames: Vec<f32>) -> Self {
        let mut ordered = frames.clone();
        ordered.sort_unstable_by(f32::total_cmp);
        let floor = at_share(&ordered, 0.05);
        let active = ordered.partition_point(|level| *level < floor + CONTRAST_DB);
        let loud = at_share(&ordered[active..], 0.9);
        let (sound_db, faint_db) = if active == ordered.len() {
            // All is equally loud: all of it is sound, or none.
            (INAUDIBLE_DB, INAUDIBLE_DB)
        } else {
            let edge = |share: f32, range: f32| {
                (floor + share * (loud - floor)).max(loud - range).max(INAUDIBLE_DB)
            };
            (edge(SOUND_SHARE, SOUND_RANGE_DB), edge(FAINT_SHARE, FAINT_RANGE_DB))
        };
        Self { frames, sound_db, faint_db }
    }

    /// How many frames there are.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// The first frame of sound in a range.
    pub(super) fn first_sound(&self, from: usize, to: usize) -> Option<usize> {
        (from..to.min(self.len())).find(|n| self.frames[*n] >= self.sound_db)
    }

    /// The last frame of sound in a range.
    pub(super) fn last_sound(&self, from: usize, to: usize) -> Option<usize> {
        (from..to.min(self.len())).rev().find(|n| self.frames[*n] >= self.sound_db)
    }

    /// Stretches in a range that may belong to words: from the first to behind the last of frames
    /// that are parted by less than so many silent ones.
    pub(super) fn islands(&self, from: usize, to: usize, parted_by: usize) -> Vec<(usize, usize)> {
        let mut islands: Vec<(usize, usize)> = Vec::new();
        for n in (from..to.min(self.len())).filter(|n| self.frames[*n] >= self.faint_db) {
            match islands.last_mut() {
                Some((_, end)) if n - *end < parted_by => *end = n + 1,
                _ => islands.push((n, n + 1)),
            }
        }
        islands
    }

    /// The middle of the quietest twentieth of a second in a range; of equals the last one.
    pub(super) fn quietest(&self, from: usize, to: usize) -> Option<usize> {
        let around = |n: usize| -> f32 {
            let window = n.saturating_sub(2)..(n + 3).min(self.len());
            let count = window.len() as f32;
            // The power, so that one loud instant counts for more than many quiet ones.
            self.frames[window].iter().map(|level| 10_f32.powf(level / 10.0)).sum::<f32>() / count
        };
        let range = (from..to.min(self.len())).rev();
        range.min_by(|one, other| around(*one).total_cmp(&around(*other)))
    }

    /// Stretches without sound that last at least so many frames: from, to.
    pub(super) fn pauses(&self, at_least: usize) -> Vec<(usize, usize)> {
        let mut pauses = Vec::new();
        let mut begin = 0;
        for n in 0..=self.len() {
            let is_sound = self.frames.get(n).is_none_or(|level| *level >= self.sound_db);
            if is_sound {
                if n - begin >= at_least {
                    pauses.push((begin, n));
                }
                begin = n + 1;
            }
        }
        pauses
    }
}

/// Reads until the frame is full or the file ends.
fn fill(reader: &mut impl Read, frame: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < frame.len() {
        match reader.read(&mut frame[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

fn level(bytes: &[u8]) -> f32 {
    let samples = bytes.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]));
    let (mut sum, mut count) = (0.0_f64, 0.0_f64);
    for sample in samples {
        sum += f64::from(sample).powi(2);
        count += 1.0;
    }
    let share = (sum / count.max(1.0)).sqrt() / f64::from(i16::MAX);
    (20.0 * share.log10()).max(f64::from(NOTHING_DB)) as f32
}

fn at_share(ordered: &[f32], share: f32) -> f32 {
    let last = ordered.len().saturating_sub(1);
    ordered.get((last as f32 * share) as usize).copied().unwrap_or(NOTHING_DB)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::wav::tests::of_samples;

    /// Levels of sound (`#`), faint sound (`-`) and silence (`.`), a letter a tenth of a second.
    pub(in crate::speech) fn drawn(picture: &str) -> Levels {
        let level = |c| match c {
            '#' => -20.0,
            '-' => -57.0,
            _ => -80.0,
        };
        Levels::of_frames(picture.chars().flat_map(|c| [level(c); 10]).collect())
    }

    impl Levels {
        pub(in crate::speech) fn test(frames: Vec<f32>) -> Self {
            Self::of_frames(frames)
        }
    }

    #[test]
    fn sound_is_told_from_silence() {
        for (picture, first, last) in [
            ("..##..#...", Some(20), Some(69)),
            ("..........", None, None),
            ("##########", Some(0), Some(99)),
            ("..-##-....", Some(30), Some(49)),
        ] {
            let levels = drawn(picture);
            assert_eq!(levels.first_sound(0, 100), first, "{picture}");
            assert_eq!(levels.last_sound(0, 100), last, "{picture}");
        }
        let levels = drawn("..-##-..-.");
        for (from, to, parted_by, expected) in [
            (0, 100, 10, vec![(20, 60), (80, 90)]),
            (0, 1_000, 21, vec![(20, 90)]),
            (25, 55, 10, vec![(25, 55)]),
            (60, 80, 10, vec![]),
        ] {
            assert_eq!(levels.islands(from, to, parted_by), expected, "{from} {to}");
        }
    }

    #[test]
    fn pauses_are_found_with_their_length() {
        let levels = drawn(".##..#...");
        assert_eq!(levels.pauses(20), [(30, 50), (60, 90)]);
        assert_eq!(levels.pauses(10), [(0, 10), (30, 50), (60, 90)]);
        assert_eq!(levels.pauses(31), []);
        assert_eq!(drawn("").pauses(1), []);
    }

    #[test]
    fn noise_of_a_room_is_a_pause_and_steady_sound_is_none() {
        let noisy: Vec<f32> = [[-45.0; 50], [-20.0; 50], [-45.0; 50]].concat();
        let levels = Levels::of_frames(noisy);
        assert_eq!(levels.pauses(20), [(0, 50), (100, 150)]);
        let hum: Vec<f32> = (0..150).map(|n| -30.0 + (n % 7) as f32).collect();
        let levels = Levels::of_frames(hum);
        assert_eq!((levels.pauses(5), levels.first_sound(0, 150)), (vec![], Some(0)));
    }

    #[test]
    fn files_are_read() {
        let mut samples = vec![0_i16; 1_600];
        samples.extend([8_000; 800]);
        samples.extend([0; 90]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), of_samples(16_000, &samples)).unwrap();
        let wav = Wav::of_file(file.path()).unwrap();
        let levels = Levels::of_file(file.path(), &wav, &|| Ok(())).unwrap().unwrap();
        assert_eq!(levels.len(), 16, "the last frame is a short one");
        assert_eq!(levels.islands(0, 16, 2), [(10, 15)]);
        assert_eq!(levels.quietest(0, 16), Some(7));
        let eight = Wav { bits: 8, ..wav };
        assert!(Levels::of_file(file.path(), &eight, &|| Ok(())).unwrap().is_none());
        let unwanted =
            || Err(callsheet_actors::StepError::retryable("step.cancelled", "it was called off"));
        assert!(Levels::of_file(file.path(), &wav, &unwanted).is_err());
    }
}
