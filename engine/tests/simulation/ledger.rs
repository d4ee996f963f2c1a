//! What the world outside knows: answers that callers were given, bodies that began, what they
//! said. It outlives every process.

use std::collections::{BTreeMap, BTreeSet};

use callsheet_engine::{Decision, Event, JobId, Outcome, Timestamp};

use serde_json::Value;

use crate::chronicle::{Told, hold};
use crate::store::Status;

/// The books of the world outside.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Which job a key stands for, and the request that it came with.
    keys: BTreeMap<u64, (u64, JobId)>,
    /// Jobs whose submit was acknowledged.
    accepted: BTreeSet<JobId>,
    /// Ids whose submit was refused for certain.
    refused: BTreeSet<JobId>,
    /// Bodies that have begun, by fence.
    begun: BTreeSet<(JobId, u64)>,
    /// Pure bodies that have begun before their start was durable, by epoch and fence.
    ahead: BTreeSet<(JobId, u64, u64)>,
    told: BTreeMap<JobId, Told>,
    /// What was done of what must not be done twice, by job, step, item and candidate.
    deeds: BTreeMap<Deed, (Value, bool)>,
    /// Cancels that were acknowledged as accepted.
    pub(crate) cancelled: BTreeSet<JobId>,
    /// Ends that somebody was told of.
    pub(crate) ends: BTreeMap<JobId, Status>,
    /// Places of attempts by fence, and when a wait at a place may end at the soonest, by the
    /// clock that does not jump, with all jumps up to then.
    waits: BTreeMap<JobId, Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    places: BTreeMap<u64, (u32, u32, u32)>,
    /// By step, item and the number of the attempt that waits.
    due: BTreeMap<(u32, u32, u32), (i64, i64)>,
}

/// Where a deed is done: job, step, item and candidate.
type Deed = (JobId, usize, usize, u32);

impl Ledger {
    /// A deed is done that must not be done twice, unless somebody has allowed that.
    pub(crate) fn did(&mut self, deed: Deed, output: Value, may_repeat: bool) {
        let before = self.deeds.insert(deed, (output, may_repeat));
        let allowed = before.is_none_or(|(_, haunted)| may_repeat || haunted);
        hold!(allowed, "what is done once is done once", "{deed:?} is done again");
    }

    /// The result of a deed that was done.
    pub(crate) fn deed(&self, deed: Deed) -> Option<&Value> {
        self.deeds.get(&deed).map(|(output, _)| output)
    }

    pub(crate) fn created(&mut self, id: JobId, key: Option<(u64, u64)>) {
        if let Some((key, request)) = key {
            let before = self.keys.insert(key, (request, id));
            hold!(before.is_none(), "one job a key", "{before:?}, then {id}");
        }
    }

    pub(crate) fn accepted(&mut self, id: JobId, key: Option<(u64, u64)>, is_new: bool) {
        let known = key.and_then(|(key, request)| Some((self.keys.get(&key)?, request)));
        let right = known.is_none_or(|((before, known), asked)| *known == id && *before == asked);
        hold!(right && (known.is_some() || is_new), "one job a key", "{id} for {key:?}");
        self.accepted.insert(id);
    }

    pub(crate) fn conflict(&self, id: JobId, key: Option<(u64, u64)>) {
        let known = key.and_then(|(key, request)| Some((self.keys.get(&key)?, request)));
        let right = known.is_some_and(|((before, known), asked)| *known == id && *before != asked);
        hold!(right, "a key is refused to another request only", "{id} for {key:?}");
    }

    pub(crate) fn refused(&mut self, id: JobId) {
        self.refused.insert(id);
    }

    /// A body begins; ahead of the disk, when an epoch is given.
    pub(crate) fn began(&mut self, job: JobId, fence: u64, ahead: Option<u64>) {
        let new = match ahead {
            Some(epoch) => self.ahead.insert((job, epoch, fence)),
            None => self.begun.insert((job, fence)),
        };
        hold!(new, "one body a fence", "{job} begins {fence} again");
    }

    /// The job has a new owner: what ran ahead of the disk and was never recorded never was.
    pub(crate) fn claimed(&mut self, job: JobId, last_fence: u64) {
        if let Some(told) = self.told.get_mut(&job) {
            told.retain(|fence, _| *fence <= last_fence);
        }
    }

    /// A body, or who watched it, says how it ended.
    pub(crate) fn told(&mut self, job: JobId, fence: u64, outcome: &Outcome) {
        self.told.entry(job).or_default().entry(fence).or_default().push(outcome.clone());
    }

    pub(crate) fn told_of(&mut self, job: JobId) -> &Told {
        self.told.entry(job).or_default()
    }

    /// Whether a body began and said this: a result without either is invented.
    pub(crate) fn check_results(&self, job: JobId, events: &[Event]) {
        for event in events {
            if let Event::StepSucceeded { token, .. } = event {
                let ahead = (job, 0, 0)..(job, u64::MAX, u64::MAX);
                let begun = self.begun.contains(&(job, token.0))
                    || self.ahead.range(ahead).any(|(_, _, fence)| *fence == token.0);
                hold!(begun, "results come from bodies that began", "{event:?}");
            }
        }
    }

    /// No wait ends before its time by a clock that never jumps; `jumped` is how far the other one
    /// has jumped forward in all.
    pub(crate) fn check_waits(
        &mut self,
        job: JobId,
        decision: &Decision,
        steady: Timestamp,
        jumped: i64,
    ) {
        let waits = self.waits.entry(job).or_default();
        for event in &decision.events {
            match event {
                Event::StepStarted { step, item, token, attempt, .. } => {
                    let place = (step.0, item.0, *attempt);
                    if let Some((due, before)) = waits.due.remove(&place) {
                        let soonest = due - (jumped - before);
                        let in_time = steady.0 >= soonest;
                        hold!(in_time, "timers fire in time", "{event:?} {steady:?} < {soonest}");
                    }
                    waits.places.insert(token.0, place);
                }
                Event::AttemptFailed { token, retry_at, at, .. } => {
                    let wait = retry_at.0 - at.0;
                    if let Some((step, item, attempt)) = waits.places.get(&token.0) {
                        let next = (*step, *item, attempt + 1);
                        waits.due.insert(next, (steady.0 + wait, jumped));
                    }
                }
                Event::SleepBegan { step, due, at } => {
                    let wait = due.0 - at.0;
                    waits.due.insert((step.0, 0, 0), (steady.0 + wait, jumped));
                }
                Event::SleepEnded { step, .. } => {
                    if let Some((due, before)) = waits.due.remove(&(step.0, 0, 0)) {
                        let soonest = due - (jumped - before);
                        let in_time = steady.0 >= soonest;
                        hold!(in_time, "timers fire in time", "{event:?} {steady:?} < {soonest}");
                    }
                }
                Event::AttemptInterrupted { token, .. } | Event::StepInDoubt { token, .. } => {
                    if let Some((step, item, attempt)) = waits.places.get(&token.0) {
                        waits.due.remove(&(*step, *item, attempt + 1));
                    }
                }
                _ => {}
            }
        }
    }

    /// What was acknowledged is there, what was refused is not.
    pub(crate) fn check_store(&self, is_there: impl Fn(JobId) -> bool) {
        for id in &self.accepted {
            hold!(is_there(*id), "accepted is durable", "{id} is gone");
        }
        for id in &self.refused {
            hold!(!is_there(*id), "refused is refused", "{id} is there");
        }
    }
}
