//! Bodies of steps: they take their time, succeed, fail, hang, panic, answer twice or when nobody
//! asks any more, and some kill their process.

use callsheet_engine::definition::InDoubt;
use callsheet_engine::{Failure, JobId, Outcome, StartStep, Token, Work};
use serde_json::{Value, json};

use crate::actor::JobMsg;
use crate::chronicle::hold;
use crate::graph::{Fan, item};
use crate::weather::Fault;
use crate::world::{SECOND, What, World};

/// A body that runs.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) actor: u64,
    job: JobId,
    token: Token,
    /// How it will end, if nothing comes between.
    end: End,
    /// How it ended, once it has.
    outcome: Option<Outcome>,
}

#[derive(Clone, Debug, PartialEq)]
enum End {
    Answers(Outcome),
    /// It says the first, then the second.
    AnswersTwice(Outcome, Value),
    Hangs,
    KillsItsProcess,
}

/// The longest that a stopped body may take to be gone, or to be given up.
const SEE_OFF: u64 = 1_500_000;
/// One place in so many is deadly, where bodies may be.
const DEADLY: u64 = 6;

impl World {
    /// The deed of a start: the body begins, if there is a kind for it.
    pub(crate) fn start_body(&mut self, actor: u64, start: StartStep, ahead: bool) -> Option<u64> {
        let job = self.actors[&actor].job;
        self.check_start(actor, job, &start, ahead);
        if self.weather.has(Fault::Body) && self.dice.chance(10) {
            self.coverage.count("fault", "body of unknown kind");
            let failure = Failure::retryable("step.unknown_kind", "no such kind is registered");
            self.say_ended(actor, start.token, Outcome::Failed(failure));
            return None;
        }
        let epoch = self.actors[&actor].epoch().filter(|_| ahead);
        self.ledger.began(job, start.token.0, epoch);
        let end = match start.work {
            Work::Run => self.draw_end(job, &start),
            Work::Probe => self.draw_probe(job, &start),
        };
        self.do_deed(actor, job, &start, &end);
        self.say(|_| format!("a body begins: {job} {:?}, {end:?}", start.token));
        let id = self.new_id();
        let longest = self.weather.longest.min(start.timeout.0 * 2_000);
        let work = self.dice.spread(10, longest);
        if end != End::Hangs {
            self.after(work, What::BodyEnds(id));
        }
        self.after(start.timeout.0 * 1_000, What::BodyTimedOut(id));
        let body = Body { actor, job, token: start.token, end, outcome: None };
        self.bodies.insert(id, body);
        Some(id)
    }

    /// A start is durable before its body begins, unless that is pure and may run ahead; it is
    /// still wanted; and it is given what the journal says.
    fn check_start(&self, actor: u64, job: JobId, start: &StartStep, ahead: bool) {
        let chronicle = &self.chronicles[&job];
        let owner = &self.actors[&actor];
        if ahead {
            let pure = chronicle.graph.nodes[start.step.at()].pure && owner.is_fresh();
            hold!(pure, "only pure bodies run ahead", "{job}: {start:?}");
        } else {
            let durable = start.token.0 <= chronicle.last_fence();
            hold!(durable, "commit, then act", "{job}: {start:?} is not on the disk");
        }
        if owner.epoch() != Some(chronicle.epoch()) {
            return; // A zombie knows no better; what its body says is refused.
        }
        let stopping = chronicle.is_stopping();
        hold!(!stopping, "no body begins in a job that is stopped", "{job}: {start:?}");
        if ahead {
            return;
        }
        let told = (start.step.at(), start.item.at(), start.attempt, start.uses.clone());
        let foretold = chronicle.foretold(start.token.0);
        let Some((step, item, attempt, uses, input)) = foretold else {
            panic!("only open attempts have bodies: {job}: {start:?}");
        };
        let right = (step, item, attempt, uses) == told && input == start.input;
        hold!(right, "a body is given what its step says", "{job}: {start:?}");
    }

    /// What must not be done twice is done as its body begins, unless that will say that it failed;
    /// of one that will say nothing, nobody can know.
    fn do_deed(&mut self, actor: u64, job: JobId, start: &StartStep, end: &End) {
        let candidate = candidate_of(&start.uses);
        let policy = self.chronicles[&job].graph.nodes[start.step.at()].policy(candidate);
        let Some(policy) = policy.filter(|_| start.work == Work::Run) else { return };
        let output = match end {
            End::Answers(Outcome::Succeeded(output)) => Some(output.clone()),
            End::AnswersTwice(Outcome::Succeeded(output), _) => Some(output.clone()),
            End::Answers(Outcome::Failed(_)) => None,
            _ => self.dice.chance(500).then(|| json!("done and not told")),
        };
        let Some(output) = output else { return };
        let chronicle = &self.chronicles[&job];
        let place = (start.step.at(), start.item.at());
        let is_zombie = self.actors[&actor].epoch() != Some(chronicle.epoch());
        let may_repeat = policy == InDoubt::Retry || chronicle.may_repeat(place) || is_zombie;
        self.coverage.count("doubt", "deed that must not be done twice");
        self.ledger.did((job, place.0, place.1, candidate), output, may_repeat);
    }

    /// How a probe ends: it tells what was done, if it can.
    fn draw_probe(&mut self, job: JobId, start: &StartStep) -> End {
        let bad = self.weather.has(Fault::Body) && self.dice.chance(self.weather.failures);
        let kind = self.dice.below(4);
        if bad && kind == 0 {
            return End::Hangs;
        }
        let place = (job, start.step.at(), start.item.at(), candidate_of(&start.uses));
        End::Answers(match (bad.then_some(kind), self.ledger.deed(place)) {
            (Some(1), _) => Outcome::Unknown,
            (Some(2), _) => Outcome::Failed(Failure::fatal("test.fatal", "it will not pass")),
            (Some(_), _) => Outcome::Failed(Failure::retryable("test.fault", "it may pass")),
            (None, Some(output)) => Outcome::Succeeded(output.clone()),
            (None, None) => Outcome::NotDone,
        })
    }

    fn draw_end(&mut self, job: JobId, start: &StartStep) -> End {
        let value = self.draw_value(job, start);
        let place = job.seed() ^ u64::from(start.step.0).wrapping_mul(0x9e37_79b9);
        if self.weather.has(Fault::Deadly) && place.is_multiple_of(DEADLY) && self.dice.chance(900)
        {
            return End::KillsItsProcess;
        }
        if !self.weather.has(Fault::Body) {
            return End::Answers(Outcome::Succeeded(value));
        }
        if !self.dice.chance(self.weather.failures) {
            if self.dice.chance(100) {
                self.coverage.count("fault", "body answered twice");
                return End::AnswersTwice(Outcome::Succeeded(value), json!("twice"));
            }
            return End::Answers(Outcome::Succeeded(value));
        }
        let (name, failure) = match self.dice.below(10) {
            0 => {
                self.coverage.count("fault", "body hung");
                return End::Hangs;
            }
            1 => ("body failed for good", Failure::fatal("test.fatal", "it will not pass")),
            2 => ("body panicked", Failure::retryable("step.panicked", "it panicked")),
            3 => ("body's actor died", Failure::retryable("step.actor", "its actor died")),
            _ => ("body failed", Failure::retryable("test.fault", "it may pass")),
        };
        self.coverage.count("fault", name);
        End::Answers(match &*failure.code {
            "step.panicked" | "step.actor" => Outcome::Lost(failure),
            _ => Outcome::Failed(failure),
        })
    }

    /// A result that can be told from others, of the kind that later steps want.
    fn draw_value(&mut self, job: JobId, start: &StartStep) -> Value {
        let graph = self.chronicles[&job].graph.clone();
        let step = start.step.at();
        let listed = graph.nodes.iter().any(|node| node.fan == Fan::OutputOf(step));
        let number = self.dice.below(1 << 40);
        if listed && graph.nodes[step].fan == Fan::Single && self.dice.chance(950) {
            return (0..self.dice.below(5)).map(|n| item(number + n)).collect();
        }
        match self.dice.below(10) {
            0 if !listed => Value::Null,
            1 if !listed => json!(number),
            2 if !listed => json!([number, "x"]),
            _ => item(number),
        }
    }

    pub(crate) fn body_ends(&mut self, id: u64) {
        let Some(body) = self.bodies.get_mut(&id) else { return };
        if body.outcome.is_some() {
            return; // It was stopped; what it says now is heard by nobody.
        }
        match body.end.clone() {
            End::Answers(outcome) => {
                body.outcome = Some(outcome);
                self.body_gone(id);
            }
            End::AnswersTwice(outcome, second) => {
                body.outcome = Some(outcome);
                let (actor, token) = (body.actor, body.token);
                self.body_gone(id);
                let wait = self.dice.spread(1, 60 * SECOND);
                let second = Outcome::Succeeded(second);
                self.after(wait, What::Late(actor, token, second));
            }
            End::KillsItsProcess => {
                let process = self.actors[&body.actor].process;
                self.die(process, "death by a body");
            }
            End::Hangs => panic!("a body that hangs does not end"),
        }
    }

    pub(crate) fn body_timed_out(&mut self, id: u64) {
        let failure = Failure::retryable("step.timeout", "the attempt took too long");
        self.stop_body(id, Outcome::Lost(failure));
    }

    /// Stops a body: the first end counts. It is called ended when it is gone.
    pub(crate) fn stop_body(&mut self, id: u64, outcome: Outcome) {
        let Some(body) = self.bodies.get_mut(&id) else { return };
        if body.outcome.is_some() {
            return;
        }
        body.outcome = Some(outcome);
        let (actor, token) = (body.actor, body.token);
        let gone = self.dice.spread(1, SEE_OFF);
        self.after(gone, What::BodyGone(id));
        if self.weather.has(Fault::Body) && self.dice.chance(200) {
            self.coverage.count("fault", "body answered late");
            let wait = self.dice.spread(1, 60 * SECOND);
            let outcome = Outcome::Succeeded(json!("late"));
            self.after(gone + wait, What::Late(actor, token, outcome));
        }
    }

    /// All of a body is gone: its last word goes to the job's actor.
    pub(crate) fn body_gone(&mut self, id: u64) {
        let Some(body) = self.bodies.remove(&id) else { return };
        let outcome = body.outcome.expect("what is gone has ended");
        self.say(|_| format!("a body is gone: {} {:?}, {outcome:?}", body.job, body.token));
        self.ledger.told(body.job, body.token.0, &outcome);
        self.send(body.actor, JobMsg::StepEnded(body.token, outcome));
    }

    /// A word that comes when its attempt is long over.
    pub(crate) fn late(&mut self, actor: u64, token: Token, outcome: Outcome) {
        self.say(|_| format!("a late word to actor {actor}: {token:?}, {outcome:?}"));
        if self.actors.contains_key(&actor) {
            self.say_ended(actor, token, outcome);
        }
    }
}

/// The candidate of this kind.
fn candidate_of(uses: &str) -> u32 {
    uses.strip_prefix("fallback").map_or(0, |n| n.parse().expect("a fallback has its number"))
}
