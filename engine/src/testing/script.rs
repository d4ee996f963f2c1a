//! Scripts: a line an input, then what the decision must be, in words.
//!
//! `input > event; event; deed`. A line that begins with `>` goes on with the expectation of the
//! line before. Inputs: `start`, `timer`, `cancel`, `drain`, `crash`, `quarantine`, `+1m30s` (time
//! passes), and for an open attempt at `a` or `a[2]`: `a ok 17`, `a fail`, `a fatal`, `a stopped`,
//! `a released`, `a unbegun`, `a lost`, and of a probe `a notdone`, `a unknown`; `resolve a retry`,
//! `resolve a succeeded 17`, `resolve a failed` are a person's word about a doubt (`resolve a#1
//! retry` about that of the first attempt); `stale a` is a late success of an attempt that is no
//! longer open.

use serde_json::{Value, json};

use super::World;
use crate::decide::{Action, Decision, Input, Outcome, Resolution, StartStep, Work};
use crate::event::{Event, Interruption, Verdict};
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::state::HeldDoubt;
use crate::time::Timestamp;

/// Plays a new job of `yaml` by `script`.
pub(crate) fn play(yaml: &str, script: &str) -> World {
    let mut world = World::new(yaml);
    world.play(script);
    world
}

impl World {
    /// Plays a script to its end.
    pub(crate) fn play(&mut self, script: &str) {
        let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut scenes: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in lines {
            let (input, expected) = line.split_once('>').unwrap_or((line, ""));
            let expected = expected.split(';').map(str::trim).filter(|word| !word.is_empty());
            match scenes.last_mut() {
                Some((_, words)) if input.is_empty() => words.extend(expected),
                _ => scenes.push((input.trim(), expected.collect())),
            }
        }
        for (n, (input, expected)) in scenes.into_iter().enumerate() {
            let decision = self.input(input);
            assert_eq!(self.words(&decision), expected, "after `{input}`, line {}", n + 1);
        }
    }

    fn input(&mut self, line: &str) -> Decision {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["start"] => self.decide(Input::Resume),
            ["timer"] => self.decide(Input::TimerFired),
            ["cancel"] => self.decide(Input::Cancel { reason: Some("enough".to_owned()) }),
            ["drain"] => self.decide(Input::Drain),
            ["crash"] => self.crash(),
            ["quarantine"] => {
                let failure = Failure::fatal("job.poisoned", "its actor died again and again");
                self.decide(Input::Quarantine { failure })
            }
            ["stale", name] => {
                let token = self.last_at(name).expect("an attempt was made there");
                assert!(self.state.open_attempt(token).is_none(), "`{name}` is open");
                let outcome = Outcome::Succeeded(json!("late"));
                self.decide(Input::StepEnded { token, outcome })
            }
            ["resolve", name, word, rest @ ..] => self.resolve(name, word, &rest.join(" ")),
            [name, end, rest @ ..] => self.end(name, outcome(end, &rest.join(" "))),
            [span] => self.pass(span.trim_start_matches('+').parse().expect("a span of time")),
            [] => panic!("a line without an input"),
        }
    }

    fn resolve(&mut self, name: &str, word: &str, value: &str) -> Decision {
        // Without a number the word is about the last attempt.
        let (name, attempt) = match name.split_once('#') {
            Some((name, attempt)) => (name, Some(attempt.parse().expect("a number"))),
            None => (name, None),
        };
        let (id, item) = name.trim_end_matches(']').split_once('[').unwrap_or((name, "0"));
        let step = self.state.plan.index_of(id).expect("a step of the workflow");
        let item = ItemIndex(item.parse().expect("the number of an item"));
        let last = self.state.item(step, item).map_or(0, |item| item.attempts);
        let attempt = attempt.unwrap_or(last);
        let resolution = match word {
            "retry" => Resolution::Retry,
            "succeeded" => Resolution::Succeeded(serde_json::from_str(value).expect("JSON")),
            "failed" => Resolution::Failed("it was not done".to_owned()),
            other => panic!("no such word of a person: `{other}`"),
        };
        self.decide(Input::Resolve { doubt: HeldDoubt { step, item, attempt }, resolution })
    }

    fn words(&self, decision: &Decision) -> Vec<String> {
        let starts: Vec<&StartStep> = decision
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::StartStep(start) => Some(start),
                Action::StopStep(_) => None,
            })
            .collect();
        let mut deeds = starts.iter();
        let withdrawn = |started: Token| {
            decision.events.iter().any(|event| match event {
                Event::AttemptCancelled { token, .. } => *token == started,
                _ => false,
            })
        };
        let mut words: Vec<String> = decision
            .events
            .iter()
            .map(|event| match event {
                Event::StepStarted { token, .. } | Event::ProbeStarted { token, .. }
                    if !withdrawn(*token) =>
                {
                    let start = deeds.next().expect("a start has its deed");
                    self.start_word(event, start)
                }
                event => self.word(event),
            })
            .collect();
        assert_eq!(deeds.next(), None, "a deed without its event");
        words.extend(decision.actions.iter().filter_map(|action| match action {
            Action::StopStep(token) => Some(format!("stop {}", self.name(*token))),
            Action::StartStep(_) => None,
        }));
        words
    }

    fn start_word(&self, event: &Event, start: &StartStep) -> String {
        let (step, item, number, token, work) = match event {
            Event::StepStarted { step, item, attempt, token, .. } => {
                (step, item, attempt, token, Work::Run)
            }
            Event::ProbeStarted { step, item, probe, token, .. } => {
                (step, item, probe, token, Work::Probe)
            }
            other => panic!("not a start: {other:?}"),
        };
        let told = (start.step, start.item, start.attempt, start.token, start.work);
        assert_eq!(told, (*step, *item, *number, *token, work));
        let planned = self.state.plan.step(*step);
        assert_eq!(start.timeout, planned.timeout);
        let mut word = self.word(event);
        if start.uses != planned.candidates[0].uses {
            word = format!("{word} by {}", start.uses);
        }
        if start.input != json!({}) {
            word = format!("{word} {}", start.input);
        }
        word
    }

    fn word(&self, event: &Event) -> String {
        let id = |step: &StepIndex| self.state.plan.step(*step).id.as_str();
        match event {
            Event::JobSubmitted { .. } => "submitted".to_owned(),
            Event::StepSkipped { step, .. } => format!("skip {}", id(step)),
            Event::StepExpanded { step, items, .. } => {
                format!("expand {} {}", id(step), items.len())
            }
            Event::SleepBegan { step, due, at } => {
                format!("sleep {} {}", id(step), due.since(*at))
            }
            Event::SleepEnded { step, .. } => format!("woke {}", id(step)),
            Event::StepStarted { step, item, attempt, .. } => {
                let name = self.item_name(*step, *item);
                if *attempt > 1 {
                    format!("start {name}#{attempt}")
                } else {
                    format!("start {name}")
                }
            }
            Event::StepSucceeded { token, cached: true, .. } => {
                format!("recall {}", self.name(*token))
            }
            Event::StepSucceeded { token, .. } => format!("ok {}", self.name(*token)),
            Event::AttemptFailed { token, retry_at, at, candidate, .. } => {
                let (name, wait) = (self.name(*token), retry_at.since(*at));
                let (step, ..) = self.attempts[token];
                match *candidate as usize {
                    0 => format!("retry {name} in {wait}"),
                    n => {
                        let uses = &self.state.plan.step(step).candidates[n].uses;
                        format!("retry {name} by {uses} in {wait}")
                    }
                }
            }
            Event::AttemptInterrupted { token, cause, .. } => match cause {
                Interruption::Death => format!("died {}", self.name(*token)),
                Interruption::Shutdown => format!("given back {}", self.name(*token)),
                Interruption::NoAnswer => panic!("an attempt without an answer is in doubt"),
            },
            Event::StepInDoubt { token, .. } => format!("doubt {}", self.name(*token)),
            Event::ProbeStarted { step, item, probe, .. } => {
                format!("probe {}#{probe}", self.item_name(*step, *item))
            }
            Event::ProbeFailed { token, retry_at, at, .. } => {
                format!("probe {} again in {}", self.name(*token), retry_at.since(*at))
            }
            Event::StepHeld { step, item, .. } => format!("hold {}", self.item_name(*step, *item)),
            Event::DoubtResolved { step, item, verdict, at, by } => {
                let by = format!("{by:?}").to_lowercase();
                format!("{by}: {}", self.verdict((*step, *item), verdict, *at))
            }
            Event::ItemFailed { step, item, failure, .. } => {
                format!("fail {} {}", self.item_name(*step, *item), failure.code)
            }
            Event::StepFailed { step, failure, .. } => {
                format!("refuse {} {}", id(step), failure.code)
            }
            Event::AttemptCancelled { token, .. } => format!("drop {}", self.name(*token)),
            Event::CancelRequested { .. } => "cancel".to_owned(),
            Event::JobSucceeded { output, .. } => format!("succeeded {output}"),
            Event::JobFailed { failure, .. } => format!("failed {}", failure.code),
            Event::JobCancelled { .. } => "cancelled".to_owned(),
        }
    }

    fn verdict(
        &self,
        (step, item): (StepIndex, ItemIndex),
        told: &Verdict,
        at: Timestamp,
    ) -> String {
        let name = self.item_name(step, item);
        match told {
            Verdict::Succeeded { output } => format!("{name} gave {output}"),
            Verdict::Again { retry_at, candidate } => {
                let uses = &self.state.plan.step(step).candidates[*candidate as usize].uses;
                format!("{name} by {uses} in {}", retry_at.since(at))
            }
        }
    }
}

fn outcome(end: &str, value: &str) -> Outcome {
    let fault = || Failure::retryable("test.fault", "it may pass");
    match end {
        "recalled" => Outcome::Recalled(serde_json::from_str(value).expect("JSON")),
        "ok" if value.is_empty() => Outcome::Succeeded(Value::Null),
        "ok" => Outcome::Succeeded(serde_json::from_str(value).expect("JSON")),
        "fail" if value.is_empty() => Outcome::Failed(fault()),
        "fail" => Outcome::Failed(fault().with_retry_after(value.parse().expect("a time"))),
        "fatal" => Outcome::Failed(Failure::fatal("test.fatal", "it will not pass")),
        "lost" => Outcome::Lost(Failure::retryable("test.lost", "it said nothing")),
        "notdone" => Outcome::NotDone,
        "unknown" => Outcome::Unknown,
        "stopped" => Outcome::Stopped,
        "released" => Outcome::Released,
        "unbegun" => Outcome::NotBegun,
        other => panic!("no such end: `{other}`"),
    }
}
