//! The head of a WAV file: enough to know whether a recogniser can take it, and how long it is.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use callsheet_actors::{StepError, StepResult};

use crate::limits::{
    MAX_DURATION_S, MAX_WAV_BITS_COUNT, MAX_WAV_CHANNELS_COUNT, MAX_WAV_CHUNKS_COUNT,
    MAX_WAV_SAMPLES_PER_SECOND,
};

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
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        match Self::of_source(BufReader::new(file), size) {
            Ok(Some(wav)) => Ok(wav),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error.into()),
            Ok(None) | Err(_) => Err(StepError::fatal(
                "speech.audio",
                format!(
                    "the audio is not a WAV file of plain samples, with at most \
                     {MAX_WAV_CHANNELS_COUNT} channels, {MAX_WAV_SAMPLES_PER_SECOND} Hz and a day"
                ),
            )
            .with_hint("take the sound out with `media.extract_audio` first")),
        }
    }

    /// Goes from chunk to chunk up to the samples: before them there may be pictures and texts of
    /// any size. None when it is another kind of file.
    fn of_source(mut source: impl Read + Seek, size: u64) -> io::Result<Option<Self>> {
        let mut head = [0; 12];
        source.read_exact(&mut head)?;
        if !head.starts_with(b"RIFF") || !head.ends_with(b"WAVE") {
            return Ok(None);
        }
        let (mut at, mut wav) = (head.len() as u64, None);
        for _ in 0..MAX_WAV_CHUNKS_COUNT {
            source.seek(SeekFrom::Start(at))?;
            let (mut name, mut length) = ([0; 4], [0; 4]);
            source.read_exact(&mut name)?;
            source.read_exact(&mut length)?;
            let (body, length) = (at + 8, u64::from(u32::from_le_bytes(length)));
            match &name {
                b"fmt " => {
                    let mut format = [0; 16];
                    source.read_exact(&mut format)?;
                    wav = Some(Self::of_format(&format));
                }
                // A program that was killed leaves a length that is too large, or none.
                b"data" => {
                    let data_bytes = length.min(size.saturating_sub(body));
                    let wav = wav.map(|wav| Self { data_at: body, data_bytes, ..wav });
                    return Ok(wav.filter(Self::can_be));
                }
                _ => {}
            }
            at = body + length + length % 2;
        }
        Ok(None)
    }

    /// What the head says; samples that are not plain have no channels.
    fn of_format(format: &[u8; 16]) -> Self {
        let short = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
        let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
        let channels = if short(0) == 1 { short(2) } else { 0 };
        Self { channels, sample_rate: long(4), bits: short(14), data_at: 0, data_bytes: 0 }
    }

    /// Whether what the head says can be of a recording: room is made for it before it is read.
    fn can_be(&self) -> bool {
        self.bytes_per_second() > 0
            && self.channels <= MAX_WAV_CHANNELS_COUNT
            && self.sample_rate <= MAX_WAV_SAMPLES_PER_SECOND
            && self.bits <= MAX_WAV_BITS_COUNT
            && self.duration_s() <= MAX_DURATION_S
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

    fn read(bytes: &[u8]) -> Option<Wav> {
        Wav::of_source(io::Cursor::new(bytes), bytes.len() as u64).ok().flatten()
    }

    #[test]
    fn heads_are_read() {
        for (rate, channels, samples, seconds) in
            [(16_000, 1, 16_000, 1.0), (44_100, 2, 22_050, 0.5), (8_000, 1, 0, 0.0)]
        {
            let wav = read(&silence(rate, channels, samples)).unwrap();
            assert_eq!((wav.sample_rate, wav.channels, wav.bits), (rate, channels, 16));
            assert!((wav.duration_s() - seconds).abs() < 1e-9);
        }
    }

    /// A file of silence with a chunk of so many bytes before its samples.
    fn with_chunk(length: u32) -> Vec<u8> {
        let mut bytes = silence(16_000, 1, 8_000);
        let mut chunk = b"LIST".to_vec();
        chunk.extend(length.to_le_bytes());
        chunk.resize(8 + length.next_multiple_of(2) as usize, b'a');
        bytes.splice(36..36, chunk);
        bytes
    }

    #[test]
    fn chunks_before_the_samples_and_wrong_lengths_are_borne() {
        for length in [0, 3, 200_001] {
            let mut bytes = with_chunk(length);
            let at = bytes.windows(4).position(|four| four == b"data").unwrap() + 4;
            bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            let wav = read(&bytes).unwrap_or_else(|| panic!("{length}"));
            assert!((wav.duration_s() - 0.5).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_no_wav_is_refused() {
        let whole = silence(16_000, 1, 4);
        for bytes in [&b""[..], b"RIFF\0\0\0\0WAVE", b"ID3\x04", &whole[..40]] {
            assert_eq!(read(bytes), None);
        }
        let mut endless = whole[..12].to_vec();
        endless.extend(b"none\0\0\0\0".repeat(MAX_WAV_CHUNKS_COUNT));
        endless.extend(&whole[12..]);
        assert_eq!(read(&endless), None);
    }

    #[test]
    fn heads_that_no_recording_has_are_refused_before_room_is_made_for_them() {
        for (channels, rate, bits, fits) in [
            (64_u16, 384_000_u32, 32_u16, true),
            (65, 8_000, 16, false),
            (65_535, u32::MAX, 16, false),
            (4_096, 16_000, 16, false),
            (1, 384_001, 16, false),
            (1, 16_000, 65_535, false),
            (0, 16_000, 16, false),
            (1, 0, 16, false),
        ] {
            let mut bytes = silence(16_000, 1, 8);
            bytes[22..24].copy_from_slice(&channels.to_le_bytes());
            bytes[24..28].copy_from_slice(&rate.to_le_bytes());
            bytes[34..36].copy_from_slice(&bits.to_le_bytes());
            assert_eq!(read(&bytes).is_some(), fits, "{channels} {rate} {bits}");
        }
        // A rate so low that little is more than a day: levels are taken a hundred times a second.
        let long = silence(1, 1, 86_400);
        assert_eq!((read(&long).is_some(), read(&silence(1, 1, 86_401))), (true, None));
    }
}
