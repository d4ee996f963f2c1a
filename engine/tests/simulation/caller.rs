//! Callers from outside: they submit and cancel, try again when nobody answers, and remember what
//! they were told.

use std::collections::BTreeMap;

use callsheet_engine::{JobId, Submission, submit};
use serde_json::json;
use uuid::Uuid;

use crate::actor::JobMsg;
use crate::chronicle::hold;
use crate::process::JobsMsg;
use crate::store::{Answer, Asker, NewJob, Refusal, Request, Verb};
use crate::weather::Fault;
use crate::world::{Micros, SECOND, What, World};

/// Somebody who wants one thing.
#[derive(Debug)]
pub(crate) struct Caller {
    wish: Wish,
    /// When it calls first.
    pub(crate) at: Micros,
    answered: bool,
    /// The process that it waits for.
    pub(crate) waiting: Option<u64>,
    pub(crate) questions: u64,
    /// The job that it asked for last, and whether that is acknowledged.
    job: Option<JobId>,
    acknowledged: bool,
    /// Whether it is about to ask; it does not do so twice at a time.
    is_to_call: bool,
}

#[derive(Clone, Copy, Debug)]
enum Wish {
    /// A job of a graph, with a key and the hash of the request.
    Submit { graph: usize, key: Option<(u64, u64)> },
    /// The end of the job that another caller has submitted.
    Cancel { of: usize },
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelAnswer {
    Accepted,
    AlreadyStopping,
    AlreadyEnded,
}

impl Caller {
    fn new(wish: Wish, at: Micros) -> Self {
        Self {
            wish,
            at,
            answered: false,
            waiting: None,
            questions: 0,
            job: None,
            acknowledged: false,
            is_to_call: false,
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }
}

impl World {
    /// Draws who wants what, and when.
    pub(crate) fn draw_callers(&mut self) {
        for n in 0..self.weather.submits {
            let graph = self.dice.index(self.graphs.len());
            let key = self.dice.chance(500).then_some((n as u64, graph as u64));
            let at = self.dice.spread(1_000, 600 * SECOND);
            self.draw_caller(at, Wish::Submit { graph, key });
            if let Some((key, _)) = key
                && self.dice.chance(500)
            {
                let graph = self.dice.index(self.graphs.len());
                let later = at + self.dice.spread(1, 60 * SECOND);
                let key = Some((key, graph as u64));
                self.draw_caller(later, Wish::Submit { graph, key });
            }
            if self.weather.has(Fault::Cancel) && self.dice.chance(400) {
                for _ in 0..self.dice.within(1, 3) {
                    let later = at + self.dice.spread(1, 1_800 * SECOND);
                    self.draw_caller(later, Wish::Cancel { of: self.callers.len() - 1 });
                }
            }
        }
    }

    fn draw_caller(&mut self, at: Micros, wish: Wish) {
        // A cancel of a cancel means the job behind it.
        let wish = match wish {
            Wish::Cancel { of } => match self.callers[of].wish {
                Wish::Cancel { of } => Wish::Cancel { of },
                Wish::Submit { .. } => Wish::Cancel { of },
            },
            submit => submit,
        };
        self.callers.push(Caller::new(wish, at));
        self.call_after(at, self.callers.len() - 1);
    }

    /// A caller asks, or asks again.
    pub(crate) fn call(&mut self, caller: usize) {
        self.callers[caller].is_to_call = false;
        if self.callers[caller].answered || self.callers[caller].waiting.is_some() {
            return;
        }
        let Some(main) = self.main else { return self.call_again(caller) };
        match self.callers[caller].wish {
            Wish::Submit { graph, key } => self.call_submit(main, caller, graph, key),
            Wish::Cancel { of } => self.call_cancel(main, caller, of),
        }
    }

    pub(crate) fn call_again(&mut self, caller: usize) {
        let wait = self.dice.spread(1_000, 10 * SECOND);
        self.call_after(wait, caller);
    }

    /// A caller asks after a while, unless it is about to ask anyway.
    pub(crate) fn call_after(&mut self, wait: u64, caller: usize) {
        if !std::mem::replace(&mut self.callers[caller].is_to_call, true) {
            self.after(wait, What::Call(caller));
        }
    }

    fn call_submit(&mut self, main: u64, caller: usize, graph: usize, key: Option<(u64, u64)>) {
        if self.processes[&main].draining {
            return self.call_again(caller); // An engine that shuts down takes nothing new.
        }
        let millis = self.wall().0 as u64;
        let id = JobId(Uuid::from_u64_pair(millis << 16 | 0x7000, self.dice.next() | 1 << 63));
        let plan = self.graphs[graph].plan.clone();
        let input = json!({ "graph": graph });
        let submission =
            Submission { id, plan, input, labels: BTreeMap::new(), options: Default::default() };
        let (_, event) = submit(submission, self.wall()).expect("any input is accepted");
        let verb = Verb::Create(NewJob { id, graph, event, key });
        self.say(|_| format!("caller {caller} submits {id} with {key:?}"));
        self.callers[caller].job = Some(id);
        self.callers[caller].waiting = Some(main);
        self.callers[caller].questions += 1;
        let asker = Asker::Caller(caller, self.callers[caller].questions);
        self.ask(Request { process: main, asker, verb });
        self.maybe_hang_up(caller, main);
    }

    fn call_cancel(&mut self, main: u64, caller: usize, of: usize) {
        if !self.callers[of].acknowledged {
            if self.callers[of].answered {
                self.callers[caller].answered = true; // There is no job to cancel.
                return;
            }
            return self.call_again(caller);
        }
        let job = self.callers[of].job.expect("what is acknowledged has an id");
        self.callers[caller].job = Some(job);
        let kept = self.store.job(job).expect("accepted is durable");
        if kept.status.has_ended() {
            return self.cancel_answered(caller, CancelAnswer::AlreadyEnded);
        }
        self.say(|_| format!("caller {caller} cancels {job}"));
        self.callers[caller].waiting = Some(main);
        self.tell_jobs(main, JobsMsg::Tell(job, JobMsg::Cancel(caller)));
        self.maybe_hang_up(caller, main);
    }

    /// The store has answered a submit.
    pub(crate) fn submit_answered(&mut self, caller: usize, answer: &Answer) {
        let Wish::Submit { key, .. } = self.callers[caller].wish else {
            panic!("only submits ask the store: caller {caller}");
        };
        let asked = self.callers[caller].job.expect("it has asked for a job");
        self.callers[caller].waiting = None;
        match *answer {
            Answer::New(id) => {
                hold!(id == asked, "an answer is to its question", "{id} for {asked}");
                self.ledger.accepted(id, key, true);
                self.acknowledge(caller, id);
            }
            Answer::Existing(id) => {
                self.ledger.accepted(id, key, false);
                self.acknowledge(caller, id);
            }
            Answer::Conflict(id) => {
                self.ledger.conflict(id, key);
                self.callers[caller].answered = true;
            }
            Answer::Refused(Refusal::Full | Refusal::Stopped) => {
                self.ledger.refused(asked);
                self.call_again(caller);
            }
            Answer::Refused(_) => self.caller_lost(caller),
            Answer::Claimed(_) | Answer::Committed(_) => panic!("no answer to a submit"),
        }
    }

    fn acknowledge(&mut self, caller: usize, id: JobId) {
        let there = self.store.job(id).is_some();
        hold!(there, "accepted is durable", "{id} is acknowledged to caller {caller}");
        self.say(|_| format!("caller {caller} is told: {id} is accepted"));
        let caller = &mut self.callers[caller];
        (caller.job, caller.acknowledged, caller.answered) = (Some(id), true, true);
    }

    /// A caller that is asking may hang up: what it asked for goes on without it.
    fn maybe_hang_up(&mut self, caller: usize, process: u64) {
        if self.weather.has(Fault::HangUp) && self.dice.chance(300) {
            let wait = self.dice.spread(1, 5_000);
            self.after(wait, What::HangUp(caller, process));
        }
    }

    pub(crate) fn hang_up(&mut self, caller: usize, process: u64) {
        if self.callers[caller].waiting == Some(process) {
            self.coverage.count("fault", "hang-up");
            self.caller_lost(caller);
        }
    }

    /// Nobody will answer this caller any more.
    pub(crate) fn caller_lost(&mut self, caller: usize) {
        self.callers[caller].waiting = None;
        match self.callers[caller].wish {
            // Without a key it cannot know whether asking again would make a second job.
            Wish::Submit { key: None, .. } => self.callers[caller].answered = true,
            Wish::Submit { .. } | Wish::Cancel { .. } => self.call_again(caller),
        }
    }

    /// A caller hears what became of its cancel: it must be so on the disk.
    pub(crate) fn cancel_answered(&mut self, caller: usize, answer: CancelAnswer) {
        let job = self.callers[caller].job.expect("it has named a job");
        self.say(|_| format!("caller {caller} is told: {job} {answer:?}"));
        let chronicle = &self.chronicles[&job];
        let name = match answer {
            CancelAnswer::Accepted => "accepted",
            CancelAnswer::AlreadyStopping => "already stopping",
            CancelAnswer::AlreadyEnded => "already ended",
        };
        if answer == CancelAnswer::AlreadyEnded {
            let ended = chronicle.ended;
            hold!(ended.is_some(), "answers are durable", "{job}: {answer:?}, but it goes on");
        } else {
            let cancelled = chronicle.is_cancelled();
            hold!(cancelled, "answers are durable", "{job}: {answer:?}, but not on the disk");
            self.ledger.cancelled.insert(job);
        }
        self.coverage.count("cancel", name);
        self.callers[caller].answered = true;
        self.callers[caller].waiting = None;
    }
}
