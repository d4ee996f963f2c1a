//! Due waits: wakes jobs that have no actor. Kept in memory only; rebuilt from the heads at start.

use std::collections::BTreeSet;
use std::sync::Arc;

use callsheet_engine::{JobId, Timestamp};
use fail::fail_point;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinHandle;

use super::JobsMsg;
use crate::clock;
use crate::core::Core;
use crate::mailbox::Enrolled;

/// What wakes the scheduler.
pub(crate) enum SchedulerMsg {
    /// Wake this job at this instant.
    At(Timestamp, JobId),
    /// The soonest wait may be over.
    Tick,
}

pub(crate) struct Scheduler;

pub(crate) struct Waits {
    core: Arc<Core>,
    enrolled: Enrolled,
    due: BTreeSet<(Timestamp, JobId)>,
    armed: Option<(Timestamp, JoinHandle<()>)>,
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
        Ok(Waits { core, enrolled, due: BTreeSet::new(), armed: None })
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
                waits.due.insert((due, job));
            }
            SchedulerMsg::Tick => {
                waits.armed = None;
                waits.wake_due()?;
            }
        }
        waits.arm(&myself);
        Ok(())
    }
}

impl Waits {
    fn wake_due(&mut self) -> Result<(), ActorProcessingErr> {
        let now = clock::now();
        while let Some((due, job)) = self.due.first().copied()
            && due <= now
        {
            self.due.pop_first();
            self.core.tell_jobs(JobsMsg::Wake(job)).map_err(|_| "the jobs supervisor is gone")?;
        }
        Ok(())
    }

    /// Sets one timer, for the soonest wait.
    fn arm(&mut self, myself: &ActorRef<SchedulerMsg>) {
        let Some((due, _)) = self.due.first().copied() else { return };
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
