//! How often each thing happened: a simulation in which little happens proves little.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Coverage(BTreeMap<(&'static str, &'static str), u64>);

impl Coverage {
    pub(crate) fn count(&mut self, group: &'static str, what: &'static str) {
        self.add(group, what, 1);
    }

    pub(crate) fn add(&mut self, group: &'static str, what: &'static str, count: u64) {
        *self.0.entry((group, what)).or_default() += count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for ((group, what), count) in &other.0 {
            self.add(group, what, *count);
        }
    }

    pub(crate) fn of(&self, group: &str, what: &str) -> u64 {
        let found = self.0.iter().find(|((g, w), _)| *g == group && *w == what);
        found.map_or(0, |(_, count)| *count)
    }

    /// What should have happened and never did.
    pub(crate) fn missing(&self) -> Vec<String> {
        let all =
            EXPECTED.iter().flat_map(|(group, names)| names.iter().map(move |n| (*group, *n)));
        let never = all.filter(|(group, what)| self.of(group, what) == 0);
        never.map(|(group, what)| format!("{group}: {what}")).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for ((group, what), count) in &self.0 {
            if *group != before {
                writeln!(f, "{group}")?;
                before = group;
            }
            writeln!(f, "  {what:<44}{count:>12}")?;
        }
        Ok(())
    }
}

/// Everything that has to happen at least once in ten thousand worlds.
const EXPECTED: &[(&str, &[&str])] = &[
    (
        "event",
        &[
            "JobSubmitted",
            "StepSkipped",
            "StepExpanded",
            "SleepBegan",
            "SleepEnded",
            "StepInDoubt",
            "ProbeStarted",
            "ProbeFailed",
            "StepHeld",
            "DoubtResolved",
            "StepStarted",
            "StepSucceeded",
            "AttemptFailed",
            "AttemptInterrupted",
            "ItemFailed",
            "StepFailed",
            "AttemptCancelled",
            "CancelRequested",
            "JobSucceeded",
            "JobFailed",
            "JobCancelled",
        ],
    ),
    ("action", &["StartStep", "StopStep"]),
    (
        "input",
        &[
            "Resume while running",
            "Resume while failing",
            "Resume while cancelling",
            "Resume when ended",
            "TimerFired while running",
            "TimerFired while failing",
            "TimerFired while cancelling",
            "StepEnded while running",
            "StepEnded while failing",
            "StepEnded while cancelling",
            "StepEnded when ended",
            "Cancel while running",
            "Cancel while failing",
            "Cancel while cancelling",
            "Cancel when ended",
            "Drain while running",
            "Drain while failing",
            "Drain while cancelling",
            "Quarantine while running",
            "Resolve while running",
        ],
    ),
    (
        "store",
        &[
            "New",
            "Existing",
            "Conflict",
            "Claimed",
            "Committed",
            "StaleEpoch",
            "Full",
            "OutcomeUnknown",
            "Stopped",
            "durable, never acknowledged",
        ],
    ),
    (
        "fault",
        &[
            "death between decision and commit",
            "death between commit and acknowledgement",
            "death between acknowledgement and deeds",
            "death in the middle of the deeds",
            "death between deeds and answer",
            "death by a body",
            "death at any time",
            "zombie",
            "actor death",
            "tree death",
            "store failure",
            "full disk",
            "slow store",
            "clock jump",
            "stale timer",
            "shutdown",
            "hang-up",
            "body failed",
            "body failed for good",
            "body hung",
            "body panicked",
            "body answered twice",
            "body answered late",
            "body of unknown kind",
        ],
    ),
    (
        "life",
        &[
            "passivated",
            "woken by the scheduler",
            "waited for a place",
            "parked",
            "given back",
            "poisoned",
            "start withheld",
            "many turns in one record",
            "ran ahead of the disk",
        ],
    ),
    (
        "doubt",
        &[
            "deed that must not be done twice",
            "a person said retry",
            "a person said succeeded",
            "a person said failed",
        ],
    ),
    ("cancel", &["accepted", "already stopping", "already ended"]),
];
