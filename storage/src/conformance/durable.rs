//! Promises of stores that outlive their process.

use std::future::Future;
use std::sync::Arc;

use callsheet_engine::Timestamp;
use callsheet_engine::definition::Workflow;
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::races::at_once;
use super::world::{
    all_asleep, all_awake, all_pages, asleep_until, commit, definition, head, id, is_stale, job,
    job_with_key, journal, must, owned, turn,
};
use crate::store::{Created, JobStatus, ListQuery, NewJob, Store};

/// A store that can be closed and opened again in its place.
pub struct Reopening<'a, S> {
    open: Box<dyn Fn() -> LocalBoxFuture<'a, Arc<S>> + 'a>,
}

impl<'a, S: Store> Reopening<'a, S> {
    /// The place is the closure's: each call opens the store that is kept there.
    pub fn new<Fut>(open: impl Fn() -> Fut + 'a) -> Self
    where
        Fut: Future<Output = Arc<S>> + 'a,
    {
        Self { open: Box::new(move || open().boxed_local()) }
    }

    async fn open(&self) -> Arc<S> {
        (self.open)().await
    }

    async fn again(&self, store: Arc<S>) -> Arc<S> {
        must("close", store.close().await);
        drop(store);
        self.open().await
    }
}

/// Heads, journals and definitions are the same after a restart.
pub async fn jobs_survive<S: Store>(place: Reopening<'_, S>) {
    let store = place.open().await;
    let claim = owned(&*store, 1).await;
    for sequence in 1..5 {
        must("commit", store.commit(commit(&claim, sequence)).await);
    }
    must("end", store.commit(turn(&claim, 5, JobStatus::Failed)).await);
    must("create", store.create(job(2)).await);
    let (records, heads) = (journal(&*store, 1).await, store.list(whole_list()).await);
    assert_eq!(records.len(), 6);

    let store = place.again(store).await;
    assert_eq!(journal(&*store, 1).await, records);
    assert_eq!(store.list(whole_list()).await, heads);
    let kept = store.definition(claim.head.workflow.digest).await;
    assert_eq!(kept, Ok(Some(Workflow::clone(&definition()))));
}

/// A key stands for its job over restarts.
pub async fn idempotency_keys_survive<S: Store>(place: Reopening<'_, S>) {
    let store = place.open().await;
    assert_eq!(store.create(job_with_key(1, "key", "request")).await, Ok(Created::New));
    let store = place.again(store).await;
    let same = store.create(job_with_key(2, "key", "request")).await;
    assert_eq!(same, Ok(Created::Existing(id(1))));
    let other = store.create(job_with_key(2, "key", "other")).await;
    assert_eq!(other, Ok(Created::Conflict(id(1))));
}

/// An owner from before a restart is a zombie, whatever happened since.
pub async fn epochs_grow_over_restarts<S: Store>(place: Reopening<'_, S>) {
    let mut store = place.open().await;
    let mut last = owned(&*store, 1).await;
    for _ in 0..3 {
        store = place.again(store).await;
        assert!(is_stale(&store.commit(commit(&last, 1)).await), "unclaimed, it has no owner");
        let next = must("claim", store.claim(id(1)).await);
        assert!(next.epoch > last.epoch, "{} after {}", next.epoch, last.epoch);
        assert!(is_stale(&store.commit(commit(&last, 1)).await));
        last = next;
    }
    assert_eq!(store.commit(commit(&last, 1)).await, Ok(()));
}

/// Recovery finds the jobs that have not ended: those awake, and those asleep with their times.
pub async fn live_jobs_are_found_again<S: Store>(place: Reopening<'_, S>) {
    let store = place.open().await;
    for n in 1..=30 {
        let claim = owned(&*store, n).await;
        match n % 3 {
            0 => must("end", store.commit(turn(&claim, 1, JobStatus::Cancelled)).await),
            1 => must("sleep", store.commit(turn(&claim, 1, asleep_until(100 - n))).await),
            _ => {}
        }
    }
    let store = place.again(store).await;
    assert_eq!(
        all_awake(&*store, 4).await,
        (1..=30).filter(|n| n % 3 == 2).map(id).collect::<Vec<_>>()
    );
    let sleeping = (1..=30).rev().filter(|n| n % 3 == 1);
    let expected: Vec<_> = sleeping.map(|n| (Timestamp(100 - n as i64), id(n))).collect();
    assert_eq!(all_asleep(&*store, 4).await, expected);
}

/// A job sleeps and wakes over restarts, and goes on where it was.
pub async fn a_job_sleeps_over_restarts<S: Store>(place: Reopening<'_, S>) {
    let mut store = place.open().await;
    let mut claim = owned(&*store, 1).await;
    for round in 0..4 {
        let next = 1 + 3 * round;
        must("sleep", store.commit(turn(&claim, next, asleep_until(round))).await);
        must("work", store.commit(commit(&claim, next + 1)).await);
        let records = journal(&*store, 1).await;
        store = place.again(store).await;
        claim = must("claim", store.claim(id(1)).await);
        assert_eq!(claim.records, records);
        assert_eq!(claim.head.status, asleep_until(round));
        must("wake", store.commit(turn(&claim, next + 2, JobStatus::Running)).await);
        assert_eq!(all_asleep(&*store, 9).await, []);
        store = place.again(store).await;
        assert_eq!(all_awake(&*store, 9).await, [id(1)]);
        assert_eq!(all_asleep(&*store, 9).await, []);
        claim = must("claim", store.claim(id(1)).await);
    }
}

/// Two jobs that were accepted as one are both there after a restart, each as it was.
pub async fn two_jobs_survive_as_one<S: Store>(place: Reopening<'_, S>) {
    let store = place.open().await;
    let asleep = asleep_until(1);
    for n in [1, 3] {
        let second = NewJob { head: head(n + 1, asleep), ..job(n + 1) };
        let key = n.to_string();
        let first = job_with_key(n, &key, "request");
        must("create", store.create_both(first, second).await);
    }
    let heads = store.list(whole_list()).await;
    let store = place.again(store).await;
    assert_eq!(store.list(whole_list()).await, heads);
    assert_eq!(all_awake(&*store, 9).await, [id(1), id(3)]);
    assert_eq!(all_asleep(&*store, 9).await.len(), 2);
    for n in 1..=4 {
        assert_eq!(journal(&*store, n).await.len(), 1, "{n}");
    }
    let again = store.create_both(job_with_key(5, "3", "request"), job(6)).await;
    assert_eq!(again, Ok(Created::Existing(id(3))));
}

/// Of many creates that race with `close`, those that were answered with `Ok` are there, and of
/// those that were refused nothing is.
pub async fn what_was_acknowledged_before_close_is_there<S: Store>(place: Reopening<'_, S>) {
    let store = place.open().await;
    let racers = (1..=200).map(|n| {
        let store = Arc::clone(&store);
        async move { (id(n), store.create(job(n)).await.is_ok()) }
    });
    let racers: Vec<_> = racers.collect();
    let racing = tokio::spawn(at_once(racers.into_iter()));
    tokio::task::yield_now().await;
    must("close", store.close().await);
    let answers = must("finish the racers", racing.await);
    drop(store);

    let store = place.open().await;
    let there = all_pages(&*store, whole_list()).await;
    for (job, acknowledged) in answers {
        assert_eq!(there.contains(&job), acknowledged, "{job}");
    }
}

/// Opening changes nothing.
pub async fn a_store_can_be_opened_many_times<S: Store>(place: Reopening<'_, S>) {
    let mut store = place.open().await;
    let mut expected = Vec::new();
    for n in 1..=6 {
        must("create", store.create(job(n)).await);
        expected.insert(0, id(n));
        store = place.again(store).await;
        assert_eq!(all_pages(&*store, whole_list()).await, expected);
    }
}

fn whole_list() -> ListQuery {
    ListQuery { limit: 1_000, ..ListQuery::default() }
}
