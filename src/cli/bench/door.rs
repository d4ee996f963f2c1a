//! The two ways in: a call in this process, or HTTP over the loopback with the project's client.

use callsheet::Engine;
use callsheet::server::ApiOptions;
use callsheet::server::client::Client;
use callsheet::server::wire::SubmitRequest;
use clap::ValueEnum;
use tokio::net::TcpListener;

use super::broken;
use super::repertoire::SINGLE;
use crate::cli::error::Result;

/// How jobs are submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Over {
    /// A call in the same process
    #[default]
    Embedded,
    /// A server in the same process, over the loopback, connections kept open
    Http,
}

impl Over {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Http => "http",
        }
    }
}

/// A way in that is open.
#[derive(Clone)]
pub(crate) struct Door(Option<Client>);

impl Door {
    /// Opens a way to an engine; a server ends with this process.
    ///
    /// # Errors
    /// When no server can be started.
    pub(crate) async fn open(over: Over, engine: &Engine) -> Result<Self> {
        if over == Over::Embedded {
            return Ok(Self(None));
        }
        let failed = |error| broken("the server", error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let options = ApiOptions::default();
        let forever = std::future::pending();
        tokio::spawn(callsheet::server::serve(listener, engine.clone(), options, forever));
        let client = Client::new(&format!("http://{address}"), None);
        Ok(Self(Some(client.map_err(|error| broken("the client", error))?)))
    }

    /// Submits one job; answers when the submitter knows that it is durable.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn submit(&self, engine: &Engine) -> Result<()> {
        let Some(client) = &self.0 else {
            return Ok(engine.submit(SINGLE.job()).await.map(drop)?);
        };
        let request =
            SubmitRequest { workflow: Some(SINGLE.name.to_owned()), ..SubmitRequest::default() };
        let submitted = client.submit(&request, None).await;
        submitted.map(drop).map_err(|error| broken("a submit", error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::repertoire;
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn both_ways_lead_to_a_job() {
        let engine = repertoire::builder().in_memory().open().await.unwrap();
        for (over, jobs) in [(Over::Embedded, 1), (Over::Http, 2)] {
            let door = Door::open(over, &engine).await.unwrap();
            door.submit(&engine).await.unwrap();
            assert_eq!(engine.stats().jobs_submitted, jobs);
            assert_eq!(Over::from_str(over.name(), false), Ok(over));
        }
        engine.shutdown().await;
    }
}
