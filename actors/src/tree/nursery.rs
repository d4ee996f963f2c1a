//! Where young bodies are until they are old enough for an actor of their own.
//!
//! An actor takes longer to start than a quick step takes to run. So a body begins without one, and
//! gets one when it is still running after [`PROMOTE_AFTER_MS`], blocked or not, or earlier when
//! there is something to tell it or to tidy up after it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::job::JobMsg;
use crate::context::StepContext;
use crate::core::Core;
use crate::limits::PROMOTE_AFTER_MS;
use crate::mailbox::Mailbox;

/// Bodies that were begun a moment ago, oldest first.
#[derive(Default)]
pub(crate) struct Nursery {
    young: Mutex<VecDeque<Young>>,
    filled: Notify,
}

struct Young {
    born: Instant,
    context: StepContext,
    owner: Mailbox<JobMsg>,
}

impl Nursery {
    pub(super) fn add(&self, context: StepContext, owner: Mailbox<JobMsg>) {
        let young = Young { born: Instant::now(), context, owner };
        let mut all = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back(young);
        if all.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// Takes out who was born before this instant; false when nobody is left.
    fn graduate(&self, before: Instant, grown: &mut Vec<Young>) -> bool {
        let mut all = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.partition_point(|young| young.born <= before);
        grown.extend(all.drain(..count));
        !all.is_empty()
    }
}

/// Tells jobs which of their bodies have come of age, for as long as the engine lives.
pub(crate) async fn watch(core: Arc<Core>) {
    let age = Duration::from_millis(PROMOTE_AFTER_MS);
    let mut grown = Vec::new();
    loop {
        // Asleep while there is nobody to watch: an idle engine takes no time.
        core.nursery.filled.notified().await;
        let mut more = true;
        while more {
            tokio::time::sleep(age).await;
            more = core.nursery.graduate(Instant::now() - age, &mut grown);
            for young in grown.drain(..).filter(|young| !young.context.0.has_ended()) {
                // A job actor that is gone has taken its bodies with it.
                let _ = young.owner.send(JobMsg::ComeOfAge(young.context.0.token));
            }
        }
    }
}
