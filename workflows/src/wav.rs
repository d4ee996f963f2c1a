//! The head of a WAV file: enough to know whether a recogniser can take it, and how long it is.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
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
    /// Byte of the file at which the samples begin.
    pub(crate) data_at: u64,
    /// Bytes that the samples take.
    pub(crate) data_bytes: u64,
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
        Read::by_ref(&mut file).take(HEAD_BYTES).read_to_end(&mut head)?;
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
                    return wav.map(|wav| Self { data_at: body as u64, data_bytes, ..wav });
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
        let (channels, bits) = (short(2)?, short(14)?);
        let wav = Self { channels, sample_rate, bits, data_at: 0, data_bytes: 0 };
        (plain && wav.bytes_per_second() > 0).then_some(wav)
    }

    /// Copies a part of a file's samples, from second to second, into a file of its own.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn copy_part(
        &self,
        from: &Path,
        (start_s, end_s): (f64, f64),
        to: &Path,
    ) -> io::Result<()> {
        let block = u64::from(self.channels) * u64::from(self.bits) / 8;
        let byte = |second: f64| {
            let sample = (second * f64::from(self.sample_rate)).round() as u64;
            (sample * block.max(1)).min(self.data_bytes)
        };
        let (first, last) = (byte(start_s), byte(end_s));
        let length = last.saturating_sub(first);
        let mut source = File::open(from)?;
        source.seek(SeekFrom::Start(self.data_at + first))?;
        let mut target = BufWriter::new(File::create(to)?);
        target.write_all(&self.head(length))?;
        io::copy(&mut source.take(length), &mut target)?;
        target.flush()
    }

    /// The head of a file with so many bytes of samples, which follow it.
    fn head(&self, data_bytes: u64) -> Vec<u8> {
        // Beyond 4 GiB the format has no words; readers then go by the size of the file.
        let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let rate = u32::try_from(self.bytes_per_second()).unwrap_or(u32::MAX);
        let block = self.channels * self.bits / 8;
        let mut head = b"RIFF".to_vec();
        head.extend(size(data_bytes + 36));
        head.extend(b"WAVEfmt \x10\0\0\0\x01\0");
        head.extend(self.channels.to_le_bytes());
        head.extend(self.sample_rate.to_le_bytes());
        head.extend(rate.to_le_bytes());
        head.extend(block.to_le_bytes());
        head.extend(self.bits.to_le_bytes());
        head.extend(b"data");
        head.extend(size(data_bytes));
        head
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

    /// A WAV file of one channel with these samples.
    pub(crate) fn of_samples(rate: u32, samples: &[i16]) -> Vec<u8> {
        let mut bytes = silence(rate, 1, u32::try_from(samples.len()).unwrap());
        bytes.truncate(44);
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_part_is_a_file_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        let samples: Vec<i16> = (0..1_000).collect();
        std::fs::write(&from, of_samples(1_000, &samples)).unwrap();
        let wav = Wav::of_file(&from).unwrap();
        for (part, expected) in [
            ((0.0, 1.0), &samples[..]),
            ((0.25, 0.5), &samples[250..500]),
            ((0.9, 7.0), &samples[900..]),
            ((2.0, 3.0), &[]),
        ] {
            wav.copy_part(&from, part, &to).unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), of_samples(1_000, expected), "{part:?}");
        }
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
