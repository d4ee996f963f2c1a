//! Who waits for the end of which job: told by the job's actor, so that a wait costs nothing while
//! other jobs commit.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use callsheet_engine::JobId;
use tokio::sync::oneshot;

use crate::handle::JobView;

/// Those who wait, by job.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_job: HashMap<JobId, Vec<oneshot::Sender<JobView>>>,
    closed: bool,
}

/// One who waits; forgotten when dropped.
pub(crate) struct Wait<'w> {
    waiters: &'w Waiters,
    job: JobId,
    ended: oneshot::Receiver<JobView>,
}

/// The engine has ended, or its store has: nobody will be told of an end any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait for a job's end. An end before this is not told.
    pub(crate) fn wait(&self, job: JobId) -> Wait<'_> {
        let (sender, ended) = oneshot::channel();
        let mut table = self.lock();
        if !table.closed {
            table.by_job.entry(job).or_default().push(sender);
        }
        drop(table);
        Wait { waiters: self, job, ended }
    }

    /// A job's end is durable.
    pub(crate) fn ended(&self, job: JobId, view: impl FnOnce() -> JobView) {
        let Some(mut waiting) = self.lock().by_job.remove(&job) else { return };
        let Some(last) = waiting.pop() else { return };
        let view = view();
        // Whoever has gone away needs no answer.
        waiting.into_iter().for_each(|waiter| drop(waiter.send(view.clone())));
        drop(last.send(view));
    }

    /// Sends everybody away who waits, to look for themselves.
    pub(crate) fn send_away(&self) {
        self.lock().by_job.clear();
    }

    /// Sends everybody away who waits, and who comes later.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        table.by_job.clear();
    }
}

impl Wait<'_> {
    /// The job as it ended.
    pub(crate) async fn ended(&mut self) -> Result<JobView, Closed> {
        (&mut self.ended).await.map_err(|_| Closed)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.ended.close();
        let mut table = self.waiters.lock();
        if let Some(waiting) = table.by_job.get_mut(&self.job) {
            waiting.retain(|waiter| !waiter.is_closed());
            if waiting.is_empty() {
                table.by_job.remove(&self.job);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::WorkflowRef;
    use callsheet_engine::definition::{Catalog, Effect, KindInfo};
    use callsheet_engine::{Plan, Submission, Timestamp, submit};
    use callsheet_storage::{JobHead, JobStatus};
    use serde_json::Value;

    use super::*;

    fn view(job: JobId) -> JobView {
        let mut catalog = Catalog::default();
        catalog.insert(KindInfo {
            name: "k".into(),
            description: String::new(),
            effect: Effect::Pure,
            probes: false,
            cache: None,
            input_schema: Value::Bool(true),
            output_schema: Value::Bool(true),
        });
        let plan = Plan::load("{ name: w, steps: [{ id: a, uses: k }] }", &catalog).unwrap();
        let workflow = WorkflowRef { name: "w".into(), digest: plan.digest().into() };
        let (input, labels) = (Value::Null, Default::default());
        let submission =
            Submission { id: job, plan: plan.into(), input, labels, options: Default::default() };
        let (state, _) = submit(submission, Timestamp(0)).unwrap();
        let head = JobHead {
            id: job,
            workflow,
            status: JobStatus::Succeeded,
            submitted_at: Timestamp(0),
            changed_at: Timestamp(0),
            labels: Default::default(),
        };
        JobView { head, state, records: 1, progress: 0.0 }
    }

    const ONE: JobId = JobId::from_bytes([1; 16]);
    const TWO: JobId = JobId::from_bytes([2; 16]);

    #[tokio::test]
    async fn everybody_who_waits_for_a_job_is_told_of_its_end_and_nobody_else() {
        let waiters = Waiters::default();
        let (mut first, mut second) = (waiters.wait(ONE), waiters.wait(ONE));
        let mut other = waiters.wait(TWO);
        waiters.ended(ONE, || view(ONE));
        assert_eq!(first.ended().await, Ok(view(ONE)));
        assert_eq!(second.ended().await, Ok(view(ONE)));
        assert!(other.ended.try_recv().is_err());
        waiters.close();
        assert_eq!(other.ended().await, Err(Closed));
        assert_eq!(waiters.wait(TWO).ended().await, Err(Closed));
    }

    #[test]
    fn who_goes_away_is_forgotten_and_costs_nothing() {
        let waiters = Waiters::default();
        let stays = waiters.wait(ONE);
        for _ in 0..100 {
            drop((waiters.wait(ONE), waiters.wait(TWO)));
        }
        assert_eq!(waiters.lock().by_job.len(), 1);
        assert_eq!(waiters.lock().by_job[&ONE].len(), 1);
        drop(stays);
        assert!(waiters.lock().by_job.is_empty());
        waiters.ended(ONE, || unreachable!("nobody waits, so no view is made"));
    }
}
