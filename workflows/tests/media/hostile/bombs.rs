//! Files that are not what they say: cut off, or with a head that claims more than any machine has.
//! Each is made of a small good one, by a few bytes.

use crate::samples::Samples;

/// Where a mark begins in a file.
fn find(bytes: &[u8], mark: &[u8]) -> usize {
    bytes.windows(mark.len()).position(|found| found == mark).unwrap()
}

fn made(samples: &Samples, arguments: &str, name: &str) -> Vec<u8> {
    std::fs::read(samples.ffmpeg(arguments, name)).unwrap()
}

/// A film without the part that says where its pictures are, which stands at its end.
pub(super) fn without_index(samples: &Samples) -> Vec<u8> {
    let film = "-f lavfi -i testsrc2=size=64x64:duration=0.4 -c:v libx264 -preset ultrafast";
    let mut bytes = made(samples, film, "whole.mp4");
    bytes.truncate(find(&bytes, b"moov") - 4);
    bytes
}

/// One small picture in a container that says of it what the numbers say: bytes behind a mark, and
/// what is written there.
fn claiming(samples: &Samples, mark: &[u8], claims: [(usize, u32); 2]) -> Vec<u8> {
    let picture = "-f lavfi -i color=size=16x16:rate=1 -frames:v 1 -c:v rawvideo -pix_fmt bgr24";
    let mut bytes = made(samples, picture, "picture.avi");
    let at = find(&bytes, mark);
    for (offset, number) in claims {
        bytes[at + offset..at + offset + 4].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// A picture of so many pixels, as its head has it.
pub(super) fn of_pixels(samples: &Samples, width: u32, height: u32) -> Vec<u8> {
    claiming(samples, b"strf", [(12, width), (16, height)])
}

/// A thousand million pictures a second, as its head has it.
pub(super) fn of_many_pictures(samples: &Samples) -> Vec<u8> {
    claiming(samples, b"strh", [(28, 1), (32, 1_000_000_000)])
}

/// A sound track of more streams than anybody opens.
pub(super) fn of_many_streams(samples: &Samples) -> Vec<u8> {
    samples.write("tone.wav", tone(8_000, 80));
    let many = "-i tone.wav -c copy ".to_owned() + &"-map 0:a ".repeat(300);
    made(samples, &many, "many.mkv")
}

/// Samples that a head spreads over two days.
pub(super) fn of_many_hours() -> Vec<u8> {
    tone(1, 2 * 24 * 3_600)
}

/// A sound in plain samples of one byte.
pub(super) fn tone(samples_per_second: u32, count: u32) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + count).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(samples_per_second.to_le_bytes());
    bytes.extend(samples_per_second.to_le_bytes());
    bytes.extend(b"\x01\0\x08\0data");
    bytes.extend(count.to_le_bytes());
    bytes.extend((0..count).map(|n| if n / 20 % 2 == 0 { 100 } else { 156 }));
    bytes
}
