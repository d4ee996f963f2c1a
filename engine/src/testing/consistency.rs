//! What the state keeps beside its steps to find things quickly must be what the steps say.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ItemIndex, StepIndex};
use crate::state::{Active, DoubtStage, ItemStatus, JobState, Phase, StepStatus};

/// Counts everything anew, the slow way, and compares.
pub(crate) fn check_consistency(state: &JobState) {
    let (mut ready, mut hungry) = (BTreeSet::new(), BTreeSet::new());
    let (mut waits, mut open) = (BTreeSet::new(), BTreeMap::new());
    let (mut doubts, mut held) = (BTreeSet::new(), BTreeSet::new());
    let mut unsettled = 0;
    for (step, record) in (0u32..).map(StepIndex).zip(&state.steps) {
        let planned = state.plan.step(step);
        check_needs(state, step);
        assert_eq!(
            record.ended_at.is_some(),
            !matches!(record.status, StepStatus::Pending | StepStatus::Active(_))
        );
        unsettled += usize::from(record.ended_at.is_none());
        match &record.status {
            StepStatus::Pending if record.unmet == 0 => {
                ready.insert(step);
            }
            StepStatus::Active(active) => {
                check_active(active);
                let room = active.busy < planned.concurrency as usize;
                if active.next < active.items.len() && room {
                    hungry.insert(step);
                }
                for (item, slot) in (0u32..).map(ItemIndex).zip(&active.items) {
                    match slot.status {
                        ItemStatus::Running { token, .. } => {
                            open.insert(token, (step, item));
                        }
                        ItemStatus::InDoubt(ref doubt) => match doubt.stage {
                            DoubtStage::Fresh => drop(doubts.insert((step, item))),
                            DoubtStage::Probing { token, .. } => {
                                open.insert(token, (step, item));
                            }
                            DoubtStage::Waiting { due } => drop(waits.insert((due, step, item))),
                            DoubtStage::Held => drop(held.insert((step, item))),
                        },
                        ItemStatus::Waiting { due } | ItemStatus::Sleeping { due } => {
                            waits.insert((due, step, item));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if state.phase != Phase::Running {
        (ready, hungry, waits) = Default::default();
        (doubts, held) = Default::default();
    }
    let settled_by_failure =
        |place: &(StepIndex, ItemIndex)| state.steps[place.0.at()].ended_at.is_some();
    let orphans = state.open.iter().filter(|(_, place)| settled_by_failure(place));
    let orphans: Vec<_> = orphans.map(|(token, place)| (*token, *place)).collect();
    assert!(orphans.is_empty() || matches!(state.phase, Phase::Stopping(_)), "{orphans:?}");
    open.extend(orphans);
    assert_eq!(state.ready, ready, "ready");
    assert_eq!(state.hungry, hungry, "hungry");
    assert_eq!(state.waits, waits, "waits");
    assert_eq!(state.doubts, doubts, "doubts");
    assert_eq!(state.held, held, "held");
    assert_eq!(state.open, open, "open");
    if !state.has_ended() {
        assert_eq!(state.unsettled, unsettled, "unsettled");
    }
    check_tally(state);
    assert!(state.open.keys().all(|token| token.0 < state.next_token), "fences");
}

/// A job that is being stopped counts no more.
#[expect(clippy::cast_precision_loss, reason = "a test's lists are short")]
fn check_tally(state: &JobState) {
    if state.phase != Phase::Running {
        return;
    }
    let (mut total, mut done) = (0.0, 0.0);
    for (n, step) in (0u32..).zip(&state.steps) {
        let weight = state.plan.step(StepIndex(n)).weight;
        match &step.status {
            StepStatus::Skipped => continue,
            StepStatus::Succeeded(_) | StepStatus::Failed(_) => done += weight,
            StepStatus::Active(active) => {
                let (settled, items) = active.progress();
                done += weight * settled as f64 / items as f64;
            }
            StepStatus::Pending | StepStatus::Cancelled => {}
        }
        total += weight;
    }
    let (counted, settled) = state.tally.sums();
    assert!((counted - total).abs() < 1e-6, "{counted} of {total}");
    assert!((settled - done).abs() < 1e-6, "{settled} of {done}");
}

fn check_needs(state: &JobState, step: StepIndex) {
    if state.has_ended() {
        return; // Whatever had not settled by then was cancelled, in no order.
    }
    let record = &state.steps[step.at()];
    let needs = &state.plan.step(step).needs;
    let needed = || needs.iter().map(|need| &state.steps[need.at()]);
    let unmet = needed().filter(|need| need.ended_at.is_none()).count();
    let after_skip = needed().any(|need| need.status == StepStatus::Skipped);
    assert_eq!((record.unmet as usize, record.after_skip), (unmet, after_skip));
}

fn check_active(active: &Active) {
    let count = |wanted: fn(&ItemStatus) -> bool| {
        active.items.iter().filter(|item| wanted(&item.status)).count()
    };
    let queued = count(|status| matches!(status, ItemStatus::Queued));
    let busy = count(|status| match status {
        ItemStatus::Running { .. }
        | ItemStatus::Waiting { .. }
        | ItemStatus::InDoubt(_)
        | ItemStatus::Sleeping { .. } => true,
        ItemStatus::Queued
        | ItemStatus::Succeeded(_)
        | ItemStatus::Failed(_)
        | ItemStatus::Cancelled => false,
    });
    assert_eq!((active.busy, active.next), (busy, active.items.len() - queued));
    assert_eq!(active.progress(), (active.items.len() - queued - busy, active.items.len()));
    assert!(active.items[active.next..].iter().all(|item| item.status == ItemStatus::Queued));
}
