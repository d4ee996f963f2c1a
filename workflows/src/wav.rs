//! The head of a WAV file: enough to know whether a recogniser can take it, and how long it is.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use callsheet_actors::{StepError, StepResult};

/// Bytes in which the head of a WAV file ends, with room for chunks before the samples.
const HEAD_BYTES: u64 = 64 * 1024;

/// What a WAV file says of its samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wav {
    pub(crate) channels: u16,
    pub(crate) sample_rate: u32,
    pub(crate) bits: u16,
    data_bytes: u64,
}

impl Wav {
    /// Reads the head of a file.
    ///
    /// # Errors
    /// `speech.audio` when it is no WAV file of plain samples.
    pub(crate) fn of_file(path: &Path) -> StepResult<Self> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut head = Vec::new();
        file.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        Self::of_bytes(&head, size).ok_or_else(|| {
            StepError::fatal("speech.audio", "the audio is not a WAV file of plain samples")
                .with_hint("take the sound out with `media.extract_audio` first")
        })
    }

    fn of_bytes(head: &[u8], size: u64) -> Option<Self> {
        if head.get(..4)? != b"RIFF" || head.get(8..12)? != b"WAVE" {
            return None;
        }
        let (mut at, mut wav) = (12, None);
        loop {
            let name = head.get(at..at + 4)?;
            let length = u32::from_le_bytes(head.get(at + 4..at + 8)?.try_into().ok()?);
            let body = at + 8;
            match name {
                b"fmt " => wav = Some(Self::of_format(head.get(body..body + 16)?)?),
                // A program that was killed leaves a length that is too large, or none.
                b"data" => {
                    let data_bytes = u64::from(length).min(size.saturating_sub(body as u64));
                    return wav.map(|wav| Self { data_bytes, ..wav });
                }
                _ => {}
            }
            at = body.checked_add(length as usize)?.checked_add(length as usize % 2)?;
        }
    }

    fn of_format(format: &[u8]) -> Option<Self> {
        let short = |at: usize| Some(u16::from_le_bytes(format.get(at..at + 2)?.try_into().ok()?));
        let sample_rate = u32::from_le_bytes(format.get(4..8)?.try_into().ok()?);
        let plain = short(0)? == 1;
        let wav = Self { channels: short(2)?, sample_rate, bits: short(14)?, data_bytes: 0 };
        (plain && wav.bytes_per_second() > 0).then_some(wav)
    }

    /// Length in seconds.
    pub(crate) fn duration_s(&self) -> f64 {
        self.data_bytes as f64 / self.bytes_per_second() as f64
    }

    fn bytes_per_second(&self) -> u64 {
        u64::from(self.sample_rate) * u64::from(self.channels) * u64::from(self.bits) / 8
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// A WAV file of silence.
    pub(crate) fn silence(rate: u32, channels: u16, samples: u32) -> Vec<u8> {
        let data = samples * u32::from(channels) * 2;
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((36 + data).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(16u32.to_le_bytes());
        bytes.extend(1u16.to_le_bytes());
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend((rate * u32::from(channels) * 2).to_le_bytes());
        bytes.extend((channels * 2).to_le_bytes());
        bytes.extend(16u16.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(data.to_le_bytes());
        bytes.resize(bytes.len() + data as usize, 0);
        bytes
    }

    #[test]
    fn heads_are_read() {
        for (rate, channels, samples, seconds) in
            [(16_000, 1, 16_000, 1.0), (44_100, 2, 22_050, 0.5), (8_000, 1, 0, 0.0)]
        {
            let bytes = silence(rate, channels, samples);
            let wav = Wav::of_bytes(&bytes, bytes.len() as u64).unwrap();
            assert_eq!((wav.sample_rate, wav.channels, wav.bits), (rate, channels, 16));
            assert!((wav.duration_s() - seconds).abs() < 1e-9);
        }
    }

    #[test]
    fn chunks_before_the_samples_and_wrong_lengths_are_borne() {
        let mut bytes = silence(16_000, 1, 8_000);
        bytes.splice(36..36, *b"LIST\x03\0\0\0abc\0");
        let at = bytes.windows(4).position(|four| four == b"data").unwrap() + 4;
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let wav = Wav::of_bytes(&bytes, bytes.len() as u64).unwrap();
        assert!((wav.duration_s() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_wav_is_refused() {
        let whole = silence(16_000, 1, 4);
        for bytes in [&b""[..], b"RIFF\0\0\0\0WAVE", b"ID3\x04", &whole[..40]] {
            assert_eq!(Wav::of_bytes(bytes, bytes.len() as u64), None);
        }
    }
}
