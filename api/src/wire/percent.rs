//! Percentages as numbers of one decimal.

/// A percentage to one decimal, cut rather than rounded: 100 is said of nothing less.
pub(crate) fn percent(percent: f64) -> f64 {
    // The least that is added is that of a number such as 57.3, which is a little less in binary.
    (percent * 10.0 + 1e-6).floor() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_cut() {
        let table = [(0.0, 0.0), (57.3, 57.3), (57.39, 57.3), (99.99, 99.9), (100.0, 100.0)];
        for (given, expected) in table {
            assert_eq!(percent(given), expected, "{given}");
        }
        for tenths in 0..=1_000 {
            let given = f64::from(tenths) / 10.0;
            assert_eq!(percent(given), given, "what was cut is not cut again");
        }
    }
}
