//! How far the jobs at work have come: a gauge each, in memory, for those who ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsheet_engine::{Gauge, ItemIndex, JobId, JobState, StepIndex};

/// The gauges of all jobs that have an actor.
#[derive(Default)]
pub(crate) struct Gauges(Mutex<HashMap<JobId, SharedGauge>>);

/// A job's gauge, shared by its actor and its attempts.
#[derive(Clone)]
pub(crate) struct SharedGauge(Arc<Mutex<Gauge>>);

impl SharedGauge {
    pub(crate) fn new(state: &JobState) -> Self {
        Self(Arc::new(Mutex::new(Gauge::new(state))))
    }

    pub(crate) fn follow(&self, state: &JobState) {
        lock(&self.0).follow(state);
    }

    /// An attempt says how far it is; answers with how far the job is.
    pub(crate) fn note(&self, (step, item): (StepIndex, ItemIndex), share: f64, to: f64) -> f64 {
        let mut gauge = lock(&self.0);
        gauge.note(step, item, share, to);
        gauge.percent()
    }
}

/// A gauge that can be asked for as long as this is held: by the job's actor.
pub(crate) struct Metered {
    all: Arc<Gauges>,
    job: JobId,
    pub(crate) gauge: SharedGauge,
}

impl Gauges {
    /// Begins to tell how far a job is.
    pub(crate) fn meter(self: &Arc<Self>, state: &JobState) -> Metered {
        let gauge = SharedGauge::new(state);
        lock(&self.0).insert(state.id, gauge.clone());
        Metered { all: self.clone(), job: state.id, gauge }
    }

    /// How far a job is, 0 to 100; `None` when it has no actor.
    pub(crate) fn percent(&self, job: JobId) -> Option<f64> {
        let gauge = lock(&self.0).get(&job)?.clone();
        let percent = lock(&gauge.0).percent();
        Some(percent)
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        let mut all = lock(&self.all.0);
        // The next actor of the job may have begun before this one was dropped.
        if all.get(&self.job).is_some_and(|gauge| Arc::ptr_eq(&gauge.0, &self.gauge.0)) {
            all.remove(&self.job);
        }
    }
}

/// A figure is whole whoever panicked beside it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use callsheet_engine::definition::parse;
    use callsheet_engine::{Plan, Submission, Timestamp, submit};

    use super::*;

    const JOB: JobId = JobId::from_bytes([1; 16]);

    fn state() -> JobState {
        let workflow = parse("{ name: w, steps: [{ id: a, uses: k }] }").unwrap();
        let plan = Plan::recompile(workflow).unwrap().into();
        let (input, labels, options) = Default::default();
        submit(Submission { id: JOB, plan, input, labels, options }, Timestamp(0)).unwrap().0
    }

    #[test]
    fn a_job_can_be_asked_about_while_its_latest_actor_lives() {
        let all = Arc::new(Gauges::default());
        assert_eq!(all.percent(JOB), None);
        let first = all.meter(&state());
        let second = all.meter(&state());
        drop(first);
        let place = (StepIndex(0), ItemIndex::ONLY);
        assert_eq!(second.gauge.note(place, 1.0, 40.0), 40.0);
        assert_eq!(all.percent(JOB), Some(40.0));
        drop(second);
        assert_eq!(all.percent(JOB), None);
    }
}
