//! Due waits: wakes jobs that have no actor.
//!
//! The store knows when each sleeping job wakes. The soonest of them are kept here, a bounded
//! number; when they are through, the next page is read. A wake-up may be stale, because its job
//! was cancelled or went on before: the job then finds nothing to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use callsheet_engine::{JobId, Timestamp};
use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinHandle;

use super::JobsMsg;
use crate::clock;
use crate::core::Core;
use crate::limits::{MAX_WAITS_COUNT, WAKE_PAGE_COUNT};
use crate::mailbox::Enrolled;

/// What wakes the scheduler.
pub(crate) enum SchedulerMsg {
    /// Wake this job at this instant, of which nobody else knows.
    At(Timestamp, JobId),
    /// Wake this job at this instant; the store knows it too.
    Asleep(Timestamp, JobId),
    /// Read the soonest waits from the store.
    Read,
    /// The soonest wait may be over.
    Tick,
}

pub(crate) struct Scheduler;

pub(crate) struct Waits {
    core: Arc<Core>,
    enrolled: Enrolled,
    /// Waits that only the scheduler knows of.
    own: BTreeSet<(Timestamp, JobId)>,
    /// Waits that the store knows of, up to the horizon.
    due: BTreeSet<(Timestamp, JobId)>,
    horizon: Horizon,
    armed: Option<(Timestamp, JoinHandle<()>)>,
}

/// How far the waits of the store are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Horizon {
    /// All of them.
    All,
    /// Up to this one, included; `None` for nothing yet.
    UpTo(Option<(Timestamp, JobId)>),
}

impl Actor for Scheduler {
    type Msg = SchedulerMsg;
    type State = Waits;
    type Arguments = (Arc<Core>, Enrolled);

    async fn pre_start(
        &self,
        _: ActorRef<SchedulerMsg>,
        (core, enrolled): Self::Arguments,
    ) -> Result<Waits, ActorProcessingErr> {
        Ok(Waits {
            core,
            enrolled,
            own: BTreeSet::new(),
            due: BTreeSet::new(),
            horizon: Horizon::UpTo(None),
            armed: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SchedulerMsg>,
        message: SchedulerMsg,
        waits: &mut Waits,
    ) -> Result<(), ActorProcessingErr> {
        waits.enrolled.record.handled();
        fail_point!("tree.scheduler");
        match message {
            SchedulerMsg::At(due, job) => {
                waits.own.insert((due, job));
            }
            SchedulerMsg::Asleep(due, job) => waits.sleep(due, job),
            SchedulerMsg::Read => {
                waits.read().await?;
                waits.wake_due()?;
                waits.read_on(&myself)?;
            }
            SchedulerMsg::Tick => {
                waits.armed = None;
                waits.wake_due()?;
                waits.read_on(&myself)?;
            }
        }
        waits.arm(&myself);
        Ok(())
    }
}

impl Waits {
    /// What lies beyond the horizon will be read when its time comes near.
    fn sleep(&mut self, due: Timestamp, job: JobId) {
        if let Horizon::UpTo(known) = self.horizon
            && known.is_none_or(|known| (due, job) > known)
        {
            return;
        }
        self.due.insert((due, job));
        if self.due.len() > MAX_WAITS_COUNT {
            self.due.pop_last();
            self.horizon = Horizon::UpTo(self.due.last().copied());
        }
    }

    /// Reads the next page of waits.
    async fn read(&mut self) -> Result<(), ActorProcessingErr> {
        let Horizon::UpTo(known) = self.horizon else { return Ok(()) };
        let page = self.core.store.asleep(known, WAKE_PAGE_COUNT).await;
        let page = page.inspect_err(|error| self.core.note(error))?;
        self.horizon = match page.last() {
            Some(last) => Horizon::UpTo(Some(*last)),
            None => Horizon::All,
        };
        self.due.extend(page);
        Ok(())
    }

    /// Sees to the next page when this one is through.
    fn read_on(&self, myself: &ActorRef<SchedulerMsg>) -> Result<(), ActorProcessingErr> {
        if self.horizon == Horizon::All || !self.due.is_empty() {
            return Ok(());
        }
        let record = self.enrolled.record.clone();
        let mailbox = crate::mailbox::Mailbox { actor: myself.clone(), record };
        mailbox.send(SchedulerMsg::Read).map_err(|_| "the scheduler is ending".into())
    }

    fn wake_due(&mut self) -> Result<(), ActorProcessingErr> {
        let now = clock::now();
        for waits in [&mut self.own, &mut self.due] {
            while let Some((due, job)) = waits.first().copied()
                && due <= now
            {
                waits.pop_first();
                let told = self.core.tell_jobs(JobsMsg::Wake(job));
                told.map_err(|_| "the jobs supervisor is gone")?;
            }
        }
        Ok(())
    }

    /// Sets one timer, for the soonest wait.
    fn arm(&mut self, myself: &ActorRef<SchedulerMsg>) {
        let soonest = self.own.first().into_iter().chain(self.due.first()).min();
        let Some((due, _)) = soonest.copied() else { return };
        if let Some((armed, timer)) = &self.armed {
            if *armed <= due {
                return;
            }
            timer.abort();
        }
        let wait = due.since(clock::now()).into();
        let (myself, record) = (myself.clone(), self.enrolled.record.clone());
        let timer = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            // The scheduler may have ended meanwhile; then nobody waits for the tick.
            let _ = crate::mailbox::Mailbox { actor: myself, record }.send(SchedulerMsg::Tick);
        });
        self.armed = Some((due, timer));
    }
}
