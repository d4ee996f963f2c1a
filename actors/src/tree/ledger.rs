//! What a job has decided, and how much of it is durable.
//!
//! At most one record of a job is under way to the disk. What is decided meanwhile gathers here and
//! goes into the next record: a group commit of the job's own. Deeds and answers wait with the
//! turn that decided on them, and are handed back when it is durable.

use std::collections::VecDeque;

use callsheet_engine::{Action, Event, Verdict};
use callsheet_storage::JobHead;

use super::answer::Reply;
use crate::limits::{MAX_AHEAD_BYTES, RECORD_TARGET_BYTES};
use crate::size::json_bytes;

/// What one turn came to.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) events: Vec<Event>,
    /// The new head, when the status changed.
    pub(super) head: Option<JobHead>,
    /// What to do once the events are durable.
    pub(super) deeds: Vec<Action>,
    /// Whom to answer then.
    pub(super) replies: Vec<Reply>,
}

/// What is to be done now that a record is durable.
#[derive(Default)]
pub(super) struct Landed {
    pub(super) head: Option<JobHead>,
    pub(super) deeds: Vec<Action>,
    pub(super) replies: Vec<Reply>,
}

/// Turns in order: those under way to the disk, then those that wait.
#[derive(Default)]
pub(super) struct Ledger {
    flight: Option<Landed>,
    waiting: VecDeque<(Turn, usize)>,
    waiting_bytes: usize,
}

impl Ledger {
    /// Whether everything that was decided is durable.
    pub(super) fn is_settled(&self) -> bool {
        self.flight.is_none() && self.waiting.is_empty()
    }

    /// Whether steps may go on ahead of the disk; there is a bound to what a crash repeats.
    pub(super) fn may_run_ahead(&self) -> bool {
        self.waiting_bytes < MAX_AHEAD_BYTES
    }

    /// Takes a turn. What rests on nothing that is still to become durable is handed back.
    pub(super) fn note(&mut self, mut turn: Turn) -> Landed {
        if turn.events.is_empty() {
            let last = match self.waiting.back_mut() {
                Some((last, _)) => (&mut last.deeds, &mut last.replies),
                None => match &mut self.flight {
                    Some(flight) => (&mut flight.deeds, &mut flight.replies),
                    None => return turn.into_landed(),
                },
            };
            last.0.append(&mut turn.deeds);
            last.1.append(&mut turn.replies);
            return Landed::default();
        }
        let bytes = turn.events.iter().map(weight).sum();
        self.waiting_bytes += bytes;
        self.waiting.push_back((turn, bytes));
        Landed::default()
    }

    /// The next record, if there is one to write and none under way: as many turns, whole ones, as
    /// fit what a store keeps in one piece, and at least one.
    pub(super) fn take_off(&mut self) -> Option<(Vec<Event>, Option<JobHead>)> {
        if self.flight.is_some() {
            return None;
        }
        let (first, mut bytes) = self.waiting.pop_front()?;
        let mut record = first;
        while let Some((_, more)) = self.waiting.front()
            && bytes + more <= RECORD_TARGET_BYTES
            && let Some((turn, more)) = self.waiting.pop_front()
        {
            bytes += more;
            record.append(turn);
        }
        self.waiting_bytes -= bytes;
        let events = std::mem::take(&mut record.events);
        let head = record.head.clone();
        self.flight = Some(record.into_landed());
        Some((events, head))
    }

    /// Those who wait for an answer, out of every turn.
    pub(super) fn take_replies(&mut self) -> Vec<Reply> {
        let waiting = self.waiting.iter_mut().map(|(turn, _)| &mut turn.replies);
        let all = self.flight.iter_mut().map(|landed| &mut landed.replies).chain(waiting);
        all.flat_map(std::mem::take).collect()
    }

    /// The record under way is durable: what is to be done now.
    pub(super) fn land(&mut self) -> Landed {
        self.flight.take().expect("a record lands once, after it took off")
    }
}

impl Turn {
    fn append(&mut self, mut next: Self) {
        self.events.append(&mut next.events);
        self.head = next.head.or(self.head.take());
        self.deeds.append(&mut next.deeds);
        self.replies.append(&mut next.replies);
    }

    fn into_landed(self) -> Landed {
        Landed { head: self.head, deeds: self.deeds, replies: self.replies }
    }
}

/// About how many bytes an event takes in a record: exact enough to fill a record with.
fn weight(event: &Event) -> usize {
    /// What an event without data takes, names and all.
    const BARE: usize = 80;
    let data = match event {
        Event::StepSucceeded { output, .. } | Event::JobSucceeded { output, .. } => {
            json_bytes(output)
        }
        Event::StepExpanded { items, .. } => items.iter().map(json_bytes).sum(),
        Event::AttemptFailed { failure, .. }
        | Event::ItemFailed { failure, .. }
        | Event::StepFailed { failure, .. }
        | Event::JobFailed { failure, .. } => failure.message.len() + BARE,
        Event::StepInDoubt { failure: Some(failure), .. }
        | Event::StepHeld { failure: Some(failure), .. }
        | Event::ProbeFailed { failure, .. } => failure.message.len() + BARE,
        Event::DoubtResolved { verdict: Verdict::Succeeded { output }, .. } => json_bytes(output),
        _ => 0,
    };
    BARE + data
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::{Timestamp, Token};
    use serde_json::{Value, json};

    use super::*;

    fn turn(token: u64, size: usize) -> Turn {
        let output = Value::String("x".repeat(size));
        let events = vec![Event::StepSucceeded {
            token: Token(token),
            output,
            cached: false,
            at: Timestamp(0),
        }];
        Turn { events, deeds: vec![Action::StopStep(Token(token))], ..Turn::default() }
    }

    fn tokens(events: &[Event]) -> Vec<u64> {
        let of = |event: &Event| match event {
            Event::StepSucceeded { token, .. } => token.0,
            other => panic!("{other:?}"),
        };
        events.iter().map(of).collect()
    }

    fn deeds(landed: &Landed) -> Vec<u64> {
        let of = |deed: &Action| match deed {
            Action::StopStep(token) => token.0,
            Action::StartStep(start) => panic!("{start:?}"),
        };
        landed.deeds.iter().map(of).collect()
    }

    #[test]
    fn one_record_flies_and_the_next_gathers_what_is_decided_meanwhile() {
        let mut ledger = Ledger::default();
        assert!(ledger.is_settled());
        assert!(ledger.note(turn(1, 10)).deeds.is_empty(), "a deed waits for its record");
        assert_eq!(tokens(&ledger.take_off().unwrap().0), [1]);
        for n in 2..=4 {
            assert!(ledger.note(turn(n, 10)).deeds.is_empty());
            assert!(ledger.take_off().is_none(), "one record at a time");
        }
        assert_eq!(deeds(&ledger.land()), [1], "only what rests on the first record");
        assert!(!ledger.is_settled());
        assert_eq!(tokens(&ledger.take_off().unwrap().0), [2, 3, 4]);
        assert_eq!(deeds(&ledger.land()), [2, 3, 4]);
        assert!(ledger.is_settled() && ledger.take_off().is_none());
    }

    #[test]
    fn a_record_is_bounded_and_a_turn_is_never_cut() {
        let mut ledger = Ledger::default();
        let (large, small) = (RECORD_TARGET_BYTES * 2, RECORD_TARGET_BYTES / 2 - 100);
        let sizes = [small, small, small, large, 10];
        (1..).zip(sizes).for_each(|(n, size)| drop(ledger.note(turn(n, size))));
        let mut records = Vec::new();
        while let Some((events, _)) = ledger.take_off() {
            records.push(tokens(&events));
            ledger.land();
        }
        assert_eq!(records, [vec![1, 2], vec![3], vec![4], vec![5]]);
        assert_eq!(ledger.waiting_bytes, 0);
    }

    #[test]
    fn steps_run_ahead_only_so_far() {
        let mut ledger = Ledger::default();
        let mut turns = 0;
        while ledger.may_run_ahead() {
            turns += 1;
            ledger.note(turn(turns, 1_000));
        }
        let expected = MAX_AHEAD_BYTES.div_ceil(1_000 + 80 + 2);
        assert_eq!(turns as usize, expected);
        ledger.take_off();
        assert!(ledger.may_run_ahead(), "what is under way counts no more");
    }

    #[test]
    fn a_turn_without_events_rests_on_the_last_one_before_it() {
        let quiet = |n| Turn { deeds: vec![Action::StopStep(Token(n))], ..Turn::default() };
        let mut ledger = Ledger::default();
        assert_eq!(deeds(&ledger.note(quiet(1))), [1], "nothing to wait for");
        ledger.note(turn(2, 10));
        assert!(ledger.note(quiet(3)).deeds.is_empty());
        ledger.take_off();
        assert!(ledger.note(quiet(4)).deeds.is_empty());
        ledger.note(turn(5, 10));
        assert!(ledger.note(quiet(6)).deeds.is_empty());
        assert_eq!(deeds(&ledger.land()), [2, 3, 4]);
        ledger.take_off();
        assert_eq!(deeds(&ledger.land()), [5, 6]);
    }

    #[test]
    fn the_last_head_counts() {
        let head = |status| JobHead {
            id: callsheet_engine::JobId::from_bytes([1; 16]),
            workflow: callsheet_engine::WorkflowRef { name: "w".into(), digest: "d".into() },
            status,
            submitted_at: Timestamp(0),
            changed_at: Timestamp(0),
            labels: Default::default(),
        };
        use callsheet_storage::JobStatus::{Stopping, Succeeded};
        let mut ledger = Ledger::default();
        ledger.note(Turn { head: Some(head(Stopping)), ..turn(1, 1) });
        ledger.note(turn(2, 1));
        ledger.note(Turn { head: Some(head(Succeeded)), ..turn(3, 1) });
        ledger.note(turn(4, 1));
        let (_, seen) = ledger.take_off().unwrap();
        assert_eq!(seen.as_ref().map(|head| head.status), Some(Succeeded));
        assert_eq!(ledger.land().head, seen);
    }

    #[test]
    fn weights_are_about_what_a_record_takes() {
        let event = Event::StepSucceeded {
            token: Token(1 << 40),
            output: json!("x".repeat(100)),
            cached: false,
            at: Timestamp(1_700_000_000_000),
        };
        assert_eq!(weight(&event), 80 + 102);
    }
}
