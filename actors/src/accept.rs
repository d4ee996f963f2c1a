//! From a job that was checked to one that is durable and on its way.

use callsheet_engine::JobId;
use callsheet_storage::{Created, NewJob};
use fail::fail_point;

use crate::core::Core;
use crate::error::EngineError;
use crate::tree::JobsMsg;

impl Core {
    /// Makes a job durable and lets it begin.
    pub(crate) async fn accept(&self, id: JobId, job: NewJob) -> Result<Created, EngineError> {
        fail_point!("engine.submit.before");
        let created = self.store.create(job).await.inspect_err(|error| self.note(error))?;
        let begin = (created == Created::New).then(|| Begin { core: self, id });
        fail_point!("engine.submit.after");
        drop(begin);
        Ok(created)
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
