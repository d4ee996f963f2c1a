//! The root of the tree: starts scheduler and jobs supervisor, and both anew when one dies, since
//! each rests on the other; what they knew is read from the store again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callsheet_engine::JobId;
use callsheet_storage::JobStatus;
use fail::fail_point;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::jobs::{Jobs, JobsMsg};
use super::scheduler::{Scheduler, SchedulerMsg};
use crate::clock;
use crate::core::Core;
use crate::error::EngineError;
use crate::limits::{MAX_TREE_RESTARTS_COUNT, RESTART_BACKOFF_MS, TREE_RESTARTS_WINDOW};
use crate::mailbox::{Enrolled, Mailbox};

/// What wakes the root.
pub(crate) enum RootMsg {
    /// Start the tree anew.
    Restart,
}

/// Why the root gives up.
const TOO_OFTEN: &str = "the supervisors died again and again";

pub(crate) struct Root;

pub(crate) struct Tree {
    core: Arc<Core>,
    enrolled: Enrolled,
    branches: Vec<ActorCell>,
    restarts: VecDeque<Instant>,
}

/// Without its root the tree is nobody's: nothing that is accepted would run. So the engine says
/// that it has failed, unless it is just being closed.
impl Drop for Tree {
    fn drop(&mut self) {
        if !self.core.is_draining() {
            self.core.fail(EngineError::Dead("the root of the actors is gone".into()));
        }
    }
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
        let mut tree = Tree { core, enrolled, branches: Vec::new(), restarts: VecDeque::new() };
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
        fail_point!("tree.root");
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
            let wait = tree.next_restart(Instant::now()).ok_or(TOO_OFTEN)?;
            let mailbox = Mailbox { actor: myself, record: tree.enrolled.record.clone() };
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                // A root that ended meanwhile has said so.
                let _ = mailbox.send(RootMsg::Restart);
            });
        }
        Ok(())
    }
}

impl Tree {
    /// The wait before the next restart; `None` when there were too many of late.
    fn next_restart(&mut self, now: Instant) -> Option<Duration> {
        self.restarts.retain(|at| now.duration_since(*at) < TREE_RESTARTS_WINDOW);
        if self.restarts.len() >= MAX_TREE_RESTARTS_COUNT {
            return None;
        }
        let (first, longest) = RESTART_BACKOFF_MS;
        let wait = (first << self.restarts.len()).min(longest);
        self.restarts.push_back(now);
        Some(Duration::from_millis(wait))
    }

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
        let wake = |job: JobId| jobs.send(JobsMsg::Recover(job));
        for head in heads {
            let told = match head.status {
                JobStatus::Sleeping { until } if until > now => {
                    scheduler.send(SchedulerMsg::At(until, head.id))
                }
                _ => wake(head.id),
            };
            told.map_err(|_| "a branch of the tree died while it was started")?;
        }
        // A job may have ended with nobody left to tell of it.
        self.core.waiters.send_away();
        Ok(())
    }
}
