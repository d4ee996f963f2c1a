//! One turn of a decision: records events, collects deeds, and moves the graph on.

use serde_json::Value;

use super::{Action, Decision, StartStep, Work, doubt};
use crate::event::{Event, Interruption};
use crate::expression::{ExpressionError, JobFacts, Scope, Template};
use crate::failure::Failure;
use crate::ids::{ItemIndex, StepIndex, Token};
use crate::limits::MAX_FAN_OUT_ITEMS;
use crate::state::{Item, ItemStatus, JobState, Phase, StepStatus, StopCause};
use crate::time::Timestamp;
use crate::timer::Timer;

pub(super) struct Turn<'s> {
    pub(super) state: &'s mut JobState,
    pub(super) now: Timestamp,
    was_running: bool,
    decision: Decision,
}

impl<'s> Turn<'s> {
    pub(super) fn new(state: &'s mut JobState, now: Timestamp) -> Self {
        let was_running = state.phase == Phase::Running;
        Self { state, now, was_running, decision: Decision::default() }
    }

    /// Records an event: the state follows at once.
    pub(super) fn record(&mut self, event: Event) {
        self.state.apply(&event).expect("a decision records only what the state allows");
        self.decision.events.push(event);
    }

    /// The decision; what a job being stopped still has open is told to stop.
    pub(super) fn into_decision(mut self) -> Decision {
        if self.was_running && matches!(self.state.phase, Phase::Stopping(_)) {
            let stops = self.state.open_tokens().map(Action::StopStep);
            self.decision.actions.extend(stops);
        }
        self.decision
    }

    /// Starts all that can start, then ends the job if nothing is left.
    pub(super) fn advance(&mut self) {
        while self.state.phase == Phase::Running && self.advance_one() {}
        if matches!(self.state.phase, Phase::Stopping(_)) {
            self.withdraw();
        }
        self.finish();
    }

    /// Closes every open attempt, for its owner is dead and its body with it; answers where they
    /// were.
    pub(super) fn bury(&mut self) -> Vec<(StepIndex, ItemIndex)> {
        let running = self.state.phase == Phase::Running;
        let dead: Vec<_> = self.state.open.iter().map(|(token, place)| (*token, *place)).collect();
        let at = self.now;
        for (token, place) in &dead {
            let (token, cause) = (*token, Interruption::Death);
            let made_once = self.runs(*place) && doubt::policy(self, *place).is_some();
            self.record(match (running, made_once) {
                (false, _) => Event::AttemptCancelled { token, at },
                (true, true) => Event::StepInDoubt { token, cause, failure: None, at },
                (true, false) => Event::AttemptInterrupted { token, cause, at },
            });
        }
        dead.into_iter().map(|(_, place)| place).collect()
    }

    /// Whether the open attempt there does a deed, and not only asks about one.
    fn runs(&self, (step, item): (StepIndex, ItemIndex)) -> bool {
        let item = self.state.item(step, item);
        item.is_some_and(|item| matches!(item.status, ItemStatus::Running { .. }))
    }

    /// Takes back what was to start in the very turn in which a step failed for good: no body
    /// begins after that, not even one that would be stopped at once.
    fn withdraw(&mut self) {
        for action in std::mem::take(&mut self.decision.actions) {
            if let Action::StartStep(StartStep { token, .. }) = action {
                self.record(Event::AttemptCancelled { token, at: self.now });
            }
        }
    }

    /// Moves one thing on; false when nothing can move.
    fn advance_one(&mut self) -> bool {
        if self.state.draining || self.state.is_full() {
            return false;
        }
        if let Some((due, step, item)) = self.state.waits.first().copied()
            && due <= self.now
        {
            match self.state.item(step, item).map(|item| &item.status) {
                Some(ItemStatus::Sleeping { .. }) => {
                    self.record(Event::SleepEnded { step, at: self.now });
                }
                Some(ItemStatus::InDoubt(_)) => self.start_probe(step, item),
                _ => self.start_item(step, item),
            }
            return true;
        }
        if let Some(place) = self.state.doubts.first().copied() {
            doubt::look_at(self, place);
            return true;
        }
        if let Some((step, item)) = self.next_queued() {
            self.start_item(step, item);
            return true;
        }
        if let Some(step) = self.state.ready.first().copied() {
            self.look_at(step);
            return true;
        }
        false
    }

    /// The first queued item of the first step that has room for one more.
    fn next_queued(&self) -> Option<(StepIndex, ItemIndex)> {
        let step = *self.state.hungry.first()?;
        let StepStatus::Active(active) = &self.state.steps[step.at()].status else {
            unreachable!("only a step at work is hungry");
        };
        assert!(active.next < active.items.len(), "a hungry step has a queued item");
        let item = u32::try_from(active.next).expect("items are counted in 32 bits");
        Some((step, ItemIndex(item)))
    }

    /// Decides on a step whose needs have settled.
    fn look_at(&mut self, step: StepIndex) {
        let plan = self.state.plan.clone();
        let planned = plan.step(step);
        let skip = match &planned.condition {
            None => Ok(self.state.steps[step.at()].after_skip),
            Some(condition) => condition.is_true(&self.scope(None)).map(|holds| !holds),
        };
        match skip {
            Ok(true) => self.record(Event::StepSkipped { step, at: self.now }),
            Err(error) => self.fail_step(step, error.into()),
            Ok(false) => match (&planned.for_each, &planned.timer) {
                (Some(list), _) => match self.expand(list) {
                    Ok(items) => self.record(Event::StepExpanded { step, items, at: self.now }),
                    Err(failure) => self.fail_step(step, failure),
                },
                (None, Some(timer)) => self.begin_sleep(step, timer),
                (None, None) => self.start_item(step, ItemIndex::ONLY),
            },
        }
    }

    fn begin_sleep(&mut self, step: StepIndex, timer: &Timer) {
        let due = timer.due(&self.scope(None), self.now);
        match due {
            Ok(due) => self.record(Event::SleepBegan { step, due, at: self.now }),
            Err(failure) => self.fail_step(step, failure),
        }
    }

    fn expand(&self, list: &Template) -> Result<Vec<Value>, Failure> {
        match list.render(&self.scope(None))? {
            Value::Array(items) if items.len() <= MAX_FAN_OUT_ITEMS => Ok(items),
            Value::Array(items) => Err(Failure::fatal(
                "limit.fan_out",
                format!("`for_each` gave {} items", items.len()),
            )
            .with_hint(format!("at most {MAX_FAN_OUT_ITEMS} items; split the list over jobs"))),
            other => Err(Failure::fatal(
                "expression.type",
                format!("`for_each` gave {}, not a list", type_name(&other)),
            )),
        }
    }

    fn fail_step(&mut self, step: StepIndex, failure: Failure) {
        self.record(Event::StepFailed { step, failure, at: self.now });
    }

    /// Records the start of an item's next attempt, or its failure when its input cannot be made.
    fn start_item(&mut self, step: StepIndex, item: ItemIndex) {
        let record = self.state.item(step, item);
        let (attempts, candidate) = record.map_or((0, 0), |it| (it.attempts, it.candidate));
        let input = match self.input_of(step, item, candidate) {
            Ok(input) => input,
            Err(error) if self.state.ready.contains(&step) => {
                return self.fail_step(step, error.into());
            }
            Err(error) => {
                let failure = error.into();
                return self.record(Event::ItemFailed { step, item, failure, at: self.now });
            }
        };
        let (token, attempt) = (Token(self.state.next_token), attempts + 1);
        self.record(Event::StepStarted { step, item, attempt, token, candidate, at: self.now });
        self.begin(Work::Run, (step, item), attempt, (token, candidate), input);
    }

    /// Records the start of a probe. Its input is that of the attempt, made again from the same
    /// outputs.
    pub(super) fn start_probe(&mut self, step: StepIndex, item: ItemIndex) {
        let record = self.state.item(step, item);
        let Some(Item { candidate, status: ItemStatus::InDoubt(doubt), .. }) = record else {
            unreachable!("a probe asks about an item in doubt");
        };
        let (candidate, probe) = (*candidate, doubt.probes + 1);
        match self.input_of(step, item, candidate) {
            Ok(input) => {
                let (token, at) = (Token(self.state.next_token), self.now);
                self.record(Event::ProbeStarted { step, item, probe, token, at });
                self.begin(Work::Probe, (step, item), probe, (token, candidate), input);
            }
            Err(error) => doubt::hold(self, (step, item), Some(error.into())),
        }
    }

    /// The input of an item's attempt.
    fn input_of(
        &self,
        step: StepIndex,
        item: ItemIndex,
        candidate: u32,
    ) -> Result<Value, ExpressionError> {
        let value = match &self.state.steps[step.at()].status {
            StepStatus::Active(active) => active.value(item),
            _ => None,
        };
        let chosen = &self.state.plan.step(step).candidates[candidate as usize];
        chosen.with.render(&self.scope(value.map(|value| (value, item))))
    }

    /// The deed that goes with the recorded start of an attempt or a probe.
    fn begin(
        &mut self,
        work: Work,
        (step, item): (StepIndex, ItemIndex),
        attempt: u32,
        (token, candidate): (Token, u32),
        input: Value,
    ) {
        let planned = self.state.plan.step(step);
        let uses = planned.candidates[candidate as usize].uses.clone();
        let timeout = planned.timeout;
        let cache = planned.cache && !self.state.options.no_cache;
        let start = StartStep { token, step, item, work, attempt, uses, input, timeout, cache };
        self.decision.actions.push(Action::StartStep(start));
    }

    /// Ends the job when nothing of it is left to run or to stop.
    pub(super) fn finish(&mut self) {
        let at = self.now;
        match &self.state.phase {
            Phase::Running if self.state.unsettled == 0 => {
                let event = match self.state.plan.output().render(&self.scope(None)) {
                    Ok(output) => Event::JobSucceeded { output, at },
                    Err(error) => Event::JobFailed { failure: error.into(), at },
                };
                self.record(event);
            }
            Phase::Stopping(cause) if self.state.open.is_empty() => {
                let event = match cause {
                    StopCause::Cancel => Event::JobCancelled { at },
                    StopCause::Failure(failure) => {
                        Event::JobFailed { failure: failure.clone(), at }
                    }
                };
                self.record(event);
            }
            _ => {}
        }
    }

    fn scope<'a>(&'a self, item: Option<(&'a Value, ItemIndex)>) -> Scope<'a> {
        Scope {
            input: &self.state.input,
            steps: Box::new(|id| self.state.output_of(id)),
            item,
            job: JobFacts { id: self.state.id, submitted_at: self.state.submitted_at },
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::limits::{MAX_FAN_OUT_ITEMS, MAX_OPEN_ATTEMPTS_COUNT};
    use crate::testing::{World, play};

    #[test]
    fn steps_start_when_their_needs_have_settled_and_see_their_outputs() {
        let yaml = "
name: diamond
steps:
  - { id: a, uses: k }
  - { id: b, uses: k, with: { x: '{{ steps.a.n }}' } }
  - { id: c, uses: k, needs: [a] }
  - { id: d, uses: k, with: { b: '{{ steps.b }}', c: '{{ steps.c }}' } }
output: '{{ steps.d }}'";
        play(
            yaml,
            r#"
            start           > start a
            start           > died a; start a#2
            a ok {"n": 4}   > ok a; start b {"x":4}; start c
            c ok "C"        > ok c
            b ok [1, 2]     > ok b; start d {"b":[1,2],"c":"C"}
            d ok "end"      > ok d; succeeded "end"
            timer           >
            "#,
        );
    }

    #[test]
    fn a_skip_spreads_to_what_needs_it_unless_that_decides_for_itself() {
        let yaml = "
name: skips
steps:
  - { id: a, uses: k, if: 'false' }
  - { id: b, uses: k, needs: [a] }
  - { id: c, uses: k, needs: [b] }
  - { id: d, uses: k, needs: [b], if: 'true' }
  - { id: e, uses: k, if: '{{ steps.d > 3 }}' }
  - { id: f, uses: k, if: 'steps.a is none', needs: [d, c] }
output: ['{{ steps.c }}', '{{ steps.d }}']";
        play(
            yaml,
            r"
            start     > skip a; skip b; skip c; start d
            d ok 3    > ok d; skip e; start f
            f ok      > ok f; succeeded [null,3]
            ",
        );
    }

    #[test]
    fn a_condition_without_a_value_fails_its_step() {
        let yaml = "
name: condition
steps:
  - { id: a, uses: k }
  - { id: b, uses: k, if: 'steps.a.n > 1', on_error: continue }
  - { id: c, uses: k, if: 'steps.b is none and steps.a.n > 1' }";
        let code = "expression.undefined";
        play(
            yaml,
            &format!(
                "
                start       > start a
                a ok {{}}   > ok a; refuse b {code}; refuse c {code}; failed {code}
                "
            ),
        );
    }

    #[test]
    fn a_fan_out_keeps_its_bound_and_the_order_of_its_results() {
        let yaml = "
name: fan
steps:
  - id: a
    uses: k
    for_each: ['{{ input }}', x, y, z]
    concurrency: 2
    with: { v: '{{ item }}', n: '{{ index }}' }
output: '{{ steps.a }}'";
        play(
            yaml,
            r#"
            start       > expand a 4; start a[0] {"n":0,"v":null}; start a[1] {"n":1,"v":"x"}
            a[1] ok 1   > ok a[1]; start a[2] {"n":2,"v":"y"}
            a[2] ok 2   > ok a[2]; start a[3] {"n":3,"v":"z"}
            a[0] ok 0   > ok a[0]
            a[3] ok 3   > ok a[3]; succeeded [0,1,2,3]
            "#,
        );
    }

    #[test]
    fn an_item_that_waits_keeps_its_place_in_the_bound() {
        let yaml = "
name: bound
steps:
  - id: a
    uses: k
    for_each: [1, 2, 3]
    concurrency: 1
    retry: { max_attempts: 2, initial: 5s, jitter: 0 }
  - { id: b, uses: k }";
        play(
            yaml,
            r"
            start       > expand a 3; start a[0]; start b
            a[0] fail   > retry a[0] in 5s
            b ok        > ok b
            +4s         >
            +1s         > start a[0]#2
            a[0] ok     > ok a[0]; start a[1]
            a[1] ok     > ok a[1]; start a[2]
            a[2] ok     > ok a[2]; succeeded null
            ",
        );
    }

    #[test]
    fn a_fan_out_over_nothing_has_succeeded() {
        let yaml = "
name: nothing
steps:
  - { id: a, uses: k, for_each: '{{ [] }}' }
  - { id: b, uses: k, with: { got: '{{ steps.a }}' } }";
        play(yaml, r#"start > expand a 0; start b {"got":[]}"#);
    }

    #[test]
    fn what_is_no_list_or_too_long_a_list_fails_its_step() {
        let yaml = "{ name: fan, steps: [{ id: a, uses: k, for_each: '{{ input }}' }] }";
        let long = vec![Value::Null; MAX_FAN_OUT_ITEMS + 1];
        let cases = [
            (json!({}), "expression.type"),
            (json!("text"), "expression.type"),
            (json!(null), "expression.type"),
            (json!(true), "expression.type"),
            (json!(3), "expression.type"),
            (Value::Array(long), "limit.fan_out"),
        ];
        for (input, code) in cases {
            let mut world = World::with_input(yaml, input);
            world.play(&format!("start > refuse a {code}; failed {code}"));
        }
    }

    #[test]
    fn an_input_that_cannot_be_made_fails_its_item_only() {
        let yaml = "
name: broken
steps:
  - id: a
    uses: k
    for_each: [{ v: 1 }, 2, { v: 3 }]
    with: { v: '{{ item.v }}' }
    on_error: continue
output: '{{ steps.a }}'";
        play(
            yaml,
            r#"
            start       > expand a 3; start a[0] {"v":1}; fail a[1] expression.undefined
                        > start a[2] {"v":3}
            a[0] ok 1   > ok a[0]
            a[2] ok 3   > ok a[2]; succeeded [1,null,3]
            "#,
        );
    }

    #[test]
    fn nothing_begins_in_the_turn_of_a_final_failure() {
        let yaml = "
name: withdraw
steps:
  - { id: a, uses: k }
  - { id: long, uses: k }
  - { id: b, uses: k, needs: [a] }
  - { id: c, uses: k, with: { x: '{{ steps.a.nope }}' } }
  - { id: d, uses: k, needs: [a] }";
        play(
            yaml,
            r"
            start         > start a; start long
            a ok {}       > ok a; start b; refuse c expression.undefined; drop b; stop long
            timer         >
            long ok       > drop long; failed expression.undefined
            ",
        );
    }

    #[test]
    fn an_output_without_a_value_fails_the_job() {
        let yaml = "
name: output
steps: [{ id: a, uses: k }]
output: '{{ steps.a.nope }}'";
        play(yaml, "start > start a\n a ok {} > ok a; failed expression.undefined");
    }

    #[test]
    fn no_more_attempts_are_open_than_a_job_may_have() {
        let steps: String = (0..MAX_OPEN_ATTEMPTS_COUNT + 2)
            .map(|n| format!("  - {{ id: s{n}, uses: k, retry: {{ jitter: 0 }} }}\n"))
            .collect();
        let mut world = World::new(&format!("name: wide\nsteps:\n{steps}"));
        let first = world.crash();
        assert_eq!(first.events.len(), MAX_OPEN_ATTEMPTS_COUNT);
        let (late, last) = (MAX_OPEN_ATTEMPTS_COUNT, MAX_OPEN_ATTEMPTS_COUNT + 1);
        world.play(&format!(
            "
            timer      >
            s5 fail    > retry s5 in 1s; start s{late}
            +1s        >
            s9 ok      > ok s9; start s5#2
            s8 fatal   > fail s8 test.fatal; {}
            s7 ok      > drop s7
            ",
            stops(&world, &["s5", "s8", "s9"], &[&format!("s{late}"), "s5"]),
        ));
        assert_eq!(world.last_at(&format!("s{last}")), None);
    }

    /// The stops of everything that is open, but for `without`, then of `then`.
    fn stops(world: &World, without: &[&str], then: &[&str]) -> String {
        let open = world.state.open_tokens().map(|token| world.name(token));
        let open = open.filter(|name| !without.contains(&name.as_str()));
        let all = open.chain(then.iter().map(|name| (*name).to_owned()));
        all.map(|name| format!("stop {name}")).collect::<Vec<_>>().join("; ")
    }
}
