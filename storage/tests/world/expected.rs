//! What must be read of a world, as JSON that outlives the code that wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use callsheet_engine::JobId;
use callsheet_storage::{
    Artifact, ArtifactStore, Created, Digest, Idempotency, ListQuery, NewJob, Store, StoreError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::life::{agrees, folded, plan};
use super::scripts::Script;
use crate::common::new_job;

type Ids = BTreeSet<JobId>;

/// Everything that was acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The jobs, oldest first.
    pub jobs: Vec<ExpectedJob>,
    /// Definitions by digest.
    pub definitions: BTreeMap<String, Value>,
    /// An epoch that was given out: later ones are higher.
    pub epoch: u64,
    /// Lengths of the artifacts, by digest.
    pub artifacts: BTreeMap<String, u64>,
    /// Jobs that are there too, and of which nothing is known.
    #[serde(skip)]
    pub others: Vec<JobId>,
}

/// One job, as the store answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpectedJob {
    pub id: JobId,
    pub status: String,
    pub head: Value,
    pub records: Vec<Value>,
    pub idempotency: Option<Idempotency>,
}

/// How a job was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it was acknowledged, in every way that one can ask.
    Intact,
    /// The store says that it cannot answer, and why.
    Refused(String),
    /// The store answers, and the answer is wrong.
    Wrong(String),
}

impl Expected {
    /// Reads everything out of a store.
    pub async fn capture(store: &impl Store, scripts: &[Script]) -> Self {
        let mut jobs = Vec::new();
        let mut epoch = 0;
        for script in scripts {
            let head = store.head(script.id).await.unwrap().unwrap();
            let records = store.journal(script.id, 0).await.unwrap();
            assert!(agrees(head.status, &folded(store, &head, &records).await.phase));
            epoch = epoch.max(store.claim(script.id).await.unwrap().epoch);
            jobs.push(ExpectedJob {
                id: script.id,
                status: head.status.as_str().to_owned(),
                head: json(&head),
                records: records.iter().map(json).collect(),
                idempotency: script.key.clone(),
            });
        }
        let plans = scripts.iter().map(|script| plan(script.workflow));
        let definitions = plans.map(|plan| (plan.digest().to_owned(), json(plan.workflow())));
        let artifacts = jobs.iter().flat_map(|job| &job.records).flat_map(Artifact::find_in);
        let artifacts = artifacts.map(|(_, it)| (it.artifact.to_string(), it.size)).collect();
        let definitions = definitions.collect();
        Self { definitions, artifacts, epoch, jobs, others: Vec::new() }
    }

    /// Kinds of the events in all journals.
    pub fn event_kinds(&self) -> BTreeSet<String> {
        let events = self.jobs.iter().flat_map(|job| &job.records);
        let events = events.flat_map(|record| record["events"].as_array().unwrap());
        events.map(|event| event.as_object().unwrap().keys().next().unwrap().clone()).collect()
    }

    /// Asserts that everything is as it was acknowledged.
    pub async fn check(&self, dir: &Path, store: &impl Store) {
        for job in &self.jobs {
            assert_eq!(self.judge(store, job).await, Verdict::Intact, "job {}", job.id);
        }
        let (listed, live) = self.lists(store).await.unwrap();
        assert_eq!(listed, self.ids(|_| true), "listed");
        assert_eq!(live, self.ids(|job| !has_ended(&job.status)), "live");
        for (digest, definition) in &self.definitions {
            let read = store.definition(digest.clone()).await.unwrap().unwrap();
            assert_eq!(differs(&json(&read), definition), None, "definition {digest}");
        }
        let artifacts = ArtifactStore::open(dir.join("artifacts")).unwrap();
        for (digest, size) in &self.artifacts {
            let digest: Digest = digest.parse().unwrap();
            artifacts.verify(&digest).unwrap();
            assert_eq!(artifacts.size(&digest).unwrap(), *size);
        }
    }

    /// Asserts that nothing is wrong, though some of it may be refused. With what was refused.
    pub async fn check_honest(&self, store: &impl Store) -> Vec<String> {
        let mut refused = Vec::new();
        for job in &self.jobs {
            match self.judge(store, job).await {
                Verdict::Intact => {}
                Verdict::Refused(why) => refused.push(format!("job {}: {why}", job.id)),
                Verdict::Wrong(why) => panic!("job {} is wrong: {why}", job.id),
            }
        }
        let (listed, live) = match self.lists(store).await {
            Ok(lists) => lists,
            Err(error) => {
                refused.push(format!("lists: {error}"));
                return refused;
            }
        };
        // A damaged head takes its job out of the lists, and nothing puts one in.
        let missing = self.ids(|_| true).difference(&listed).count();
        assert!(missing <= refused.len(), "{missing} jobs are not listed; refused: {refused:?}");
        assert!(listed.is_subset(&self.ids(|_| true)), "listed: {listed:?}");
        assert!(live.is_subset(&self.ids(|job| !has_ended(&job.status))), "live: {live:?}");
        for (digest, definition) in &self.definitions {
            match store.definition(digest.clone()).await {
                Ok(Some(read)) => {
                    assert_eq!(differs(&json(&read), definition), None, "definition {digest}");
                }
                Ok(None) => panic!("definition {digest} is gone without a word"),
                Err(StoreError::Unreadable(why)) => refused.push(why),
                Err(other) => panic!("definition {digest}: {other}"),
            }
        }
        refused
    }

    /// Asks for one job in every way and compares.
    async fn judge(&self, store: &impl Store, job: &ExpectedJob) -> Verdict {
        let by_head = match store.head(job.id).await {
            Ok(Some(head)) => difference("head", &json(&head), &job.head),
            other => refusal("head", job.id, other.map(drop)),
        };
        let by_journal = match store.journal(job.id, 0).await {
            Ok(records) => difference("journal", &json(&records), &json(&job.records)),
            other => refusal("journal", job.id, other.map(drop)),
        };
        let by_claim = match store.claim(job.id).await {
            Ok(claim) if claim.epoch <= self.epoch => {
                Verdict::Wrong(format!("epoch {} after {}", claim.epoch, self.epoch))
            }
            Ok(claim) => difference("claim", &json(&claim.records), &json(&job.records)),
            other => refusal("claim", job.id, other.map(drop)),
        };
        let by_key = self.judge_key(store, job).await;
        let all = [by_head, by_journal, by_claim, by_key];
        let worst = |is: fn(&Verdict) -> bool| all.iter().find(|verdict| is(verdict)).cloned();
        worst(|verdict| matches!(verdict, Verdict::Wrong(_)))
            .or_else(|| worst(|verdict| matches!(verdict, Verdict::Refused(_))))
            .unwrap_or(Verdict::Intact)
    }

    /// Submits with the job's key: it must be the same job, whatever the new one would be.
    async fn judge_key(&self, store: &impl Store, job: &ExpectedJob) -> Verdict {
        let Some(idempotency) = &job.idempotency else { return Verdict::Intact };
        let submit = |request: &str| {
            let idempotency = Idempotency { request: request.to_owned(), ..idempotency.clone() };
            NewJob { idempotency: Some(idempotency), ..new_job(1) }
        };
        let same = store.create(submit(&idempotency.request)).await;
        let other = store.create(submit("another request")).await;
        match (same, other) {
            (Ok(Created::Existing(first)), Ok(Created::Conflict(second)))
                if first == job.id && second == job.id =>
            {
                Verdict::Intact
            }
            (Err(error), _) | (_, Err(error)) => refusal("key", job.id, Err(error)),
            found => Verdict::Wrong(format!("its key gives {found:?}")),
        }
    }

    /// All jobs that are listed, and those that recovery starts from.
    async fn lists(&self, store: &impl Store) -> Result<(Ids, Ids), StoreError> {
        let page = store.list(ListQuery { limit: 100, ..ListQuery::default() }).await?;
        assert_eq!(page.next, None, "there are few jobs");
        let mut live = store.awake(None, 100).await?;
        live.extend(store.asleep(None, 100).await?.into_iter().map(|(_, id)| id));
        let known =
            |ids: Vec<JobId>| ids.into_iter().filter(|id| !self.others.contains(id)).collect();
        Ok((known(page.heads.iter().map(|head| head.id).collect()), known(live)))
    }

    fn ids(&self, wanted: impl Fn(&ExpectedJob) -> bool) -> Ids {
        self.jobs.iter().filter(|job| wanted(job)).map(|job| job.id).collect()
    }
}

/// Whether a status is that of a job that is over.
pub fn has_ended(status: &str) -> bool {
    ["succeeded", "failed", "cancelled"].contains(&status)
}

fn json(value: &(impl Serialize + ?Sized)) -> Value {
    serde_json::to_value(value).unwrap()
}

fn difference(what: &str, found: &Value, expected: &Value) -> Verdict {
    match differs(found, expected) {
        None => Verdict::Intact,
        Some(how) => Verdict::Wrong(format!("{what}: {how}")),
    }
}

/// An answer that is not there must say that the job is damaged.
fn refusal(what: &str, id: JobId, answer: Result<(), StoreError>) -> Verdict {
    match answer {
        Err(StoreError::Damaged { job, why }) if job == id => {
            Verdict::Refused(format!("{what}: {why}"))
        }
        Err(StoreError::Unreadable(why) | StoreError::Stopped(why)) => {
            Verdict::Refused(format!("{what}: {why}"))
        }
        other => Verdict::Wrong(format!("{what}: {other:?}")),
    }
}

/// Where a value lacks something that is expected. A later version may say more.
fn differs(found: &Value, expected: &Value) -> Option<String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected.iter().find_map(|(key, it)| {
            let Some(found) = found.get(key) else { return Some(format!("`{key}` is missing")) };
            differs(found, it).map(|how| format!("{key}.{how}"))
        }),
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            let pairs = found.iter().zip(expected).enumerate();
            pairs.into_iter().find_map(|(n, (a, b))| Some(format!("{n}.{}", differs(a, b)?)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            Some(format!("{} entries, not {}", found.len(), expected.len()))
        }
        (found, expected) if found == expected => None,
        (found, expected) => {
            let short = |value: &Value| value.to_string().chars().take(80).collect::<String>();
            Some(format!(" {} is not {}", short(found), short(expected)))
        }
    }
}
