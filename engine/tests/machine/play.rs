//! A game: one job of a random graph, its journal, and what happens to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use callsheet_engine::{
    Decision, Event, Failure, HeldDoubt, Input, ItemIndex, JobId, JobState, Millis, Outcome, Phase,
    Plan, Resolution, StepIndex, Submission, Timestamp, Token, decide, fold, submit,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::graph::Graph;
use crate::meter::Meter;
use crate::oracle::Oracle;

/// One thing that happens. `pick` chooses among the open attempts.
#[derive(Clone, Debug)]
pub(crate) enum Chance {
    Ends {
        pick: usize,
        how: How,
    },
    /// An attempt that is over speaks once more, or one that never was.
    Stale {
        pick: u64,
    },
    Passes(u64),
    Timer,
    Cancel,
    Drain,
    /// The process dies after its last commit.
    Crash,
    /// The process dies between a decision and its commit.
    Lost {
        pick: usize,
        how: How,
    },
    Quarantine,
    /// Somebody looks at a doubt that is held, or at any other item.
    Resolves {
        pick: usize,
        how: How,
    },
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Number(u8),
    Object(u8),
    List(u8),
    Nothing,
    Recalled(u8),
    Retryable,
    Fatal,
    Released,
    NotBegun,
    Lost,
    NotDone,
    Unknown,
}

impl How {
    fn outcome(self) -> Outcome {
        match self {
            Self::Number(n) => Outcome::Succeeded(json!(n)),
            Self::Object(n) => Outcome::Succeeded(json!({ "v": n })),
            Self::List(n) => Outcome::Succeeded((0..n % 4).map(|n| json!({ "v": n })).collect()),
            Self::Nothing => Outcome::Succeeded(Value::Null),
            Self::Recalled(n) => Outcome::Recalled(json!({ "v": n })),
            Self::Retryable => Outcome::Failed(Failure::retryable("test.fault", "it may pass")),
            Self::Fatal => Outcome::Failed(Failure::fatal("test.fatal", "it will not pass")),
            Self::Released => Outcome::Released,
            Self::NotBegun => Outcome::NotBegun,
            Self::Lost => Outcome::Lost(Failure::retryable("test.lost", "it said nothing")),
            Self::NotDone => Outcome::NotDone,
            Self::Unknown => Outcome::Unknown,
        }
    }

    /// What a person says who feels like this.
    fn resolution(self) -> Resolution {
        match self.outcome() {
            Outcome::Succeeded(output) => Resolution::Succeeded(output),
            Outcome::Failed(failure) => Resolution::Failed(failure.message),
            _ => Resolution::Retry,
        }
    }
}

/// Anything, in the share in which it makes interesting games.
pub(crate) fn chances() -> impl Strategy<Value = Chance> {
    prop_oneof![
        60 => (any::<usize>(), ends()).prop_map(|(pick, how)| Chance::Ends { pick, how }),
        3 => (0..40u64).prop_map(|pick| Chance::Stale { pick }),
        8 => (0..8_000u64).prop_map(Chance::Passes),
        2 => Just(Chance::Timer),
        1 => Just(Chance::Drain),
        3 => Just(Chance::Crash),
        2 => (any::<usize>(), ends()).prop_map(|(pick, how)| Chance::Lost { pick, how }),
        4 => (any::<usize>(), ends()).prop_map(|(pick, how)| Chance::Resolves { pick, how }),
    ]
}

/// The same, and what ends a job early.
pub(crate) fn rude_chances() -> impl Strategy<Value = Chance> {
    prop_oneof![90 => chances(), 2 => Just(Chance::Cancel), 1 => Just(Chance::Quarantine)]
}

fn ends() -> impl Strategy<Value = How> {
    prop_oneof![
        6 => any::<u8>().prop_map(How::Number),
        4 => any::<u8>().prop_map(How::Object),
        2 => any::<u8>().prop_map(How::List),
        1 => Just(How::Nothing),
        2 => any::<u8>().prop_map(How::Recalled),
        8 => Just(How::Retryable),
        2 => Just(How::Fatal),
        1 => Just(How::Released),
        1 => Just(How::NotBegun),
        3 => Just(How::Lost),
        2 => Just(How::NotDone),
        1 => Just(How::Unknown),
    ]
}

/// The job and its journal.
pub(crate) struct Game {
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: JobState,
    pub(crate) journal: Vec<Event>,
    pub(crate) now: Timestamp,
    draining: bool,
    oracle: Oracle,
    meter: Meter,
}

/// More inputs than any job of such a graph can need once every attempt answers: 12 steps of at
/// most 5 items.
const ENOUGH_INPUTS: usize = 200;

impl Game {
    /// A job of this graph, begun.
    pub(crate) fn new(graph: &Graph, seed: u64) -> Self {
        let (plan, now) = (graph.plan(), Timestamp(1_700_000_000_000));
        let id = JobId(Uuid::from_u64_pair(seed, !seed));
        let submission = Submission {
            id,
            plan: plan.clone(),
            input: Value::Null,
            labels: BTreeMap::new(),
            options: Default::default(),
        };
        let (state, event) = submit(submission, now).unwrap();
        let oracle = Oracle::new(graph.clone());
        let journal = vec![event];
        let meter = Meter::new(&state);
        let mut game = Self { plan, state, journal, now, draining: false, oracle, meter };
        game.decide(Input::Resume);
        game
    }

    /// Plays what happens, then lets every attempt succeed until the job is over.
    pub(crate) fn play(&mut self, chances: &[Chance]) {
        for chance in chances {
            self.happen(chance);
        }
        self.finish();
        self.oracle.check_ending(self.journal.last().unwrap());
        assert!(self.state.has_ended());
    }

    pub(crate) fn happen(&mut self, chance: &Chance) {
        match chance {
            Chance::Ends { pick, how } => {
                if let Some(token) = self.open(*pick) {
                    self.decide(Input::StepEnded { token, outcome: how.outcome() });
                }
            }
            Chance::Stale { pick } => {
                let token = Token(*pick);
                if self.state.open_attempt(token).is_none() {
                    let outcome = Outcome::Succeeded(json!("late"));
                    let decision = self.decide(Input::StepEnded { token, outcome });
                    assert_eq!(decision, Decision::default(), "a stale fence says nothing");
                }
            }
            Chance::Passes(span) => {
                self.now = self.now + Millis(*span);
                self.decide(Input::TimerFired);
            }
            Chance::Timer => {
                self.decide(Input::TimerFired);
            }
            Chance::Cancel => {
                self.decide(Input::Cancel { reason: None });
            }
            Chance::Drain => {
                let decision = self.decide(Input::Drain);
                assert_eq!(decision, Decision::default(), "to drain is not recorded");
            }
            Chance::Crash => self.crash(),
            Chance::Lost { pick, how } => {
                if let Some(token) = self.open(*pick) {
                    // The decision is made and never committed: its events and deeds are nowhere.
                    let input = Input::StepEnded { token, outcome: how.outcome() };
                    decide(&mut self.state, input, self.now);
                }
                self.crash();
            }
            Chance::Quarantine => {
                let failure = Failure::fatal("job.poisoned", "its actor died again and again");
                self.decide(Input::Quarantine { failure });
            }
            Chance::Resolves { pick, how } => {
                let held: Vec<_> = self.state.held().collect();
                // Of what is not held there is nothing to say, be it there or not.
                let (step, item) = (StepIndex(0), ItemIndex((pick % 3) as u32));
                let elsewhere = HeldDoubt { step, item, attempt: 1 };
                let mut doubt = match held.is_empty() {
                    true => elsewhere,
                    false => held[pick % held.len()],
                };
                // Nor of a doubt that was another's before.
                doubt.attempt -= u32::from(pick % 5 == 0);
                self.decide(Input::Resolve { doubt, resolution: how.resolution() });
            }
        }
    }

    /// All attempts answer from now on.
    pub(crate) fn finish(&mut self) {
        for _ in 0..ENOUGH_INPUTS {
            if self.state.has_ended() {
                return;
            }
            if self.draining {
                self.crash();
            } else if let Some(token) = self.open(0) {
                let outcome = match self.state.phase {
                    Phase::Stopping(_) => Outcome::Stopped,
                    _ => Outcome::Succeeded(json!(1)),
                };
                self.decide(Input::StepEnded { token, outcome });
            } else if self.state.is_held() {
                let doubt = self.state.held().next().expect("one is held");
                let resolution = Resolution::Succeeded(json!(1));
                self.decide(Input::Resolve { doubt, resolution });
            } else {
                let due = self.state.next_wake().expect("a job without open attempts waits");
                self.now = self.now.max(due);
                self.decide(Input::TimerFired);
            }
        }
        panic!("the job does not end: {:?}", self.state);
    }

    /// Decides, and checks all that can be checked of one decision.
    fn decide(&mut self, input: Input) -> Decision {
        let mut again = self.refold();
        assert_eq!(again, self.state, "the journal gives the live state");
        let decision = decide(&mut self.state, input.clone(), self.now);
        assert_eq!(decide(&mut again, input.clone(), self.now), decision, "decided once more");
        self.draining |= input == Input::Drain;
        self.journal.extend(decision.events.iter().cloned());
        self.oracle.observe(&input, &decision, self.now, self.draining);
        assert_eq!(self.refold(), self.state, "the journal gives the new state");
        self.meter.observe(&self.state);
        decision
    }

    fn crash(&mut self) {
        self.draining = false;
        self.state = self.refold();
        self.meter = Meter::new(&self.state);
        self.decide(Input::Resume);
    }

    fn refold(&self) -> JobState {
        self.fold(&self.journal)
    }

    /// The state that a journal gives. That the process drains is not recorded, but it is known.
    pub(crate) fn fold(&self, journal: &[Event]) -> JobState {
        let mut state = fold(self.state.id, self.plan.clone(), journal).unwrap();
        if self.draining {
            decide(&mut state, Input::Drain, self.now);
        }
        state
    }

    fn open(&self, pick: usize) -> Option<Token> {
        let open: Vec<Token> = self.state.open_tokens().collect();
        (!open.is_empty()).then(|| open[pick % open.len()])
    }
}
