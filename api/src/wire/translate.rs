//! From the engine's events to those of the wire.

use std::collections::HashMap;
use std::sync::Arc;

use callsheet_engine::{self as engine, ItemIndex, Plan, StepIndex, Token};

use super::{Event, rfc3339};

/// Turns the engine's events into those of the wire. It follows the journal from its first record,
/// because what ends an attempt names it by its fence alone.
pub(crate) struct Translator {
    plan: Arc<Plan>,
    open: HashMap<Token, Open>,
    /// The attempts in doubt, which probes ask about.
    doubted: HashMap<(StepIndex, ItemIndex), u32>,
}

/// An attempt that is open, or the probe that asks about one.
struct Open {
    step: StepIndex,
    item: ItemIndex,
    attempt: u32,
    /// 0 for the attempt itself.
    probe: u32,
}

impl Translator {
    /// For the journal of a job that runs this plan.
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, open: HashMap::new(), doubted: HashMap::new() }
    }

    /// The next event of the journal.
    pub(crate) fn translate(&mut self, event: engine::Event) -> Event {
        use engine::Event as E;
        let at = rfc3339(event.at());
        match event {
            E::JobSubmitted { workflow, labels, .. } => {
                Event::JobSubmitted { at, workflow: workflow.name, labels }
            }
            E::StepSkipped { step, .. } => Event::StepSkipped { at, step: self.name(step) },
            E::StepExpanded { step, items, .. } => {
                Event::StepExpanded { at, step: self.name(step), items: items.len() as u64 }
            }
            E::SleepBegan { step, due, .. } => {
                Event::SleepBegan { at, step: self.name(step), due: rfc3339(due) }
            }
            E::SleepEnded { step, .. } => Event::SleepEnded { at, step: self.name(step) },
            E::StepStarted { step, item, attempt, token, candidate, .. } => {
                self.open.insert(token, Open { step, item, attempt, probe: 0 });
                let (step, uses) = (self.name(step), self.kind(step, candidate));
                Event::StepStarted { at, step, item: item.0, attempt, uses }
            }
            E::StepSucceeded { token, output, cached, .. } => {
                let (step, item, attempt) = self.close(token);
                Event::StepSucceeded { at, step, item, attempt, output, cached }
            }
            E::AttemptFailed { token, failure, retry_at, .. } => {
                let (step, item, attempt) = self.close(token);
                let (failure, retry_at) = ((&failure).into(), rfc3339(retry_at));
                Event::AttemptFailed { at, step, item, attempt, failure, retry_at }
            }
            E::AttemptInterrupted { token, cause, .. } => {
                let (step, item, attempt) = self.close(token);
                let cause = word_of(cause).to_owned();
                Event::AttemptInterrupted { at, step, item, attempt, cause }
            }
            E::AttemptCancelled { token, .. } => {
                let (step, item, attempt) = self.close(token);
                Event::AttemptCancelled { at, step, item, attempt }
            }
            E::StepInDoubt { .. }
            | E::ProbeStarted { .. }
            | E::ProbeFailed { .. }
            | E::StepHeld { .. }
            | E::DoubtResolved { .. } => self.doubt(event),
            E::ItemFailed { step, item, failure, .. } => {
                let (step, item, failure) = (self.name(step), item.0, (&failure).into());
                Event::ItemFailed { at, step, item, failure }
            }
            E::StepFailed { step, failure, .. } => {
                Event::StepFailed { at, step: self.name(step), failure: (&failure).into() }
            }
            E::CancelRequested { reason, .. } => Event::CancelRequested { at, reason },
            E::JobSucceeded { output, .. } => Event::JobSucceeded { at, output },
            E::JobFailed { failure, .. } => Event::JobFailed { at, failure: (&failure).into() },
            E::JobCancelled { .. } => Event::JobCancelled { at },
        }
    }

    /// One event of a doubt's life; the caller has sorted out the others.
    fn doubt(&mut self, event: engine::Event) -> Event {
        use engine::Event as E;
        let at = rfc3339(event.at());
        match event {
            E::StepInDoubt { token, cause, failure, .. } => {
                if let Some(open) = self.open.get(&token) {
                    self.doubted.insert((open.step, open.item), open.attempt);
                }
                let (step, item, attempt) = self.close(token);
                let (cause, failure) =
                    (word_of(cause).to_owned(), failure.as_ref().map(Into::into));
                Event::StepInDoubt { at, step, item, attempt, cause, failure }
            }
            E::ProbeStarted { step, item, probe, token, .. } => {
                let attempt = self.doubted.get(&(step, item)).copied().unwrap_or_default();
                self.open.insert(token, Open { step, item, attempt, probe });
                Event::ProbeStarted { at, step: self.name(step), item: item.0, probe }
            }
            E::ProbeFailed { token, failure, retry_at, .. } => {
                let probe = self.open.get(&token).map_or(0, |open| open.probe);
                let (step, item, _) = self.close(token);
                let (failure, retry_at) = ((&failure).into(), rfc3339(retry_at));
                Event::ProbeFailed { at, step, item, probe, failure, retry_at }
            }
            E::StepHeld { step, item, failure, .. } => {
                let failure = failure.as_ref().map(Into::into);
                Event::StepHeld { at, step: self.name(step), item: item.0, failure }
            }
            E::DoubtResolved { step, item, by, verdict, .. } => {
                let (retry_at, output) = match verdict {
                    engine::Verdict::Again { retry_at, .. } => (Some(rfc3339(retry_at)), None),
                    engine::Verdict::Succeeded { output } => (None, Some(output)),
                };
                let (step, item, by) = (self.name(step), item.0, who(by).to_owned());
                Event::DoubtResolved { at, step, item, by, retry_at, output }
            }
            other => unreachable!("{} says nothing of a doubt", other.kind()),
        }
    }

    fn close(&mut self, token: Token) -> (String, u32, u32) {
        // The journal was folded before, so a fence that ends was opened.
        let nothing =
            Open { step: StepIndex(u32::MAX), item: ItemIndex::ONLY, attempt: 0, probe: 0 };
        let open = self.open.remove(&token).unwrap_or(nothing);
        (self.name(open.step), open.item.0, open.attempt)
    }

    fn name(&self, step: StepIndex) -> String {
        self.plan.steps().get(step.at()).map(|step| step.id.clone()).unwrap_or_default()
    }

    fn kind(&self, step: StepIndex, candidate: u32) -> String {
        let candidates = self.plan.steps().get(step.at()).map(|step| &step.candidates);
        candidates
            .and_then(|all| all.get(candidate as usize))
            .map(|chosen| chosen.uses.clone())
            .unwrap_or_default()
    }
}

fn word_of(cause: engine::Interruption) -> &'static str {
    match cause {
        engine::Interruption::Death => "death",
        engine::Interruption::Shutdown => "shutdown",
        engine::Interruption::NoAnswer => "no_answer",
    }
}

fn who(by: engine::Resolver) -> &'static str {
    match by {
        engine::Resolver::Policy => "policy",
        engine::Resolver::Probe => "probe",
        engine::Resolver::Person => "person",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::Timestamp;
    use callsheet_engine::definition::{Catalog, Effect, KindInfo};
    use serde_json::json;

    use super::*;

    const WORKFLOW: &str = r#"{
        "name": "w",
        "steps": [
            { "id": "one", "uses": "k.a", "fallback": [{ "uses": "k.b" }] },
            { "id": "two", "uses": "k.b", "needs": ["one"] }
        ]
    }"#;

    fn translator() -> Translator {
        let mut catalog = Catalog::default();
        for name in ["k.a", "k.b"] {
            catalog.insert(KindInfo {
                name: name.to_owned(),
                description: String::new(),
                effect: Effect::Pure,
                probes: false,
                cache: None,
                input_schema: json!(true),
                output_schema: json!(true),
            });
        }
        Translator::new(Arc::new(Plan::load(WORKFLOW, &catalog).unwrap()))
    }

    fn started(step: u32, attempt: u32, token: u64, candidate: u32) -> engine::Event {
        engine::Event::StepStarted {
            step: StepIndex(step),
            item: ItemIndex(0),
            attempt,
            token: Token(token),
            candidate,
            at: Timestamp(0),
        }
    }

    #[test]
    fn ends_of_attempts_are_told_by_name_not_by_fence() {
        let (at, failure) = (Timestamp(0), engine::Failure::retryable("a.b", "no"));
        let mut translator = translator();
        let story = [
            (started(0, 1, 1, 0), json!({ "type": "step_started", "step": "one", "uses": "k.a" })),
            (started(1, 1, 2, 0), json!({ "type": "step_started", "step": "two", "uses": "k.b" })),
            (
                engine::Event::AttemptFailed {
                    token: Token(1),
                    failure: failure.clone(),
                    retry_at: Timestamp(1_000),
                    candidate: 1,
                    at,
                },
                json!({ "type": "attempt_failed", "step": "one", "attempt": 1,
                    "retry_at": "1970-01-01T00:00:01.000Z" }),
            ),
            (
                engine::Event::StepSucceeded {
                    token: Token(2),
                    output: json!(7),
                    cached: false,
                    at,
                },
                json!({ "type": "step_succeeded", "step": "two", "attempt": 1, "output": 7 }),
            ),
            (started(0, 2, 3, 1), json!({ "type": "step_started", "uses": "k.b", "attempt": 2 })),
            (
                engine::Event::AttemptInterrupted {
                    token: Token(3),
                    cause: engine::Interruption::Death,
                    at,
                },
                json!({ "type": "attempt_interrupted", "step": "one", "cause": "death" }),
            ),
            (started(0, 3, 4, 1), json!({ "type": "step_started", "attempt": 3 })),
            (
                engine::Event::AttemptCancelled { token: Token(4), at },
                json!({ "type": "attempt_cancelled", "step": "one", "attempt": 3 }),
            ),
        ];
        for (event, expected) in story {
            let wire = translator.translate(event);
            let told = serde_json::to_value(&wire).unwrap();
            assert_eq!(told["type"], wire.kind());
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(told[field], *value, "`{field}` of {told}");
            }
            assert_eq!(serde_json::from_value::<Event>(told).unwrap(), wire);
        }
    }

    #[test]
    fn what_a_probe_finds_is_the_result_of_the_attempt_it_asked_about() {
        let (step, item, at) = (StepIndex(0), ItemIndex(0), Timestamp(0));
        let cause = engine::Interruption::Death;
        let probe = |probe, token| engine::Event::ProbeStarted { step, item, probe, token, at };
        let mut translator = translator();
        let mut told = |event| serde_json::to_value(translator.translate(event)).unwrap();
        told(started(0, 4, 1, 0));
        told(engine::Event::StepInDoubt { token: Token(1), cause, failure: None, at });
        told(probe(1, Token(2)));
        let cut = told(engine::Event::AttemptInterrupted { token: Token(2), cause, at });
        assert_eq!(cut["attempt"], 4);
        told(probe(2, Token(3)));
        let output = json!("found");
        let found = engine::Event::StepSucceeded { token: Token(3), output, cached: false, at };
        assert_eq!(told(found)["attempt"], 4);
    }

    #[test]
    fn events_of_steps_and_jobs_keep_their_words() {
        let (at, failure) = (Timestamp(0), engine::Failure::fatal("a.b", "no"));
        let (step, item) = (StepIndex(1), ItemIndex(3));
        let translator = &mut translator();
        for (event, last, expected) in [
            (engine::Event::StepSkipped { step, at }, false, json!({ "step": "two" })),
            (
                engine::Event::StepExpanded { step, items: vec![json!(1), json!(2)], at },
                false,
                json!({ "step": "two", "items": 2 }),
            ),
            (
                engine::Event::SleepBegan { step, due: Timestamp(1_000), at },
                false,
                json!({ "step": "two", "due": "1970-01-01T00:00:01.000Z" }),
            ),
            (engine::Event::SleepEnded { step, at }, false, json!({ "step": "two" })),
            (
                engine::Event::ItemFailed { step, item, failure: failure.clone(), at },
                false,
                json!({ "step": "two", "item": 3 }),
            ),
            (
                engine::Event::StepFailed { step, failure: failure.clone(), at },
                false,
                json!({ "step": "two" }),
            ),
            (
                engine::Event::CancelRequested { reason: Some("why".into()), at },
                false,
                json!({ "reason": "why" }),
            ),
            (engine::Event::JobSucceeded { output: json!([]), at }, true, json!({ "output": [] })),
            (engine::Event::JobFailed { failure, at }, true, json!({ "type": "job_failed" })),
            (engine::Event::JobCancelled { at }, true, json!({ "type": "job_cancelled" })),
        ] {
            let wire = translator.translate(event);
            assert_eq!(wire.is_last(), last, "{wire:?}");
            let told = serde_json::to_value(&wire).unwrap();
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(told[field], *value, "`{field}` of {told}");
            }
        }
    }
}
