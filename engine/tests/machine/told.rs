//! What an input must be answered with: events as far as they can be foretold.

use callsheet_engine::{Event, Failure, Interruption, Resolver, Timestamp, Verdict};
use serde_json::Value;

use crate::graph::Node;

/// An event that must come, as far as it can be told.
#[derive(Debug)]
pub(crate) enum Told {
    Succeeded(u64, Value, bool),
    Failed { token: u64, candidate: u32, least: u64, most: u64, now: Timestamp },
    ItemFailed(usize, usize, Failure),
    Interrupted(u64, Interruption),
    Cancelled(u64),
    CancelRequested,
    InDoubt(u64, Interruption, Option<Failure>),
    ProbeFailed { token: u64, least: u64, most: u64 },
    Held(usize, usize, Option<Failure>),
    Again { place: (usize, usize), by: Resolver, candidate: u32, least: u64, most: u64 },
    Done { place: (usize, usize), output: Value },
}

impl Told {
    /// Whether it has come.
    pub(crate) fn check(&self, event: &Event) {
        let right = match (self, event) {
            (
                Self::Succeeded(told, value, recalled),
                Event::StepSucceeded { token, output, cached, .. },
            ) => *told == token.0 && value == output && recalled == cached,
            (
                Self::Failed { token: told, candidate: next, least, most, now },
                Event::AttemptFailed { token, candidate, retry_at, at, .. },
            ) => {
                let wait = retry_at.since(*at).0;
                let right = *told == token.0 && next == candidate && at == now;
                right && (*least..=*most).contains(&wait)
            }
            (Self::ItemFailed(s, i, told), Event::ItemFailed { step, item, failure, .. }) => {
                (*s, *i, told) == (step.at(), item.at(), failure)
            }
            (Self::Interrupted(told, why), Event::AttemptInterrupted { token, cause, .. }) => {
                *told == token.0 && why == cause
            }
            (Self::Cancelled(told), Event::AttemptCancelled { token, .. }) => *told == token.0,
            (Self::CancelRequested, Event::CancelRequested { .. }) => true,
            (Self::InDoubt(told, why, seen), Event::StepInDoubt { token, cause, failure, .. }) => {
                (*told, why, seen) == (token.0, cause, failure)
            }
            (
                Self::ProbeFailed { token: told, least, most },
                Event::ProbeFailed { token, retry_at, at, .. },
            ) => *told == token.0 && (*least..=*most).contains(&retry_at.since(*at).0),
            (Self::Held(s, i, told), Event::StepHeld { step, item, failure, .. }) => {
                (*s, *i, told) == (step.at(), item.at(), failure)
            }
            (_, Event::DoubtResolved { .. }) => self.is_verdict(event),
            _ => false,
        };
        assert!(right, "{self:?} was told, {event:?} came");
    }

    fn is_verdict(&self, event: &Event) -> bool {
        let Event::DoubtResolved { step, item, by, verdict, at } = event else { return false };
        let there = (step.at(), item.at());
        match (self, verdict) {
            (
                Self::Again { place, by: told, candidate: next, least, most },
                Verdict::Again { retry_at, candidate },
            ) => {
                let wait = retry_at.since(*at).0;
                (*place, told, next) == (there, by, candidate) && (*least..=*most).contains(&wait)
            }
            (Self::Done { place, output: told }, Verdict::Succeeded { output }) => {
                (*place, told) == (there, output) && *by == Resolver::Person
            }
            _ => false,
        }
    }
}

/// The shortest and the longest wait after so many tries.
pub(crate) fn waits(node: &Node, tries: u32) -> (u64, u64) {
    let retry = &node.retry;
    let most = retry.max.0 as f64;
    let mut bare = retry.initial.0 as f64;
    for _ in 1..tries {
        bare = (bare * retry.factor).min(most);
    }
    let (least, most) = (bare * (1.0 - retry.jitter), (bare * (1.0 + retry.jitter)).min(most));
    ((least.floor() as u64).saturating_sub(1), most.ceil() as u64)
}
