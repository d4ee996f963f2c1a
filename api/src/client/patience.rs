//! How long a client goes on when the server is away.

use super::ClientError;
use crate::limits::{CLIENT_FIRST_BACKOFF, CLIENT_MAX_BACKOFF, CLIENT_RECONNECTS_COUNT};

/// Counts failures in a row and waits longer after each.
pub(super) struct Patience {
    failures: u32,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { failures: 0 }
    }

    /// The server is there again.
    pub(super) fn renew(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next try; gives the error back when trying again cannot help or was tried
    /// often enough.
    pub(super) async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.may_pass() || self.failures >= CLIENT_RECONNECTS_COUNT {
            return Err(error);
        }
        let wait = (CLIENT_FIRST_BACKOFF * (1 << self.failures)).min(CLIENT_MAX_BACKOFF);
        self.failures += 1;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let mut patience = Patience::new();
        let away = || ClientError::Connection("away".into());
        for _ in 0..CLIENT_RECONNECTS_COUNT {
            assert!(patience.after(away()).await.is_ok());
        }
        assert!(patience.after(away()).await.is_err());
        patience.renew();
        assert!(patience.after(away()).await.is_ok());
        assert!(patience.after(ClientError::Token).await.is_err());
    }
}
