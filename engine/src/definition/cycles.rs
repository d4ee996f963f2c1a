//! Whether the steps can be put in an order.

use std::collections::HashMap;

use super::finding::Findings;
use super::place::Path;
use crate::limits::MAX_NAMED_STEPS_COUNT;
use crate::plan::PlannedStep;

/// Reports one cycle of every knot in the graph. Nothing here recurses: a chain may be as long as
/// a workflow.
pub(super) fn check(steps: &[PlannedStep], findings: &mut Findings) {
    let mut stuck = unordered(steps);
    for start in 0..steps.len() {
        // Each stuck step needs another one that is stuck, so a walk along the first of them ends
        // in a cycle, or where an earlier walk has been.
        let mut walk: Vec<usize> = Vec::new();
        let mut place: HashMap<usize, usize> = HashMap::new();
        let mut at = start;
        while stuck[at] {
            stuck[at] = false;
            place.insert(at, walk.len());
            walk.push(at);
            let needs = || steps[at].needs.iter().map(|need| need.at());
            if let Some(next) = needs().find(|need| stuck[*need]) {
                at = next;
            } else if let Some(turn) = needs().find_map(|need| place.get(&need)) {
                report(&walk[*turn..], steps, findings);
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

/// Names the steps of a cycle, from the one that comes first in the definition.
fn report(cycle: &[usize], steps: &[PlannedStep], findings: &mut Findings) {
    let Some(first) = cycle.iter().copied().min() else { return };
    let turn = cycle.iter().position(|step| *step == first).unwrap_or(0);
    let ids: Vec<&str> =
        cycle[turn..].iter().chain(&cycle[..turn]).map(|n| steps[*n].id.as_str()).collect();
    let named = match ids.len() {
        count if count > MAX_NAMED_STEPS_COUNT => {
            let left_out = count - MAX_NAMED_STEPS_COUNT;
            format!("{} -> … {left_out} more …", ids[..MAX_NAMED_STEPS_COUNT].join(" -> "))
        }
        _ => ids.join(" -> "),
    };
    let message = format!("the steps need each other in a circle: `{named} -> {}`", ids[0]);
    let hint = "an arrow is read as `needs`; take one of them away";
    findings.add("definition.cycle", Path::ROOT.key("steps").at(first), message, hint);
}

#[cfg(test)]
mod tests {
    use super::super::testing::lines;
    use super::super::{Catalog, Effect, KindInfo, Step, Workflow, validate};

    fn catalog() -> Catalog {
        let schema = serde_json::json!({});
        let mut catalog = Catalog::default();
        catalog.insert(KindInfo {
            name: "k".to_owned(),
            description: String::new(),
            effect: Effect::Pure,
            probes: false,
            cache: None,
            input_schema: schema.clone(),
            output_schema: schema,
        });
        catalog
    }

    /// What is said of a graph, written as `a<b,c` for "a needs b and c".
    fn said(graph: &str) -> Vec<String> {
        let steps = graph.split_whitespace().map(|node| {
            let (id, needs) = node.split_once('<').unwrap_or((node, ""));
            let needs = needs.split(',').filter(|need| !need.is_empty());
            Step { needs: needs.map(str::to_owned).collect(), ..Step::new(id, "k") }
        });
        lines(&validate(&Workflow::new("n", steps.collect()), &catalog()))
    }

    #[test]
    fn each_circle_is_named_once() {
        let table: [(&str, &[&str]); 9] = [
            ("a b<a c<a,b", &[]),
            ("a<b b<a", &["`a -> b -> a`"]),
            ("c<a a<b b<c", &["`c -> a -> b -> c`"]),
            ("a<b b<c c<b", &["`b -> c -> b`"]),
            ("a<b b<a c<d d<c", &["`a -> b -> a`", "`c -> d -> c`"]),
            ("x a<b,x b<a y<a", &["`a -> b -> a`"]),
            ("y<a a<x,b x b<a", &["`a -> b -> a`"]),
            ("a<b b<c c<a,d d<c", &["`c -> d -> c`"]),
            ("a<a", &["step `a` needs itself"]),
        ];
        for (graph, expected) in table {
            let said = said(graph);
            assert_eq!(said.len(), expected.len(), "{graph}: {said:?}");
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.contains(expected), "{graph}: {said}");
            }
        }
    }

    #[test]
    fn a_long_circle_is_cut() {
        let count = 100_000;
        let nodes: Vec<String> = (0..count).map(|n| format!("s{n}<s{}", (n + 1) % count)).collect();
        let said = said(&nodes.join(" "));
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("`s0 -> s1 -> "), "{}", said[0]);
        assert!(said[0].contains("s7 -> … 99992 more … -> s0`"), "{}", said[0]);
    }
}
