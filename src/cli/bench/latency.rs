//! Latencies and their percentiles.

use std::time::Duration;

/// Latencies of many like deeds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Takes one more.
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Takes all of another's.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The latencies, in milliseconds, that these shares of a hundred do not exceed; 0 of none.
    pub(crate) fn percentiles_ms<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut sorted = self.0.clone();
        sorted.sort();
        shares.map(|share| {
            let rank = (share / 100.0 * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut all = Latencies::default();
        assert_eq!(all.percentiles_ms([50.0, 99.0]), [0.0, 0.0]);
        (1..=100).rev().for_each(|ms| all.push(Duration::from_millis(ms)));
        assert_eq!(all.percentiles_ms([0.0, 50.0, 99.0, 100.0]), [1.0, 50.0, 99.0, 100.0]);
        let mut one = Latencies::default();
        one.push(Duration::from_millis(7));
        assert_eq!(one.percentiles_ms([50.0, 99.0]), [7.0, 7.0]);
        one.append(all);
        assert_eq!(one.count(), 101);
    }
}
