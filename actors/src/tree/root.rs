//! The root of the tree: starts scheduler and jobs supervisor, and both anew when one dies, since
//! each rests on the other; what they knew is read from the store again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callsheet_engine::JobId;
use fail::fail_point;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::jobs::{Jobs, JobsMsg};
use super::scheduler::{Scheduler, SchedulerMsg};
use crate::core::Core;
use crate::error::EngineError;
use crate::kin::wake_the_forgotten;
use crate::limits::{
    MAX_TREE_RESTARTS_COUNT, RESTART_BACKOFF_MS, TREE_RESTARTS_WINDOW, WAKE_PAGE_COUNT,
};
use crate::mailbox::{Enrolled, Mailbox};

/// What wakes the root.
pub(crate) enum RootMsg {
    /// Start the tree anew.
    Restart,
    /// Wake the jobs after this one that the store knows to be awake, in this generation of the
    /// tree.
    WakeAfter(JobId, u64),
}

/// Why the root gives up.
const TOO_OFTEN: &str = "the supervisors died again and again";

pub(crate) struct Root;

pub(crate) struct Tree {
    core: Arc<Core>,
    enrolled: Enrolled,
    branches: Vec<ActorCell>,
    restarts: VecDeque<Instant>,
    /// The jobs supervisor, while there is one.
    jobs: Option<Mailbox<JobsMsg>>,
    /// Counts the times that the tree was started.
    generation: u64,
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
        let (branches, restarts) = (Vec::new(), VecDeque::new());
        let mut tree = Tree { core, enrolled, branches, restarts, jobs: None, generation: 0 };
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
            RootMsg::WakeAfter(job, generation) if generation == tree.generation => {
                tree.wake_after(&myself, Some(job)).await
            }
            // Of a tree that is no more; the one that came after it wakes them all.
            RootMsg::WakeAfter(..) => Ok(()),
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
            tree.jobs = None;
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

    /// Starts both branches. New work is taken from then on: the jobs that were awake are woken
    /// page by page, beside it, and the scheduler reads on its own when the others wake.
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
        self.jobs = Some(jobs);
        self.generation += 1;
        // A branch that dies from now on is heard of.
        let _ = scheduler.send(SchedulerMsg::Read);
        self.wake_after(myself, None).await?;
        // A job may have ended with nobody left to tell of it.
        self.core.waiters.send_away();
        tokio::spawn(wake_the_forgotten(self.core.clone()));
        Ok(())
    }

    /// Wakes a page of the jobs that the store knows to be awake, and sees to the next one, to the
    /// last: nothing bounds their ids, for a clock that was set back gives younger jobs smaller
    /// ones. A job that was accepted meanwhile may be told twice, which does no harm.
    async fn wake_after(
        &mut self,
        myself: &ActorRef<RootMsg>,
        after: Option<JobId>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(jobs) = &self.jobs else { return Ok(()) };
        let page = self.core.store.awake(after, WAKE_PAGE_COUNT).await;
        let page = page.inspect_err(|error| self.core.note(error))?;
        for job in &page {
            if jobs.send(JobsMsg::Recover(*job)).is_err() {
                return Ok(()); // It has died; the tree that follows wakes them all.
            }
        }
        if let Some(last) = page.last() {
            let next = RootMsg::WakeAfter(*last, self.generation);
            let mailbox = Mailbox { actor: myself.clone(), record: self.enrolled.record.clone() };
            mailbox.send(next).map_err(|_| "the root is ending")?;
        }
        Ok(())
    }
}
