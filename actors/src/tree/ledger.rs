//! What a job has decided, and how much of it is durable.
//!
//! At most one record of a job is under way to the disk. What is decided meanwhile gathers here and
//! goes into the next record: a group commit of the job's own. Deeds and answers wait with the
//! turn that decided on them, and are handed back when it is durable.

use std::collections::VecDeque;

use callsheet_engine::{Action, Event};
use callsheet_storage::JobHead;
use tokio::sync::oneshot;

use super::job::CancelAnswer;
use crate::limits::{MAX_AHEAD_BYTES, RECORD_TARGET_BYTES};
use crate::size::json_bytes;

/// An answer that somebody waits for.
pub(super) type Reply = (oneshot::Sender<CancelAnswer>, CancelAnswer);

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
        _ => 0,
    };
    BARE + data
}
