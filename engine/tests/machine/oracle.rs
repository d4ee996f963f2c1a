//! The oracle: foretells, from the graph and what was decided so far, what a decision may be. It
//! keeps its own books and knows nothing of the engine's.

use std::collections::{BTreeMap, BTreeSet};

use callsheet_engine::definition::OnError;
use callsheet_engine::limits::{MAX_DEATHS_COUNT, MAX_OPEN_ATTEMPTS_COUNT};
use callsheet_engine::{
    Action, Decision, Event, Failure, Input, Interruption, Outcome, StartStep, Timestamp, Work,
};
use serde_json::{Map, Value, json};

use crate::doubts::{Asked, Doubt};
use crate::graph::{Fan, Graph, If};
use crate::told::Told;

/// What is known of a job of this graph.
pub(crate) struct Oracle {
    pub(crate) graph: Graph,
    steps: Vec<StepBook>,
    /// Where the open attempts and probes are, by fence.
    pub(crate) open: BTreeMap<u64, (usize, usize)>,
    last_fence: u64,
    /// Every item that has its result.
    pub(crate) committed: BTreeSet<(usize, usize)>,
    pub(crate) stopping: Option<Stop>,
    ended: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stop {
    Cancel,
    Failure(Failure),
}

/// What is known of a step.
#[derive(Clone, Debug, Default)]
struct StepBook {
    /// `None` until the step was decided on.
    items: Option<Vec<ItemBook>>,
    /// What it is once it has settled.
    settled: Option<Settled>,
}

#[derive(Clone, Debug, PartialEq)]
enum Settled {
    Skipped,
    Failed,
    Output(Value),
}

/// What is known of an item.
#[derive(Clone, Debug)]
pub(crate) struct ItemBook {
    value: Option<Value>,
    attempts: u32,
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
    Doubt(Doubt),
    Asleep(Timestamp),
    Done(Value),
    Failed,
    Dropped,
}

impl ItemBook {
    fn new(value: Option<Value>) -> Self {
        Self { value, attempts: 0, tries: 0, deaths: 0, candidate: 0, at: Stage::Queued }
    }

    fn is_busy(&self) -> bool {
        matches!(self.at, Stage::Open(_) | Stage::Due(_) | Stage::Asleep(_) | Stage::Doubt(_))
    }
}

impl Oracle {
    pub(crate) fn new(graph: Graph) -> Self {
        let steps = vec![StepBook::default(); graph.nodes.len()];
        let (open, committed) = Default::default();
        Self { graph, steps, open, last_fence: 0, committed, stopping: None, ended: false }
    }

    /// Judges a decision that was committed.
    pub(crate) fn observe(
        &mut self,
        input: &Input,
        decision: &Decision,
        now: Timestamp,
        draining: bool,
    ) {
        let was_running = self.stopping.is_none() && !self.ended;
        let told = self.answer(input, now);
        let given = &decision.events[..told.len().min(decision.events.len())];
        assert!(told.len() == given.len(), "{told:?} is missing in {:?}", decision.events);
        for (event, told) in given.iter().zip(&told) {
            told.check(event);
            self.note(event, now);
        }
        for event in &decision.events[told.len()..] {
            assert!(event.at() == now && !self.ended, "{event:?} after the end");
            self.follow_up(event, input, draining);
            self.note(event, now);
        }
        self.check_actions(decision, was_running);
        self.check_diligence(input, !told.is_empty(), now, draining);
    }

    /// The events that an input must begin with.
    fn answer(&self, input: &Input, now: Timestamp) -> Vec<Told> {
        let running = self.stopping.is_none();
        let bury = |token: &u64| match running {
            true => self.cut_off(*token, Interruption::Death),
            false => Told::Cancelled(*token),
        };
        match input {
            _ if self.ended => vec![],
            Input::TimerFired | Input::Drain => vec![],
            Input::Resume | Input::Quarantine { .. } => self.open.keys().map(bury).collect(),
            Input::Cancel { .. } if self.stopping == Some(Stop::Cancel) => vec![],
            Input::Cancel { .. } => vec![Told::CancelRequested],
            Input::Resolve { doubt, resolution } => {
                let place = (doubt.step.at(), doubt.item.at());
                let held = running
                    && self.asked(place) == Some(Asked::Person)
                    && self.item(place.0, place.1).attempts == doubt.attempt;
                held.then(|| self.person_says(place, resolution)).into_iter().collect()
            }
            Input::StepEnded { token, outcome } => match self.open.get(&token.0) {
                None => vec![],
                Some(_) if !running => vec![Told::Cancelled(token.0)],
                Some(place) => vec![self.end(token.0, *place, outcome, now)],
            },
        }
    }

    /// What becomes of an attempt that came to this end while the job runs.
    fn end(
        &self,
        token: u64,
        (step, item): (usize, usize),
        outcome: &Outcome,
        now: Timestamp,
    ) -> Told {
        if matches!(self.item(step, item).at, Stage::Doubt(_)) {
            return self.probe_says(token, (step, item), outcome);
        }
        let only_probes = Failure::fatal("step.output", "the body answered as only a probe may");
        let failure = match outcome {
            Outcome::Succeeded(output) => return Told::Succeeded(token, output.clone(), false),
            Outcome::Recalled(output) => return Told::Succeeded(token, output.clone(), true),
            Outcome::Stopped | Outcome::Released => {
                return self.cut_off(token, Interruption::Shutdown);
            }
            // Nothing was done, so there is nothing to doubt.
            Outcome::NotBegun => return Told::Interrupted(token, Interruption::Shutdown),
            Outcome::Lost(failure) if self.policy((step, item)).is_some() => {
                let seen = Some(failure.clone());
                return Told::InDoubt(token, Interruption::NoAnswer, seen);
            }
            Outcome::Failed(failure) | Outcome::Lost(failure) => failure,
            Outcome::NotDone | Outcome::Unknown => &only_probes,
        };
        match self.after((step, item), failure) {
            Some((candidate, least, most)) => Told::Failed { token, candidate, least, most, now },
            None => Told::ItemFailed(step, item, failure.clone()),
        }
    }

    /// Whether an event that does not answer the input itself may be there: the graph moves on, or
    /// the job ends.
    fn follow_up(&self, event: &Event, input: &Input, draining: bool) {
        let moves = !draining && self.stopping.is_none();
        match event {
            Event::StepSkipped { step, .. } => {
                assert!(moves && self.may_be_decided_on(step.at()));
                assert!(self.skips(step.at()), "{event:?}");
            }
            Event::StepExpanded { step, items, .. } => {
                assert!(moves && self.may_be_decided_on(step.at()));
                assert!(!self.skips(step.at()), "{event:?}");
                assert_eq!(self.list_of(step.at()).as_ref(), Some(items));
            }
            Event::StepFailed { step, failure, .. } => {
                assert!(moves && self.may_be_decided_on(step.at()));
                assert!(!self.skips(step.at()) && self.is_broken(step.at()), "{event:?}");
                assert!(failure.code.starts_with("expression."), "{failure}");
            }
            Event::StepHeld { .. } | Event::DoubtResolved { .. } | Event::ProbeStarted { .. } => {
                assert!(moves, "{event:?}");
                self.doubt_goes_on(event);
            }
            Event::ItemFailed { step, item, .. }
                if self.asked((step.at(), item.at())).is_some() =>
            {
                assert!(moves, "{event:?}");
                self.doubt_goes_on(event);
            }
            Event::ItemFailed { step, item, failure, .. } => {
                assert!(moves && self.is_next(step.at(), item.at()));
                assert_eq!(self.input_of(step.at(), item.at()), None, "{event:?}");
                assert!(failure.code.starts_with("expression."), "{failure}");
            }
            Event::SleepBegan { step, due, at } => {
                assert!(moves && self.may_be_decided_on(step.at()));
                assert!(!self.skips(step.at()), "{event:?}");
                let nap = self.graph.nodes[step.at()].nap.expect("a timer");
                assert_eq!(due.0 - at.0, i64::try_from(nap).unwrap(), "{event:?}");
            }
            Event::SleepEnded { step, at } => {
                let due = |book: &ItemBook| matches!(book.at, Stage::Asleep(due) if due <= *at);
                assert!(moves && self.books(step.at()).iter().all(due), "{event:?}");
            }
            Event::StepStarted { .. } => assert!(moves, "{event:?}"),
            Event::AttemptCancelled { .. } => assert!(self.stopping.is_some(), "{event:?}"),
            Event::JobSucceeded { output, .. } => {
                assert!(
                    self.stopping.is_none() && self.steps.iter().all(|it| it.settled.is_some())
                );
                assert_eq!(*output, self.output());
            }
            Event::JobFailed { failure, .. } => self.check_failure(failure, input),
            Event::JobCancelled { .. } => {
                assert!(self.open.is_empty() && self.stopping == Some(Stop::Cancel));
            }
            Event::JobSubmitted { .. }
            | Event::StepSucceeded { .. }
            | Event::AttemptFailed { .. }
            | Event::AttemptInterrupted { .. }
            | Event::StepInDoubt { .. }
            | Event::ProbeFailed { .. }
            | Event::CancelRequested { .. } => panic!("{event:?} answers nothing"),
        }
    }

    fn check_failure(&self, failure: &Failure, input: &Input) {
        assert!(self.open.is_empty(), "{:?} are open", self.open);
        match (&self.stopping, input) {
            (Some(stop), _) => assert_eq!(*stop, Stop::Failure(failure.clone())),
            (None, Input::Quarantine { failure: told }) => assert_eq!(failure, told),
            (None, Input::Resume) => {
                assert!(self.is_poisoned());
                assert_eq!(failure.code, "job.poisoned");
            }
            (None, _) => panic!("no step failed for good: {failure}"),
        }
    }

    /// Whether an item has killed its owner too often.
    fn is_poisoned(&self) -> bool {
        let mut items = self.steps.iter().filter_map(|step| step.items.as_ref()).flatten();
        items.any(|item| item.deaths >= MAX_DEATHS_COUNT)
    }

    /// Writes a committed event into the books.
    fn note(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::StepSkipped { step, .. } => self.settle(step.at(), Settled::Skipped),
            Event::StepExpanded { step, items, .. } => {
                let items = items.iter().map(|value| ItemBook::new(Some(value.clone()))).collect();
                self.steps[step.at()].items = Some(items);
                self.conclude(step.at());
            }
            Event::StepFailed { step, failure, .. } => self.fail(step.at(), failure),
            Event::SleepBegan { step, due, .. } => {
                let asleep = ItemBook { at: Stage::Asleep(*due), ..ItemBook::new(None) };
                self.steps[step.at()].items = Some(vec![asleep]);
            }
            Event::SleepEnded { step, .. } => {
                let book = self.item_mut(step.at(), 0);
                let Stage::Asleep(due) = book.at else { panic!("{event:?} of no timer") };
                book.at = Stage::Done(json!({ "due_at": due.0 }));
                self.conclude(step.at());
            }
            Event::StepStarted { .. } => self.note_start(event, now),
            Event::StepSucceeded { token, output, .. } => {
                let (step, item) = self.open.remove(&token.0).unwrap();
                assert!(self.committed.insert((step, item)), "a second result: {event:?}");
                self.item_mut(step, item).at = Stage::Done(output.clone());
                self.conclude(step);
            }
            Event::AttemptFailed { token, retry_at, candidate, .. } => {
                let book = self.close(token.0, Stage::Due(*retry_at));
                book.deaths = 0;
                if book.candidate != *candidate {
                    (book.candidate, book.tries) = (*candidate, 0);
                }
            }
            Event::AttemptInterrupted { token, cause, .. } => {
                let asks = self.open.get(&token.0).and_then(|place| self.asked(*place)).is_some();
                let book = match asks {
                    true => self.reopen_doubt(token.0),
                    false => self.close(token.0, Stage::Due(now)),
                };
                book.tries -= u32::from(!asks);
                book.deaths += u32::from(*cause == Interruption::Death);
            }
            Event::StepInDoubt { .. }
            | Event::ProbeStarted { .. }
            | Event::ProbeFailed { .. }
            | Event::StepHeld { .. }
            | Event::DoubtResolved { .. } => self.note_doubt(event),
            Event::ItemFailed { step, item, failure, .. } => {
                self.open.retain(|_, place| *place != (step.at(), item.at()));
                self.item_mut(step.at(), item.at()).at = Stage::Failed;
                match self.graph.nodes[step.at()].on_error {
                    OnError::Fail => self.fail(step.at(), failure),
                    OnError::Continue => self.conclude(step.at()),
                }
            }
            Event::AttemptCancelled { token, .. } => {
                self.close(token.0, Stage::Dropped);
            }
            Event::CancelRequested { .. } => self.stopping = Some(Stop::Cancel),
            Event::JobSucceeded { .. } | Event::JobFailed { .. } | Event::JobCancelled { .. } => {
                self.ended = true;
            }
            Event::JobSubmitted { .. } => panic!("a job is submitted once"),
        }
    }

    fn note_start(&mut self, event: &Event, now: Timestamp) {
        let Event::StepStarted { step, item, attempt, token, candidate, .. } = event else {
            unreachable!("the caller matched it");
        };
        let (step, item) = (step.at(), item.at());
        if self.steps[step].items.is_none() {
            assert!(self.may_be_decided_on(step) && !self.skips(step), "{event:?}");
            let node = &self.graph.nodes[step];
            assert!(node.fan == Fan::Single && node.nap.is_none(), "{event:?}");
            self.steps[step].items = Some(vec![ItemBook::new(None)]);
        }
        assert!(self.steps[step].settled.is_none() && !self.committed.contains(&(step, item)));
        match self.item(step, item).at {
            Stage::Queued => assert!(self.is_next(step, item), "{event:?}"),
            Stage::Due(at) => assert!(at <= now, "{event:?} is due at {at:?}"),
            ref other => panic!("{event:?} of an item that is {other:?}"),
        }
        self.take_fence(token.0, (step, item));
        let fallbacks = self.graph.nodes[step].fallbacks;
        let book = self.item_mut(step, item);
        assert_eq!((book.attempts + 1, book.candidate), (*attempt, *candidate), "{event:?}");
        assert!(*candidate as usize <= fallbacks);
        book.attempts += 1;
        book.tries += 1;
        book.at = Stage::Open(token.0);
        let most = self.graph.nodes[step].retry.max_attempts;
        assert!(self.item(step, item).tries <= most, "{event:?} is a try too many");
        let open = self.books(step).iter().filter(|book| book.is_busy()).count();
        assert!(open <= self.graph.nodes[step].concurrency.max(1) as usize, "{event:?}");
    }

    pub(crate) fn take_fence(&mut self, token: u64, place: (usize, usize)) {
        assert_eq!(token, self.last_fence + 1, "fence of s{}", place.0);
        self.last_fence = token;
        self.open.insert(token, place);
        assert!(self.open.len() <= MAX_OPEN_ATTEMPTS_COUNT);
    }

    pub(crate) fn close(&mut self, token: u64, at: Stage) -> &mut ItemBook {
        let (step, item) = self.open.remove(&token).expect("the fence is open");
        let book = self.item_mut(step, item);
        book.at = at;
        book
    }

    fn settle(&mut self, step: usize, settled: Settled) {
        assert_eq!(self.steps[step].settled, None, "s{step} settles twice");
        self.steps[step].settled = Some(settled);
    }

    fn fail(&mut self, step: usize, failure: &Failure) {
        self.settle(step, Settled::Failed);
        if self.graph.nodes[step].on_error == OnError::Fail {
            assert_eq!(self.stopping, None);
            self.stopping = Some(Stop::Failure(failure.clone()));
        }
    }

    /// Settles a step whose items all have.
    pub(crate) fn conclude(&mut self, step: usize) {
        let outputs: Option<Vec<Option<Value>>> = self
            .books(step)
            .iter()
            .map(|book| match &book.at {
                Stage::Done(output) => Some(Some(output.clone())),
                Stage::Failed => Some(None),
                _ => None,
            })
            .collect();
        let Some(mut outputs) = outputs else { return };
        let settled = match self.graph.nodes[step].fan {
            Fan::Single => outputs.remove(0).map_or(Settled::Failed, Settled::Output),
            _ => Settled::Output(outputs.into_iter().map(Option::unwrap_or_default).collect()),
        };
        self.settle(step, settled);
    }

    /// Deeds go with events of the same decision, one with one.
    fn check_actions(&self, decision: &Decision, was_running: bool) {
        let mut starts = BTreeMap::new();
        let mut stops = BTreeSet::new();
        for action in &decision.actions {
            match action {
                Action::StartStep(start) => {
                    assert!(stops.is_empty(), "a start after a stop");
                    assert!(starts.insert(start.token.0, start).is_none(), "{start:?} twice");
                }
                Action::StopStep(token) => {
                    assert!(stops.insert(token.0), "{token:?} is stopped twice");
                }
            }
        }
        for event in &decision.events {
            if let Event::StepStarted { token, .. } | Event::ProbeStarted { token, .. } = event
                && self.open.contains_key(&token.0)
            {
                let start = starts.remove(&token.0).expect("what started has its deed");
                self.check_start(event, start);
            }
        }
        assert!(starts.is_empty(), "deeds without events: {starts:?}");
        let starts = decision.actions.iter().any(|it| matches!(it, Action::StartStep(_)));
        assert!(!starts || self.stopping.is_none(), "a body begins in a job that is stopped");
        let stop_now = was_running && self.stopping.is_some() && !self.ended;
        let expected: BTreeSet<u64> = self.open.keys().copied().filter(|_| stop_now).collect();
        assert_eq!(stops, expected, "stops");
    }

    fn check_start(&self, event: &Event, start: &StartStep) {
        let (step, item, token, at) = (start.step, start.item, start.token, event.at());
        let candidate = self.item(step.at(), item.at()).candidate;
        let attempt = start.attempt;
        let expected = match start.work {
            Work::Run => Event::StepStarted { step, item, attempt, token, candidate, at },
            Work::Probe => Event::ProbeStarted { step, item, probe: attempt, token, at },
        };
        assert_eq!(*event, expected);
        let uses = match self.item(start.step.at(), start.item.at()).candidate {
            0 => "own".to_owned(),
            n => format!("fallback{n}"),
        };
        assert_eq!(start.uses, uses);
        let input = self.input_of(start.step.at(), start.item.at());
        assert_eq!(Some(&start.input), input.as_ref(), "{start:?}");
    }

    /// Whatever could start has been started: no job is slower than it must be, none is stuck.
    fn check_diligence(&self, input: &Input, answered: bool, now: Timestamp, draining: bool) {
        let lazy = match input {
            Input::Resume | Input::TimerFired => false,
            Input::StepEnded { outcome, .. } => {
                !answered
                    || matches!(outcome, Outcome::Stopped | Outcome::Released | Outcome::NotBegun)
            }
            Input::Resolve { .. } => !answered,
            Input::Cancel { .. } | Input::Drain | Input::Quarantine { .. } => true,
        };
        if self.ended || (self.stopping.is_some() && !self.open.is_empty()) {
            return;
        }
        assert!(*input != Input::Resume || !self.is_poisoned(), "it would die for ever");
        assert_eq!(self.stopping, None, "nothing is open, so the job is over");
        if lazy || draining || self.open.len() >= MAX_OPEN_ATTEMPTS_COUNT {
            return;
        }
        for (n, step) in self.steps.iter().enumerate() {
            assert!(!self.may_be_decided_on(n), "s{n} is not looked at");
            let items = step.items.iter().flatten();
            let due = |item: &ItemBook| match &item.at {
                Stage::Due(at) | Stage::Asleep(at) => *at <= now,
                Stage::Doubt(doubt) => doubt.is_due(now),
                _ => false,
            };
            assert!(!items.clone().any(due), "an item of s{n} is due");
            let next = items.clone().position(|item| item.at == Stage::Queued);
            assert!(next.is_none_or(|item| !self.is_next(n, item)), "s{n} has room");
        }
        assert!(self.steps.iter().any(|step| step.settled.is_none()), "all has settled");
    }

    /// Checks that the last event is the end that the books foretell.
    pub(crate) fn check_ending(&self, last: &Event) {
        assert!(self.ended && self.open.is_empty());
        let at = last.at();
        match (&self.stopping, last) {
            (None, Event::JobSucceeded { .. }) => {}
            (None, Event::JobFailed { failure, .. }) => assert_eq!(failure.code, "job.poisoned"),
            (Some(Stop::Cancel), _) => assert_eq!(*last, Event::JobCancelled { at }),
            (Some(Stop::Failure(failure)), _) => {
                assert_eq!(*last, Event::JobFailed { failure: failure.clone(), at });
            }
            (None, other) => panic!("{other:?} is no end"),
        }
    }

    fn may_be_decided_on(&self, step: usize) -> bool {
        let book = &self.steps[step];
        let undecided = book.items.is_none() && book.settled.is_none();
        let needs = self.graph.nodes[step].all_needs();
        undecided && needs.iter().all(|need| self.steps[*need].settled.is_some())
    }

    /// Whether the item is the first that has not started, with room for it.
    fn is_next(&self, step: usize, item: usize) -> bool {
        let books = self.books(step);
        let busy = books.iter().filter(|book| book.is_busy()).count();
        let first = books.iter().position(|book| book.at == Stage::Queued);
        let room = busy < self.graph.nodes[step].concurrency.max(1) as usize;
        first == Some(item) && room && self.steps[step].settled.is_none()
    }

    fn skips(&self, step: usize) -> bool {
        let node = &self.graph.nodes[step];
        match node.condition {
            If::Constant(truth) => !truth,
            If::IsNone(need) => *self.output_of(need) != Value::Null,
            If::Absent => node
                .all_needs()
                .iter()
                .any(|need| self.steps[*need].settled == Some(Settled::Skipped)),
        }
    }

    fn list_of(&self, step: usize) -> Option<Vec<Value>> {
        match &self.graph.nodes[step].fan {
            Fan::Single => None,
            Fan::List(items) => Some(items.clone()),
            Fan::OutputOf(need) => self.output_of(*need).as_array().cloned(),
        }
    }

    /// Whether the step fails before any item of it can start.
    fn is_broken(&self, step: usize) -> bool {
        match self.graph.nodes[step].fan {
            Fan::Single => self.rendered(step, None).is_none(),
            _ => self.list_of(step).is_none(),
        }
    }

    /// The input of an item, unless it cannot be made.
    fn input_of(&self, step: usize, item: usize) -> Option<Value> {
        let value = self.item(step, item).value.as_ref();
        self.rendered(step, value.map(|value| (value, item)))
    }

    fn rendered(&self, step: usize, item: Option<(&Value, usize)>) -> Option<Value> {
        let node = &self.graph.nodes[step];
        let mut input = Map::new();
        if let Some((value, index)) = item {
            input.insert("item".to_owned(), value.get("v")?.clone());
            input.insert("index".to_owned(), json!(index));
        }
        if let Some(need) = node.reads {
            input.insert("read".to_owned(), self.output_of(need).clone());
        }
        if let Some(need) = node.picks {
            input.insert("pick".to_owned(), self.output_of(need).get("v")?.clone());
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
