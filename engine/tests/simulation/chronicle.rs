//! The oracle: reads what becomes durable of one job, foretells from the graph what may be there,
//! and keeps books of its own. It knows nothing of the engine's state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callsheet_engine::definition::OnError;
use callsheet_engine::limits::MAX_DEATHS_COUNT;
use callsheet_engine::{Event, Failure, Interruption, Outcome, Resolution, Timestamp};
use serde_json::{Map, Value, json};

use crate::doubts::{Asked, Doubt};
use crate::graph::{Fan, Graph, If};
use crate::store::Status;

/// Ends the game: a promise is broken.
macro_rules! hold {
    ($holds:expr, $promise:literal, $($what:tt)+) => {
        if !$holds {
            panic!("{}: {}", $promise, format!($($what)+));
        }
    };
}
pub(crate) use hold;

/// What is durable of one job.
#[derive(Debug)]
pub(crate) struct Chronicle {
    pub(crate) graph: Arc<Graph>,
    steps: Vec<StepBook>,
    /// Where the open attempts are, by fence.
    pub(crate) open: BTreeMap<u64, (usize, usize)>,
    pub(crate) last_fence: u64,
    stop: Option<Stop>,
    pub(crate) ended: Option<Status>,
    epoch: u64,
    records: u64,
    /// No record has come under the latest epoch.
    pub(crate) fresh: bool,
    /// What persons have said about doubts, and where they let something be done again.
    pub(crate) words: BTreeMap<(usize, usize), Vec<Resolution>>,
    pub(crate) repeatable: BTreeSet<(usize, usize)>,
    /// A supervisor has given the job up.
    pub(crate) given_up: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Stop {
    Cancel,
    Failure(Failure),
}

#[derive(Clone, Debug, Default)]
struct StepBook {
    /// `None` until the step was decided on.
    items: Option<Vec<ItemBook>>,
    settled: Option<Settled>,
}

#[derive(Clone, Debug, PartialEq)]
enum Settled {
    Skipped,
    Failed,
    Output(Value),
}

#[derive(Clone, Debug)]
pub(crate) struct ItemBook {
    value: Option<Value>,
    pub(crate) attempts: u32,
    pub(crate) tries: u32,
    pub(crate) deaths: u32,
    pub(crate) candidate: u32,
    pub(crate) at: Stage,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    Queued,
    Open(u64),
    Due(Timestamp),
    Asleep(Timestamp),
    Doubt(Doubt),
    Done(Value),
    Failed,
    Dropped,
}

impl ItemBook {
    fn new(value: Option<Value>) -> Self {
        Self { value, attempts: 0, tries: 0, deaths: 0, candidate: 0, at: Stage::Queued }
    }

    fn is_busy(&self) -> bool {
        use Stage::{Asleep, Doubt, Due, Open};
        matches!(self.at, Open(_) | Due(_) | Asleep(_) | Doubt(_))
    }
}

/// What the bodies outside have said, by fence.
pub(crate) type Told = BTreeMap<u64, Vec<Outcome>>;

impl Chronicle {
    pub(crate) fn new(graph: Arc<Graph>, first: &Event) -> Self {
        assert_eq!(first.kind(), "JobSubmitted");
        Self {
            steps: vec![StepBook::default(); graph.nodes.len()],
            graph,
            open: BTreeMap::new(),
            last_fence: 0,
            stop: None,
            ended: None,
            epoch: 0,
            records: 1,
            fresh: false,
            words: BTreeMap::new(),
            repeatable: BTreeSet::new(),
            given_up: false,
        }
    }

    /// The job has a new owner.
    pub(crate) fn claimed(&mut self, epoch: u64) {
        hold!(epoch > self.epoch, "epochs grow", "{epoch} after {}", self.epoch);
        (self.epoch, self.fresh) = (epoch, true);
    }

    /// A record is durable.
    pub(crate) fn record(&mut self, epoch: u64, sequence: u64, events: &[Event], told: &Told) {
        hold!(epoch == self.epoch, "one writer", "epoch {epoch}, latest {}", self.epoch);
        hold!(sequence == self.records, "no gaps", "record {sequence} after {}", self.records);
        hold!(!events.is_empty(), "records say something", "record {sequence} is empty");
        let fence_before = self.last_fence;
        for event in events {
            hold!(self.ended.is_none(), "an end is final", "{event:?} after {:?}", self.ended);
            self.event(event, told);
        }
        if std::mem::take(&mut self.fresh) {
            let old = self.open.keys().find(|fence| **fence <= fence_before);
            hold!(old.is_none(), "a new owner buries the dead", "fence {old:?} is still open");
        }
        self.records += 1;
    }

    fn event(&mut self, event: &Event, told: &Told) {
        match event {
            Event::JobSubmitted { .. } => panic!("one submit a job: {event:?}"),
            Event::StepSkipped { step, .. } => {
                self.must_decide(step.at(), event);
                hold!(self.skips(step.at()), "only false conditions skip", "{event:?}");
                self.settle(step.at(), Settled::Skipped);
            }
            Event::StepExpanded { step, items, .. } => self.expand(step.at(), items, event),
            Event::StepStarted { .. } => self.start(event),
            Event::SleepBegan { step, due, at } => {
                self.must_decide(step.at(), event);
                let nap = self.graph.nodes[step.at()].nap;
                let right = !self.skips(step.at()) && nap == u64::try_from(due.0 - at.0).ok();
                hold!(right, "a timer is set as its step says", "{event:?}");
                let asleep = ItemBook { at: Stage::Asleep(*due), ..ItemBook::new(None) };
                self.steps[step.at()].items = Some(vec![asleep]);
            }
            Event::SleepEnded { step, at } => {
                self.must_run(event);
                let over = match self.item(step.at(), 0).at {
                    Stage::Asleep(due) if due <= *at => Some(due),
                    _ => None,
                };
                hold!(over.is_some(), "no wait ends early", "{event:?}");
                let output = json!({ "due_at": over.map(|due| due.0) });
                self.item_mut(step.at(), 0).at = Stage::Done(output);
                self.conclude(step.at());
            }
            Event::StepInDoubt { .. }
            | Event::ProbeStarted { .. }
            | Event::ProbeFailed { .. }
            | Event::StepHeld { .. }
            | Event::DoubtResolved { .. } => self.doubt(event, told),
            Event::StepFailed { step, failure, .. } => {
                self.must_decide(step.at(), event);
                let broken = !self.skips(step.at()) && self.list_of(step.at()).is_none();
                hold!(broken, "only broken lists fail a step at once", "{event:?}");
                self.fail(step.at(), failure);
            }
            Event::CancelRequested { .. } => {
                hold!(self.stop != Some(Stop::Cancel), "one cancel a job", "{event:?}");
                self.stop = Some(Stop::Cancel);
            }
            Event::JobSucceeded { .. } | Event::JobFailed { .. } | Event::JobCancelled { .. } => {
                self.end(event);
            }
            _ => self.attempt_event(event, told),
        }
    }

    /// What says how an attempt ended.
    fn attempt_event(&mut self, event: &Event, told: &Told) {
        match event {
            Event::StepSucceeded { token, output, .. } => {
                self.must_run(event);
                let said = Outcome::Succeeded(output.clone());
                hold!(was_told(told, token.0, &said), "results come from bodies", "{event:?}");
                let (step, item) = self.place(token.0, event);
                self.close(token.0, Stage::Done(output.clone()));
                hold!(self.item(step, item).attempts > 0, "a start before a result", "{event:?}");
                self.conclude(step);
            }
            Event::AttemptFailed { token, failure, .. } => {
                self.must_run(event);
                hold!(failed(told, token.0, failure), "failures come from bodies", "{event:?}");
                self.retry(event);
            }
            Event::AttemptInterrupted { token, cause, .. } => {
                self.must_run(event);
                let death = *cause == Interruption::Death;
                let unbegun = !death && was_told(told, token.0, &Outcome::NotBegun);
                let given_back = unbegun
                    || was_told(told, token.0, &Outcome::Released)
                    || was_told(told, token.0, &Outcome::Stopped);
                let right = if death { self.fresh } else { given_back };
                hold!(right, "only new owners and shutdowns interrupt", "{event:?}");
                let place = self.place(token.0, event);
                let book = match self.asked(place) {
                    // A probe: the policy is asked anew.
                    Some(_) => self.ask(place, Asked::Policy),
                    None => {
                        let once = self.policy(place);
                        let sure = once.is_none() || unbegun;
                        hold!(sure, "what is done once is in doubt", "{event:?}");
                        let book = self.close(token.0, Stage::Due(Timestamp(0)));
                        book.tries -= 1;
                        book
                    }
                };
                book.deaths += u32::from(death);
            }
            Event::ItemFailed { step, item, failure, .. } => {
                self.fail_item(event, step.at(), item.at(), failure, told);
            }
            Event::AttemptCancelled { token, .. } => {
                hold!(self.stop.is_some(), "only a stop drops attempts", "{event:?}");
                self.place(token.0, event);
                self.close(token.0, Stage::Dropped);
            }
            other => panic!("the oracle does not know {other:?}"),
        }
    }

    fn expand(&mut self, step: usize, items: &[Value], event: &Event) {
        self.must_decide(step, event);
        hold!(!self.skips(step), "false conditions skip", "{event:?}");
        let right = self.list_of(step).is_some_and(|list| list == items);
        hold!(right, "a fan-out has the items of its list", "{event:?}");
        let items = items.iter().map(|value| ItemBook::new(Some(value.clone()))).collect();
        self.steps[step].items = Some(items);
        self.conclude(step);
    }

    fn start(&mut self, event: &Event) {
        let Event::StepStarted { step, item, attempt, token, candidate, at } = event else {
            panic!("the caller matched it");
        };
        let (step, item) = (step.at(), item.at());
        self.must_run(event);
        if self.steps[step].items.is_none() {
            self.must_decide(step, event);
            let node = &self.graph.nodes[step];
            let single = node.fan == Fan::Single && node.nap.is_none();
            hold!(single && !self.skips(step), "a step starts when it is ready", "{event:?}");
            self.steps[step].items = Some(vec![ItemBook::new(None)]);
        }
        hold!(self.steps[step].settled.is_none(), "a settled step is left alone", "{event:?}");
        match self.item(step, item).at {
            Stage::Queued => hold!(self.is_next(step, item), "items start in order", "{event:?}"),
            Stage::Due(due) => hold!(due <= *at, "no wait ends early", "{event:?}, due {due:?}"),
            ref other => hold!(false, "one attempt at a time", "{event:?} while {other:?}"),
        }
        hold!(self.input_of(step, item).is_some(), "an input can be made", "{event:?}");
        hold!(
            token.0 > self.last_fence,
            "fences are unique",
            "{event:?} after {}",
            self.last_fence
        );
        self.last_fence = token.0;
        self.open.insert(token.0, (step, item));
        let book = self.item_mut(step, item);
        let foretold = (book.attempts + 1, book.candidate);
        hold!(foretold == (*attempt, *candidate), "attempts are counted", "{event:?}");
        book.attempts += 1;
        book.tries += 1;
        book.at = Stage::Open(token.0);
        let (tries, most) = (book.tries, self.graph.nodes[step].retry.max_attempts);
        hold!(tries <= most, "no attempt beyond the policy", "{event:?} is try {tries}");
        let busy = self.books(step).iter().filter(|book| book.is_busy()).count();
        let most = self.graph.nodes[step].concurrency as usize;
        hold!(busy <= most, "a fan-out keeps its bound", "{busy} of {most} at {event:?}");
    }

    fn retry(&mut self, event: &Event) {
        let Event::AttemptFailed { token, failure, retry_at, candidate, at } = event else {
            panic!("the caller matched it");
        };
        let (step, item) = self.place(token.0, event);
        let (node, book) = (self.graph.nodes[step].clone(), self.item(step, item));
        let again = failure.retryable && book.tries < node.retry.max_attempts;
        let wait = retry_at.since(*at).0;
        if again {
            let (least, most) = bounds(&node.retry, book.tries);
            let right = *candidate == book.candidate && (least..=most).contains(&wait);
            hold!(right, "retries keep the back-off", "{event:?}, {least} to {most} ms");
        } else {
            let right = *candidate == book.candidate + 1 && *candidate as usize <= node.fallbacks;
            hold!(right && wait == 0, "fallbacks follow in order", "{event:?}");
        }
        let book = self.close(token.0, Stage::Due(*retry_at));
        book.deaths = 0;
        if !again {
            (book.candidate, book.tries) = (*candidate, 0);
        }
    }

    fn fail_item(
        &mut self,
        event: &Event,
        step: usize,
        item: usize,
        failure: &Failure,
        told: &Told,
    ) {
        self.must_run(event);
        let node = &self.graph.nodes[step];
        let book = self.item(step, item);
        match book.at {
            Stage::Open(token) => {
                let over = !failure.retryable || book.tries >= node.retry.max_attempts;
                let last = book.candidate as usize == node.fallbacks;
                hold!(over && last, "an item fails when nothing is left to try", "{event:?}");
                hold!(failed(told, token, failure), "failures come from bodies", "{event:?}");
                self.close(token, Stage::Failed);
            }
            Stage::Queued => {
                let broken = self.is_next(step, item) && self.input_of(step, item).is_none();
                hold!(broken, "an item fails when it has no input", "{event:?}");
                self.item_mut(step, item).at = Stage::Failed;
            }
            Stage::Doubt(_) => self.fail_doubt(event, (step, item), failure, told),
            _ => hold!(false, "an item fails once", "{event:?} at {:?}", book.at),
        }
        match self.graph.nodes[step].on_error {
            OnError::Fail => self.fail(step, failure),
            OnError::Continue => self.conclude(step),
        }
    }

    fn end(&mut self, event: &Event) {
        let quiet = self.open.is_empty();
        hold!(quiet, "nothing is open at the end", "{event:?}, open {:?}", self.open);
        self.ended = Some(match event {
            Event::JobSucceeded { output, .. } => {
                let all = self.steps.iter().all(|step| step.settled.is_some());
                hold!(self.stop.is_none() && all, "success is of all steps", "{event:?}");
                let right = *output == self.output();
                hold!(right, "outputs are in order", "{output} is not {}", self.output());
                Status::Succeeded
            }
            Event::JobFailed { failure, .. } => {
                let right = match &self.stop {
                    Some(stop) => *stop == Stop::Failure(failure.clone()),
                    None => failure.code == "job.poisoned" && (self.given_up || self.is_deadly()),
                };
                hold!(right, "a job fails for its reason", "{event:?}, stop {:?}", self.stop);
                Status::Failed
            }
            _ => {
                hold!(self.stop == Some(Stop::Cancel), "a cancel was asked for", "{event:?}");
                Status::Cancelled
            }
        });
    }

    fn is_deadly(&self) -> bool {
        let mut items = self.steps.iter().filter_map(|step| step.items.as_ref()).flatten();
        items.any(|item| item.deaths >= MAX_DEATHS_COUNT)
    }

    pub(crate) fn must_run(&self, event: &Event) {
        hold!(self.stop.is_none(), "nothing moves on in a job that is stopped", "{event:?}");
    }

    fn must_decide(&self, step: usize, event: &Event) {
        self.must_run(event);
        let book = &self.steps[step];
        let open = book.items.is_none() && book.settled.is_none();
        hold!(open, "a step is decided on once", "{event:?}");
        let mut needs = self.graph.nodes[step].needs.iter();
        let met = needs.all(|need| self.steps[*need].settled.is_some());
        hold!(met, "needs come first", "{event:?}");
    }

    pub(crate) fn place(&self, fence: u64, event: &Event) -> (usize, usize) {
        let place = self.open.get(&fence).copied();
        hold!(place.is_some(), "only open fences speak", "{event:?}, open {:?}", self.open);
        place.unwrap_or_default()
    }

    pub(crate) fn close(&mut self, fence: u64, at: Stage) -> &mut ItemBook {
        let (step, item) = self.open.remove(&fence).expect("its place was looked up");
        let book = self.item_mut(step, item);
        let done = matches!(book.at, Stage::Done(_));
        hold!(!done, "one result an item", "s{step}[{item}] is {:?}, then {at:?}", book.at);
        book.at = at;
        book
    }

    fn settle(&mut self, step: usize, settled: Settled) {
        let before = &self.steps[step].settled;
        hold!(before.is_none(), "a step settles once", "s{step}: {before:?}, then {settled:?}");
        self.steps[step].settled = Some(settled);
    }

    fn fail(&mut self, step: usize, failure: &Failure) {
        self.settle(step, Settled::Failed);
        if self.graph.nodes[step].on_error == OnError::Fail {
            self.stop = Some(Stop::Failure(failure.clone()));
        }
    }

    /// Settles a step whose items all have.
    pub(crate) fn conclude(&mut self, step: usize) {
        let output = |book: &ItemBook| match &book.at {
            Stage::Done(output) => Some(Some(output.clone())),
            Stage::Failed => Some(None),
            _ => None,
        };
        let outputs: Option<Vec<Option<Value>>> = self.books(step).iter().map(output).collect();
        let Some(mut outputs) = outputs else { return };
        let settled = match self.graph.nodes[step].fan {
            Fan::Single => outputs.remove(0).map_or(Settled::Failed, Settled::Output),
            _ => Settled::Output(outputs.into_iter().map(Option::unwrap_or_default).collect()),
        };
        self.settle(step, settled);
    }

    fn is_next(&self, step: usize, item: usize) -> bool {
        let books = self.books(step);
        let busy = books.iter().filter(|book| book.is_busy()).count();
        let room = busy < self.graph.nodes[step].concurrency as usize;
        books.iter().position(|book| book.at == Stage::Queued) == Some(item) && room
    }

    fn skips(&self, step: usize) -> bool {
        let node = &self.graph.nodes[step];
        match node.condition {
            If::Constant(truth) => !truth,
            If::IsNone(need) => *self.output_of(need) != Value::Null,
            If::Absent => {
                let mut needs = node.needs.iter();
                needs.any(|need| self.steps[*need].settled == Some(Settled::Skipped))
            }
        }
    }

    fn list_of(&self, step: usize) -> Option<Vec<Value>> {
        match &self.graph.nodes[step].fan {
            Fan::Single => Some(vec![]),
            Fan::List(items) => Some(items.clone()),
            Fan::OutputOf(need) => self.output_of(*need).as_array().cloned(),
        }
    }

    /// The input of an item, unless it cannot be made.
    fn input_of(&self, step: usize, item: usize) -> Option<Value> {
        let mut input = Map::new();
        if let Some(value) = &self.item(step, item).value {
            input.insert("item".to_owned(), value.get("v")?.clone());
            input.insert("index".to_owned(), json!(item));
        }
        if let Some(need) = self.graph.nodes[step].reads {
            input.insert("read".to_owned(), self.output_of(need).clone());
        }
        Some(Value::Object(input))
    }

    fn output_of(&self, step: usize) -> &Value {
        match self.steps[step].settled.as_ref().expect("what is needed has settled") {
            Settled::Output(output) => output,
            Settled::Skipped | Settled::Failed => &Value::Null,
        }
    }

    fn output(&self) -> Value {
        let outputs = (0..self.steps.len()).map(|n| (format!("s{n}"), self.output_of(n).clone()));
        Value::Object(outputs.collect())
    }

    pub(crate) fn books(&self, step: usize) -> &[ItemBook] {
        self.steps[step].items.as_deref().unwrap_or_default()
    }

    pub(crate) fn item(&self, step: usize, item: usize) -> &ItemBook {
        &self.books(step)[item]
    }

    pub(crate) fn item_mut(&mut self, step: usize, item: usize) -> &mut ItemBook {
        &mut self.steps[step].items.as_mut().expect("the step was decided on")[item]
    }
}

/// What others may ask of what is durable.
impl Chronicle {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.stop == Some(Stop::Cancel)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// The fence of the attempt that was recorded last.
    pub(crate) fn last_fence(&self) -> u64 {
        self.last_fence
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where an attempt is, its number, its kind and what it is given, if it is open.
    pub(crate) fn foretold(&self, fence: u64) -> Option<(usize, usize, u32, String, Value)> {
        let (step, item) = self.open.get(&fence).copied()?;
        let input = self.input_of(step, item)?;
        let book = self.item(step, item);
        let uses = match book.candidate {
            0 => "own".to_owned(),
            n => format!("fallback{n}"),
        };
        let number = match &book.at {
            Stage::Doubt(doubt) => doubt.probes,
            _ => book.attempts,
        };
        Some((step, item, number, uses, input))
    }
}

/// Whether the body said that it failed so, or gave no answer.
pub(crate) fn failed(told: &Told, fence: u64, failure: &Failure) -> bool {
    was_told(told, fence, &Outcome::Failed(failure.clone()))
        || was_told(told, fence, &Outcome::Lost(failure.clone()))
}

pub(crate) fn was_told(told: &Told, fence: u64, outcome: &Outcome) -> bool {
    told.get(&fence).is_some_and(|said| said.contains(outcome))
}

/// The shortest and the longest wait after so many tries.
pub(crate) fn bounds(retry: &callsheet_engine::definition::Retry, tries: u32) -> (u64, u64) {
    let most = retry.max.0 as f64;
    let mut bare = retry.initial.0 as f64;
    for _ in 1..tries {
        bare = (bare * retry.factor).min(most);
    }
    let (least, most) = (bare * (1.0 - retry.jitter), (bare * (1.0 + retry.jitter)).min(most));
    ((least.floor() as u64).saturating_sub(1), most.ceil() as u64)
}
