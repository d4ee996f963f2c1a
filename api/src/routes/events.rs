//! The events of a job as they are recorded, over SSE.
//!
//! Every event has an id made of its record and its place in it. A client that lost its connection
//! sends the last id back and gets what follows, nothing twice and nothing left out. Notes on
//! progress come in between, live only and without an id.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use callsheet_actors::{Engine, EngineError, JobHandle, Progress};
use callsheet_engine::JobId;
use callsheet_storage::Record;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

use crate::error::{Refusal, problem_of};
use crate::extract::{CheckedQuery, JobPath};
use crate::limits::{KEEP_ALIVE_SECONDS, STREAM_RETRY_MS};
use crate::state::AppState;
use crate::wire::{self, Translator};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells a proxy to hand on what comes, as it comes.
const NO_BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Follows a job's events
///
/// Server-sent events, from the first on or from where `Last-Event-ID` says; live ones follow as
/// they are recorded. `event:` is the type, `data:` an `Event` as JSON. Notes of type `progress`
/// (a `Progress`) and `job_progress` (a `JobProgress`) have no id and are live only; `problem` (a
/// `Problem`) says why a stream breaks off. The stream ends when the job has ended; a client that
/// asks on gets 204.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/events",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job's id"),
        ("Last-Event-ID" = Option<String>, Header, description = "The last id that was received"),
        EventsQuery,
    ),
    responses(
        (status = 200, description = "The events", body = String,
            content_type = "text/event-stream"),
        (status = 204, description = "The job has ended and all of it was received"),
        (status = 400, description = "`events.position`, `request.path`, `request.query`"),
        (status = 404, description = "`job.unknown`"),
        (status = 500, description = "`job.damaged`"),
        (status = 503, description = "`stream.limit`, `store.failed`"),
    ),
)]
pub(crate) async fn events(
    State(state): State<AppState>,
    JobPath(id): JobPath,
    CheckedQuery(query): CheckedQuery<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let after = resume_position(&headers, query.after.as_deref())?;
    let place = state.streams.clone().try_acquire_owned().map_err(|_| Refusal::Streams)?;
    let job = state.engine.job(id);
    // Subscribed before the journal is read, so that no note falls between the two.
    let progress = state.engine.progress();
    let view = job.view().await?;
    if let Some(after) = after {
        let last = last_position(&job, after).await?;
        if view.state.has_ended() && after == last {
            // An end without content is how a browser is told not to connect again.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    let feed = Feed {
        job: id,
        // A job that is over has nothing live to tell, even while its actor is still there.
        live: (!view.state.has_ended()).then(|| state.engine.clone()),
        told: None,
        records: job.events(0).boxed(),
        progress: Some(progress),
        translator: Translator::new(view.state.plan.clone()),
        after,
        ready: VecDeque::from([SseEvent::default()
            .retry(Duration::from_millis(STREAM_RETRY_MS))
            .comment("callsheet")]),
        over: false,
        closing: state.closing.clone(),
        _place: place,
    };
    let alive = KeepAlive::new().interval(Duration::from_secs(KEEP_ALIVE_SECONDS)).text("alive");
    Ok(([NO_BUFFERING], Sse::new(feed.into_stream()).keep_alive(alive)).into_response())
}

/// Where to begin, for clients that cannot set a header.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// As `Last-Event-ID`, which wins when both are there.
    #[param(example = "3.0")]
    after: Option<String>,
}

/// The place of an event: its record, and its place in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    sequence: u64,
    index: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sequence, self.index)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (sequence, index) = text.split_once('.').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        let position = Self { sequence: number(sequence)?, index: number(index)? };
        // One place has one spelling: `+1.00` is none of ours.
        if position.to_string() == text { Ok(position) } else { Err(()) }
    }
}

fn resume_position(headers: &HeaderMap, after: Option<&str>) -> Result<Option<Position>, Refusal> {
    let header = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("?"));
    match header.or(after) {
        None | Some("") => Ok(None),
        Some(id) => id.parse().map(Some).map_err(|()| Refusal::Position(id.to_owned())),
    }
}

/// The last position of the journal; a position that the journal does not have is refused.
async fn last_position(job: &JobHandle, after: Position) -> Result<Position, Refusal> {
    let records = job.records(after.sequence).await?;
    let known = records
        .first()
        .is_some_and(|first| first.sequence == after.sequence && has_event(first, after.index));
    match records.last() {
        Some(last) if known => {
            let index = last.events.len().saturating_sub(1) as u64;
            Ok(Position { sequence: last.sequence, index })
        }
        _ => Err(Refusal::Position(after.to_string())),
    }
}

fn has_event(record: &Record, index: u64) -> bool {
    index < record.events.len() as u64
}

/// What one stream is made of.
struct Feed {
    job: JobId,
    /// Whom to ask how far the job is; `None` once it is over.
    live: Option<Engine>,
    /// How far the client was told last that the job is.
    told: Option<f64>,
    records: BoxStream<'static, Result<Record, EngineError>>,
    /// `None` once the engine sends no more.
    progress: Option<broadcast::Receiver<Progress>>,
    translator: Translator,
    after: Option<Position>,
    ready: VecDeque<SseEvent>,
    over: bool,
    closing: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    fn into_stream(self) -> impl Stream<Item = Result<SseEvent, Infallible>> + Send {
        stream::unfold(self, |mut feed| async move { Some((Ok(feed.next().await?), feed)) })
    }

    async fn next(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return None,
                record = self.records.next() => match record {
                    Some(Ok(record)) => self.take(record),
                    Some(Err(error)) => self.break_off(&error),
                    None => self.over = true,
                },
                note = next_note(&mut self.progress) => self.note(note),
            }
        }
    }

    /// Makes a record's events ready, save those that the client has.
    fn take(&mut self, record: Record) {
        for (index, event) in (0..).zip(record.events) {
            let position = Position { sequence: record.sequence, index };
            // Translated also when it is not sent: later events name attempts that begin here.
            let event = self.translator.translate(event);
            if self.after.is_some_and(|after| position <= after) {
                continue;
            }
            self.live.take_if(|_| event.is_last());
            self.ready.push_back(json_event(event.kind(), &event).id(position.to_string()));
        }
        self.note_job();
    }

    /// Tells how far the job is after what was recorded, if that is news.
    fn note_job(&mut self) {
        let live = self.live.as_ref().and_then(|engine| engine.progress_of(self.job));
        if let Some(progress) = live.map(wire::percent)
            && self.told != Some(progress)
        {
            self.told = Some(progress);
            let note = wire::JobProgress { progress };
            self.ready.push_back(json_event("job_progress", &note));
        }
    }

    fn note(&mut self, note: Progress) {
        if note.job == self.job {
            let note = wire::Progress::from(note);
            self.told = Some(note.progress);
            self.ready.push_back(json_event("progress", &note));
        }
    }

    fn break_off(&mut self, error: &EngineError) {
        tracing::error!(job = %self.job, %error, "an event stream breaks off");
        self.ready.push_back(json_event("problem", &problem_of(error)));
        self.over = true;
    }
}

/// The next note on progress; never, once the engine sends no more. What a slow stream missed is
/// missed: a newer note is worth more.
async fn next_note(progress: &mut Option<broadcast::Receiver<Progress>>) -> Progress {
    loop {
        let Some(receiver) = progress else {
            return std::future::pending().await;
        };
        match receiver.recv().await {
            Ok(note) => return note,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => *progress = None,
        }
    }
}

fn json_event(kind: &str, data: &impl serde::Serialize) -> SseEvent {
    // JSON has no raw line ends, so the data is one line whatever is in it.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    SseEvent::default().event(kind).data(data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::HttpError;
    use crate::limits::MAX_STREAMS_COUNT;
    use crate::options::ApiOptions;

    #[tokio::test]
    async fn streams_are_bounded() {
        let engine = Engine::builder().in_memory().open().await.unwrap();
        let state = AppState::new(engine, &ApiOptions::default(), CancellationToken::new());
        let all = u32::try_from(MAX_STREAMS_COUNT).unwrap();
        let ask = || {
            let (job, query) = (JobPath(JobId::from_bytes([1; 16])), EventsQuery::default());
            events(State(state.clone()), job, CheckedQuery(query), HeaderMap::new())
        };
        let taken = state.streams.clone().try_acquire_many_owned(all).unwrap();
        assert_eq!(ask().await.unwrap_err().code(), "stream.limit");
        drop(taken);
        assert_eq!(ask().await.unwrap_err().code(), "job.unknown");
        assert_eq!(state.streams.available_permits(), MAX_STREAMS_COUNT, "the place is free again");
    }

    #[test]
    fn positions_have_one_spelling() {
        for (text, expected) in [
            ("0.0", Some((0, 0))),
            ("12.3", Some((12, 3))),
            ("", None),
            ("12", None),
            ("+1.0", None),
            ("01.0", None),
            ("1.0 ", None),
            ("1.-1", None),
            ("99999999999999999999.0", None),
        ] {
            let position = text.parse::<Position>().ok();
            assert_eq!(position.map(|at| (at.sequence, at.index)), expected, "{text}");
        }
        assert!("2.0".parse::<Position>().unwrap() > "1.9".parse().unwrap());
    }

    #[test]
    fn the_header_wins_over_the_query() {
        let mut headers = HeaderMap::new();
        assert_eq!(resume_position(&headers, None).unwrap(), None);
        assert_eq!(resume_position(&headers, Some("1.0")).unwrap(), "1.0".parse().ok());
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("2.0"));
        assert_eq!(resume_position(&headers, Some("1.0")).unwrap(), "2.0".parse().ok());
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("x"));
        assert!(resume_position(&headers, Some("1.0")).is_err());
    }
}
