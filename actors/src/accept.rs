//! From a job that was checked to one that is durable and on its way.

use std::sync::Arc;

use callsheet_engine::{Event, JobId};
use callsheet_storage::{Created, Hold, JobStatus, NewJob};
use fail::fail_point;

use crate::core::Core;
use crate::error::EngineError;
use crate::kin::Kin;
use crate::tree::JobsMsg;

impl Core {
    /// Makes a job durable and lets it begin.
    ///
    /// A second one is accepted in the same step. Neither begins that is accepted asleep; one that
    /// follows another by itself is made known to that.
    pub(crate) async fn accept(
        &self,
        job: NewJob,
        second: Option<NewJob>,
    ) -> Result<Created, EngineError> {
        fail_point!("engine.submit.before");
        let (id, begins) = (job.head.id, job.head.status == JobStatus::Running);
        let follows = Kin::of(&job.head.labels).follows.is_some();
        // What its input names is in use until it is recorded who names it.
        let _hold = self.welcome(&job).await?;
        let created = match second {
            None => self.store.create(job).await,
            Some(second) => self.store.create_both(job, second).await,
        };
        let created = created.inspect_err(|error| self.note(error))?;
        let begin = (created == Created::New && begins).then(|| Begin { core: self, id });
        fail_point!("engine.submit.after");
        drop(begin);
        match created {
            Created::New if follows => self.see_to(id).await?,
            // The first call may have failed between the two.
            Created::Existing(before) if follows => self.see_to(before).await?,
            _ => {}
        }
        Ok(created)
    }

    async fn welcome(&self, job: &NewJob) -> Result<Option<Arc<Hold>>, EngineError> {
        let Some(Event::JobSubmitted { input, options, .. }) = job.events.first() else {
            return Ok(None);
        };
        let hold = self.shared.files.welcome(input, *options).await;
        hold.map_err(|error| EngineError::Files(error.to_string()))
    }
}

/// A durable job, which begins when this is dropped, whatever for: nobody else would ever tell of
/// it before the engine's next start.
struct Begin<'c> {
    core: &'c Core,
    id: JobId,
}

impl Drop for Begin<'_> {
    fn drop(&mut self) {
        self.core.counters.jobs_submitted.up();
        // A tree that is just being restarted finds the job in the store.
        let _ = self.core.tell_jobs(JobsMsg::Begin(self.id));
    }
}
