//! Cancels that wait for their answer. The kernel has much to do for every process that ends, so
//! ending the first processes of many cancels would delay the answers to the last.

use std::time::Duration;

use tokio::sync::watch;

use crate::limits::ANSWERS_FIRST_MS;

/// How many cancels wait for their answer.
pub(crate) struct Cancels(watch::Sender<usize>);

/// A cancel that waits for its answer, until this is dropped.
#[must_use = "the cancel counts as answered when this is dropped"]
pub(crate) struct Asked<'c>(&'c Cancels);

impl Default for Cancels {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Cancels {
    /// Counts one that is asked for.
    pub(crate) fn ask(&self) -> Asked<'_> {
        self.0.send_if_modified(|waiting| {
            *waiting += 1;
            false // Nobody waits for there to be more.
        });
        Asked(self)
    }

    /// Lets those go first who wait for an answer, for a moment.
    pub(crate) async fn answers_first(&self) {
        if *self.0.borrow() == 0 {
            return;
        }
        let moment = Duration::from_millis(ANSWERS_FIRST_MS);
        let mut waiting = self.0.subscribe();
        // Either way it goes on: all are answered, or they have had their moment.
        let _ = tokio::time::timeout(moment, waiting.wait_for(|count| *count == 0)).await;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.0.send_if_modified(|waiting| {
            *waiting -= 1;
            *waiting == 0
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn nobody_is_waited_for_when_all_are_answered() {
        let cancels = Cancels::default();
        cancels.answers_first().now_or_never().unwrap();
        let (first, second) = (cancels.ask(), cancels.ask());
        let mut turn = std::pin::pin!(cancels.answers_first());
        assert!(turn.as_mut().now_or_never().is_none());
        drop(first);
        assert!(turn.as_mut().now_or_never().is_none(), "one still waits");
        drop(second);
        turn.now_or_never().unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_holds_nothing_up_for_long() {
        let cancels = Cancels::default();
        let _asked = cancels.ask();
        cancels.answers_first().await; // It returns: that is all.
    }
}
