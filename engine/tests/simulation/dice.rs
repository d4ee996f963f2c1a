//! Chance from one seed: the same numbers on every machine and in every version, so that a seed
//! which once broke a promise can be played again for ever.

/// xoshiro256** (Blackman and Vigna 2018), seeded by SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice([u64; 4]);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self([(); 4].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let drawn = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        drawn
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A number from `least` to `most` whose logarithm is even: small ones as often as large ones.
    pub(crate) fn spread(&mut self, least: u64, most: u64) -> u64 {
        let octaves = u64::from((most / least.max(1)).ilog2());
        let low = least << self.below(octaves + 1);
        self.within(low, (low.saturating_mul(2)).min(most).max(low))
    }

    /// True in so many of a thousand cases.
    pub(crate) fn chance(&mut self, permille: u64) -> bool {
        // Drawn always, so that a fault that is switched off moves nothing else.
        self.below(1_000) < permille
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    pub(crate) fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_these_numbers_for_ever() {
        let mut dice = Dice::new(42);
        let drawn = [(); 4].map(|()| dice.next());
        let known = [
            0x1578_0b2e_0c2e_c716,
            0x6104_d986_6d11_3a7e,
            0xae17_5332_39e4_99a1,
            0xecb8_ad47_03b3_60a1,
        ];
        assert_eq!(drawn, known, "{drawn:#x?}");
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut dice = Dice::new(7);
        for _ in 0..1_000 {
            assert!(dice.below(3) < 3);
            assert!((5..=9).contains(&dice.within(5, 9)));
            assert!((10..=10_000).contains(&dice.spread(10, 10_000)));
            assert!(!dice.chance(0) && dice.chance(1_000));
        }
    }
}
