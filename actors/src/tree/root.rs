//! The root of the tree: starts scheduler and jobs supervisor, and both anew when one dies, since
//! each rests on the other; what they knew is read from the store again.

use std::sync::Arc;

use callsheet_engine::JobId;
use callsheet_storage::JobStatus;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::jobs::{Jobs, JobsMsg};
use super::scheduler::{Scheduler, SchedulerMsg};
use crate::clock;
use crate::core::Core;
use crate::mailbox::{Enrolled, Mailbox};

/// What wakes the root.
pub(crate) enum RootMsg {
    /// Start the tree anew.
    Restart,
}

pub(crate) struct Root;

pub(crate) struct Tree {
    core: Arc<Core>,
    enrolled: Enrolled,
    branches: Vec<ActorCell>,
}

impl Actor for Root {
    type Msg = RootMsg;
    type State = Tree;
    type Arguments = (Arc<Core>, Enrolled);

    async fn pre_start(
        &self,
        myself: ActorRef<RootMsg>,
        (core, enrolled): Self::Arguments,
    ) -> Result<Tree, ActorProcessingErr> {
        let mut tree = Tree { core, enrolled, branches: Vec::new() };
        tree.grow(&myself).await?;
        Ok(tree)
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMsg>,
        message: RootMsg,
        tree: &mut Tree,
    ) -> Result<(), ActorProcessingErr> {
        tree.enrolled.record.handled();
        match message {
            RootMsg::Restart => tree.grow(&myself).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
        event: SupervisionEvent,
        tree: &mut Tree,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisionEvent::ActorFailed(who, error) = event else { return Ok(()) };
        // The death of a branch that was cut off on purpose is no news.
        if tree.branches.iter().any(|branch| branch.get_id() == who.get_id()) {
            tracing::error!(%error, "a supervisor died; the tree is started anew");
            tree.branches.drain(..).for_each(|branch| branch.kill());
            tree.core.counters.actor_restarts.up();
            Mailbox { actor: myself, record: tree.enrolled.record.clone() }
                .send(RootMsg::Restart)
                .map_err(|_| "the root is ending")?;
        }
        Ok(())
    }
}

impl Tree {
    /// Starts both branches and wakes every job that the store knows to be alive.
    async fn grow(&mut self, myself: &ActorRef<RootMsg>) -> Result<(), ActorProcessingErr> {
        let roster = &self.core.roster;
        let enrolled = roster.enroll("scheduler", "scheduler".into());
        let record = enrolled.record.clone();
        let (actor, _) =
            Actor::spawn_linked(None, Scheduler, (self.core.clone(), enrolled), myself.get_cell())
                .await?;
        self.branches.push(actor.get_cell());
        let scheduler = Mailbox { actor, record };

        let enrolled = roster.enroll("jobs", "jobs".into());
        let record = enrolled.record.clone();
        let arguments = (self.core.clone(), enrolled, scheduler.clone());
        let (actor, _) = Actor::spawn_linked(None, Jobs, arguments, myself.get_cell()).await?;
        self.branches.push(actor.get_cell());
        let jobs = Mailbox { actor, record };
        self.core.set_jobs(Some(jobs.clone()));
        self.wake_all(&scheduler, &jobs).await
    }

    async fn wake_all(
        &self,
        scheduler: &Mailbox<SchedulerMsg>,
        jobs: &Mailbox<JobsMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let now = clock::now();
        let heads = self.core.store.live().await.inspect_err(|error| self.core.note(error))?;
        let wake = |job: JobId| jobs.send(JobsMsg::Wake(job));
        for head in heads {
            let told = match head.status {
                JobStatus::Sleeping { until } if until > now => {
                    scheduler.send(SchedulerMsg::At(until, head.id))
                }
                _ => wake(head.id),
            };
            told.map_err(|_| "a branch of the tree died while it was started")?;
        }
        Ok(())
    }
}
