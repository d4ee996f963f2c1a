//! How a job is reached from anywhere in the engine: looked at, waited for, told something.

use std::time::Duration;

use callsheet_engine::{JobId, fold};
use callsheet_storage::JobHead;
use tokio::sync::oneshot;

use crate::core::Core;
use crate::error::EngineError;
use crate::handle::JobView;
use crate::tree::{Answered, CancelAnswer, JobMsg, JobsMsg};

/// Times that a job's actor is asked, each of which ends before it answers.
const ASKS_COUNT: u32 = 100;

/// The wait between those times.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl Core {
    pub(crate) async fn job_head(&self, job: JobId) -> Result<JobHead, EngineError> {
        let head = self.store.head(job).await?;
        head.ok_or(EngineError::UnknownJob(job))
    }

    pub(crate) async fn job_view(&self, job: JobId) -> Result<JobView, EngineError> {
        let head = self.job_head(job).await?;
        let plan = self.plans.frozen(&head.workflow.digest, &*self.store).await?;
        let records = self.store.journal(job, 0).await?;
        let events = records.iter().flat_map(|record| &record.events);
        let state = fold(job, plan, events).map_err(|error| EngineError::illegal(job, &error))?;
        // What is live is more than what is recorded; of a job at rest there is nothing live.
        let live = (!state.has_ended()).then(|| self.shared.gauges.percent(job)).flatten();
        let progress = live.unwrap_or(0.0).max(state.progress());
        Ok(JobView { head, state, records: records.len() as u64, progress })
    }

    /// Waits until the job has ended.
    pub(crate) async fn job_end(&self, job: JobId) -> Result<JobView, EngineError> {
        loop {
            // Registered before the look, so that no end falls between the two.
            let mut end = self.waiters.wait(job);
            if self.job_head(job).await?.status.has_ended() {
                return self.job_view(job).await;
            }
            if let Ok(view) = end.ended().await {
                return Ok(view);
            }
            self.health()?;
            if self.is_draining() {
                return Err(EngineError::ShuttingDown);
            }
            // The actors were started anew; one that died may have taken its word with it.
        }
    }

    pub(crate) async fn cancel_job(
        &self,
        job: JobId,
        reason: Option<String>,
    ) -> Result<CancelAnswer, EngineError> {
        let head = self.job_head(job).await?;
        if head.status.has_ended() {
            return Ok(CancelAnswer::AlreadyEnded(head.status));
        }
        let _asked = self.cancels.ask();
        self.ask_job(job, |reply| JobMsg::Cancel(reason.clone(), reply)).await
    }

    /// Tells a job's actor something that it answers once that is durable; another actor when the
    /// one that was told ends without an answer.
    pub(crate) async fn ask_job<T>(
        &self,
        job: JobId,
        message: impl Fn(oneshot::Sender<Answered<T>>) -> JobMsg,
    ) -> Result<T, EngineError> {
        for _ in 0..ASKS_COUNT {
            let (reply, answer) = oneshot::channel();
            let told = self.tell_jobs(JobsMsg::Tell(job, message(reply)));
            if told.is_ok()
                && let Ok(answer) = answer.await
            {
                return Ok(answer?);
            }
            self.health()?;
            // The actor died with the message; another is started from the journal.
            tokio::time::sleep(ASK_AGAIN).await;
        }
        if self.is_draining() {
            return Err(EngineError::ShuttingDown);
        }
        Err(EngineError::Damaged { job, why: "no actor can be had for it".into() })
    }
}
