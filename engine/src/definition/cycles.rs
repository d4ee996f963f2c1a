//! Whether the steps can be put in an order.

use super::finding::Findings;
use super::place::Path;
use crate::plan::PlannedStep;

/// Steps of one cycle that are named; a longer one is cut in the middle.
const MAX_NAMED_COUNT: usize = 8;

/// Reports every cycle that the graph falls into. Nothing here recurses: a chain may be as long as
/// a workflow.
pub(super) fn check(steps: &[PlannedStep], findings: &mut Findings) {
    let mut stuck = unordered(steps);
    for start in 0..steps.len() {
        if !stuck[start] {
            continue;
        }
        // Each stuck step needs another one that is stuck, so a walk along the first of them ends
        // in a cycle, or where an earlier walk has been.
        let mut walk: Vec<usize> = Vec::new();
        let mut at = start;
        while stuck[at] {
            stuck[at] = false;
            walk.push(at);
            let needs = steps[at].needs.iter().map(|need| need.at());
            let mut on_this_walk = None;
            let mut next = None;
            for need in needs {
                if stuck[need] {
                    next = Some(need);
                    break;
                }
                if let Some(place) = walk.iter().position(|step| *step == need) {
                    on_this_walk.get_or_insert(place);
                }
            }
            match (next, on_this_walk) {
                (Some(need), _) => at = need,
                (None, Some(place)) => {
                    report(&walk[place..], steps, findings);
                    break;
                }
                (None, None) => break,
            }
        }
    }
}

/// Which steps cannot be put in an order: those on a cycle or behind one.
fn unordered(steps: &[PlannedStep]) -> Vec<bool> {
    let mut unmet: Vec<usize> = steps.iter().map(|step| step.needs.len()).collect();
    let mut ready: Vec<usize> = (0..steps.len()).filter(|n| unmet[*n] == 0).collect();
    while let Some(done) = ready.pop() {
        for dependent in &steps[done].dependents {
            let left = &mut unmet[dependent.at()];
            *left -= 1;
            if *left == 0 {
                ready.push(dependent.at());
            }
        }
    }
    unmet.into_iter().map(|left| left > 0).collect()
}

fn report(cycle: &[usize], steps: &[PlannedStep], findings: &mut Findings) {
    let Some(first) = cycle.iter().copied().min() else { return };
    let turn = cycle.iter().position(|step| *step == first).unwrap_or(0);
    let ids: Vec<&str> =
        cycle[turn..].iter().chain(&cycle[..turn]).map(|n| steps[*n].id.as_str()).collect();
    let named = match ids.len() {
        count if count > MAX_NAMED_COUNT => {
            let left_out = count - MAX_NAMED_COUNT;
            format!("{} -> … {left_out} more …", ids[..MAX_NAMED_COUNT].join(" -> "))
        }
        _ => ids.join(" -> "),
    };
    let message = format!("the steps need each other in a circle: `{named} -> {}`", ids[0]);
    let hint = "an arrow is read as `needs`; take one of them away";
    findings.add("definition.cycle", Path::ROOT.key("steps").at(first), message, hint);
}
