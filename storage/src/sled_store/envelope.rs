//! The envelope of every value: format version, kind, form, checksum, body.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format version |
//! | 1 | kind: what the body is |
//! | 1 | form: 0 when the body follows, 1 when its digest and length do, 2 when it is packed |
//! | 4 | CRC-32C of all the other bytes and the key, little-endian |
//! | rest | body |
//!
//! The key is part of the checksum, so a sound value in a wrong place is seen too. A packed body is
//! its length (4 bytes, little-endian) and an LZ4 block.

use std::borrow::Cow;

use callsheet_engine::mutated;

use crate::artifacts::Digest;
use crate::limits::{MAX_UNPACKED_BYTES, MAX_VALUE_BYTES, MIN_PACKED_BYTES};

/// The format that this code writes; it reads this one and all before it.
pub(super) const FORMAT: u8 = 2;

/// Bytes before the body.
pub(super) const HEADER_BYTES: usize = 7;

const CHECKSUM_AT: usize = 3;
const REFERENCE_BYTES: usize = 32 + 8;
const LENGTH_BYTES: usize = 4;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// One record of a journal.
    Record = 1,
    /// A job's head.
    Head = 2,
    /// What an idempotency key stands for.
    Key = 3,
    /// A workflow's definition.
    Definition = 4,
    /// What the store says of itself.
    Meta = 5,
    /// A part of what one batch appended to the log.
    Log = 6,
    /// A job: its head, and as much of its history as fits.
    Job = 7,
    /// Some records of one job, one after the other.
    History = 8,
    /// A sleeping job's timer; all is in its key.
    Timer = 9,
}

/// A value's content, or where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// Right here.
    Here(&'a [u8]),
    /// In a file of its own, by digest and length.
    Elsewhere(Digest, u64),
    /// Right here, as its length and an LZ4 block.
    Packed(&'a [u8]),
}

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadEnvelope {
    #[error("it is cut off after {0} bytes")]
    Short(usize),
    #[error("a newer Callsheet wrote it: format {0}, this one knows {FORMAT}")]
    Newer(u8),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it is of kind {found}, not {expected}")]
    WrongKind { expected: u8, found: u8 },
    #[error("its form {0} is not known")]
    UnknownForm(u8),
    #[error("it cannot be unpacked")]
    Unpackable,
}

/// The kind that a value says it is, whatever else is wrong with it.
pub(super) fn is_kind(kind: Kind, value: &[u8]) -> bool {
    value.get(1) == Some(&(kind as u8))
}

/// Packs a body if that makes it smaller, and seals it; `None` when it is too large for a value.
pub(super) fn seal_smaller(kind: Kind, key: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    if body.len() > MAX_UNPACKED_BYTES {
        return None;
    }
    if body.len() >= MIN_PACKED_BYTES {
        let length = u32::try_from(body.len()).ok()?;
        let mut packed = length.to_le_bytes().to_vec();
        packed.resize(LENGTH_BYTES + lz4_flex::block::get_maximum_output_size(body.len()), 0);
        let size = lz4_flex::block::compress_into(body, &mut packed[LENGTH_BYTES..]).ok()?;
        packed.truncate(LENGTH_BYTES + size);
        if packed.len() < body.len() {
            let fits = HEADER_BYTES + packed.len() <= MAX_VALUE_BYTES;
            return fits.then(|| seal(kind, key, Body::Packed(&packed)));
        }
    }
    let fits = HEADER_BYTES + body.len() <= MAX_VALUE_BYTES;
    fits.then(|| seal(kind, key, Body::Here(body)))
}

/// Takes out a body that [`seal_smaller`] put in.
pub(super) fn unseal_here<'a>(
    kind: Kind,
    key: &[u8],
    value: &'a [u8],
) -> Result<Cow<'a, [u8]>, BadEnvelope> {
    match unseal(kind, key, value)? {
        Body::Here(body) => Ok(Cow::Borrowed(body)),
        Body::Packed(packed) => unpack(packed).map(Cow::Owned).ok_or(BadEnvelope::Unpackable),
        Body::Elsewhere(..) => Err(BadEnvelope::UnknownForm(1)),
    }
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = packed.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > MAX_UNPACKED_BYTES {
        return None;
    }
    let mut body = vec![0; length];
    let found = lz4_flex::block::decompress_into(block, &mut body).ok()?;
    (found == length).then_some(body)
}

/// Puts a body into its envelope. The result is what sled gets.
pub(super) fn seal(kind: Kind, key: &[u8], body: Body<'_>) -> Vec<u8> {
    let mut value = vec![FORMAT, kind as u8, 0, 0, 0, 0, 0];
    assert_eq!(value.len(), HEADER_BYTES, "the header has its fixed length");
    match body {
        Body::Here(bytes) => value.extend_from_slice(bytes),
        Body::Elsewhere(digest, length) => {
            value[2] = 1;
            value.extend_from_slice(digest.as_bytes());
            value.extend_from_slice(&length.to_le_bytes());
        }
        Body::Packed(packed) => {
            value[2] = 2;
            value.extend_from_slice(packed);
        }
    }
    let checksum = checksum(&value, key);
    value[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    assert!(value.len() <= MAX_VALUE_BYTES, "larger bodies are kept elsewhere");
    debug_assert_eq!(unseal(kind, key, &value), Ok(body), "what is written can be read");
    value
}

/// Takes a body out of its envelope, which must be sound and of this kind.
pub(super) fn unseal<'a>(kind: Kind, key: &[u8], value: &'a [u8]) -> Result<Body<'a>, BadEnvelope> {
    let short = || BadEnvelope::Short(value.len());
    let (header, body) = value.split_first_chunk::<HEADER_BYTES>().ok_or_else(short)?;
    let [version, found, form, stored @ ..] = *header;
    // The version comes first: a newer format may keep its checksum elsewhere.
    if version > FORMAT {
        return Err(BadEnvelope::Newer(version));
    }
    if u32::from_le_bytes(stored) != checksum(value, key) && !mutated("value-checksum") {
        return Err(BadEnvelope::Checksum);
    }
    if found != kind as u8 {
        return Err(BadEnvelope::WrongKind { expected: kind as u8, found });
    }
    match form {
        0 => Ok(Body::Here(body)),
        1 => {
            let place: &[u8; REFERENCE_BYTES] = body.try_into().map_err(|_| short())?;
            let (digest, length) = place.split_at(32);
            let digest = digest.try_into().map_err(|_| short())?;
            let length = length.try_into().map_err(|_| short())?;
            Ok(Body::Elsewhere(Digest::from_bytes(digest), u64::from_le_bytes(length)))
        }
        2 => Ok(Body::Packed(body)),
        other => Err(BadEnvelope::UnknownForm(other)),
    }
}

fn checksum(value: &[u8], key: &[u8]) -> u32 {
    debug_assert!(value.len() >= HEADER_BYTES, "there is a header");
    let start = crc32c::crc32c(&value[..CHECKSUM_AT]);
    crc32c::crc32c_append(crc32c::crc32c_append(start, &value[HEADER_BYTES..]), key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Kind; 9] = [
        Kind::Record,
        Kind::Head,
        Kind::Key,
        Kind::Definition,
        Kind::Meta,
        Kind::Log,
        Kind::Job,
        Kind::History,
        Kind::Timer,
    ];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.bytes().collect();
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    // Both versions as they lie on disks: if this changes, stored jobs cannot be read any more.
    #[test]
    fn version_1_is_read() {
        let here = bytes("010100953652f7626f6479");
        assert_eq!(unseal(Kind::Record, b"J-key", &here), Ok(Body::Here(b"body")));
        let elsewhere = bytes(concat!(
            "01040141b17379af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7",
            "cc9a93cae41f32628813000000000000"
        ));
        let place = Body::Elsewhere(Digest::of(b""), 5_000);
        assert_eq!(unseal(Kind::Definition, b"D-key", &elsewhere), Ok(place));
    }

    #[test]
    fn version_2_is_golden() {
        let here = seal(Kind::Record, b"J-key", Body::Here(b"body"));
        assert_eq!(hex(&here), "020100c54ac0a4626f6479");
        let packed = seal_smaller(Kind::History, b"J-key", &[7; 600]).unwrap();
        assert_eq!(hex(&packed), "020802e8b9f884580200001f070100ffff4060070707070707");
    }

    #[test]
    fn bodies_are_packed_when_that_helps() {
        let noise: Vec<u8> = (0..6_000_u32).filter_map(blake3_byte).collect();
        let cases: [(&[u8], bool); 4] =
            [(&noise[..3_000], true), (&[1; 20_000], true), (b"short", true), (&noise, false)];
        for (body, fits) in cases {
            let Some(value) = seal_smaller(Kind::Job, b"key", body) else {
                assert!(!fits, "{} bytes", body.len());
                continue;
            };
            assert!(fits && value.len() <= HEADER_BYTES + body.len());
            assert_eq!(unseal_here(Kind::Job, b"key", &value).unwrap(), body);
        }
        assert_eq!(seal_smaller(Kind::Job, b"key", &vec![0; MAX_UNPACKED_BYTES + 1]), None);
        for packed in [&[][..], &[9, 0, 0, 0], &[255; 8], &[5, 0, 0, 0, 0x10, 1]] {
            let value = seal(Kind::Job, b"key", Body::Packed(packed));
            assert_eq!(unseal_here(Kind::Job, b"key", &value), Err(BadEnvelope::Unpackable));
        }
    }

    fn blake3_byte(n: u32) -> Option<u8> {
        blake3::hash(&n.to_le_bytes()).as_bytes().first().copied()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let value = seal(Kind::Head, b"key", Body::Here(b"body"));
        let with = |at: usize, byte: u8| {
            let mut changed = value.clone();
            changed[at] = byte;
            unseal(Kind::Head, b"key", &changed).unwrap_err()
        };
        assert_eq!(with(0, 3), BadEnvelope::Newer(3));
        assert_eq!(with(1, 1), BadEnvelope::Checksum);
        assert_eq!(with(8, b'x'), BadEnvelope::Checksum);
        let kind = unseal(Kind::Key, b"key", &value).unwrap_err();
        assert_eq!(kind, BadEnvelope::WrongKind { expected: 3, found: 2 });
        let place = unseal(Kind::Head, b"other key", &value).unwrap_err();
        assert_eq!(place, BadEnvelope::Checksum);
        for length in 0..HEADER_BYTES {
            let cut = unseal(Kind::Head, b"key", &value[..length]).unwrap_err();
            assert_eq!(cut, BadEnvelope::Short(length));
        }
        assert!(BadEnvelope::Newer(3).to_string().contains("newer Callsheet"));
    }

    proptest! {
        #[test]
        fn every_body_comes_back(
            kind in 0..KINDS.len(),
            key in prop::collection::vec(any::<u8>(), 0..64),
            body in prop::collection::vec(any::<u8>(), 0..MAX_VALUE_BYTES - HEADER_BYTES),
        ) {
            let value = seal(KINDS[kind], &key, Body::Here(&body));
            prop_assert_eq!(unseal(KINDS[kind], &key, &value), Ok(Body::Here(&body)));
        }

        #[test]
        fn every_flipped_bit_is_seen(
            body in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let mut value = seal(Kind::Record, b"key", Body::Here(&body));
            let at = at.index(value.len());
            value[at] ^= 1_u8 << bit;
            prop_assert!(unseal(Kind::Record, b"key", &value).is_err());
        }

        #[test]
        fn garbage_never_panics(value in prop::collection::vec(any::<u8>(), 0..100)) {
            for kind in KINDS {
                let _ = unseal(kind, b"key", &value);
            }
        }
    }
}
