//! What a broken rule says: where, what was found, what to do.

use std::fmt::Write;

/// One place that breaks a rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Offence {
    /// `path:line`.
    pub(crate) place: String,
    pub(crate) found: String,
    pub(crate) remedy: String,
}

impl Offence {
    pub(crate) fn new(place: impl Into<String>, found: impl Into<String>, remedy: &str) -> Self {
        Self { place: place.into(), found: found.into(), remedy: remedy.to_owned() }
    }
}

/// Fails the test that holds `rule` with a list of everything that breaks it.
pub(crate) fn hold(rule: &str, offences: &[Offence]) {
    assert!(offences.is_empty(), "{}", listing(rule, offences));
}

fn listing(rule: &str, offences: &[Offence]) -> String {
    let mut text = format!("{rule}: broken in {} places\n", offences.len());
    for Offence { place, found, remedy } in offences {
        write!(text, "  {place}: {found}\n      hint: {remedy}\n")
            .expect("writing into a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_names_place_finding_and_remedy() {
        let offence = Offence::new("a.rs:3", "`x` in code", "write `y`");
        let expected = "no x: broken in 1 places\n  a.rs:3: `x` in code\n      hint: write `y`\n";
        assert_eq!(listing("no x", &[offence]), expected);
    }

    #[test]
    #[should_panic(expected = "no x: broken in 1 places")]
    fn a_broken_rule_fails_its_test() {
        hold("no x", &[Offence::new("a.rs:3", "`x`", "write `y`")]);
    }
}
