//! From a caller to the writer's queue, in the order of the calls.
//!
//! A record that is small is in the queue when the call returns. A large one goes to a file first,
//! which takes a while; what comes after it for the same job waits behind it, so that no record of
//! a job overtakes another.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsheet_engine::JobId;

use super::codec::{Codec, Encoded};
use super::log::index::{Append, Head};
use super::queue::Queue;
use super::shared::Shared;
use super::writer::{Reply, Request};
use crate::error::StoreError;
use crate::store::{Commit, JobStatus};

/// Hands commits over. Cheap to clone.
#[derive(Clone)]
pub(super) struct Handover {
    queue: Arc<Queue<Request>>,
    codec: Codec,
    shared: Arc<Shared>,
    /// What waits behind a large record, by job; the first of each is on its way to its file.
    behind: Arc<Mutex<HashMap<JobId, VecDeque<Waiting>>>>,
    /// How many jobs are in there, so that others need not look.
    jobs_behind: Arc<AtomicUsize>,
}

struct Waiting {
    commit: EncodedCommit,
    reply: Reply<()>,
}

/// A commit whose contents may still have to go to files.
struct EncodedCommit {
    job: JobId,
    epoch: u64,
    sequence: u64,
    head: Option<(JobStatus, Encoded)>,
    record: Encoded,
}

impl Handover {
    pub(super) fn new(queue: Arc<Queue<Request>>, codec: Codec, shared: Arc<Shared>) -> Self {
        Self { queue, codec, shared, behind: Arc::default(), jobs_behind: Arc::default() }
    }

    /// Hands a commit over. What becomes of it is said in the reply.
    pub(super) fn commit(&self, commit: Commit, reply: Reply<()>) -> Result<(), StoreError> {
        let Commit { job, epoch, sequence, events, head } = commit;
        let record = Codec::encode_record(&events)?;
        let head = match head {
            Some(head) => Some((head.status, Codec::encode_head(&head)?)),
            None => None,
        };
        let waiting =
            Waiting { commit: EncodedCommit { job, epoch, sequence, head, record }, reply };
        let is_small = waiting.commit.is_small();
        if is_small && self.jobs_behind.load(Ordering::Acquire) == 0 {
            self.push(waiting);
            return Ok(());
        }
        let mut behind = self.lock();
        if let Some(others) = behind.get_mut(&job) {
            others.push_back(waiting);
        } else if is_small {
            drop(behind);
            self.push(waiting);
        } else {
            behind.insert(job, VecDeque::from([waiting]));
            self.jobs_behind.fetch_add(1, Ordering::AcqRel);
            drop(behind);
            self.start(job);
        }
        Ok(())
    }

    fn start(&self, job: JobId) {
        let this = self.clone();
        let work = move || this.drain(job);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }

    /// Hands over what waits of a job, one after the other. Blocks.
    fn drain(&self, job: JobId) {
        loop {
            let mut behind = self.lock();
            let next = behind.get_mut(&job).and_then(VecDeque::pop_front);
            let Some(waiting) = next else {
                behind.remove(&job);
                self.jobs_behind.fetch_sub(1, Ordering::AcqRel);
                return;
            };
            drop(behind);
            self.push(waiting);
        }
    }

    fn push(&self, waiting: Waiting) {
        let Waiting { commit, reply } = waiting;
        let settled = catch_unwind(AssertUnwindSafe(|| commit.settle(&self.codec)));
        let settled = settled.unwrap_or_else(|_| {
            Err(StoreError::Unreadable("a panic while a large record was put aside".to_owned()))
        });
        // Whoever asked may have gone.
        match settled {
            Ok(append) => {
                let handed_over = self.queue.push(Request::Commit(append, reply));
                if let Err(Request::Commit(_, reply)) = handed_over {
                    drop(reply.send(Err(self.shared.stopped())));
                }
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, VecDeque<Waiting>>> {
        // What it holds is whole at any instant, whoever panicked.
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodedCommit {
    fn is_small(&self) -> bool {
        let is_ready = |encoded: &Encoded| matches!(encoded, Encoded::Ready(_));
        is_ready(&self.record) && self.head.as_ref().is_none_or(|(_, head)| is_ready(head))
    }

    /// Blocks if any of it is large.
    fn settle(self, codec: &Codec) -> Result<Append, StoreError> {
        let Self { job, epoch, sequence, head, record } = self;
        let record = codec.settle(record)?;
        let head = match head {
            Some((status, head)) => Some(Head { status, content: codec.settle(head)? }),
            None => None,
        };
        Ok(Append { job, epoch, sequence, head, record })
    }
}
