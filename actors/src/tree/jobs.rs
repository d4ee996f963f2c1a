//! The jobs supervisor: which jobs have an actor.
//!
//! Every message to a job actor from outside the job goes through here, so that an actor which
//! wants to retire can be told whether something is still on its way to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use callsheet_engine::{JobId, Millis};
use fail::fail_point;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent};

use super::backlog::Origin;
use super::job::{Job, JobMsg, Mode};
use super::places::Places;
use super::scheduler::SchedulerMsg;
use crate::clock;
use crate::core::Core;
use crate::limits::{MAX_ACTOR_DEATHS_COUNT, RESTART_BACKOFF_MS};
use crate::mailbox::{Enrolled, Mailbox};

/// What wakes the supervisor.
pub(crate) enum JobsMsg {
    /// This job was just accepted.
    Begin(JobId),
    /// This job was found in the store when the tree was started.
    Recover(JobId),
    /// This job has something to do: a wait of its is over.
    Wake(JobId),
    /// Hand this to the job's actor; start one if it has none.
    Tell(JobId, JobMsg),
    /// A job's actor has nothing more to do, having handled so many messages.
    Retire(JobId, u64),
    /// Wake this job at this instant; it gives up its actor.
    Sleep(JobId, callsheet_engine::Timestamp),
    /// A place has become free while its job keeps its actor.
    Fill,
    /// The process is about to stop: let what runs end, start nothing.
    Drain,
    /// The process stops now: let every attempt be given back.
    Release,
}

pub(crate) struct Jobs;

pub(crate) struct Active {
    core: Arc<Core>,
    enrolled: Enrolled,
    scheduler: Mailbox<SchedulerMsg>,
    actors: HashMap<JobId, Mailbox<JobMsg>>,
    by_actor: HashMap<ActorId, JobId>,
    /// Deaths in a row, of jobs that have died at least once.
    deaths: HashMap<JobId, u32>,
    /// Jobs that nothing can be done about: even the quarantine could not be recorded.
    hopeless: HashSet<JobId>,
    places: Places,
}

/// A supervisor that dies takes its jobs' actors with it.
impl Drop for Active {
    fn drop(&mut self) {
        self.actors.drain().for_each(|_| self.core.counters.jobs_active.down());
    }
}

impl Actor for Jobs {
    type Msg = JobsMsg;
    type State = Active;
    type Arguments = (Arc<Core>, Enrolled, Mailbox<SchedulerMsg>);

    async fn pre_start(
        &self,
        _: ActorRef<JobsMsg>,
        (core, enrolled, scheduler): Self::Arguments,
    ) -> Result<Active, ActorProcessingErr> {
        core.active.send_replace(0);
        Ok(Active {
            places: Places::new(core.max_active_jobs),
            core,
            enrolled,
            scheduler,
            actors: HashMap::new(),
            by_actor: HashMap::new(),
            deaths: HashMap::new(),
            hopeless: HashSet::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<JobsMsg>,
        message: JobsMsg,
        active: &mut Active,
    ) -> Result<(), ActorProcessingErr> {
        active.enrolled.record.handled();
        fail_point!("tree.jobs");
        match message {
            JobsMsg::Begin(job) => active.admit(&myself, job, Origin::New)?,
            JobsMsg::Recover(job) => active.admit(&myself, job, Origin::Recovered)?,
            JobsMsg::Wake(job) => active.admit(&myself, job, Origin::Woken)?,
            JobsMsg::Tell(job, message) => active.tell(&myself, job, message)?,
            JobsMsg::Retire(job, handled) => active.retire(&myself, job, handled)?,
            JobsMsg::Sleep(job, until) => {
                active.tell_scheduler(SchedulerMsg::Asleep(until, job))?
            }
            JobsMsg::Fill => active.fill(&myself)?,
            JobsMsg::Drain => active.tell_all(|| JobMsg::Drain),
            JobsMsg::Release => active.tell_all(|| JobMsg::Release),
        }
        active.core.active.send_replace(active.actors.len());
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<JobsMsg>,
        event: SupervisionEvent,
        active: &mut Active,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                if let Some(job) = active.forget(who.get_id()) {
                    tracing::error!(%job, %error, "a job's actor died");
                    active.died(job)?;
                }
                active.fill(&myself)?;
            }
            SupervisionEvent::ActorTerminated(who, _, _) => {
                active.forget(who.get_id());
                active.fill(&myself)?;
            }
            _ => {}
        }
        active.core.active.send_replace(active.actors.len());
        Ok(())
    }
}

impl Active {
    /// Lets a job have an actor, now or when there is a place.
    fn admit(
        &mut self,
        myself: &ActorRef<JobsMsg>,
        job: JobId,
        origin: Origin,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(actor) = self.actors.get(&job) {
            // An actor that is ending is followed by another once its end is known.
            let _ = actor.send(JobMsg::TimerFired);
            return Ok(());
        }
        if self.core.is_draining() || self.hopeless.contains(&job) {
            return Ok(());
        }
        if self.places.is_full(job, self.aside()) {
            self.places.wait(job, origin);
            return Ok(());
        }
        self.start(myself, job, origin).map(|_| ())
    }

    /// Places that are taken and count for nothing: of those that wait to be tried alone.
    fn aside(&self) -> usize {
        self.core.aside.load(Ordering::SeqCst)
    }

    /// Control is not admission: a job that is told something gets an actor at once.
    fn tell(
        &mut self,
        myself: &ActorRef<JobsMsg>,
        job: JobId,
        message: JobMsg,
    ) -> Result<(), ActorProcessingErr> {
        if self.hopeless.contains(&job) {
            return Ok(()); // The reply is dropped with the message; the asker is told so.
        }
        let actor = match self.actors.get(&job) {
            Some(actor) => actor.clone(),
            None => self.start(myself, job, Origin::Woken)?,
        };
        let _ = actor.send(message);
        Ok(())
    }

    fn start(
        &mut self,
        myself: &ActorRef<JobsMsg>,
        job: JobId,
        origin: Origin,
    ) -> Result<Mailbox<JobMsg>, ActorProcessingErr> {
        let deaths = self.deaths.get(&job).copied().unwrap_or(0);
        let mode = match origin {
            _ if deaths >= MAX_ACTOR_DEATHS_COUNT => Mode::Quarantine,
            Origin::New => Mode::First,
            Origin::Recovered | Origin::Woken => Mode::Again,
        };
        let enrolled = self.core.roster.enroll("job", job.to_string());
        let record = enrolled.record.clone();
        let arguments = (self.core.clone(), enrolled, job, mode);
        let (actor, _) =
            ActorRuntime::spawn_linked_instant(None, Job, arguments, myself.get_cell())?;
        let mailbox = Mailbox { actor, record };
        mailbox.send(JobMsg::Load).map_err(|_| "a job's actor did not start")?;
        self.by_actor.insert(mailbox.actor.get_id(), job);
        self.actors.insert(job, mailbox.clone());
        self.places.take(job);
        self.core.counters.jobs_active.up();
        Ok(mailbox)
    }

    /// Lets an actor go if nothing is on its way to it; otherwise it will ask again.
    fn retire(
        &mut self,
        myself: &ActorRef<JobsMsg>,
        job: JobId,
        handled: u64,
    ) -> Result<(), ActorProcessingErr> {
        let Some(actor) = self.actors.get(&job) else { return Ok(()) };
        if actor.record.sent() == handled {
            actor.actor.stop(None);
            let id = actor.actor.get_id();
            self.forget(id);
            self.deaths.remove(&job);
        }
        self.fill(myself)
    }

    fn tell_scheduler(&self, message: SchedulerMsg) -> Result<(), ActorProcessingErr> {
        let told = self.scheduler.send(message);
        told.map_err(|_| ActorProcessingErr::from("the scheduler is gone"))
    }

    fn forget(&mut self, actor: ActorId) -> Option<JobId> {
        let job = self.by_actor.remove(&actor)?;
        self.actors.remove(&job);
        self.places.give_back(job);
        self.core.counters.jobs_active.down();
        Some(job)
    }

    /// A job whose actor died gets another after a while; too many deaths and it is quarantined.
    fn died(&mut self, job: JobId) -> Result<(), ActorProcessingErr> {
        if self.core.is_draining() || self.core.store.health().is_err() {
            return Ok(()); // The journal stands; the next start goes on from it.
        }
        let deaths = self.deaths.entry(job).or_insert(0);
        *deaths += 1;
        if *deaths > MAX_ACTOR_DEATHS_COUNT {
            tracing::error!(%job, "the job cannot even be quarantined; it is left alone");
            self.hopeless.insert(job);
            return Ok(());
        }
        self.core.counters.actor_restarts.up();
        let (first, longest) = RESTART_BACKOFF_MS;
        let wait = Millis((first << (*deaths - 1).min(16)).min(longest));
        self.tell_scheduler(SchedulerMsg::At(clock::now() + wait, job))
    }

    /// Starts waiting jobs while there is room.
    fn fill(&mut self, myself: &ActorRef<JobsMsg>) -> Result<(), ActorProcessingErr> {
        while !self.core.is_draining()
            && let Some((job, origin)) = self.places.next(self.aside())
        {
            self.admit(myself, job, origin)?;
        }
        Ok(())
    }

    fn tell_all(&self, message: impl Fn() -> JobMsg) {
        for actor in self.actors.values() {
            // One that is ending needs not be told.
            let _ = actor.send(message());
        }
    }
}
