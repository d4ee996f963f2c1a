//! Typed handles to actors that count what is sent and what is handled.
//!
//! ractor's mailboxes are unbounded, have no depth, and unnamed actors cannot be listed; so every
//! actor is reached through a [`Mailbox`], and every actor is on the [`Roster`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsheet_engine::Timestamp;
use ractor::{ActorRef, Message};

use crate::clock;

/// A handle to an actor.
pub(crate) struct Mailbox<M> {
    pub(crate) actor: ActorRef<M>,
    pub(crate) record: Arc<ActorRecord>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), record: self.record.clone() }
    }
}

/// The actor has ended; the message was not delivered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl<M: Message> Mailbox<M> {
    pub(crate) fn send(&self, message: M) -> Result<(), Gone> {
        // Counted first: whoever compares the counts must never miss a message.
        self.record.sent.fetch_add(1, Ordering::SeqCst);
        self.actor.cast(message).map_err(|_| Gone)
    }
}

/// What is known of one actor.
#[derive(Debug)]
pub(crate) struct ActorRecord {
    id: u64,
    name: String,
    kind: &'static str,
    started_at: Timestamp,
    sent: AtomicU64,
    handled: AtomicU64,
}

impl ActorRecord {
    /// Counts a message as handled; answers how many have been.
    pub(crate) fn handled(&self) -> u64 {
        self.handled.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// One actor, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorInfo {
    /// What it is about: a job's id, or a job's id with step and item.
    pub name: String,
    /// `root`, `scheduler`, `jobs`, `job` or `attempt`.
    pub kind: &'static str,
    /// When it was started.
    pub started_at: Timestamp,
    /// Messages sent to it and not handled yet.
    pub waiting: u64,
    /// Messages that it has handled.
    pub handled: u64,
}

/// All actors of one engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    last: u64,
    records: BTreeMap<u64, Arc<ActorRecord>>,
}

/// An actor's place on the roster; it is taken off when this is dropped.
#[derive(Debug)]
pub(crate) struct Enrolled {
    roster: Roster,
    pub(crate) record: Arc<ActorRecord>,
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.roster.lock().records.remove(&self.record.id);
    }
}

impl Roster {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enroll(&self, kind: &'static str, name: String) -> Enrolled {
        let mut entries = self.lock();
        entries.last += 1;
        let record = Arc::new(ActorRecord {
            id: entries.last,
            name,
            kind,
            started_at: clock::now(),
            sent: AtomicU64::new(0),
            handled: AtomicU64::new(0),
        });
        entries.records.insert(record.id, record.clone());
        drop(entries);
        Enrolled { roster: self.clone(), record }
    }

    pub(crate) fn list(&self) -> Vec<ActorInfo> {
        self.lock().records.values().map(|record| info(record)).collect()
    }
}

fn info(record: &ActorRecord) -> ActorInfo {
    let handled = record.handled.load(Ordering::SeqCst);
    ActorInfo {
        name: record.name.clone(),
        kind: record.kind,
        started_at: record.started_at,
        waiting: record.sent().saturating_sub(handled),
        handled,
    }
}
