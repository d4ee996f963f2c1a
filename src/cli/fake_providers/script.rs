//! Which calls a fault befalls, on the command line and in a file.

use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use super::fault::{Fate, Fault};
use crate::cli::error::{CliError, Result};
use crate::cli::source;

/// A fault and the calls that it befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    first: u64,
    last: u64,
    fault: Fault,
}

/// The fate of a call by its number, which counts from 1.
pub(super) fn fate(rules: &[Rule], number: u64) -> Fate {
    let hit = rules.iter().filter(|rule| (rule.first..=rule.last).contains(&number));
    hit.map(|rule| rule.fault).collect()
}

/// Reads a file of faults.
///
/// # Errors
/// When it cannot be read or says what is no fault; the complaint names the place.
pub(super) fn read(file: &Path) -> Result<Vec<Rule>> {
    let text = source::read(file)?;
    rules(&text).map_err(|why| {
        CliError::failed(format!("`{}`: {why}", file.display())).hint(
            "a script is `faults:` with a list such as `- { calls: 1-2, fault: 500 }`; \
             see callsheet fake-providers --help",
        )
    })
}

/// A file of faults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    faults: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default = "all")]
    calls: Word,
    fault: Word,
}

/// A word that may be written as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(u64),
    Text(String),
}

fn all() -> Word {
    Word::Text("all".to_owned())
}

impl Word {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

fn rules(text: &str) -> std::result::Result<Vec<Rule>, String> {
    let script: Script = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let rule = |(n, entry): (usize, &Entry)| {
        Rule::new(&entry.calls.text(), &entry.fault.text())
            .map_err(|why| format!("fault {}: {why}", n + 1))
    };
    script.faults.iter().enumerate().map(rule).collect()
}

impl Rule {
    fn new(calls: &str, fault: &str) -> std::result::Result<Self, String> {
        let fault = fault.trim().parse()?;
        let (first, last) = read_calls(calls.trim()).ok_or_else(|| {
            format!("`{calls}` names no calls: they count from 1, as in `3`, `1-3`, `4-` or `all`")
        })?;
        Ok(Self { first, last, fault })
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (calls, fault) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` should be CALLS=FAULT, such as `1-2=500`"))?;
        Self::new(calls, fault)
    }
}

fn read_calls(text: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
    let (first, last) = match text.split_once('-') {
        _ if text == "all" => (1, u64::MAX),
        None => (number(text)?, number(text)?),
        Some((first, "")) => (number(first)?, u64::MAX),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_fate_of_a_call_is_told_by_its_number() {
        let yaml = "faults:\n  - { calls: 1-2, fault: 500 }\n  - { calls: 3, fault: '429:2s' }\n  \
                    - { fault: delay:1s }\n  - { calls: 5-, fault: hang }\n";
        let json = r#"{ "faults": [ { "calls": "1-2", "fault": "500" },
            { "calls": 3, "fault": "429:2s" }, { "fault": "delay:1s" },
            { "calls": "5-", "fault": "hang" } ] }"#;
        for text in [yaml, json] {
            let rules = rules(text).unwrap();
            let faults: Vec<_> = (1..=6).map(|number| fate(&rules, number).fault).collect();
            let second = Duration::from_secs(1);
            let broken = Some(Fault::Status(500));
            let busy = Some(Fault::Busy(Some(second * 2)));
            let hang = Some(Fault::Hang);
            assert_eq!(faults, [broken, broken, busy, None, hang, hang]);
            assert_eq!(fate(&rules, 4).delay, second);
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (text, expected) in [
            ("faults:\n  - { calls: 1, fault: 5oo }\n", "fault 1: `5oo` is no fault"),
            ("faults: [{ fault: cut }, { calls: 0, fault: cut }]", "fault 2: `0` names no calls"),
            ("faults: [{ calls: 3-1, fault: cut }]", "`3-1` names no calls"),
            ("faults: [{ calls: 3 }]", "fault"),
            ("faults: [{ falt: cut }]", "falt"),
            ("fault: 500\n", "fault"),
            ("faults: [", "line"),
        ] {
            let said = rules(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
        for (text, expected) in
            [("500", "should be CALLS=FAULT"), ("x=500", "names no calls"), ("1=x", "is no fault")]
        {
            let said = text.parse::<Rule>().unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
        let missing = read(Path::new("nowhere.yaml")).unwrap_err().to_string();
        assert!(missing.contains("cannot read `nowhere.yaml`"), "{missing}");
    }
}
