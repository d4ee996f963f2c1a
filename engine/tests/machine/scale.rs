//! Jobs of full size run to their end. None is timed, but work that grows with the square of a
//! graph's size would take hours here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use callsheet_engine::definition::{OnError, Retry, Step, Workflow};
use callsheet_engine::limits::{MAX_FAN_OUT_ITEMS, MAX_OPEN_ATTEMPTS_COUNT, MAX_STEPS_COUNT};
use callsheet_engine::{
    Action, Decision, Ending, Event, Failure, Input, JobId, JobState, Millis, Outcome, Phase, Plan,
    Submission, Timestamp, Token, decide, fold, submit,
};
use serde_json::{Value, json};
use uuid::Uuid;

fn step(n: usize) -> Step {
    Step {
        id: format!("s{n}"),
        uses: "k".to_owned(),
        sleep: None,
        until: None,
        with: Value::Null,
        needs: vec![],
        condition: None,
        for_each: None,
        concurrency: 8,
        retry: Retry { jitter: 0.0, ..Retry::default() },
        timeout: Millis(1_000),
        fallback: vec![],
        on_error: OnError::Fail,
        in_doubt: None,
        cache: None,
        weight: 1.0,
    }
}

fn workflow(steps: Vec<Step>) -> Arc<Plan> {
    let (name, description) = ("large".to_owned(), String::new());
    let workflow = Workflow { name, description, input: None, steps, output: Value::Null };
    Arc::new(Plan::recompile(workflow).unwrap_or_else(|problems| panic!("{problems}")))
}

/// A job whose attempts are answered in the order in which they start.
struct Run {
    state: JobState,
    journal: Vec<Event>,
    queue: VecDeque<Token>,
    now: Timestamp,
    most_open: usize,
}

impl Run {
    fn new(plan: Arc<Plan>, input: Value) -> Self {
        let id = JobId(Uuid::from_u128(1));
        let (labels, now) = (BTreeMap::new(), Timestamp(0));
        let (state, event) =
            submit(Submission { id, plan, input, labels, options: Default::default() }, now)
                .unwrap();
        let mut run =
            Self { state, journal: vec![event], queue: VecDeque::new(), now, most_open: 0 };
        run.decide(Input::Resume);
        run
    }

    fn decide(&mut self, input: Input) {
        let Decision { events, actions } = decide(&mut self.state, input, self.now);
        self.journal.extend(events);
        self.queue.extend(actions.into_iter().filter_map(|action| match action {
            Action::StartStep(start) => Some(start.token),
            Action::StopStep(_) => None,
        }));
        self.most_open = self.most_open.max(self.queue.len());
    }

    /// Answers until the job is over; `answer` is asked with the number of the answer.
    fn finish(&mut self, answer: impl Fn(usize) -> Outcome) -> usize {
        let mut count = 0;
        while !self.state.has_ended() {
            match self.queue.pop_front() {
                Some(token) => {
                    self.decide(Input::StepEnded { token, outcome: answer(count) });
                    count += 1;
                }
                None => {
                    self.now = self.state.next_wake().expect("a wait, for nothing is open");
                    self.decide(Input::TimerFired);
                }
            }
        }
        count
    }

    /// Whether the journal, folded in one go, gives the state that the job ended with.
    fn check(&self) {
        let folded = fold(self.state.id, self.state.plan.clone(), &self.journal).unwrap();
        assert!(folded == self.state, "the journal gives another state");
        let Phase::Ended { ending, .. } = &self.state.phase else { panic!("it has ended") };
        assert!(matches!(ending, Ending::Succeeded(_)), "it has failed");
    }
}

/// A chain in which every step sees the one before.
fn chain(count: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = (0..count).map(step).collect();
    for (before, step) in steps.iter_mut().skip(1).enumerate() {
        step.with = json!({ "before": format!("{{{{ steps.s{before} }}}}") });
    }
    steps
}

/// One step over all items of the input.
fn fan() -> Step {
    let mut fan = step(0);
    fan.for_each = Some(json!("{{ input }}"));
    fan.with = json!({ "v": "{{ item }}" });
    fan
}

fn number(n: usize) -> Outcome {
    Outcome::Succeeded(json!(n))
}

#[test]
fn a_chain_of_all_steps_that_a_workflow_may_have() {
    let mut run = Run::new(workflow(chain(MAX_STEPS_COUNT)), Value::Null);
    assert_eq!(run.finish(number), MAX_STEPS_COUNT);
    assert_eq!(run.most_open, 1);
    run.check();
}

#[test]
fn all_steps_side_by_side_and_one_that_needs_them_all() {
    let mut steps: Vec<Step> = (0..MAX_STEPS_COUNT).map(step).collect();
    let last = MAX_STEPS_COUNT - 1;
    steps[last].needs = (0..last).map(|n| format!("s{n}")).collect();
    let mut run = Run::new(workflow(steps), Value::Null);
    assert_eq!(run.finish(number), MAX_STEPS_COUNT);
    assert_eq!(run.most_open, MAX_OPEN_ATTEMPTS_COUNT);
    run.check();
}

#[test]
fn a_chain_of_skips_is_one_decision() {
    let mut steps: Vec<Step> = (0..MAX_STEPS_COUNT).map(step).collect();
    steps[0].condition = Some(callsheet_engine::definition::Condition::Constant(false));
    for (before, step) in steps.iter_mut().skip(1).enumerate() {
        step.needs = vec![format!("s{before}")];
    }
    let mut run = Run::new(workflow(steps), Value::Null);
    assert_eq!(run.finish(number), 0);
    run.check();
}

#[test]
fn a_fan_out_of_all_items_that_a_list_may_have() {
    let mut fan = fan();
    fan.concurrency = u32::try_from(MAX_OPEN_ATTEMPTS_COUNT).unwrap();
    let items: Vec<usize> = (0..MAX_FAN_OUT_ITEMS).collect();
    let mut run = Run::new(workflow(vec![fan]), json!(items));
    assert_eq!(run.finish(number), MAX_FAN_OUT_ITEMS);
    assert_eq!(run.state.output_of("s0"), Some(&json!(items)));
    run.check();
}

#[test]
fn many_fan_outs_that_all_wait_at_their_bound() {
    const COUNT: usize = 20_000;
    let mut steps: Vec<Step> = (0..COUNT).map(step).collect();
    for step in &mut steps {
        step.for_each = Some(json!([1, 2]));
        step.concurrency = 1;
        step.retry = Retry { initial: Millis(60_000), jitter: 0.0, ..Retry::default() };
    }
    let mut run = Run::new(workflow(steps), Value::Null);
    let fault = Failure::retryable("test.fault", "it may pass");
    let answers = run.finish(|n| match n < COUNT {
        true => Outcome::Failed(fault.clone()),
        false => number(n),
    });
    assert_eq!(answers, 3 * COUNT);
    run.check();
}

#[test]
fn a_cancel_of_a_job_of_full_size() {
    let steps: Vec<Step> = (0..MAX_STEPS_COUNT).map(step).collect();
    let mut run = Run::new(workflow(steps), Value::Null);
    run.decide(Input::Cancel { reason: None });
    assert_eq!(run.finish(|_| Outcome::Stopped), MAX_OPEN_ATTEMPTS_COUNT);
    let Some(Event::JobCancelled { .. }) = run.journal.last() else { panic!("not cancelled") };
}

#[test]
fn a_long_text_is_read_and_drawn() {
    const COUNT: usize = 10_000;
    let mut text = String::from("name: long\nsteps:\n  - { id: s0, uses: k }\n");
    for n in 1..COUNT {
        let before = n - 1;
        text +=
            &format!("  - {{ id: s{n}, uses: k, with: {{ x: '{{{{ steps.s{before} }}}}' }} }}\n");
    }
    let workflow = callsheet_engine::definition::parse(&text).unwrap();
    let plan = Plan::recompile(workflow).unwrap();
    assert_eq!(plan.steps().len(), COUNT);
    assert_eq!(plan.steps()[COUNT - 1].needs.len(), 1);
    assert_eq!(plan.to_mermaid().matches("-->").count(), COUNT - 1);
    assert_eq!(plan.to_dot().matches("->").count(), COUNT - 1);
}

/// What one step or item costs, in microseconds, at the quickest of some runs.
fn cost(count: usize, plan: Arc<Plan>, input: &Value) -> f64 {
    let rounds = (20_000 / count).clamp(1, 50);
    let took = (0..rounds).map(|_| {
        let begun = std::time::Instant::now();
        let mut run = Run::new(plan.clone(), input.clone());
        assert_eq!(run.finish(number), count);
        begun.elapsed().as_secs_f64() * 1e6
    });
    took.fold(f64::INFINITY, f64::min) / count as f64
}

/// Timed, so it is run by hand: `cargo test --test machine -- --ignored flat --nocapture`.
#[test]
#[ignore = "it measures time"]
fn the_cost_of_a_step_and_of_an_item_is_flat() {
    for shape in ["chain", "fan"] {
        let costs = [100, 1_000, 10_000, 100_000].map(|count| {
            let (steps, input) = match shape {
                "chain" => (chain(count), Value::Null),
                _ => (vec![fan()], json!((0..count).collect::<Vec<_>>())),
            };
            let cost = cost(count, workflow(steps), &input);
            println!("{shape} of {count}: {cost:.2} us each");
            cost
        });
        // Caches and trees take their share; a walk over everything would be a thousandfold.
        assert!(costs[3] < 10.0 * costs[0], "{shape}: {costs:?}");
    }
}
