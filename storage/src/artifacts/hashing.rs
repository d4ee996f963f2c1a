//! Contents that are hashed while they are written, so that they need not be read again to be
//! named.

use super::Digest;

/// Hashes bytes as they pass.
#[derive(Clone, Debug, Default)]
pub struct Hashing(blake3::Hasher);

/// What was hashed: only [`Hashing`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    digest: Digest,
    size: u64,
}

impl Hashing {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What they are together.
    #[must_use]
    pub fn finish(&self) -> Hashed {
        let digest = Digest::from_bytes(*self.0.finalize().as_bytes());
        Hashed { digest, size: self.0.count() }
    }
}

impl Hashed {
    /// The name of the content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}
