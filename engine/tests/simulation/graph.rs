//! Random workflows whose every outcome can be foretold: what they compute is simple, how their
//! steps hang together is not.

use std::sync::Arc;

use callsheet_engine::definition::{Condition, Fallback, InDoubt, OnError, Retry, Step, Workflow};
use callsheet_engine::{Millis, Plan};
use serde_json::{Map, Value, json};

use crate::dice::Dice;

/// A workflow as its maker sees it, and its plan.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) plan: Arc<Plan>,
}

/// One step of it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Written in `needs`, or read by an expression; sorted.
    pub(crate) needs: Vec<usize>,
    pub(crate) condition: If,
    pub(crate) fan: Fan,
    pub(crate) concurrency: u32,
    /// The step whose output it takes as a whole.
    pub(crate) reads: Option<usize>,
    pub(crate) retry: Retry,
    pub(crate) timeout: Millis,
    pub(crate) fallbacks: usize,
    pub(crate) on_error: OnError,
    /// Its body has no effect but its result.
    pub(crate) pure: bool,
    /// A timer of so many milliseconds, and then nothing of what runs a body.
    pub(crate) nap: Option<u64>,
    /// What its own kind and every second fallback must not do twice; the others may be repeated.
    pub(crate) in_doubt: Option<InDoubt>,
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

/// Shapes of graphs.
#[derive(Clone, Copy)]
enum Shape {
    Chain,
    Diamond,
    Wide,
    Tangle,
}

impl Graph {
    /// The workflow with this number.
    pub(crate) fn numbered(number: u64) -> Self {
        let mut dice = Dice::new(number ^ 0x6772_6170_6873);
        let shape = *dice.pick(&[Shape::Chain, Shape::Diamond, Shape::Wide, Shape::Tangle]);
        let count = match shape {
            Shape::Diamond => 4,
            _ => 1 + dice.index(6),
        };
        let nodes: Vec<Node> = (0..count).map(|n| Node::draw(&mut dice, shape, n)).collect();
        let ids = (0..count).map(|n| format!("s{n}"));
        let output = ids.map(|id| (id.clone(), json!(format!("{{{{ steps.{id} }}}}"))));
        let workflow = Workflow {
            name: format!("w{number}"),
            description: String::new(),
            input: None,
            steps: nodes.iter().enumerate().map(|(n, node)| node.step(n)).collect(),
            output: Value::Object(output.collect()),
        };
        let plan = Plan::recompile(workflow).unwrap_or_else(|problems| panic!("{problems}"));
        Self { nodes, plan: Arc::new(plan) }
    }
}

impl Node {
    fn draw(dice: &mut Dice, shape: Shape, n: usize) -> Self {
        let mut needs = match (shape, n) {
            (_, 0) | (Shape::Wide, _) => vec![],
            (Shape::Chain, _) => vec![n - 1],
            (Shape::Diamond, 3) => vec![1, 2],
            (Shape::Diamond, _) => vec![0],
            (Shape::Tangle, _) => (0..dice.below(3)).map(|_| dice.index(n)).collect(),
        };
        let mut near = |dice: &mut Dice, permille| {
            let earlier = (n > 0 && dice.chance(permille)).then(|| dice.index(n));
            needs.extend(earlier);
            earlier
        };
        let condition = match near(dice, 120) {
            Some(need) => If::IsNone(need),
            None if dice.chance(60) => If::Constant(dice.chance(500)),
            None => If::Absent,
        };
        let fan = match near(dice, 80) {
            Some(need) => Fan::OutputOf(need),
            None if dice.chance(300) => Fan::list(dice),
            None => Fan::Single,
        };
        let reads = near(dice, 250);
        needs.sort_unstable();
        needs.dedup();
        let fallbacks = if dice.chance(250) { 1 + dice.index(2) } else { 0 };
        let policies = [InDoubt::Retry, InDoubt::Probe, InDoubt::Fail, InDoubt::Hold];
        let in_doubt = dice.chance(300).then(|| *dice.pick(&policies));
        let node = Self {
            needs,
            condition,
            fan,
            concurrency: 1 + dice.below(3) as u32,
            reads,
            retry: draw_retry(dice),
            timeout: Millis(dice.spread(1_000, 600_000)),
            fallbacks,
            on_error: if dice.chance(300) { OnError::Continue } else { OnError::Fail },
            pure: dice.chance(400) && in_doubt.is_none(),
            nap: None,
            in_doubt,
        };
        match dice.chance(120) {
            true => node.asleep(dice.spread(1, 7_200_000)),
            false => node,
        }
    }

    /// The same as a timer.
    fn asleep(self, span: u64) -> Self {
        let (fan, reads, nap) = (Fan::Single, None, Some(span));
        Self { fan, reads, nap, fallbacks: 0, pure: false, in_doubt: None, ..self }
    }

    /// What a candidate says about doubts.
    pub(crate) fn policy(&self, candidate: u32) -> Option<InDoubt> {
        self.in_doubt.filter(|_| candidate.is_multiple_of(2))
    }

    fn step(&self, n: usize) -> Step {
        if let Some(span) = self.nap {
            return Step {
                sleep: Some(Millis(span).to_string()),
                needs: self.needs.iter().map(|need| format!("s{need}")).collect(),
                condition: self.condition(),
                on_error: self.on_error,
                ..Step::new(format!("s{n}"), "")
            };
        }
        let mut with = Map::new();
        let for_each = match &self.fan {
            Fan::Single => None,
            Fan::List(items) => Some(Value::Array(items.clone())),
            Fan::OutputOf(need) => Some(json!(format!("{{{{ steps.s{need} }}}}"))),
        };
        if for_each.is_some() {
            with.insert("item".to_owned(), json!("{{ item.v }}"));
            with.insert("index".to_owned(), json!("{{ index }}"));
        }
        if let Some(need) = self.reads {
            with.insert("read".to_owned(), json!(format!("{{{{ steps.s{need} }}}}")));
        }
        Step {
            with: Value::Object(with),
            needs: self.needs.iter().map(|need| format!("s{need}")).collect(),
            condition: self.condition(),
            concurrency: if for_each.is_some() { self.concurrency } else { 8 },
            for_each,
            retry: self.retry.clone(),
            timeout: self.timeout,
            fallback: (1..=self.fallbacks as u32)
                .map(|n| Fallback {
                    uses: format!("fallback{n}"),
                    with: None,
                    in_doubt: self.policy(n),
                })
                .collect(),
            on_error: self.on_error,
            in_doubt: self.policy(0),
            ..Step::new(format!("s{n}"), "own")
        }
    }
}

impl Node {
    fn condition(&self) -> Option<Condition> {
        match self.condition {
            If::Absent => None,
            If::Constant(truth) => Some(Condition::Constant(truth)),
            If::IsNone(need) => Some(Condition::Expression(format!("steps.s{need} is none"))),
        }
    }
}

impl Fan {
    fn list(dice: &mut Dice) -> Self {
        let count = dice.below(6);
        Self::List((0..count).map(|n| if dice.chance(40) { json!(n) } else { item(n) }).collect())
    }
}

/// An item that an input can be made of.
pub(crate) fn item(n: u64) -> Value {
    json!({ "v": n })
}

fn draw_retry(dice: &mut Dice) -> Retry {
    let initial = dice.spread(1, 30_000);
    Retry {
        max_attempts: 1 + dice.below(4) as u32,
        initial: Millis(initial),
        factor: *dice.pick(&[1.0, 1.5, 2.0, 10.0]),
        max: Millis(initial + dice.below(4_000_000)),
        jitter: *dice.pick(&[0.0, 0.2, 1.0]),
    }
}
