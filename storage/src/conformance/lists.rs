//! Promises about lists of jobs.

use std::sync::Arc;

use callsheet_engine::Timestamp;

use super::world::{
    all_asleep, all_awake, all_pages, asleep_until, commit, id, job, job_with_key, must, owned,
    turn,
};
use crate::artifacts::Digest;
use crate::limits::MAX_PAGE_COUNT;
use crate::store::{JobStatus, KeyTarget, ListQuery, Store, StoredKey};

/// Pages of any size together hold every job once, newest first, ended or not.
pub async fn pages_are_newest_first_and_complete<S: Store>(store: Arc<S>) {
    let count = 30;
    for n in 1..=count {
        let claim = owned(&*store, n).await;
        if n % 3 == 0 {
            must("end", store.commit(turn(&claim, 1, JobStatus::Failed)).await);
        }
    }
    let expected: Vec<_> = (1..=count).rev().map(id).collect();
    for limit in [1, 2, 7, 29, 30, 31, MAX_PAGE_COUNT] {
        let found = all_pages(&*store, ListQuery { limit, ..ListQuery::default() }).await;
        assert_eq!(found, expected, "pages of {limit}");
    }
    let whole = ListQuery { limit: 30, ..ListQuery::default() };
    let page = must("list", store.list(whole.clone()).await);
    assert_eq!(page.next, None, "a page that ends the list says so");
    let older = ListQuery { before: Some(id(4)), ..whole };
    assert_eq!(all_pages(&*store, older).await, [id(3), id(2), id(1)]);
}

/// A list shows the jobs of one status, of one workflow, or both, and no others.
pub async fn filters_choose<S: Store>(store: Arc<S>) {
    let sleeping = JobStatus::Sleeping { until: callsheet_engine::Timestamp(9) };
    let statuses = [
        JobStatus::Running,
        sleeping,
        JobStatus::Stopping,
        JobStatus::Succeeded,
        JobStatus::Failed,
        JobStatus::Cancelled,
    ];
    for (status, n) in statuses.into_iter().zip(1..) {
        for (name, n) in [("greet", n), ("other", n + 10)] {
            let mut new = job(n);
            new.head.workflow.name = name.to_owned();
            must("create", store.create(new).await);
            let claim = must("claim", store.claim(id(n)).await);
            must("commit", store.commit(turn(&claim, 1, status)).await);
        }
    }
    for (status, n) in statuses.into_iter().zip(1..) {
        let query = |workflow: Option<&str>| ListQuery {
            status: Some(status.as_str().to_owned()),
            workflow: workflow.map(str::to_owned),
            before: None,
            limit: 1,
        };
        assert_eq!(all_pages(&*store, query(None)).await, [id(n + 10), id(n)], "{status:?}");
        assert_eq!(all_pages(&*store, query(Some("greet"))).await, [id(n)]);
        assert_eq!(all_pages(&*store, query(Some("none"))).await, []);
    }
    let unknown = ListQuery { status: Some("asleep".into()), limit: 9, ..ListQuery::default() };
    assert_eq!(all_pages(&*store, unknown).await, [], "no job has an unknown status");
    let other = ListQuery { workflow: Some("other".into()), limit: 4, ..ListQuery::default() };
    assert_eq!(all_pages(&*store, other).await.len(), 6);
}

/// A page of nothing has one head, and a page of everything is bounded.
pub async fn odd_limits_are_cut<S: Store>(store: Arc<S>) {
    for n in 1..=3 {
        must("create", store.create(job(n)).await);
    }
    let sizes = [(0, 1), (1, 1), (2, 2), (usize::MAX, 3)];
    for (limit, expected) in sizes {
        let page = must("list", store.list(ListQuery { limit, ..ListQuery::default() }).await);
        assert_eq!(page.heads.len(), expected, "limit {limit}");
    }
}

/// Recovery starts from the jobs that are awake, oldest first, and from no others.
pub async fn jobs_awake_are_running_or_stopping<S: Store>(store: Arc<S>) {
    assert_eq!(store.awake(None, 9).await, Ok(Vec::new()));
    for n in 1..=12 {
        let claim = owned(&*store, n).await;
        match n % 4 {
            0 => must("end", store.commit(turn(&claim, 1, JobStatus::Succeeded)).await),
            1 => must("stop", store.commit(turn(&claim, 1, JobStatus::Stopping)).await),
            2 => must("sleep", store.commit(turn(&claim, 1, asleep_until(n))).await),
            _ => {}
        }
    }
    let expected = [1, 3, 5, 7, 9, 11].map(id);
    for limit in [1, 2, 5, 6, 7, MAX_PAGE_COUNT] {
        assert_eq!(all_awake(&*store, limit).await, expected, "pages of {limit}");
    }
    assert_eq!(store.awake(Some(id(5)), 2).await, Ok(vec![id(7), id(9)]));
    assert_eq!(store.awake(Some(id(11)), 2).await, Ok(Vec::new()));
    assert_eq!(store.awake(None, 0).await.map(|page| page.len()), Ok(1), "at least one");
}

/// Those asleep come soonest first, each once, as long as they sleep.
pub async fn jobs_asleep_come_soonest_first<S: Store>(store: Arc<S>) {
    assert_eq!(store.asleep(None, 9).await, Ok(Vec::new()));
    let mut claims = Vec::new();
    for n in 1..=9 {
        let claim = owned(&*store, n).await;
        must("sleep", store.commit(turn(&claim, 1, asleep_until(100 - n / 2))).await);
        claims.push(claim);
    }
    let mut expected: Vec<_> = (1..=9).map(|n| (Timestamp(100 - n as i64 / 2), id(n))).collect();
    expected.sort_unstable();
    for limit in [1, 2, 4, 9, 10] {
        assert_eq!(all_asleep(&*store, limit).await, expected, "pages of {limit}");
    }
    // One sleeps on, one sleeps longer, one wakes, one ends, one sleeps as long as before.
    must("note", store.commit(commit(&claims[0], 2)).await);
    must("sleep on", store.commit(turn(&claims[1], 2, asleep_until(500))).await);
    must("wake", store.commit(turn(&claims[2], 2, JobStatus::Running)).await);
    must("end", store.commit(turn(&claims[3], 2, JobStatus::Cancelled)).await);
    must("stay", store.commit(turn(&claims[4], 2, asleep_until(100 - 5 / 2))).await);
    expected.retain(|(_, job)| ![2, 3, 4].map(id).contains(job));
    expected.push((Timestamp(500), id(2)));
    assert_eq!(all_asleep(&*store, 2).await, expected);
    assert_eq!(all_awake(&*store, 2).await, [id(3)]);
    let head = must("read the head", store.head(id(2)).await);
    assert_eq!(head.map(|head| head.status), Some(asleep_until(500)));
}

/// Every job and every idempotency key can be walked through, a page at a time, in order.
pub async fn jobs_and_keys_can_be_walked<S: Store>(store: Arc<S>) {
    let count = u64::try_from(MAX_PAGE_COUNT).unwrap_or(u64::MAX) + 20;
    let lives = (1..=count).map(|n| {
        let store = &store;
        async move {
            let new = job_with_key(n, &format!("key {n}"), "what was asked");
            must("create", store.create(new).await);
            if n % 3 == 0 {
                let claim = must("claim", store.claim(id(n)).await);
                must("end", store.commit(turn(&claim, 1, JobStatus::Succeeded)).await);
            }
        }
    });
    futures::future::join_all(lives).await;
    let mut ids = Vec::new();
    loop {
        let page = must("walk", store.ids(ids.last().copied()).await);
        assert!(page.len() <= MAX_PAGE_COUNT, "pages are bounded");
        if page.is_empty() {
            break;
        }
        ids.extend(page);
    }
    assert_eq!(ids, (1..=count).map(id).collect::<Vec<_>>(), "each job once, in order");
    let mut found = Vec::new();
    loop {
        let page = must("walk", store.keys(found.last().map(|key: &StoredKey| key.digest)).await);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert!(found.is_sorted_by_key(|key| key.digest), "keys come in order");
    let target = |n: u64| KeyTarget { job: id(n), request: "what was asked".to_owned() };
    let mut expected: Vec<_> = (1..=count)
        .map(|n| (Digest::of(format!("key {n}").as_bytes()), Ok(target(n))))
        .map(|(digest, target)| StoredKey { digest, target })
        .collect();
    expected.sort_by_key(|key| key.digest);
    assert_eq!(found, expected, "each key once, with its job");
}
