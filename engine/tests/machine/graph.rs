//! Random workflows whose every outcome the oracle can foretell: what they compute is simple, how
//! their steps hang together is not.

use std::sync::Arc;

use callsheet_engine::definition::{Condition, Fallback, InDoubt, OnError, Retry, Step, Workflow};
use callsheet_engine::{Millis, Plan};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A workflow as its maker sees it.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
}

/// One step of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Written in `needs`.
    pub(crate) needs: Vec<usize>,
    pub(crate) condition: If,
    /// A timer of so many milliseconds, and then nothing of what follows.
    pub(crate) nap: Option<u64>,
    pub(crate) fan: Fan,
    pub(crate) concurrency: u32,
    /// The step whose output it takes as a whole.
    pub(crate) reads: Option<usize>,
    /// The step of whose output it takes the field `v`, which may be missing.
    pub(crate) picks: Option<usize>,
    pub(crate) retry: Retry,
    pub(crate) fallbacks: usize,
    pub(crate) on_error: OnError,
    /// What its own kind and every second fallback say about doubts; the others may be repeated.
    pub(crate) in_doubt: Option<InDoubt>,
    pub(crate) weight: f64,
}

/// A step's `if`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum If {
    Absent,
    Constant(bool),
    /// The output of that step is null: it was skipped, failed or gave nothing.
    IsNone(usize),
}

/// A step's `for_each`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fan {
    Single,
    /// This list. An item without the field `v` cannot be made into an input.
    List(Vec<Value>),
    /// What that step gave, a list or not.
    OutputOf(usize),
}

impl Node {
    /// All steps that must have settled before this one is looked at.
    pub(crate) fn all_needs(&self) -> Vec<usize> {
        let fan = match self.fan {
            Fan::OutputOf(need) => Some(need),
            _ => None,
        };
        let condition = match self.condition {
            If::IsNone(need) => Some(need),
            _ => None,
        };
        let read = [self.reads, self.picks, fan, condition].into_iter().flatten();
        self.needs.iter().copied().chain(read).collect()
    }

    /// What a candidate says about doubts.
    pub(crate) fn policy(&self, candidate: u32) -> Option<InDoubt> {
        self.in_doubt.filter(|_| candidate.is_multiple_of(2))
    }

    fn step(&self, n: usize) -> Step {
        let for_each = match &self.fan {
            Fan::Single => None,
            Fan::List(items) => Some(Value::Array(items.clone())),
            Fan::OutputOf(need) => Some(json!(format!("{{{{ steps.s{need} }}}}"))),
        };
        let mut with = Map::new();
        if for_each.is_some() {
            with.insert("item".to_owned(), json!("{{ item.v }}"));
            with.insert("index".to_owned(), json!("{{ index }}"));
        }
        if let Some(need) = self.reads {
            with.insert("read".to_owned(), json!(format!("{{{{ steps.s{need} }}}}")));
        }
        if let Some(need) = self.picks {
            with.insert("pick".to_owned(), json!(format!("{{{{ steps.s{need}.v }}}}")));
        }
        let fallback = |n| {
            let in_doubt = self.policy(n);
            Fallback { uses: format!("fallback{n}"), with: None, in_doubt }
        };
        Step {
            id: format!("s{n}"),
            uses: if self.nap.is_some() { String::new() } else { "own".to_owned() },
            cache: None,
            sleep: self.nap.map(|span| Millis(span).to_string()),
            until: None,
            with: if self.nap.is_some() { Value::Null } else { Value::Object(with) },
            needs: self.needs.iter().map(|need| format!("s{need}")).collect(),
            condition: match self.condition {
                If::Absent => None,
                If::Constant(truth) => Some(Condition::Constant(truth)),
                If::IsNone(need) => Some(Condition::Expression(format!("steps.s{need} is none"))),
            },
            concurrency: if for_each.is_some() { self.concurrency } else { 8 },
            for_each,
            retry: if self.nap.is_some() { Retry::default() } else { self.retry.clone() },
            timeout: if self.nap.is_some() { Millis(86_400_000) } else { Millis(60_000) },
            fallback: (1..=self.fallbacks as u32).map(fallback).collect(),
            on_error: self.on_error,
            in_doubt: self.policy(0),
            weight: self.weight,
        }
    }
}

impl Graph {
    /// The plan of the workflow; its output holds the output of every step.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        let ids = (0..self.nodes.len()).map(|n| format!("s{n}"));
        let output = ids.map(|id| (id.clone(), json!(format!("{{{{ steps.{id} }}}}"))));
        let workflow = Workflow {
            name: "random".to_owned(),
            description: String::new(),
            input: None,
            steps: self.nodes.iter().enumerate().map(|(n, node)| node.step(n)).collect(),
            output: Value::Object(output.collect()),
        };
        Arc::new(Plan::recompile(workflow).unwrap_or_else(|problems| panic!("{problems}")))
    }
}

/// Graphs of one to twelve steps.
pub(crate) fn graphs() -> impl Strategy<Value = Graph> {
    (vec(nodes(), 1..=12), any::<bool>()).prop_map(|(nodes, backwards)| {
        let count = nodes.len();
        // Needs point to one side only, so that there is an order; to either side, so that it is
        // not always the order of the definition.
        let place = |n: usize| if backwards { count - 1 - n } else { n };
        let mut placed: Vec<(usize, Node)> = nodes
            .into_iter()
            .enumerate()
            .map(|(n, node)| (place(n), node.settle(n, &|need| place(need))))
            .collect();
        placed.sort_by_key(|(place, _)| *place);
        let mut nodes: Vec<Node> = placed.into_iter().map(|(_, node)| node).collect();
        forbid_unknown_fields(&mut nodes);
        Graph { nodes }
    })
}

/// The output of a fan-out is a list, that of a timer is known: to name a field that is not there
/// is refused when the plan is made.
fn forbid_unknown_fields(nodes: &mut [Node]) {
    let single: Vec<bool> =
        nodes.iter().map(|node| node.fan == Fan::Single && node.nap.is_none()).collect();
    for node in nodes {
        node.picks = node.picks.filter(|need| single[*need]);
    }
}

impl Node {
    /// Turns drawn numbers into places of earlier steps.
    fn settle(self, n: usize, place: &dyn Fn(usize) -> usize) -> Self {
        let near = |drawn: usize| (n > 0).then(|| place(drawn % n.max(1)));
        let mut needs: Vec<usize> = self.needs.iter().filter_map(|need| near(*need)).collect();
        needs.sort_unstable();
        needs.dedup();
        let condition = match self.condition {
            If::IsNone(need) => near(need).map_or(If::Absent, If::IsNone),
            other => other,
        };
        if self.nap.is_some() {
            let (fan, reads, picks, fallbacks) = (Fan::Single, None, None, 0);
            return Self { needs, condition, fan, reads, picks, fallbacks, in_doubt: None, ..self };
        }
        Self {
            needs,
            condition,
            fan: match self.fan {
                Fan::OutputOf(need) => near(need).map_or(Fan::Single, Fan::OutputOf),
                other => other,
            },
            reads: self.reads.and_then(near),
            picks: self.picks.and_then(near),
            ..self
        }
    }
}

fn nodes() -> impl Strategy<Value = Node> {
    let condition = prop_oneof![
        6 => Just(If::Absent),
        1 => any::<bool>().prop_map(If::Constant),
        1 => (0..12usize).prop_map(If::IsNone),
    ];
    let item = prop_oneof![
        15 => (0..100).prop_map(|n| json!({ "v": n })),
        1 => (0..100).prop_map(|n| json!(n)),
    ];
    let fan = prop_oneof![
        4 => Just(Fan::Single),
        3 => vec(item, 0..=5).prop_map(Fan::List),
        1 => (0..12usize).prop_map(Fan::OutputOf),
    ];
    let sometimes = || proptest::option::weighted(0.3, 0..12usize);
    let rarely = proptest::option::weighted(0.1, 0..12usize);
    let on_error = prop_oneof![1 => Just(OnError::Fail), 3 => Just(OnError::Continue)];
    let nap = proptest::option::weighted(0.15, 0..9_000u64);
    let shape = (vec(0..12usize, 0..3), condition, nap, fan, 1..=3u32);
    let policies = [InDoubt::Retry, InDoubt::Probe, InDoubt::Fail, InDoubt::Hold];
    let in_doubt = proptest::option::weighted(0.4, proptest::sample::select(policies.to_vec()));
    let weight = prop_oneof![3 => Just(1.0), 1 => Just(0.0), 3 => 0.0..50.0f64];
    let rest = (sometimes(), rarely, retries(), 0..=2usize, on_error, in_doubt, weight);
    (shape, rest).prop_map(|((needs, condition, nap, fan, concurrency), rest)| {
        let (reads, picks, retry, fallbacks, on_error, in_doubt, weight) = rest;
        Node {
            needs,
            condition,
            nap,
            fan,
            concurrency,
            reads,
            picks,
            retry,
            fallbacks,
            on_error,
            in_doubt,
            weight,
        }
    })
}

fn retries() -> impl Strategy<Value = Retry> {
    let factor = prop_oneof![Just(1.0), Just(1.5), Just(2.0), Just(1e9)];
    let jitter = prop_oneof![Just(0.0), Just(0.2), Just(1.0)];
    (1..=3u32, 0..5_000u64, factor, 0..10_000u64, jitter).prop_map(
        |(max_attempts, initial, factor, more, jitter)| Retry {
            max_attempts,
            initial: Millis(initial),
            factor,
            max: Millis(initial + more),
            jitter,
        },
    )
}
