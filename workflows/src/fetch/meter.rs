//! Counts what comes in: holds the limit and tells those who watch.

use callsheet_actors::{StepContext, StepError, StepResult};

use crate::quantity::ByteSize;

/// Counts the bytes of one file as they come in.
pub(super) struct Meter {
    context: StepContext,
    max_bytes: u64,
    expected: Option<u64>,
    seen: u64,
    shown: u64,
}

impl Meter {
    pub(super) fn new(context: StepContext, max_bytes: u64) -> Self {
        Self { context, max_bytes, expected: None, seen: 0, shown: 0 }
    }

    pub(super) fn context(&self) -> &StepContext {
        &self.context
    }

    /// What the source says of its length.
    ///
    /// # Errors
    /// `fetch.too_large` when it is beyond the limit.
    pub(super) fn expect(&mut self, length: Option<u64>) -> StepResult<()> {
        self.expected = length;
        match length {
            Some(length) if length > self.max_bytes => Err(self.too_large(length)),
            _ => Ok(()),
        }
    }

    /// More bytes have come in.
    ///
    /// # Errors
    /// `fetch.too_large` when they are beyond the limit, whatever the source said of its length.
    pub(super) fn add(&mut self, bytes: usize) -> StepResult<()> {
        self.seen += bytes as u64;
        if self.seen > self.max_bytes {
            return Err(self.too_large(self.seen));
        }
        match self.expected {
            Some(expected) => self.show_percent(expected),
            None => self.context.heartbeat(),
        }
        Ok(())
    }

    /// The same file is taken from its start once more.
    pub(super) fn begin_anew(&mut self) {
        self.seen = 0;
    }

    fn show_percent(&mut self, expected: u64) {
        let percent = self.seen.saturating_mul(100) / expected.max(1);
        if percent > self.shown {
            self.shown = percent;
            let message = format!("{} of {}", ByteSize(self.seen), ByteSize(expected));
            self.context.progress(percent.min(100) as f64, message);
        }
    }

    fn too_large(&self, length: u64) -> StepError {
        let (length, limit) = (ByteSize(length), ByteSize(self.max_bytes));
        StepError::fatal("fetch.too_large", format!("the file has {length} or more, over {limit}"))
            .with_hint("raise `max_bytes`, or use a smaller file")
    }
}
