//! What the oracle knows of doubts: who is asked, and what follows from what they say.

use callsheet_engine::definition::InDoubt;
use callsheet_engine::{
    Event, Failure, Interruption, Outcome, Resolution, Resolver, Timestamp, Verdict,
};

use crate::oracle::{ItemBook, Oracle, Stage};
use crate::told::{Told, waits};

/// What is known of a doubt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Doubt {
    cause: Interruption,
    seen: Option<Failure>,
    pub(crate) probes: u32,
    asked: Asked,
}

/// Who has to say more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Policy,
    Probe(u64),
    Later(Timestamp),
    Person,
}

impl Doubt {
    pub(crate) fn new(cause: Interruption, seen: Option<Failure>) -> Self {
        Self { cause, seen, probes: 0, asked: Asked::Policy }
    }

    /// Whether the engine has to do something about it.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        match self.asked {
            Asked::Policy => true,
            Asked::Later(at) => at <= now,
            Asked::Probe(_) | Asked::Person => false,
        }
    }
}

/// Where a doubt is.
type Place = (usize, usize);

impl Oracle {
    /// What the candidate at hand says about doubts.
    pub(crate) fn policy(&self, (step, item): Place) -> Option<InDoubt> {
        self.graph.nodes[step].policy(self.item(step, item).candidate)
    }

    /// Who is asked about the item, if it is in doubt.
    pub(crate) fn asked(&self, (step, item): Place) -> Option<Asked> {
        match &self.books(step).get(item)?.at {
            Stage::Doubt(doubt) => Some(doubt.asked.clone()),
            _ => None,
        }
    }

    /// An attempt or a probe was cut off.
    pub(crate) fn cut_off(&self, token: u64, cause: Interruption) -> Told {
        let place = self.open[&token];
        match self.asked(place).is_none() && self.policy(place).is_some() {
            true => Told::InDoubt(token, cause, None),
            false => Told::Interrupted(token, cause),
        }
    }

    /// What a probe's end means.
    pub(crate) fn probe_says(&self, token: u64, place: Place, outcome: &Outcome) -> Told {
        let (step, item) = place;
        match outcome {
            Outcome::Succeeded(output) | Outcome::Recalled(output) => {
                Told::Succeeded(token, output.clone(), false)
            }
            Outcome::NotDone => self.again(place, Resolver::Probe),
            Outcome::Unknown => Told::Held(step, item, None),
            Outcome::Failed(failure) | Outcome::Lost(failure) => {
                let (node, probes) = (&self.graph.nodes[step], self.doubt(place).probes);
                if !failure.retryable || probes >= node.retry.max_attempts {
                    return Told::Held(step, item, Some(failure.clone()));
                }
                let (least, most) = waits(node, probes);
                Told::ProbeFailed { token, least, most }
            }
            Outcome::Stopped | Outcome::Released | Outcome::NotBegun => {
                Told::Interrupted(token, Interruption::Shutdown)
            }
        }
    }

    /// What a person's word about a held doubt means.
    pub(crate) fn person_says(&self, place: Place, word: &Resolution) -> Told {
        let by = Resolver::Person;
        match word {
            Resolution::Retry => {
                let candidate = self.item(place.0, place.1).candidate;
                Told::Again { place, by, candidate, least: 0, most: 0 }
            }
            Resolution::Succeeded(output) => Told::Done { place, output: output.clone() },
            Resolution::Failed(message) => {
                self.failed(place, by, Failure::fatal("step.in_doubt", message))
            }
        }
    }

    /// Checks an event by which the engine goes on with a doubt that nobody else is asked about.
    pub(crate) fn doubt_goes_on(&self, event: &Event) {
        let (step, item) = match event {
            Event::StepHeld { step, item, .. }
            | Event::DoubtResolved { step, item, .. }
            | Event::ItemFailed { step, item, .. }
            | Event::ProbeStarted { step, item, .. } => (step.at(), item.at()),
            other => panic!("{other:?} is not about a doubt"),
        };
        let (place, doubt) = ((step, item), self.doubt((step, item)));
        assert!(doubt.is_due(event.at()), "{event:?} of {doubt:?}");
        let told = match self.policy(place).expect("without a policy there is no doubt") {
            InDoubt::Probe => {
                return assert!(matches!(event, Event::ProbeStarted { .. }), "{event:?}");
            }
            InDoubt::Hold => Told::Held(step, item, None),
            InDoubt::Retry => self.again(place, Resolver::Policy),
            InDoubt::Fail => {
                let failure = match event {
                    Event::ItemFailed { failure, .. } => {
                        assert!(failure.message.contains("nobody knows"), "{failure}");
                        failure.clone()
                    }
                    _ => Failure::fatal("", ""),
                };
                self.failed(place, Resolver::Policy, failure)
            }
        };
        told.check(event);
        if let Event::ItemFailed { failure, .. } = event {
            let code = doubt.seen.as_ref().map_or("step.in_doubt", |seen| &seen.code);
            let retries = self.policy(place) == Some(InDoubt::Retry);
            assert_eq!(failure.code, if retries { code } else { "step.in_doubt" });
        }
    }

    /// It may be done again: at once, unless its attempt was seen to end badly.
    fn again(&self, place: Place, by: Resolver) -> Told {
        if let Some(seen) = &self.doubt(place).seen {
            return self.failed(place, by, seen.clone());
        }
        assert_ne!(self.doubt(place).cause, Interruption::NoAnswer, "its end was seen");
        let candidate = self.item(place.0, place.1).candidate;
        Told::Again { place, by, candidate, least: 0, most: 0 }
    }

    fn failed(&self, place: Place, by: Resolver, failure: Failure) -> Told {
        match self.after(place, &failure) {
            Some((candidate, least, most)) => Told::Again { place, by, candidate, least, most },
            None => Told::ItemFailed(place.0, place.1, failure),
        }
    }

    /// Writes a committed event of a doubt's life into the books.
    pub(crate) fn note_doubt(&mut self, event: &Event) {
        match event {
            Event::StepInDoubt { token, cause, failure, .. } => {
                let doubt = Doubt::new(*cause, failure.clone());
                let book = self.close(token.0, Stage::Doubt(doubt));
                match cause {
                    Interruption::NoAnswer => book.deaths = 0,
                    _ => book.tries -= 1,
                }
                book.deaths += u32::from(*cause == Interruption::Death);
            }
            Event::ProbeStarted { step, item, probe, token, .. } => {
                let place = (step.at(), item.at());
                self.take_fence(token.0, place);
                self.ask(place, Asked::Probe(token.0));
                let probes = &mut self.doubt_mut(place).probes;
                *probes += 1;
                assert_eq!(*probes, *probe, "{event:?}");
            }
            Event::ProbeFailed { token, retry_at, .. } => {
                let place = self.open.remove(&token.0).unwrap();
                self.item_mut(place.0, place.1).deaths = 0;
                self.ask(place, Asked::Later(*retry_at));
            }
            Event::StepHeld { step, item, .. } => {
                let place = (step.at(), item.at());
                self.open.retain(|_, open| *open != place);
                self.ask(place, Asked::Person);
            }
            Event::DoubtResolved { step, item, by, verdict, .. } => {
                self.note_verdict((step.at(), item.at()), *by, verdict);
            }
            other => panic!("{other:?} is not about a doubt"),
        }
    }

    fn note_verdict(&mut self, (step, item): (usize, usize), by: Resolver, verdict: &Verdict) {
        self.open.retain(|_, open| *open != (step, item));
        match verdict {
            Verdict::Succeeded { output } => {
                assert!(self.committed.insert((step, item)), "a second result of s{step}");
                self.item_mut(step, item).at = Stage::Done(output.clone());
                self.conclude(step);
            }
            Verdict::Again { retry_at, candidate } => {
                let book = self.item_mut(step, item);
                book.at = Stage::Due(*retry_at);
                if by == Resolver::Person {
                    (book.tries, book.deaths) = (0, 0);
                }
                if book.candidate != *candidate {
                    (book.candidate, book.tries) = (*candidate, 0);
                }
            }
        }
    }

    /// The candidate of the attempt that follows a failure, and the bounds of the wait before it.
    pub(crate) fn after(
        &self,
        place: (usize, usize),
        failure: &Failure,
    ) -> Option<(u32, u64, u64)> {
        let (node, book) = (&self.graph.nodes[place.0], self.item(place.0, place.1));
        if failure.retryable && book.tries < node.retry.max_attempts {
            // One that was cut off has not counted as a try.
            let (least, most) = waits(node, book.tries.max(1));
            return Some((book.candidate, least, most));
        }
        ((book.candidate as usize) < node.fallbacks).then_some((book.candidate + 1, 0, 0))
    }

    fn doubt(&self, (step, item): Place) -> &Doubt {
        match &self.item(step, item).at {
            Stage::Doubt(doubt) => doubt,
            other => panic!("the item is not in doubt but {other:?}"),
        }
    }

    pub(crate) fn doubt_mut(&mut self, (step, item): Place) -> &mut Doubt {
        match &mut self.item_mut(step, item).at {
            Stage::Doubt(doubt) => doubt,
            other => panic!("the item is not in doubt but {other:?}"),
        }
    }

    /// Somebody else is asked from now on.
    pub(crate) fn ask(&mut self, place: Place, asked: Asked) {
        self.doubt_mut(place).asked = asked;
    }

    /// A probe was cut off: the policy is asked anew.
    pub(crate) fn reopen_doubt(&mut self, token: u64) -> &mut ItemBook {
        let place = self.open.remove(&token).expect("the fence is open");
        self.ask(place, Asked::Policy);
        self.item_mut(place.0, place.1)
    }
}
