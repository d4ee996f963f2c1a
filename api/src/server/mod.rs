//! The server: connections, and what bounds them.
//!
//! HTTP/1.1 alone. Clients speak HTTP/2 only over TLS, which a proxy in front brings; without it
//! there is that much less to attack.

mod stall;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use callsheet_actors::Engine;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::guard::local_names;
use crate::limits::{
    HEADER_READ_SECONDS, MAX_CONNECTIONS_COUNT, MAX_HEADER_BYTES, SHUTDOWN_SECONDS,
};
use crate::options::ApiOptions;
use crate::router::build;
use stall::WriteDeadline;

/// Answers on a listener until `shutdown` resolves, then takes no new connections, ends event
/// streams and waits, and gives open requests 10 s to be answered.
///
/// It does not shut the engine down: do that beside it, so that what runs can end.
///
/// # Errors
/// When the listener has no address, and so cannot be listened on.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    mut options: ApiOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    if options.hosts.is_empty() && options.token.is_none() {
        options.hosts = local_names(address.ip());
    }
    let closing = CancellationToken::new();
    // Dropping this future ends its connections' streams as well.
    let _guard = closing.clone().drop_guard();
    let app = build(engine, &options, closing.clone());
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS_COUNT));
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (stream, place) = accept(&listener, &places) => {
                let serving = converse(stream, app.clone(), closing.clone());
                connections.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    closing.cancel();
    finish(connections).await;
    Ok(())
}

/// The next connection, and its place among those that may be open.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<tokio::sync::OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there is a place sooner or later.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            // The other side gave up before it was its turn.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // No file descriptors, most likely: others must be closed first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Answers the requests of one connection, one after the other.
async fn converse(stream: TcpStream, app: Router, closing: CancellationToken) {
    // Events are small and should not wait for one another.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_READ_SECONDS))
        .max_buf_size(MAX_HEADER_BYTES)
        .max_header_size(MAX_HEADER_BYTES);
    let stream = TokioIo::new(WriteDeadline::new(stream));
    let mut connection = pin!(builder.serve_connection(stream, TowerToHyperService::new(app)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients go away in the middle of things all the time.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits for what is open, but not for ever.
async fn finish(mut connections: JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(SHUTDOWN_SECONDS), all).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are cut");
        connections.shutdown().await;
    }
}
