//! Promises that hold when many ask at once.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use futures::future::join_all;

use super::world::{all_pages, commit, id, job, job_with_key, journal, must, owned, record};
use crate::error::StoreError;
use crate::store::{Created, ListQuery, Store};

/// 32 creators race for one key: one job comes of it, and all of them hear of that one.
pub async fn racing_creators_of_one_key_get_one_job<S: Store>(store: Arc<S>) {
    for round in 0..5 {
        let key = format!("key {round}");
        let racers = (0..32).map(|n| {
            let (store, job) = (Arc::clone(&store), job_with_key(round * 100 + n, &key, "same"));
            async move { (job.head.id, must("create", store.create(job).await)) }
        });
        let answers = at_once(racers).await;
        let winners: Vec<_> = answers.iter().filter(|(_, it)| *it == Created::New).collect();
        let [(winner, _)] = winners[..] else { panic!("{} jobs of one key", winners.len()) };
        for (racer, answer) in &answers {
            let expected = if racer == winner { Created::New } else { Created::Existing(*winner) };
            assert_eq!(*answer, expected, "all hear of the one job");
        }
        let jobs = all_pages(&*store, ListQuery { limit: 100, ..ListQuery::default() }).await;
        assert_eq!(jobs.len() as u64, round + 1, "one job more in round {round}");
        assert!(jobs.contains(winner));
    }
}

/// 32 owners race for one job: each gets an epoch of its own, and only the highest may commit.
pub async fn racing_owners_get_epochs_of_their_own<S: Store>(store: Arc<S>) {
    must("create", store.create(job(1)).await);
    let racers = (0..32).map(|_| {
        let store = Arc::clone(&store);
        async move { must("claim", store.claim(id(1)).await) }
    });
    let claims = at_once(racers).await;
    let epochs: BTreeSet<_> = claims.iter().map(|claim| claim.epoch).collect();
    assert_eq!(epochs.len(), 32, "no two owners share an epoch");
    let latest = epochs.last().copied();
    for claim in &claims {
        let answer = store.commit(commit(claim, 1)).await;
        assert_eq!(answer.is_ok(), Some(claim.epoch) == latest, "{answer:?}");
    }
}

/// 32 commits race for one place in a journal: one is written, and the others hear that it was.
pub async fn racing_commits_of_one_place_have_one_winner<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    for sequence in 1..5 {
        let racers = (0..32).map(|_| {
            let (store, commit) = (Arc::clone(&store), commit(&claim, sequence));
            async move { store.commit(commit).await }
        });
        let answers = at_once(racers).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "one winner");
        let job = id(1);
        let lost = StoreError::WrongSequence { job, expected: sequence + 1, got: sequence };
        let losers: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        assert!(losers.iter().all(|answer| *answer == lost), "{losers:?}");
        assert_eq!(journal(&*store, 1).await.len() as u64, sequence + 1);
    }
}

/// Many jobs commit at once and one sends nonsense: each journal holds its own records, in order.
pub async fn jobs_do_not_hinder_each_other<S: Store>(store: Arc<S>) {
    const JOBS: u64 = 40;
    const RECORDS: u64 = 10;
    let owners = (1..=JOBS).map(|n| {
        let store = Arc::clone(&store);
        async move {
            let claim = owned(&*store, n).await;
            for sequence in 1..=RECORDS {
                let nonsense = store.commit(commit(&claim, sequence + 7)).await;
                assert!(nonsense.is_err(), "a gap is refused");
                must("commit", store.commit(commit(&claim, sequence)).await);
            }
        }
    });
    at_once(owners).await;
    for n in 1..=JOBS {
        let records = journal(&*store, n).await;
        assert_eq!(records.len() as u64, RECORDS + 1);
        for (found, sequence) in records.into_iter().zip(0..).skip(1) {
            assert_eq!(found, record(sequence), "job {n}");
        }
    }
}

/// Runs all of them on threads of the runtime, and not one after the other.
pub(super) async fn at_once<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let started: Vec<_> = tasks.map(tokio::spawn).collect();
    let ended = join_all(started).await;
    ended.into_iter().map(|end| must("finish a racer", end)).collect()
}
