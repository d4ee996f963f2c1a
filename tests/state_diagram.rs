//! The drawings in `docs/state.md` against the engine: every arrow is a transition that happens,
//! and every transition that happens is an arrow.
//!
//! Small workflows are driven through every input in every order, as deep as they go, and each
//! event's effect on the job, its steps and its items is noted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use callsheet_engine::definition::{Catalog, Effect, KindInfo};
use callsheet_engine::{
    Ending, Event, Failure, Input, ItemStatus, JobId, JobState, Outcome, Phase, Plan, Resolution,
    StepStatus, StopCause, Submission, Timestamp, Token, decide, fold, submit,
};
use serde_json::{Value, json};

/// The three machines, by the headings of the page.
const MACHINES: [&str; 3] = ["Job", "Step", "Item"];

/// Where a thing begins and ends in a drawing.
const OUTSIDE: &str = "[*]";

/// Inputs in a row after which a path is left: all arrows are seen within.
const MAX_INPUTS_COUNT: usize = 7;

/// Workflows that between them can do everything, and no more.
const WORKFLOWS: &[&str] = &[
    // In a row: retries, skips, inputs that cannot be made, an output that cannot be made.
    "
name: row
steps:
  - { id: a, uses: any, retry: { max_attempts: 2, initial: 1s, jitter: 0 } }
  - { id: b, uses: any, if: '{{ steps.a.go }}', with: { x: '{{ steps.a.part.x }}' } }
output: '{{ steps.a.part.x }}'
",
    // Side by side: one that fails while the other runs.
    "
name: pair
steps:
  - { id: a, uses: any, retry: { max_attempts: 1 } }
  - { id: b, uses: any, retry: { max_attempts: 1 } }
  - { id: c, uses: any, needs: [a, b] }
",
    // Failures that the workflow goes on from.
    "
name: lenient
steps:
  - { id: a, uses: any, retry: { max_attempts: 1 }, on_error: continue }
  - { id: b, uses: any, with: { x: '{{ steps.a.part.x }}' }, on_error: continue }
",
    // A timer, and a step beside it that may end the job.
    "
name: timer
steps:
  - { id: nap, sleep: 1h }
  - { id: a, uses: any, retry: { max_attempts: 1 } }
",
    // Fan-out: an empty list, items whose input cannot be made, fallbacks whose input cannot.
    "
name: fan
steps:
  - id: a
    uses: any
    for_each: '{{ input.list }}'
    concurrency: 2
    with: { x: '{{ item.x }}' }
    retry: { max_attempts: 1 }
    fallback: [ { uses: any, with: { y: '{{ item.y }}' } } ]
    on_error: continue
",
    // Deeds in doubt: asked about, held for a person, done, made again, failed.
    "
name: doubt
steps:
  - id: a
    uses: once
    in_doubt: probe
    for_each: [1, 2]
    concurrency: 1
    retry: { max_attempts: 1 }
    on_error: continue
",
    "
name: failing-doubt
steps:
  - { id: a, uses: once, in_doubt: fail, for_each: [1, 2], concurrency: 1, on_error: continue }
",
];

/// From, event, to.
type Arrow = (String, String, String);
/// Arrows by machine.
type Drawing = BTreeMap<&'static str, BTreeSet<Arrow>>;

#[test]
fn the_drawings_are_what_the_engine_does() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/state.md");
    let page = std::fs::read_to_string(page).expect("docs/state.md is there");
    let lies = compare(&drawn(&page), &observed());
    assert!(lies.is_empty(), "docs/state.md is not what the engine does:\n{}", lies.join("\n"));
}

#[test]
fn a_missing_and_an_invented_arrow_are_found() {
    let page =
        "## Step\n```mermaid\nstateDiagram-v2\n[*] --> A: X, Y\nA --> B: Z\nB --> [*]\n```\n";
    let drawing = drawn(page);
    assert_eq!(drawing["Step"].len(), 4);
    assert_eq!(compare(&drawing, &drawing), [""; 0]);
    let other = drawn(&page.replace("A --> B: Z", "A --> C: Z"));
    let expected = [
        "Step: drawn, but never happens: A --> B: Z",
        "Step: happens, but is not drawn: A --> C: Z",
    ];
    assert_eq!(compare(&drawing, &other), expected);
}

/// What two drawings disagree on.
fn compare(drawn: &Drawing, observed: &Drawing) -> Vec<String> {
    let show = |machine: &str, what: &str, (from, event, to): &Arrow| {
        format!("{machine}: {what}: {from} --> {to}: {event}")
    };
    let differences = MACHINES.iter().flat_map(|machine| {
        let (drawn, observed) = (&drawn[machine], &observed[machine]);
        let invented = drawn.difference(observed);
        let missing = observed.difference(drawn);
        let invented = invented.map(move |arrow| show(machine, "drawn, but never happens", arrow));
        invented.chain(missing.map(move |arrow| show(machine, "happens, but is not drawn", arrow)))
    });
    differences.collect()
}

/// The arrows of the page's diagrams, each under the heading of its machine.
fn drawn(page: &str) -> Drawing {
    let mut drawing: Drawing = MACHINES.map(|machine| (machine, BTreeSet::new())).into();
    let mut current = None;
    for line in page.lines().map(str::trim) {
        if let Some(heading) = line.strip_prefix("## ") {
            current = MACHINES.iter().find(|machine| **machine == heading);
        }
        let (Some(machine), Some((from, rest))) = (current, line.split_once(" --> ")) else {
            continue;
        };
        let (to, events) = rest.split_once(": ").unwrap_or((rest, ""));
        let arrows = events.split(", ").map(|event| arrow(from, event, to));
        drawing.get_mut(machine).expect("every machine has its set").extend(arrows);
    }
    drawing
}

fn arrow(from: &str, event: &str, to: &str) -> Arrow {
    (from.to_owned(), event.to_owned(), to.to_owned())
}

/// Every transition that any order of inputs brings about.
fn observed() -> Drawing {
    let mut explorer = Explorer::default();
    for text in WORKFLOWS {
        let plan = Arc::new(Plan::load(text, &catalog()).expect("the workflow is sound"));
        let inputs = match plan.workflow().name.as_str() {
            "fan" => {
                vec![json!({ "list": [] }), json!({ "list": [{ "x": 1, "y": 1 }, { "x": 2 }, {}] })]
            }
            _ => vec![Value::Null],
        };
        for input in inputs {
            explorer.explore(World::submit(plan.clone(), input), MAX_INPUTS_COUNT);
        }
    }
    explorer.drawing()
}

/// The kinds that the workflows use: they take anything and give anything.
fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (name, effect) in [("any", Effect::Pure), ("once", Effect::Once)] {
        catalog.insert(KindInfo {
            name: name.to_owned(),
            description: String::new(),
            effect,
            probes: effect == Effect::Once,
            cache: None,
            input_schema: json!({}),
            output_schema: json!({}),
        });
    }
    catalog
}

/// A job, its journal and its time.
#[derive(Clone)]
struct World {
    state: JobState,
    journal: Vec<Event>,
    now: Timestamp,
}

impl World {
    fn submit(plan: Arc<Plan>, input: Value) -> Self {
        let id = JobId::from_bytes([7; 16]);
        let submission =
            Submission { id, plan, input, labels: BTreeMap::new(), options: Default::default() };
        let now = Timestamp(1);
        let (state, event) = submit(submission, now).expect("the input is sound");
        Self { state, journal: vec![event], now }
    }

    /// All inputs that may come next.
    fn inputs(&self) -> Vec<Input> {
        let mut inputs = vec![
            Input::Resume,
            Input::TimerFired,
            Input::Cancel { reason: None },
            Input::Drain,
            Input::Quarantine { failure: Failure::fatal("a.b", "its actor died") },
        ];
        for doubt in self.state.held() {
            let said = [
                Resolution::Retry,
                Resolution::Succeeded(Value::Null),
                Resolution::Failed("it was not done".to_owned()),
            ];
            let said = said.map(|resolution| Input::Resolve { doubt, resolution });
            inputs.extend(said);
        }
        for token in self.state.open_tokens() {
            if self
                .state
                .plan
                .steps()
                .iter()
                .any(|step| step.candidates.iter().any(|it| it.in_doubt.is_some()))
            {
                inputs.extend(self.ends_in_doubt(token));
                continue;
            }
            let outcomes = [
                Outcome::Succeeded(Value::Null),
                Outcome::Succeeded(json!({ "go": false, "part": { "x": 1 } })),
                Outcome::Succeeded(json!({ "go": true, "part": { "x": 1 } })),
                Outcome::Succeeded(json!({ "go": true, "part": {} })),
                Outcome::Failed(Failure::retryable("a.b", "it may pass")),
                Outcome::Failed(Failure::fatal("a.b", "it will not pass")),
                Outcome::Stopped,
                Outcome::Released,
                Outcome::NotBegun,
            ];
            inputs.extend(outcomes.map(|outcome| Input::StepEnded { token, outcome }));
        }
        inputs
    }

    /// The ends of an attempt or a probe at what must not be done twice.
    fn ends_in_doubt(&self, token: Token) -> Vec<Input> {
        let outcomes = [
            Outcome::Succeeded(Value::Null),
            Outcome::Lost(Failure::retryable("a.b", "it said nothing")),
            Outcome::Failed(Failure::fatal("a.b", "it will not pass")),
            Outcome::NotDone,
            Outcome::Unknown,
            Outcome::Released,
            Outcome::NotBegun,
        ];
        outcomes.map(|outcome| Input::StepEnded { token, outcome }).into()
    }

    /// Gives an input to the job; a new owner reads the journal first, as after a crash.
    fn give(&mut self, input: Input) -> Vec<Event> {
        match input {
            Input::Resume => self.state = self.folded(),
            Input::TimerFired => {
                self.now = self.state.next_wake().unwrap_or(self.now).max(self.now)
            }
            _ => {}
        }
        let events = decide(&mut self.state, input, self.now).events;
        self.journal.extend(events.iter().cloned());
        events
    }

    fn folded(&self) -> JobState {
        fold(self.state.id, self.state.plan.clone(), &self.journal).expect("the journal is sound")
    }
}

/// Walks over all orders of inputs and notes every transition.
#[derive(Default)]
struct Explorer {
    seen: BTreeMap<&'static str, BTreeSet<Arrow>>,
    /// How deep the paths from a state were followed.
    visited: HashMap<u64, usize>,
}

impl Explorer {
    fn explore(&mut self, world: World, depth: usize) {
        if world.journal.len() == 1 {
            self.begin(&world.state);
        }
        let mut hasher = DefaultHasher::new();
        format!("{:?} at {:?}", world.state, world.now).hash(&mut hasher);
        let known = self.visited.entry(hasher.finish()).or_default();
        if depth <= *known || world.state.has_ended() {
            return;
        }
        *known = depth;
        for input in world.inputs() {
            let mut next = world.clone();
            let mut state = world.state.clone();
            if input == Input::Resume {
                state = world.folded();
            }
            for event in next.give(input) {
                let before = Statuses::of(&state);
                state.apply(&event).expect("what is decided can be folded");
                self.note(&before, event.kind(), &Statuses::of(&state));
            }
            self.explore(next, depth - 1);
        }
    }

    fn begin(&mut self, state: &JobState) {
        let nothing = Statuses::default();
        self.note(&nothing, "JobSubmitted", &Statuses::of(state));
    }

    /// Notes what an event changed. Items that are gone were forgotten with their step's end.
    fn note(&mut self, before: &Statuses, event: &str, after: &Statuses) {
        for (machine, things) in &after.0 {
            for (thing, to) in things {
                let from = before.0.get(machine).and_then(|things| things.get(thing));
                let from = from.copied().unwrap_or(OUTSIDE);
                if from != *to {
                    self.seen.entry(machine).or_default().insert(arrow(from, event, to));
                }
            }
        }
    }

    /// The arrows seen, and one to the outside from every state that nothing leads out of.
    fn drawing(mut self) -> Drawing {
        for arrows in self.seen.values_mut() {
            let sources: BTreeSet<&String> = arrows.iter().map(|(from, _, _)| from).collect();
            let ends = arrows.iter().filter(|(_, _, to)| !sources.contains(to));
            let ends: Vec<Arrow> = ends.map(|(_, _, to)| arrow(to, "", OUTSIDE)).collect();
            arrows.extend(ends);
        }
        self.seen
    }
}

/// The status of the job, of every step and of every item, by machine and place.
#[derive(Default)]
struct Statuses(BTreeMap<&'static str, BTreeMap<(usize, usize), &'static str>>);

impl Statuses {
    fn of(state: &JobState) -> Self {
        let steps = (0..).zip(&state.steps);
        let items = steps.clone().flat_map(|(step, record)| match &record.status {
            StepStatus::Active(active) => (0..)
                .zip(&active.items)
                .map(|(item, record)| ((step, item), item_name(&record.status)))
                .collect(),
            _ => Vec::new(),
        });
        let steps = steps.map(|(step, record)| ((step, 0), step_name(&record.status)));
        Self(BTreeMap::from([
            ("Job", BTreeMap::from([((0, 0), job_name(&state.phase))])),
            ("Step", steps.collect()),
            ("Item", items.collect()),
        ]))
    }
}

fn job_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Running => "Running",
        Phase::Stopping(StopCause::Cancel) => "Cancelling",
        Phase::Stopping(StopCause::Failure(_)) => "Failing",
        Phase::Ended { ending: Ending::Succeeded(_), .. } => "Succeeded",
        Phase::Ended { ending: Ending::Failed(_), .. } => "Failed",
        Phase::Ended { ending: Ending::Cancelled, .. } => "Cancelled",
    }
}

fn step_name(status: &StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "Pending",
        StepStatus::Active(_) => "Active",
        StepStatus::Succeeded(_) => "Succeeded",
        StepStatus::Skipped => "Skipped",
        StepStatus::Failed(_) => "Failed",
        StepStatus::Cancelled => "Cancelled",
    }
}

fn item_name(status: &ItemStatus) -> &'static str {
    match status {
        ItemStatus::Queued => "Queued",
        ItemStatus::Running { .. } => "Running",
        ItemStatus::Waiting { .. } => "Waiting",
        ItemStatus::Sleeping { .. } => "Sleeping",
        ItemStatus::InDoubt(_) => "InDoubt",
        ItemStatus::Succeeded(_) => "Succeeded",
        ItemStatus::Failed(_) => "Failed",
        ItemStatus::Cancelled => "Cancelled",
    }
}

/// A stale fence changes nothing: the machines above leave it out, so it is held here.
#[test]
fn a_stale_fence_is_no_transition() {
    let plan = Arc::new(Plan::load(WORKFLOWS[1], &catalog()).expect("the workflow is sound"));
    let mut world = World::submit(plan, Value::Null);
    world.give(Input::Resume);
    let stale = Input::StepEnded { token: Token(99), outcome: Outcome::Succeeded(Value::Null) };
    assert_eq!(world.give(stale), []);
}
