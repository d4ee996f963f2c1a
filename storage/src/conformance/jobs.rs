//! Promises about one job at a time: accepting, owning, appending.

use std::sync::Arc;

use callsheet_engine::Timestamp;
use callsheet_engine::definition::Workflow;
use futures::future::join_all;
use serde_json::json;

use super::world::{
    commit, definition, head, id, is_stale, job, job_with_key, journal, must, owned, record,
    succeeded, turn,
};
use crate::error::StoreError;
use crate::limits::MAX_VALUE_BYTES;
use crate::store::{Claim, Commit, Created, JobStatus, KeyTarget, NewJob, Record, Store};

/// A job that was accepted has its head, its first record and its definition.
pub async fn an_accepted_job_is_there<S: Store>(store: Arc<S>) {
    let new = job(1);
    assert_eq!(store.create(new.clone()).await, Ok(Created::New));
    assert_eq!(store.head(id(1)).await, Ok(Some(new.head.clone())));
    let first = Record { sequence: 0, events: new.events };
    assert_eq!(journal(&*store, 1).await, [first]);
    let kept = store.definition(new.head.workflow.digest).await;
    assert_eq!(
        kept,
        Ok(Some(Workflow::clone(&definition()))),
        "the definition is frozen with the job"
    );
}

/// Whatever is asked about a job or definition that was never accepted is answered so.
pub async fn an_unknown_job_is_said_to_be<S: Store>(store: Arc<S>) {
    must("create another job", store.create(job(1)).await);
    let unknown = StoreError::UnknownJob(id(2));
    assert_eq!(store.head(id(2)).await, Ok(None));
    assert_eq!(store.journal(id(2), 0).await, Err(unknown.clone()));
    assert_eq!(store.claim(id(2)).await, Err(unknown.clone()));
    let claim = Claim { epoch: 1, head: head(2, JobStatus::Running), records: Vec::new() };
    assert_eq!(store.commit(commit(&claim, 0)).await, Err(unknown));
    assert_eq!(store.definition("no such digest".to_owned()).await, Ok(None));
}

/// Records come back in the order in which they were committed, to readers and to the next owner.
pub async fn records_are_appended_in_order<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    let mut expected = claim.records.clone();
    assert_eq!(expected.len(), 1, "a new job has its first record");
    for sequence in 1..20 {
        assert_eq!(store.commit(commit(&claim, sequence)).await, Ok(()));
        expected.push(record(sequence));
        assert_eq!(journal(&*store, 1).await, expected, "an acknowledged record is seen at once");
    }
    let next = must("claim", store.claim(id(1)).await);
    assert_eq!(next.records, expected, "an owner sees all records");
    assert_eq!(next.head, claim.head);
}

/// A journal is read from any place on, and from its end on it is empty.
pub async fn a_journal_is_read_from_any_place<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    for sequence in 1..4 {
        must("commit", store.commit(commit(&claim, sequence)).await);
    }
    assert_eq!(store.journal(id(1), 2).await, Ok(vec![record(2), record(3)]));
    for beyond in [4, 5, u64::MAX] {
        assert_eq!(store.journal(id(1), beyond).await, Ok(Vec::new()), "from {beyond}");
    }
}

/// A claim makes all earlier owners' epochs stale, and what they send is not written.
pub async fn only_the_latest_owner_may_commit<S: Store>(store: Arc<S>) {
    let first = owned(&*store, 1).await;
    let second = must("claim", store.claim(id(1)).await);
    assert!(second.epoch > first.epoch, "epochs grow");
    let stale = Err(StoreError::StaleEpoch { job: id(1), epoch: first.epoch });
    assert_eq!(store.commit(commit(&first, 1)).await, stale);
    let guessed = Claim { epoch: second.epoch + 1, ..first };
    assert!(is_stale(&store.commit(commit(&guessed, 1)).await), "an epoch cannot be guessed");
    assert_eq!(journal(&*store, 1).await.len(), 1, "nothing of theirs was written");
    assert_eq!(store.commit(commit(&second, 1)).await, Ok(()));
}

/// Nobody can commit to a job before it is claimed.
pub async fn a_job_without_owner_takes_no_commit<S: Store>(store: Arc<S>) {
    must("create", store.create(job(1)).await);
    for epoch in [0, 1, u64::MAX] {
        let claim = Claim { epoch, head: head(1, JobStatus::Running), records: Vec::new() };
        let answer = store.commit(commit(&claim, 1)).await;
        assert!(is_stale(&answer), "epoch {epoch}: {answer:?}");
    }
}

/// A record is taken at the next place only; a refusal says which that is and writes nothing.
pub async fn only_the_next_record_is_taken<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    must("commit", store.commit(commit(&claim, 1)).await);
    for got in [0, 1, 3, 1_000] {
        let refused = Err(StoreError::WrongSequence { job: id(1), expected: 2, got });
        assert_eq!(store.commit(commit(&claim, got)).await, refused);
    }
    assert_eq!(journal(&*store, 1).await.len(), 2);
    assert_eq!(store.commit(commit(&claim, 2)).await, Ok(()), "a refusal spoils nothing");
}

/// An owner need not wait for one record before it hands the next one over, large or small: they
/// are written in the order of the calls, whichever is waited for first.
pub async fn commits_under_way_keep_their_order<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    let mut expected = claim.records.clone();
    for round in 0..4 {
        let sequences = (1 + 10 * round)..(11 + 10 * round);
        let events = |sequence| match sequence % 5 == round % 5 {
            true => vec![succeeded(json!("x".repeat(3 * MAX_VALUE_BYTES)))],
            false => vec![succeeded(json!(sequence))],
        };
        let commits = sequences
            .clone()
            .map(|sequence| Commit { events: events(sequence), ..commit(&claim, sequence) });
        let mut answers: Vec<_> = commits.map(|commit| store.commit(commit)).collect();
        if round % 2 == 1 {
            answers.reverse();
        }
        for answer in join_all(answers).await {
            must("commit", answer);
        }
        expected.extend(sequences.map(|sequence| Record { sequence, events: events(sequence) }));
        assert!(journal(&*store, 1).await == expected, "round {round}");
    }
}

/// When one of several commits under way is refused, so are those after it, and a commit whose
/// future was dropped is written all the same.
pub async fn what_follows_a_refused_commit_is_refused<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    drop(store.commit(commit(&claim, 1)));
    let empty = Commit { events: Vec::new(), ..commit(&claim, 2) };
    let answers = [
        store.commit(empty),
        store.commit(commit(&claim, 3)),
        store.commit(commit(&claim, 4)),
        store.commit(commit(&claim, 2)),
        store.commit(commit(&claim, 3)),
    ];
    let answers = join_all(answers).await;
    let wrong = |got| Err(StoreError::WrongSequence { job: id(1), expected: 2, got });
    assert!(matches!(answers[0], Err(StoreError::Refused(_))), "{:?}", answers[0]);
    assert_eq!(answers[1..], [wrong(3), wrong(4), Ok(()), Ok(())]);
    assert_eq!(journal(&*store, 1).await.len(), 4, "nothing of what was refused is there");
}

/// The record that ends a job ends its ownership; the job can be read and claimed all the same.
pub async fn an_ended_job_has_no_owner<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    must("end", store.commit(turn(&claim, 1, JobStatus::Succeeded)).await);
    assert!(is_stale(&store.commit(commit(&claim, 2)).await), "its owner is done");
    let kept = must("read the head", store.head(id(1)).await);
    assert_eq!(kept.map(|head| head.status), Some(JobStatus::Succeeded));
    let reader = must("claim", store.claim(id(1)).await);
    assert_eq!((reader.records.len(), reader.head.status), (2, JobStatus::Succeeded));
    assert!(reader.epoch > claim.epoch);
}

/// A head stays as it is until a commit brings another.
pub async fn a_head_changes_only_when_it_is_given<S: Store>(store: Arc<S>) {
    let claim = owned(&*store, 1).await;
    let stands = async |expected| {
        let head = must("read the head", store.head(id(1)).await);
        assert_eq!(head.map(|head| head.status), Some(expected));
    };
    must("commit", store.commit(commit(&claim, 1)).await);
    stands(JobStatus::Running).await;
    let sleeping = JobStatus::Sleeping { until: callsheet_engine::Timestamp(99) };
    let statuses = [sleeping, JobStatus::Running, JobStatus::Stopping, JobStatus::Cancelled];
    for (status, sequence) in statuses.into_iter().zip(2..) {
        must("commit", store.commit(turn(&claim, sequence, status)).await);
        stands(status).await;
    }
}

/// Records, inputs and definitions of any allowed size come back as they were.
pub async fn large_values_come_back<S: Store>(store: Arc<S>) {
    let mut new = job(1);
    let description = "long ".repeat(MAX_VALUE_BYTES);
    new.definition = Arc::new(Workflow { description, ..Workflow::clone(&new.definition) });
    new.events = vec![succeeded(json!("input ".repeat(MAX_VALUE_BYTES)))];
    assert_eq!(store.create(new.clone()).await, Ok(Created::New));
    let claim = must("claim", store.claim(id(1)).await);
    let mut expected = vec![Record { sequence: 0, events: new.events }];
    for (size, sequence) in
        [0, MAX_VALUE_BYTES - 64, MAX_VALUE_BYTES, 1_000_000].into_iter().zip(1..)
    {
        let events = vec![succeeded(json!("x".repeat(size)))];
        let large = Commit { events: events.clone(), ..commit(&claim, sequence) };
        assert_eq!(store.commit(large).await, Ok(()), "{size} bytes");
        expected.push(Record { sequence, events });
    }
    assert!(journal(&*store, 1).await == expected, "large records come back");
    let kept = store.definition(new.head.workflow.digest).await;
    assert!(kept == Ok(Some(Workflow::clone(&new.definition))), "a large definition comes back");
}

/// What breaks a bound is refused, and leaves nothing behind.
pub async fn malformed_requests_are_refused<S: Store>(store: Arc<S>) {
    let refused = |answer: Result<Created, StoreError>| {
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    };
    refused(store.create(NewJob { events: Vec::new(), ..job(1) }).await);
    refused(store.create(job_with_key(1, "", "request")).await);
    refused(store.create(job_with_key(1, &"k".repeat(256), "request")).await);
    assert_eq!(store.head(id(1)).await, Ok(None));

    let claim = owned(&*store, 1).await;
    let empty = Commit { events: Vec::new(), ..commit(&claim, 1) };
    let foreign = Commit { head: Some(head(2, JobStatus::Running)), ..commit(&claim, 1) };
    for bad in [empty, foreign] {
        let answer = store.commit(bad).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    }
    assert_eq!(store.commit(commit(&claim, 1)).await, Ok(()));
}

/// The same job again is the job that is there; another job under its id is refused.
pub async fn a_job_is_accepted_once<S: Store>(store: Arc<S>) {
    assert_eq!(store.create(job(1)).await, Ok(Created::New));
    assert_eq!(store.create(job(1)).await, Ok(Created::Existing(id(1))), "sent twice");
    let other = NewJob { events: vec![succeeded(json!("other"))], ..job(1) };
    assert_eq!(store.create(other).await, Ok(Created::Conflict(id(1))));
    assert_eq!(journal(&*store, 1).await, [Record { sequence: 0, events: job(1).events }]);
}

/// Equal keys mean one job, and a key cannot be used for another request.
pub async fn an_idempotency_key_stands_for_one_job<S: Store>(store: Arc<S>) {
    assert_eq!(store.key("key".to_owned()).await, Ok(None), "nobody has used it");
    assert_eq!(store.create(job_with_key(1, "key", "request")).await, Ok(Created::New));
    let same = store.create(job_with_key(2, "key", "request")).await;
    assert_eq!(same, Ok(Created::Existing(id(1))));
    let other = store.create(job_with_key(3, "key", "another request")).await;
    assert_eq!(other, Ok(Created::Conflict(id(1))));
    for n in [2, 3] {
        assert_eq!(store.head(id(n)).await, Ok(None), "job {n} was not accepted");
    }
    let target = KeyTarget { job: id(1), request: "request".to_owned() };
    assert_eq!(store.key("key".to_owned()).await, Ok(Some(target)));
    assert_eq!(store.create(job_with_key(4, "other key", "request")).await, Ok(Created::New));
    assert_eq!(store.create(job(5)).await, Ok(Created::New), "no key, no rule");
}

/// Two jobs are accepted together or not at all, and the first decides.
pub async fn two_jobs_are_accepted_as_one<S: Store>(store: Arc<S>) {
    let second = |n| NewJob { head: head(n, sleeping()), ..job(n) };
    let first = job_with_key(1, "both", "request");
    assert_eq!(store.create_both(first.clone(), second(2)).await, Ok(Created::New));
    for (n, status) in [(1, JobStatus::Running), (2, sleeping())] {
        assert_eq!(must("look", store.head(id(n)).await), Some(head(n, status)));
        assert_eq!(journal(&*store, n).await.len(), 1);
    }
    assert_eq!(must("list", store.awake(None, 9).await), [id(1)]);
    let asleep = must("list", store.asleep(None, 9).await);
    assert_eq!(asleep, [(SECOND_WAKES, id(2))]);
    // Whatever stands for the first, the second of the repeat is not kept.
    let again = job_with_key(3, "both", "request");
    let other = job_with_key(4, "both", "another request");
    let existing = Ok(Created::Existing(id(1)));
    assert_eq!(store.create_both(again, second(5)).await, existing);
    assert_eq!(store.create_both(first, second(5)).await, existing);
    assert_eq!(store.create_both(other, second(5)).await, Ok(Created::Conflict(id(1))));
    for n in 3..=5 {
        assert_eq!(store.head(id(n)).await, Ok(None), "{n}");
    }
    // Nor is a first without the second that it was to come with.
    for second in [second(2), second(6), job_with_key(7, "own", "request")] {
        let refused = store.create_both(job(6), second).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        assert_eq!(store.head(id(6)).await, Ok(None));
        assert_eq!(store.head(id(7)).await, Ok(None));
    }
    // The second is a job like another.
    let claim = must("claim", store.claim(id(2)).await);
    assert_eq!(store.commit(commit(&claim, 1)).await, Ok(()));
}

/// When the second of two jobs wakes.
pub(super) const SECOND_WAKES: Timestamp = Timestamp(77_000);

pub(super) fn sleeping() -> JobStatus {
    JobStatus::Sleeping { until: SECOND_WAKES }
}
