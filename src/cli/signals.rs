//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second for an end at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::error::{CliError, Result};

/// Listens for both signals from its making on.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the two signals over from their default, which is to end the process.
    pub(crate) fn listen() -> Result<Self> {
        let of = |kind| {
            signal(kind)
                .map_err(|error| CliError::engine(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
        })
    }

    /// Resolves at the next of them, with its name for people. Safe to drop and call again.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
