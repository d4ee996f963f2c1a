//! Promises about notices and about the end of a store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::races::at_once;
use super::world::{commit, id, job, journal, must, owned};
use crate::error::StoreError;
use crate::limits::MAX_NOTICES_COUNT;
use crate::store::{CommitNotice, ListQuery, Store};

/// Whoever hears of a record can read it; nobody hears of what was refused.
pub async fn a_notice_comes_after_the_record<S: Store>(store: Arc<S>) {
    let mut notices = store.subscribe();
    let claim = owned(&*store, 1).await;
    let first = heard(&mut notices).await;
    assert_eq!(first, CommitNotice { job: id(1), sequence: 0 });
    let writer = {
        let store = Arc::clone(&store);
        async move {
            for sequence in 1..30 {
                assert!(store.commit(commit(&claim, sequence + 1)).await.is_err());
                must("commit", store.commit(commit(&claim, sequence)).await);
            }
        }
    };
    let writer = tokio::spawn(writer);
    for sequence in 1..30 {
        let notice = heard(&mut notices).await;
        assert_eq!(notice, CommitNotice { job: id(1), sequence }, "in order, once");
        let seen = journal(&*store, 1).await.len() as u64;
        assert!(seen > sequence, "record {sequence} is told of and not there");
    }
    must("finish the writer", writer.await);
}

/// A subscriber that does not keep up hears that it lagged, and then goes on.
pub async fn a_slow_subscriber_is_told_that_it_lagged<S: Store>(store: Arc<S>) {
    const JOBS: u64 = 64;
    let mut slow = store.subscribe();
    let each = MAX_NOTICES_COUNT as u64 / JOBS + 1;
    let owners = (1..=JOBS).map(|n| {
        let store = Arc::clone(&store);
        async move {
            let claim = owned(&*store, n).await;
            for sequence in 1..=each {
                must("commit", store.commit(commit(&claim, sequence)).await);
            }
        }
    });
    at_once(owners).await;
    let lagged = slow.recv().await;
    assert!(matches!(lagged, Err(RecvError::Lagged(_))), "{lagged:?}");
    assert!(slow.recv().await.is_ok(), "it goes on");
}

/// After `close` everything is refused, health says so, and closing again is harmless.
pub async fn a_closed_store_refuses<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    assert_eq!(store.health(), Ok(()));
    assert_eq!(store.close().await, Ok(()));
    assert_eq!(store.close().await, Ok(()));
    let is_stopped = |answer: Result<(), StoreError>| {
        assert!(matches!(answer, Err(StoreError::Stopped(_))), "{answer:?}");
    };
    is_stopped(store.health());
    is_stopped(store.create(job(2)).await.map(drop));
    is_stopped(store.claim(id(1)).await.map(drop));
    is_stopped(store.commit(commit(&claim, 1)).await);
    is_stopped(store.journal(id(1), 0).await.map(drop));
    is_stopped(store.head(id(1)).await.map(drop));
    is_stopped(store.list(ListQuery::default()).await.map(drop));
    is_stopped(store.awake(None, 1).await.map(drop));
    is_stopped(store.asleep(None, 1).await.map(drop));
}

/// Every commit that races with `close` is answered: it is durable, or it was refused.
pub async fn what_was_accepted_is_finished_by_close<S: Store>(store: Arc<S>) {
    let mut claims = Vec::new();
    for n in 1..=50 {
        claims.push(owned(&*store, n).await);
    }
    let racers = claims.into_iter().map(|claim| {
        let store = Arc::clone(&store);
        async move { store.commit(commit(&claim, 1)).await }
    });
    let racers: Vec<_> = racers.collect();
    let racing = tokio::spawn(at_once(racers.into_iter()));
    must("close", store.close().await);
    for answer in must("finish the racers", racing.await) {
        let expected = matches!(answer, Ok(()) | Err(StoreError::Stopped(_)));
        assert!(expected, "{answer:?}");
    }
}

/// The next notice. A store that never sends it breaks its promise; it does not stop the suite.
async fn heard(notices: &mut Receiver<CommitNotice>) -> CommitNotice {
    let wait = tokio::time::timeout(Duration::from_secs(30), notices.recv());
    must("hear", must("hear in time", wait.await))
}
