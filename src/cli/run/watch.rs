//! Watching one job to its end, with Ctrl-C on the way.

use callsheet::{Ending, Engine, EngineError, Event, JobHandle, JobStatus, JobView, Phase, Record};
use futures::StreamExt;
use tokio::sync::broadcast::error::RecvError;

use crate::cli::error::{CliError, Result};
use crate::cli::progress::{Display, Note, Story};
use crate::cli::signals::Signals;

/// How watching ended.
pub(crate) enum Watched {
    /// The job is over.
    Over(Box<JobView>),
    /// A signal has ended the engine; whether the job is over stands in its data directory.
    Stopped(Box<Told>),
}

/// Shows the job from where it stands to its end.
///
/// The first signal drains: running steps may finish, nothing new starts. The second stops at once.
///
/// # Errors
/// When the store fails or the journal cannot be read.
pub(crate) async fn to_end(
    engine: &Engine,
    job: &JobHandle,
    resumed: bool,
    display: &mut Display,
    signals: &mut Signals,
) -> Result<Watched> {
    // Subscribed before the journal is read, so that no figure falls between the two.
    let mut figures = engine.progress();
    let view = job.view().await?;
    let story = Story::new(&view.state.plan);
    let mut told = Told { story, events: Vec::new(), records: 0, overall: 0.0, view };
    told.begin(job.records(0).await?, resumed, display);
    let mut events = std::pin::pin!(job.events(told.records));
    let mut stopping: Option<Stopping> = None;
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => stopping = Some(stop(engine, stopping, signal, display)),
            error = engine.failed() => return Err(store_failed(error)),
            record = events.next() => match record {
                Some(Ok(record)) => {
                    told.take(record, display);
                    engine.progress_of(job.id()).iter().for_each(|it| told.overall(*it, display));
                }
                Some(Err(error)) if stopping.is_none() => return Err(error.into()),
                // The store has closed under the stream, which ends with that.
                Some(Err(_)) => {
                    stopped(&mut stopping).await;
                    return Ok(Watched::Stopped(Box::new(told)));
                }
                None => return told.end(),
            },
            figure = figures.recv() => match figure {
                Ok(figure) if figure.job == job.id() => {
                    told.story.moved(&figure).iter().for_each(|note| display.show(note));
                    told.overall(figure.overall, display);
                }
                // Figures of other jobs, and figures that were missed: the next will do.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return told.end(),
            },
            () = stopped(&mut stopping) => return Ok(Watched::Stopped(Box::new(told))),
        }
    }
}

/// What has been told of the job, and the facts that it was told from.
pub(crate) struct Told {
    story: Story,
    events: Vec<Event>,
    records: u64,
    overall: f64,
    view: JobView,
}

impl Told {
    /// The heading, and for a new job what has happened in the meantime.
    fn begin(&mut self, past: Vec<Record>, resumed: bool, display: &mut Display) {
        self.records = past.len() as u64;
        let events: Vec<Event> = past.into_iter().flat_map(|record| record.events).collect();
        let notes: Vec<Note> = events.iter().filter_map(|event| self.story.tell(event)).collect();
        display.show(&Note::Job {
            job: self.view.head.id.to_string(),
            workflow: self.view.head.workflow.name.clone(),
            steps: self.story.step_ids(),
            done: if resumed { self.story.done() } else { Vec::new() },
            resumed,
        });
        if !resumed {
            notes.iter().for_each(|note| display.show(note));
        }
        self.events = events;
    }

    fn take(&mut self, record: Record, display: &mut Display) {
        self.records = record.sequence + 1;
        for event in record.events {
            if matches!(event, Event::JobSucceeded { .. }) {
                self.overall(100.0, display);
            }
            self.story.tell(&event).iter().for_each(|note| display.show(note));
            self.events.push(event);
        }
    }

    /// Tells how far the job is, if that is news.
    fn overall(&mut self, percent: f64, display: &mut Display) {
        if percent > self.overall {
            self.overall = percent;
            display.show(&Note::Overall { percent });
        }
    }

    /// Tells what was recorded in the last moments, and answers with the job if it is over by now.
    ///
    /// # Errors
    /// When the journal is damaged.
    pub(crate) fn catch_up(
        mut self,
        journal: Vec<Record>,
        display: &mut Display,
    ) -> Result<Option<Box<JobView>>> {
        for record in journal {
            if record.sequence >= self.records {
                self.take(record, display);
            }
        }
        match self.end()? {
            Watched::Over(view) => Ok(Some(view)),
            Watched::Stopped(_) => Ok(None),
        }
    }

    /// The job as those facts make it: the store may have been closed by now.
    fn end(mut self) -> Result<Watched> {
        let plan = self.view.state.plan.clone();
        self.view.state = callsheet::fold(self.view.head.id, plan, &self.events)
            .map_err(|error| CliError::engine(error.to_string()))?;
        let Phase::Ended { ending, at } = &self.view.state.phase else {
            return Ok(Watched::Stopped(Box::new(self)));
        };
        self.view.head.changed_at = *at;
        self.view.head.status = match ending {
            Ending::Succeeded(_) => JobStatus::Succeeded,
            Ending::Failed(_) => JobStatus::Failed,
            Ending::Cancelled => JobStatus::Cancelled,
        };
        self.view.records = self.records;
        Ok(Watched::Over(Box::new(self.view)))
    }
}

/// The engine on its way down.
type Stopping = tokio::task::JoinHandle<()>;

/// Answers a signal: the first begins an orderly shutdown, any other an abrupt one.
fn stop(engine: &Engine, before: Option<Stopping>, signal: &str, display: &Display) -> Stopping {
    let engine = engine.clone();
    if before.is_none() {
        display.say(&format!(
            "{signal}: letting the running steps finish; press Ctrl-C again to stop at once"
        ));
        tokio::spawn(async move { engine.shutdown().await })
    } else {
        display.say("stopping at once");
        tokio::spawn(async move { engine.stop_now().await })
    }
}

/// Resolves when the engine is down; never while nobody has asked for it.
async fn stopped(stopping: &mut Option<Stopping>) {
    match stopping {
        // A shutdown that panicked is over too.
        Some(stopping) => drop(stopping.await),
        None => std::future::pending().await,
    }
}

/// The complaint about a store that has died.
pub(crate) fn store_failed(error: EngineError) -> CliError {
    CliError::from(error)
        .exit_with_engine()
        .hint("nothing that was acknowledged is lost: run the command again to go on")
}
