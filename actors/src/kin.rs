//! Jobs that belong together: one that a step of another runs, its *child*, and one that begins
//! when another has ended, its *follower*. Each tells in its labels whom it belongs to, so what is
//! on the disk says it all; what is kept in memory here is only who is alive.
//!
//! A child must not outlive its parent. So a job that is stopped or has ended cancels the children
//! that are known here, and whoever makes a child known looks at the parent afterwards: one of the
//! two sees the other, whatever happens side by side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsheet_engine::{
    ItemIndex, ItemStatus, JobId, RUN_WORKFLOW, StepStatus, Timestamp, idempotency_key,
};
use callsheet_storage::{JobHead, JobStatus, StoreError};
use serde_json::Value;
use uuid::Uuid;

use crate::core::Core;
use crate::error::EngineError;
use crate::handle::{HELD_UNTIL, JobView};
use crate::limits::{CHILD_AGAIN_MS, LANES_COUNT, WAKE_PAGE_COUNT};
use crate::tree::JobsMsg;

/// The label of a child: job, step and item that run it.
pub(crate) const PARENT: &str = "callsheet.parent";

/// The label of a follower: the job that it follows.
pub(crate) const FOLLOWS: &str = "callsheet.follows";

/// The label of a job that was accepted together with its follower: the follower.
pub(crate) const FOLLOWED_BY: &str = "callsheet.followed_by";

/// The labels that only the engine gives.
pub(crate) const MARKS: [&str; 3] = [PARENT, FOLLOWS, FOLLOWED_BY];

/// Until when a job sleeps that waits for another's end, for store and scheduler: for ever, but not
/// like one that waits for a person.
pub const FOLLOWS_UNTIL: Timestamp = Timestamp(HELD_UNTIL.0 - 1);

/// Why a child is cancelled whose parent is over.
pub(crate) const ORPHANED: &str = "the job that ran it is over";

/// The lane of jobs that follow others.
pub(crate) const FOLLOWER: u8 = 0;

/// The lane of jobs that belong to nobody.
pub(crate) const TOP: u8 = 1;

/// Whom a job belongs to, as its labels tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kin {
    /// The step that runs the job.
    pub parent: Option<Parent>,
    /// The job whose end it waits for, or waited for.
    pub follows: Option<JobId>,
    /// The job that was accepted with it, to begin at its end.
    pub followed_by: Option<JobId>,
}

/// The step that runs a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parent {
    /// Its job.
    pub job: JobId,
    /// Its id in the workflow.
    pub step: String,
    /// The item; 0 for a step without `for_each`.
    pub item: ItemIndex,
}

impl Kin {
    /// What the labels of a job tell.
    #[must_use]
    pub fn of(labels: &BTreeMap<String, String>) -> Self {
        let job = |name| labels.get(name).and_then(|text| read_id(text));
        Self {
            parent: labels.get(PARENT).and_then(|text| Parent::read(text)),
            follows: job(FOLLOWS),
            followed_by: job(FOLLOWED_BY),
        }
    }

    /// Whether a label tells of kin, and is no mark of the submitter's own.
    #[must_use]
    pub fn is_told_by(label: &str) -> bool {
        MARKS.contains(&label)
    }
}

impl Parent {
    pub(crate) fn mark(&self) -> String {
        idempotency_key(self.job, &self.step, self.item)
    }

    fn read(text: &str) -> Option<Self> {
        let (job, rest) = text.split_once('/')?;
        let (step, item) = rest.rsplit_once('/')?;
        let item = ItemIndex(item.parse().ok()?);
        Some(Self { job: read_id(job)?, step: step.to_owned(), item })
    }
}

fn read_id(text: &str) -> Option<JobId> {
    text.parse().ok()
}

/// A new job's id. Its last digit says in which lane of places it runs: jobs wait only for jobs of
/// lanes after their own, and each lane has places of its own, so none waits for ever.
pub(crate) fn new_id(lane: u8) -> JobId {
    let mut bytes = Uuid::now_v7().into_bytes();
    bytes[15] = (bytes[15] & 0xf0) | lane;
    JobId(Uuid::from_bytes(bytes))
}

/// The lane of a job. One that another program has named is in any, which does no harm.
pub(crate) fn lane(job: JobId) -> u8 {
    let lane = job.0.as_bytes()[15] & 0x0f;
    if usize::from(lane) < LANES_COUNT { lane } else { TOP }
}

/// Those who live and belong to a job that lives.
#[derive(Default)]
pub(crate) struct Living(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    /// Children by parent.
    children: HashMap<JobId, BTreeMap<JobId, Parent>>,
    /// Followers that were accepted after the job that they follow, which does not know them.
    late: HashMap<JobId, BTreeSet<JobId>>,
}

impl Living {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_child(&self, parent: &Parent, child: JobId) {
        self.lock().children.entry(parent.job).or_default().insert(child, parent.clone());
    }

    fn remove_child(&self, parent: &Parent, child: JobId) {
        let mut all = self.lock();
        if let Some(children) = all.children.get_mut(&parent.job) {
            children.remove(&child);
            if children.is_empty() {
                all.children.remove(&parent.job);
            }
        }
    }

    /// Nobody asks for the children of a job that has ended; each of them is told of that.
    fn forget_children(&self, parent: JobId) {
        self.lock().children.remove(&parent);
    }

    /// The children of a job that live.
    pub(crate) fn children(&self, parent: JobId) -> BTreeMap<JobId, Parent> {
        self.lock().children.get(&parent).cloned().unwrap_or_default()
    }

    fn add_late(&self, followed: JobId, follower: JobId) {
        self.lock().late.entry(followed).or_default().insert(follower);
    }

    fn take_late(&self, followed: JobId) -> BTreeSet<JobId> {
        self.lock().late.remove(&followed).unwrap_or_default()
    }
}

impl Core {
    /// Makes a child known, as long as it lives. Answers whether its parent is over, so that nobody
    /// wants it any more.
    pub(crate) async fn adopt(&self, parent: &Parent, child: JobId) -> Result<bool, StoreError> {
        self.living.add_child(parent, child);
        // One that ends after this look takes itself out.
        if self.has_ended(child).await? {
            self.living.remove_child(parent, child);
        }
        let head = self.store.head(parent.job).await?;
        Ok(head.is_none_or(|head| is_over(head.status)))
    }

    /// Whether a job that was just loaded is a child whose parent is over.
    pub(crate) async fn is_orphan(&self, head: &JobHead) -> Result<bool, StoreError> {
        match Kin::of(&head.labels).parent {
            Some(parent) if !head.status.has_ended() => self.adopt(&parent, head.id).await,
            _ => Ok(false),
        }
    }

    /// A job's new head is durable: whoever belongs to the job hears of it.
    pub(crate) fn tell_kin(self: &Arc<Self>, head: &JobHead) {
        if !is_over(head.status) {
            return;
        }
        for child in self.living.children(head.id).into_keys() {
            let core = self.clone();
            self.control.spawn(async move { core.end_child(child, ORPHANED).await });
        }
        if head.status.has_ended() {
            let kin = Kin::of(&head.labels);
            kin.parent.iter().for_each(|parent| self.living.remove_child(parent, head.id));
            self.living.forget_children(head.id);
            let late = self.living.take_late(head.id);
            kin.followed_by.into_iter().chain(late).for_each(|follower| self.wake(follower));
        }
    }

    /// Makes a follower known that its job does not know of. Wakes it if that has ended.
    async fn follow_late(&self, followed: JobId, follower: JobId) -> Result<(), StoreError> {
        self.living.add_late(followed, follower);
        if self.has_ended(followed).await? {
            self.living.take_late(followed).into_iter().for_each(|late| self.wake(late));
        }
        Ok(())
    }

    /// Wakes a job that sleeps. If nobody hears it, the next start of the tree finds the job.
    pub(crate) fn wake(&self, job: JobId) {
        let _ = self.tell_jobs(JobsMsg::Wake(job));
    }

    /// Cancels a child that nobody wants any more, however often that takes.
    pub(crate) async fn end_child(&self, child: JobId, reason: &str) {
        while let Err(error) = self.cancel_job(child, Some(reason.to_owned())).await {
            // Any other error is one of a store or an engine that has ended: the next start does
            // it. Without room the child does nothing either.
            if error != EngineError::Full {
                return;
            }
            tokio::time::sleep(Duration::from_millis(CHILD_AGAIN_MS)).await;
        }
    }
}

pub(crate) fn is_over(status: JobStatus) -> bool {
    status.has_ended() || status == JobStatus::Stopping
}

/// Finds the jobs that sleep although what they wait for is over, because the process died before
/// it could tell them: followers whose job has ended, and children whose parent is over.
pub(crate) async fn wake_the_forgotten(core: Arc<Core>) {
    let mut after = None;
    loop {
        // A store that has failed has said so.
        let Ok(page) = core.store.asleep(after, WAKE_PAGE_COUNT).await else { return };
        let Some(last) = page.last() else { return };
        after = Some(*last);
        for (_, job) in page.into_iter().filter(|(_, job)| lane(*job) != TOP) {
            match core.see_to(job).await {
                Err(error) if error.is_fatal() => return,
                Err(error) => tracing::error!(%job, %error, "a job that sleeps cannot be seen to"),
                Ok(()) => {}
            }
        }
    }
}

impl Core {
    /// Sees to a job that belongs to another: lets it hear of the other's end if it sleeps.
    pub(crate) async fn see_to(&self, job: JobId) -> Result<(), StoreError> {
        let Some(head) = self.store.head(job).await? else { return Ok(()) };
        let JobStatus::Sleeping { until } = head.status else { return Ok(()) };
        match Kin::of(&head.labels) {
            Kin { follows: Some(other), .. } if until == FOLLOWS_UNTIL => {
                let known = self.store.head(other).await?.map(|head| Kin::of(&head.labels));
                let is_known = known.is_some_and(|kin| kin.followed_by == Some(job));
                match is_known {
                    false => self.follow_late(other, job).await?,
                    true if self.has_ended(other).await? => self.wake(job),
                    true => {}
                }
            }
            Kin { parent: Some(_), .. } if self.is_orphan(&head).await? => self.wake(job),
            _ => {}
        }
        Ok(())
    }

    async fn has_ended(&self, job: JobId) -> Result<bool, StoreError> {
        Ok(self.store.head(job).await?.is_none_or(|head| head.status.has_ended()))
    }
}

impl JobView {
    /// Whom the job belongs to.
    #[must_use]
    pub fn kin(&self) -> Kin {
        Kin::of(&self.head.labels)
    }

    /// The jobs that its steps have run, as their results tell: by step and item.
    #[must_use]
    pub fn children(&self) -> Vec<(Parent, JobId)> {
        let steps = self.state.plan.steps().iter().zip(&self.state.steps);
        let of_kind = steps.filter(|(plan, _)| {
            plan.candidates.iter().any(|candidate| candidate.uses == RUN_WORKFLOW)
        });
        let outputs = of_kind.flat_map(|(plan, step)| {
            let is_list = plan.for_each.is_some();
            let outputs = outputs(&step.status, is_list).into_iter();
            outputs.map(|(item, output)| (plan.id.as_str(), item, output))
        });
        let child = |(step, item, output): (&str, usize, &Value)| {
            let job = output.get("job").and_then(Value::as_str).and_then(read_id)?;
            let item = ItemIndex(u32::try_from(item).ok()?);
            Some((Parent { job: self.head.id, step: step.to_owned(), item }, job))
        };
        outputs.filter_map(child).collect()
    }
}

/// What the items of a step have answered so far, each with its place.
fn outputs(status: &StepStatus, is_list: bool) -> Vec<(usize, &Value)> {
    match status {
        StepStatus::Active(active) => {
            let items = active.items.iter().enumerate();
            let done = items.filter_map(|(n, item)| match &item.status {
                ItemStatus::Succeeded(output) => Some((n, output)),
                _ => None,
            });
            done.collect()
        }
        StepStatus::Succeeded(output) => match output.as_array() {
            Some(list) if is_list => list.iter().enumerate().collect(),
            _ => vec![(0, &**output)],
        },
        _ => Vec::new(),
    }
}
