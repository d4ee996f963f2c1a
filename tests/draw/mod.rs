//! What every test with chance in it begins with: a number that can be set, and a seed.
#![allow(dead_code)] // Shared: not every test uses all of it.

/// A number from the environment.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Numbers from a seed (xorshift64*, Vigna 2016).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// A number from 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.next() as f64 / f64::from(u32::MAX)
    }
}
