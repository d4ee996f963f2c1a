//! A job's events as a stream that survives lost connections and restarts of the server.

use std::collections::VecDeque;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use reqwest::{Method, StatusCode};

use super::patience::Patience;
use super::sse::{Message, Parser};
use super::{Client, ClientError, send};
use crate::wire::{Event, JobProgress, Problem, Progress};

/// What comes over a job's stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// A recorded event: each comes exactly once, in order.
    Event {
        /// Its id: go on after it with [`Client::events`].
        id: String,
        /// The event.
        event: Event,
    },
    /// How far an attempt has come; live only, some may be missed.
    Progress(Progress),
    /// How far the job has come; live only, as told after what was recorded.
    JobProgress(JobProgress),
}

impl Client {
    /// Follows a job's events from the first on, or from after the one with this id. The stream
    /// ends when the job has ended. A connection that breaks off is made again where it was; the
    /// error comes out only when the server stays away.
    pub fn events(
        &self,
        job: &str,
        after: Option<String>,
    ) -> impl Stream<Item = Result<Update, ClientError>> + Send + 'static {
        let follower = Follower {
            client: self.clone(),
            job: job.to_owned(),
            last: after,
            connection: None,
            ready: VecDeque::new(),
            patience: Patience::new(),
            over: false,
        };
        stream::unfold(
            follower,
            |mut follower| async move { Some((follower.next().await?, follower)) },
        )
    }
}

/// Where the reader of a stream stands.
struct Follower {
    client: Client,
    job: String,
    last: Option<String>,
    connection: Option<Connection>,
    ready: VecDeque<Update>,
    patience: Patience,
    over: bool,
}

/// An open answer, and what of it has been read.
struct Connection {
    pieces: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    parser: Parser,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Update, ClientError>> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Some(Ok(update));
            }
            if self.over {
                return None;
            }
            let Err(error) = self.read_on().await else {
                continue;
            };
            self.connection = None;
            if let Err(error) = self.patience.after(error).await {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    /// Connects if need be and reads one piece.
    async fn read_on(&mut self) -> Result<(), ClientError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => match connect(&self.client, &self.job, self.last.as_deref()).await? {
                Some(connection) => self.connection.insert(connection),
                None => {
                    self.over = true;
                    return Ok(());
                }
            },
        };
        let messages = match connection.pieces.next().await {
            Some(Ok(piece)) => connection.parser.push(&piece)?,
            Some(Err(error)) => return Err(ClientError::connection(&error)),
            None => return Err(ClientError::Connection("the stream broke off".to_owned())),
        };
        for message in messages {
            self.take(message)?;
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), ClientError> {
        let Message { id, event: kind, data } = message;
        match (&*kind, id) {
            ("progress", _) => self.ready.push_back(Update::Progress(read(&data)?)),
            ("job_progress", _) => self.ready.push_back(Update::JobProgress(read(&data)?)),
            ("problem", _) => {
                let problem: Problem = read(&data)?;
                return Err(ClientError::Refused(Box::new(problem)));
            }
            (_, Some(id)) => {
                let event: Event = read(&data)?;
                self.patience.renew();
                self.over = event.is_last();
                self.last = Some(id.clone());
                self.ready.push_back(Update::Event { id, event });
            }
            // Neither recorded nor known: something that this client is too old for.
            (_, None) => {}
        }
        Ok(())
    }
}

/// `None` when there is nothing more to come.
async fn connect(
    client: &Client,
    job: &str,
    last: Option<&str>,
) -> Result<Option<Connection>, ClientError> {
    let mut call = client.call(Method::GET, &["v1", "jobs", job, "events"])?;
    if let Some(last) = last {
        call = call.header("last-event-id", last);
    }
    let response = send(call.header("accept", "text/event-stream")).await?;
    if response.status() == StatusCode::NO_CONTENT {
        return Ok(None);
    }
    let pieces = response.bytes_stream().boxed();
    Ok(Some(Connection { pieces, parser: Parser::default() }))
}

fn read<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, ClientError> {
    serde_json::from_str(data).map_err(|error| ClientError::Answer(error.to_string()))
}
