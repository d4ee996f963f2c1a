//! Results of before in place of running a body again.
//!
//! A deed with a key asks first whether the same is under way elsewhere; who is alone with it looks
//! whether its result is kept; and only when it is not, the body runs. All of it on the steps' own
//! runtime, as a part of the attempt: it is cancelled, timed and seen as one.

use std::sync::Arc;
use std::time::Duration;

use callsheet_engine::{Outcome, StartStep, Work};
use callsheet_storage::{Artifact, ResultKey};
use futures::future::BoxFuture;
use serde_json::Value;

use super::flights::{Lead, Turn};
use super::{Files, named_in, prolong_all};
use crate::context::StepContext;
use crate::limits::WAIT_SIGN_MS;
use crate::step::{AnyStep, StepError, StepResult, artifact_fault};

/// What an attempt is to do.
pub(crate) struct Deed {
    pub(crate) step: Arc<dyn AnyStep>,
    pub(crate) start: StartStep,
    /// The version of the kind's results, if they are kept.
    pub(crate) version: Option<u32>,
}

/// How an attempt comes to its result.
pub(crate) enum Seat {
    /// It runs its body.
    Alone,
    /// It looks whether there is a result, and runs its body when there is none; others wait.
    Lead(ResultKey, Lead),
    /// Another attempt had the result.
    Served(Arc<Value>),
}

impl Deed {
    /// What the deed's result is kept under, where it may be taken from before.
    fn key(&self, files: &Files) -> Option<ResultKey> {
        let version = self.version.filter(|_| files.keeping.cache && self.start.cache)?;
        let is_run = self.start.work == Work::Run;
        is_run.then(|| ResultKey::of(&self.start.uses, version, &self.start.input))
    }

    /// Takes a seat, or waits until another attempt has the result.
    pub(crate) async fn seat(&self, context: &StepContext) -> Seat {
        let files = &context.0.shared.files;
        let Some(key) = self.key(files) else { return Seat::Alone };
        loop {
            let wait = match files.flights.join(key, context.0.cancel()) {
                Turn::Lead(lead) => return Seat::Lead(key, lead),
                Turn::Wait(wait) => wait,
            };
            context.progress(0.0, "waits for another attempt at the same");
            let Some(result) = alive(context, wait.landed()).await else { continue };
            match is_whole(context, result.clone()).await {
                Ok(true) => {
                    files.counters.joined.up();
                    return Seat::Served(result);
                }
                // Gone meanwhile: whoever comes first makes it again.
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = %error.0, "a result cannot be shared");
                    return Seat::Alone;
                }
            }
        }
    }

    /// Does it, once it has a seat.
    pub(crate) async fn work(self, seat: Seat, context: &StepContext) -> Outcome {
        let (key, lead) = match seat {
            Seat::Served(result) => return Outcome::Recalled(Value::clone(&result)),
            Seat::Alone => return ended(self.body(context).await, context).await,
            Seat::Lead(key, lead) => (key, lead),
        };
        let files = &context.0.shared.files;
        if let Some(result) = look(key, context).await {
            files.counters.hits.up();
            lead.land(Arc::new(result.clone()));
            return Outcome::Recalled(result);
        }
        files.counters.misses.up();
        let (uses, version) = (self.start.uses.clone(), self.version.unwrap_or_default());
        let outcome = ended(self.body(context).await, context).await;
        if let Outcome::Succeeded(output) = &outcome {
            let result = Arc::new(output.clone());
            keep(key, (uses, version), result.clone(), context).await;
            lead.land(result);
        }
        outcome
    }

    fn body(self, context: &StepContext) -> BoxFuture<'static, Outcome> {
        match self.start.work {
            Work::Run => self.step.run(self.start.input, context.clone()),
            Work::Probe => self.step.probe(self.start.input, context.clone()),
        }
    }
}

/// Takes the files that a result names into use before anybody hears of it: from then on they have
/// the job's own term.
async fn ended(outcome: Outcome, context: &StepContext) -> Outcome {
    let Outcome::Succeeded(output) = &outcome else { return outcome };
    let named = named_in(output);
    if named.is_empty() {
        return outcome;
    }
    let store = context.0.files();
    let work = move || prolong_all(&store, &named).map_err(artifact_fault);
    match context.blocking(work).await {
        Ok(()) => outcome,
        Err(error) => Outcome::Failed(error.0),
    }
}

/// The result that is kept, if there is one. What goes wrong with it is no failure of the step.
async fn look(key: ResultKey, context: &StepContext) -> Option<Value> {
    let (results, store) = (context.0.shared.files.results.clone(), context.0.files());
    let work = move || results.recall(&key, &store).map_err(artifact_fault);
    context.blocking(work).await.unwrap_or_else(|error| {
        tracing::warn!(error = %error.0, "a kept result cannot be recalled");
        None
    })
}

async fn keep(
    key: ResultKey,
    (uses, version): (String, u32),
    output: Arc<Value>,
    context: &StepContext,
) {
    let results = context.0.shared.files.results.clone();
    let work = move || results.keep(&key, (&uses, version), &output).map_err(artifact_fault);
    match context.blocking(work).await {
        Ok(bytes) => context.0.shared.files.kept(bytes),
        Err(error) => tracing::warn!(error = %error.0, "a result cannot be kept"),
    }
}

/// Whether every file of a result is there; from then on they are in use.
async fn is_whole(context: &StepContext, result: Arc<Value>) -> StepResult<bool> {
    let named = named_in(&result);
    if named.is_empty() {
        return Ok(true);
    }
    let store = context.0.files();
    let work = move || -> StepResult<bool> {
        prolong_all(&store, &named).map_err(artifact_fault)?;
        let files = Artifact::find_in(&result);
        Ok(files.iter().all(|(_, file)| store.size(&file.artifact).is_ok()))
    };
    context.blocking(work).await
}

/// Gives signs of life while something is waited for.
async fn alive<T>(context: &StepContext, wait: impl Future<Output = T>) -> T {
    let mut wait = std::pin::pin!(wait);
    loop {
        match tokio::time::timeout(Duration::from_millis(WAIT_SIGN_MS), &mut wait).await {
            Ok(answer) => return answer,
            Err(_) => context.heartbeat(),
        }
    }
}

impl Files {
    /// Forgets results that name a content which was found to be damaged or gone.
    pub(crate) fn distrust(&self, digest: &callsheet_storage::Digest) {
        let forgotten = self.results.forget_naming(digest);
        if let Err(error) = forgotten {
            let error: StepError = artifact_fault(error);
            tracing::warn!(error = %error.0, "results of a damaged file cannot be forgotten");
        }
    }
}
