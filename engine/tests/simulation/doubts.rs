//! Doubts: what the oracle foretells of them, and the persons who look at those that are held.

use callsheet_engine::definition::InDoubt;
use callsheet_engine::{
    Event, Failure, HeldDoubt, Interruption, ItemIndex, JobId, Outcome, Resolution, Resolver,
    StepIndex, Timestamp, Verdict,
};

use crate::actor::JobMsg;
use crate::chronicle::{Chronicle, ItemBook, Stage, Told, bounds, failed, hold, was_told};
use crate::graph::item as value;
use crate::process::JobsMsg;
use crate::world::{SECOND, What, World};

/// What is known of a doubt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Doubt {
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

/// Where a doubt is.
type Place = (usize, usize);

impl World {
    /// Somebody looks at a doubt that is held, and says something; until it is held no longer.
    pub(crate) fn look(&mut self, job: JobId, step: StepIndex, item: ItemIndex) {
        let place = (step.at(), item.at());
        let chronicle = &self.chronicles[&job];
        let over = chronicle.ended.is_some() || chronicle.is_stopping();
        if over || chronicle.asked(place) != Some(Asked::Person) {
            return;
        }
        // They mean the doubt that the journal shows them.
        let attempt = chronicle.item(place.0, place.1).attempts;
        let doubt = HeldDoubt { step, item, attempt };
        let again = self.dice.spread(SECOND, 3_600 * SECOND);
        self.after(again, What::Person(job, step, item));
        let Some(main) = self.main else { return };
        let (name, word) = match self.dice.below(3) {
            0 => ("a person said retry", Resolution::Retry),
            1 => {
                let output = value(self.dice.below(1 << 40));
                ("a person said succeeded", Resolution::Succeeded(output))
            }
            _ => ("a person said failed", Resolution::Failed("it bounced".to_owned())),
        };
        self.coverage.count("doubt", name);
        self.say(|_| format!("somebody says of {job} {place:?}: {word:?}"));
        self.chronicle(job).words.entry(place).or_default().push(word.clone());
        self.tell_jobs(main, JobsMsg::Tell(job, JobMsg::Resolve(doubt, word)));
    }
}

impl Chronicle {
    /// One event of a doubt's life.
    pub(crate) fn doubt(&mut self, event: &Event, told: &Told) {
        self.must_run(event);
        match event {
            Event::StepInDoubt { .. } => self.begin_doubt(event, told),
            Event::ProbeStarted { step, item, probe, token, at } => {
                let place = (step.at(), item.at());
                let due = match self.asked(place) {
                    Some(Asked::Policy) => true,
                    Some(Asked::Later(due)) => due <= *at,
                    _ => false,
                };
                let right = due && self.policy(place) == Some(InDoubt::Probe);
                hold!(right, "a probe follows its policy", "{event:?}");
                hold!(token.0 > self.last_fence, "fences are unique", "{event:?}");
                self.last_fence = token.0;
                self.open.insert(token.0, place);
                self.ask(place, Asked::Probe(token.0));
                let probes = &mut self.doubt_mut(place).probes;
                *probes += 1;
                hold!(*probes == *probe, "attempts are counted", "{event:?}");
            }
            Event::ProbeFailed { token, failure, retry_at, at } => {
                let place = self.place(token.0, event);
                hold!(failed(told, token.0, failure), "failures come from bodies", "{event:?}");
                let (retry, probes) =
                    (&self.graph.nodes[place.0].retry, self.doubt_at(place).probes);
                let (least, most) = bounds(retry, probes);
                let in_bounds = (least..=most).contains(&retry_at.since(*at).0);
                let right = failure.retryable && probes < retry.max_attempts && in_bounds;
                hold!(right, "probes keep the back-off", "{event:?}");
                self.open.remove(&token.0);
                self.ask(place, Asked::Later(*retry_at)).deaths = 0;
            }
            Event::StepHeld { step, item, failure, .. } => {
                let place = (step.at(), item.at());
                let right = match (self.asked(place), self.policy(place), failure) {
                    (Some(Asked::Policy), Some(InDoubt::Hold), None) => true,
                    (Some(Asked::Probe(token)), _, None) => {
                        was_told(told, token, &Outcome::Unknown)
                    }
                    (Some(Asked::Probe(token)), _, Some(failure)) => failed(told, token, failure),
                    _ => false,
                };
                hold!(right, "a doubt is held for a reason", "{event:?}");
                self.ask(place, Asked::Person);
            }
            _ => self.resolve(event, told),
        }
    }

    fn begin_doubt(&mut self, event: &Event, told: &Told) {
        let Event::StepInDoubt { token, cause, failure, .. } = event else {
            panic!("the caller matched it");
        };
        let place = self.place(token.0, event);
        let once = self.policy(place).is_some() && self.asked(place).is_none();
        hold!(once, "only what is done once is in doubt", "{event:?}");
        let right = match cause {
            Interruption::Death => self.fresh && failure.is_none(),
            Interruption::Shutdown => {
                was_told(told, token.0, &Outcome::Released)
                    || was_told(told, token.0, &Outcome::Stopped)
            }
            Interruption::NoAnswer => failure
                .as_ref()
                .is_some_and(|seen| was_told(told, token.0, &Outcome::Lost(seen.clone()))),
        };
        hold!(right, "a doubt has its cause", "{event:?}");
        let doubt = Doubt { seen: failure.clone(), probes: 0, asked: Asked::Policy };
        let book = self.close(token.0, Stage::Doubt(doubt));
        match cause {
            Interruption::NoAnswer => book.deaths = 0,
            _ => book.tries -= 1,
        }
        book.deaths += u32::from(*cause == Interruption::Death);
    }

    /// Somebody has decided: the policy, a probe or a person, each as it may.
    fn resolve(&mut self, event: &Event, told: &Told) {
        let Event::DoubtResolved { step, item, by, verdict, at } = event else {
            panic!("the caller matched it");
        };
        let place = (step.at(), item.at());
        hold!(self.may_decide(place, *by, told), "who decides was asked", "{event:?}");
        let (retry_at, candidate) = match verdict {
            Verdict::Succeeded { output } => {
                let said = self.said(place, &Resolution::Succeeded(output.clone()));
                hold!(said && *by == Resolver::Person, "results come from somebody", "{event:?}");
                self.item_mut(place.0, place.1).at = Stage::Done(output.clone());
                return self.conclude(place.0);
            }
            Verdict::Again { retry_at, candidate } => (*retry_at, *candidate),
        };
        let (seen, fails) = (self.doubt_at(place).seen.clone(), self.fails(place, *by));
        let (node, book) = (&self.graph.nodes[place.0], self.item(place.0, place.1));
        let (same, wait) = (candidate == book.candidate, retry_at.since(*at).0);
        let tries = book.tries;
        let right = match (&seen, by) {
            _ if fails && !same => candidate == book.candidate + 1 && wait == 0,
            (_, Resolver::Person) => same && wait == 0 && self.said(place, &Resolution::Retry),
            (None, _) => same && wait == 0,
            (Some(seen), _) if same => {
                let (least, most) = bounds(&node.retry, tries.max(1));
                let left = seen.retryable && tries < node.retry.max_attempts;
                left && (least..=most).contains(&wait)
            }
            (Some(_), _) => candidate == book.candidate + 1 && wait == 0,
        };
        let known = candidate as usize <= node.fallbacks;
        hold!(right && known, "a decision says what follows", "{event:?}");
        if *by == Resolver::Person && same {
            self.repeatable.insert(place);
        }
        self.forget(place);
        let book = self.item_mut(place.0, place.1);
        book.at = Stage::Due(retry_at);
        if *by == Resolver::Person {
            (book.tries, book.deaths) = (0, 0);
        }
        if book.candidate != candidate {
            (book.candidate, book.tries) = (candidate, 0);
        }
    }

    /// Whether a decision by them may come now.
    fn may_decide(&self, place: Place, by: Resolver, told: &Told) -> bool {
        match (by, self.asked(place)) {
            (Resolver::Policy, Some(Asked::Policy)) => {
                matches!(self.policy(place), Some(InDoubt::Retry | InDoubt::Fail))
            }
            (Resolver::Probe, Some(Asked::Probe(token))) => {
                was_told(told, token, &Outcome::NotDone)
            }
            (Resolver::Person, Some(Asked::Person)) => true,
            _ => false,
        }
    }

    /// Whether the doubt counts as a failure for good of its candidate.
    fn fails(&self, place: Place, by: Resolver) -> bool {
        match by {
            Resolver::Policy => self.policy(place) == Some(InDoubt::Fail),
            Resolver::Probe => false,
            Resolver::Person => self.words.get(&place).is_some_and(|words| {
                words.iter().any(|word| matches!(word, Resolution::Failed(_)))
            }),
        }
    }

    /// A doubt ends with a failure for good.
    pub(crate) fn fail_doubt(&mut self, event: &Event, place: Place, why: &Failure, told: &Told) {
        let (node, book) = (&self.graph.nodes[place.0], self.item(place.0, place.1));
        let last = book.candidate as usize == node.fallbacks;
        let seen = self.doubt_at(place).seen.as_ref() == Some(why);
        let over = !why.retryable || book.tries >= node.retry.max_attempts;
        let by = match self.asked(place) {
            Some(Asked::Policy) => Resolver::Policy,
            Some(Asked::Probe(_)) => Resolver::Probe,
            _ => Resolver::Person,
        };
        let fails = self.fails(place, by) && why.code == "step.in_doubt";
        let right = self.may_decide(place, by, told) && last && (fails || (seen && over));
        hold!(right, "a doubt fails for a reason", "{event:?}");
        self.forget(place);
        self.item_mut(place.0, place.1).at = Stage::Failed;
    }

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

    /// Whether a person has let the deed there be done again.
    pub(crate) fn may_repeat(&self, place: Place) -> bool {
        self.repeatable.contains(&place)
    }

    /// Somebody else is asked from now on; a probe that was asked is over.
    pub(crate) fn ask(&mut self, place: Place, asked: Asked) -> &mut ItemBook {
        if !matches!(asked, Asked::Probe(_)) {
            self.forget(place);
        }
        self.doubt_mut(place).asked = asked;
        self.item_mut(place.0, place.1)
    }

    fn said(&self, place: Place, word: &Resolution) -> bool {
        self.words.get(&place).is_some_and(|words| words.contains(word))
    }

    fn forget(&mut self, place: Place) {
        self.open.retain(|_, open| *open != place);
    }

    fn doubt_at(&self, (step, item): Place) -> &Doubt {
        match &self.item(step, item).at {
            Stage::Doubt(doubt) => doubt,
            other => panic!("s{step}[{item}] is not in doubt but {other:?}"),
        }
    }

    fn doubt_mut(&mut self, (step, item): Place) -> &mut Doubt {
        match &mut self.item_mut(step, item).at {
            Stage::Doubt(doubt) => doubt,
            other => panic!("s{step}[{item}] is not in doubt but {other:?}"),
        }
    }
}
