//! The bare store: the records of real jobs, written to a store of its own without an engine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsheet::definition::Workflow;
use callsheet::{Engine, JobHandle, JobHead, JobId, JobStatus, Record, SledStore, Store};
use callsheet_storage::{Commit, NewJob};
use uuid::Uuid;

use super::broken;
use super::load::{self, Done};
use super::place::Place;
use super::repertoire::Piece;
use crate::cli::error::Result;

/// How often a job is looked at that is to fall asleep.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a job of the engine has recorded, to be written again under other ids.
#[derive(Clone)]
pub(crate) struct Script {
    head: JobHead,
    definition: Arc<Workflow>,
    records: Vec<Record>,
}

impl Script {
    /// Runs one job and takes down what it records.
    ///
    /// # Errors
    /// When the job cannot be run.
    pub(crate) async fn of(engine: &Engine, piece: &Piece) -> Result<Self> {
        let job = engine.submit(piece.job()).await?.job;
        job.wait().await?;
        Self::of_job(engine, piece, &job).await
    }

    /// Takes down what a job records until it sleeps.
    ///
    /// # Errors
    /// When the job cannot be run.
    pub(crate) async fn of_a_sleeper(engine: &Engine, piece: &Piece) -> Result<Self> {
        let job = engine.submit(piece.job()).await?.job;
        while !matches!(job.view().await?.head.status, JobStatus::Sleeping { .. }) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Self::of_job(engine, piece, &job).await
    }

    /// Takes down what a job has recorded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn of_job(engine: &Engine, piece: &Piece, job: &JobHandle) -> Result<Self> {
        let (head, records) = (job.view().await?.head, job.records(0).await?);
        let plan = engine
            .workflow(piece.name)
            .ok_or_else(|| broken("the bare store", "the workflow is not registered"))?;
        Ok(Self { head, definition: Arc::clone(plan.workflow()), records })
    }

    /// The same, as far as its first record: the job is accepted, and that is all.
    pub(crate) fn accepted(mut self) -> Self {
        self.records.truncate(1);
        self
    }

    /// How many records a job has.
    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }

    /// Begins one more job: which, its owner's epoch, and the place of its next record.
    async fn begin(&self, store: &SledStore) -> Result<(JobId, u64, u64)> {
        let failed = |error| broken("the bare store", error);
        let id = JobId(Uuid::now_v7());
        let first = self.records.first();
        let first = first.ok_or_else(|| broken("the bare store", "the job has no records"))?;
        let job = NewJob {
            head: self.head(id, JobStatus::Running),
            events: first.events.clone(),
            definition: self.definition.clone(),
            idempotency: None,
        };
        store.create(job).await.map_err(failed)?;
        if self.records.len() == 1 {
            return Ok((id, 0, 1)); // nobody goes on with it
        }
        let epoch = store.claim(id).await.map_err(failed)?.epoch;
        Ok((id, epoch, 1))
    }

    fn head(&self, id: JobId, status: JobStatus) -> JobHead {
        JobHead { id, status, ..self.head.clone() }
    }

    /// One more job with these records, each written when the one before it is durable.
    async fn play(&self, store: &SledStore) -> Result<()> {
        let (id, epoch, _) = self.begin(store).await?;
        for record in self.records.iter().skip(1) {
            let is_last = record.sequence as usize + 1 == self.records.len();
            let commit = Commit {
                job: id,
                epoch,
                sequence: record.sequence,
                events: record.events.clone(),
                head: is_last.then(|| self.head(id, self.head.status)),
            };
            let committed = store.commit(commit).await;
            committed.map_err(|error| broken("the bare store", error))?;
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store without an engine.
pub(crate) struct BareStore(Arc<SledStore>);

impl BareStore {
    /// Opens one in the place.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        let dir = place.join("store");
        let opened = tokio::task::spawn_blocking(move || SledStore::open(&dir)).await;
        let opened = opened.map_err(|error| broken("the bare store", error))?;
        Ok(Self(Arc::new(opened.map_err(|error| broken("the bare store", error))?)))
    }

    /// Jobs by so many writers at once.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn measure(
        &self,
        script: &Script,
        writers: usize,
        time: Duration,
    ) -> Result<Done> {
        let (store, script) = (self.0.clone(), Arc::new(script.clone()));
        let one = move || {
            let (store, script) = (store.clone(), script.clone());
            async move { script.play(&store).await }
        };
        load::keep(writers, time, one).await
    }

    /// Single records, by so many writers, each for a job of its own that goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn measure_appends(
        &self,
        script: &Script,
        writers: usize,
        time: Duration,
    ) -> Result<Done> {
        let mut jobs = Vec::with_capacity(writers);
        for _ in 0..writers {
            jobs.push(script.begin(&self.0).await?);
        }
        let (store, jobs) = (self.0.clone(), Arc::new(Mutex::new(jobs)));
        // Like those in the middle of a job: a result, and the next step begins.
        let events = Arc::new(script.records[script.records.len() / 2].events.clone());
        let one = move || {
            let (store, jobs, events) = (store.clone(), jobs.clone(), events.clone());
            async move {
                let taken = locked(&jobs).pop();
                let (job, epoch, sequence) =
                    taken.ok_or_else(|| broken("the bare store", "more writers than jobs"))?;
                let events = Vec::clone(&events);
                let commit = Commit { job, epoch, sequence, events, head: None };
                store.commit(commit).await.map_err(|error| broken("the bare store", error))?;
                locked(&jobs).push((job, epoch, sequence + 1));
                Ok(())
            }
        };
        load::keep(writers, time, one).await
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        // It is removed anyway.
        let _ = self.0.close().await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::repertoire::{self, CHAIN10};
    use super::*;
    use callsheet::ListQuery;

    #[tokio::test]
    async fn it_writes_what_the_engine_writes() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::find(Some(dir.path())).unwrap();
        let builder = repertoire::builder().data_dir(place.join("engine"));
        let engine = builder.open().await.unwrap();
        let script = Script::of(&engine, &CHAIN10).await.unwrap();
        let of_engine = engine.stats().store;
        engine.shutdown().await;
        let bare = BareStore::open(&place).await.unwrap();
        script.play(&bare.0).await.unwrap();
        assert_eq!(bare.0.stats().records, of_engine.records);
        assert_eq!(bare.0.stats().keys, of_engine.keys);
        script.clone().accepted().play(&bare.0).await.unwrap();
        assert_eq!(bare.0.stats().records, of_engine.records + 1);
        let page = bare.0.list(ListQuery { limit: 9, ..ListQuery::default() }).await.unwrap();
        let statuses: Vec<_> = page.heads.iter().map(|head| head.status).collect();
        assert_eq!(statuses, [JobStatus::Running, JobStatus::Succeeded]);
        let done = bare.measure(&script, 3, Duration::from_millis(10)).await.unwrap();
        assert!(done.count() >= 3);
        let before = bare.0.stats();
        let done = bare.measure_appends(&script, 3, Duration::from_millis(10)).await.unwrap();
        let after = bare.0.stats();
        assert_eq!(after.records - before.records, 3 + done.count(), "three jobs were begun");
        assert!(done.count() >= 3);
        bare.close().await;
    }
}
