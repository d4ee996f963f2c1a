//! What can go wrong on purpose.

use std::str::FromStr;
use std::time::Duration;

use callsheet::Millis;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error with this status.
    Status(u16),
    /// Too many requests, perhaps with the time after which to come again.
    Busy(Option<Duration>),
    /// No credit left: a 429 that no waiting helps against.
    Quota,
    /// The answer comes later.
    Delay(Duration),
    /// Half of the answer.
    Cut,
    /// A page of something in between.
    Html,
    /// No answer.
    Hang,
}

/// What to write for each fault.
const KNOWN: &str = "a fault is a status from 400 to 599, `429:2s`, `quota`, `delay:2s`, `cut`, \
                     `html` or `hang`";

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no fault: {KNOWN}");
        let time = |text: &str| -> Result<Duration, String> {
            let time = text.parse::<Millis>();
            time.map(Duration::from).map_err(|_| format!("`{text}` is no time such as `2s`"))
        };
        match text.split_once(':') {
            Some(("429", after)) => Ok(Self::Busy(Some(time(after)?))),
            Some(("delay", by)) => Ok(Self::Delay(time(by)?)),
            Some(_) => Err(wrong()),
            None => match text {
                "429" => Ok(Self::Busy(None)),
                "quota" => Ok(Self::Quota),
                "cut" => Ok(Self::Cut),
                "html" => Ok(Self::Html),
                "hang" => Ok(Self::Hang),
                _ => match text.parse() {
                    Ok(status @ 400..=599) => Ok(Self::Status(status)),
                    _ => Err(wrong()),
                },
            },
        }
    }
}

/// What befalls one call: a delay, and at most one other fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
}

impl FromIterator<Fault> for Fate {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        let mut fate = Self::default();
        for fault in faults {
            match fault {
                Fault::Delay(by) => fate.delay += by,
                other => fate.fault = fate.fault.or(Some(other)),
            }
        }
        fate
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            ("500", Fault::Status(500)),
            ("404", Fault::Status(404)),
            ("429", Fault::Busy(None)),
            ("429:2s", Fault::Busy(Some(seconds(2)))),
            ("quota", Fault::Quota),
            ("delay:300ms", Fault::Delay(Duration::from_millis(300))),
            ("cut", Fault::Cut),
            ("html", Fault::Html),
            ("hang", Fault::Hang),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in ["", "200", "600", "5xx", "500:2s", "delay", "429:", "delay:x", "Cut"] {
            let said = wrong.parse::<Fault>().unwrap_err();
            assert!(said.starts_with('`'), "{wrong}: {said}");
        }
        assert!("429:soon".parse::<Fault>().unwrap_err().contains("no time such as `2s`"));
    }

    #[test]
    fn delays_add_up_and_the_first_other_fault_counts() {
        let fate: Fate = ["delay:1s", "cut", "delay:2s", "500"]
            .iter()
            .map(|text| text.parse::<Fault>().unwrap())
            .collect();
        assert_eq!(fate, Fate { delay: Duration::from_secs(3), fault: Some(Fault::Cut) });
    }
}
