//! What is found in a data directory after a crash, and what must be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use callsheet::{
    ArtifactStore, Digest, Event, JobHead, ListQuery, Record, SledStore, Store, StoreError, Token,
};
use serde_json::Value;

use crate::words::Words;

/// A job as it is recorded.
#[derive(Clone, Debug)]
pub struct Job {
    pub head: JobHead,
    pub records: Vec<Record>,
    /// The steps' ids, in the order of the definition.
    steps: Vec<String>,
}

/// Place of a result in a job: step and item.
pub type Place = (String, u32);

impl Job {
    /// Every attempt that the journal knows: step, item, number.
    fn attempts(&self) -> BTreeMap<Token, (String, u32, u32)> {
        let events = self.records.iter().flat_map(|record| &record.events);
        let started = events.filter_map(|event| match event {
            Event::StepStarted { step, item, attempt, token, .. } => {
                let id = self.steps[usize::try_from(step.0).unwrap()].clone();
                Some((*token, (id, item.0, *attempt)))
            }
            _ => None,
        });
        started.collect()
    }

    /// Every recorded result, by its place.
    pub fn results(&self) -> Result<BTreeMap<Place, Value>, String> {
        let attempts = self.attempts();
        let mut results = BTreeMap::new();
        for event in self.records.iter().flat_map(|record| &record.events) {
            if let Event::StepSucceeded { token, output, .. } = event {
                let (step, item, _) =
                    attempts.get(token).cloned().ok_or("a result of no attempt")?;
                if results.insert((step.clone(), item), output.clone()).is_some() {
                    return Err(format!("two results of `{step}`, item {item}"));
                }
            }
        }
        Ok(results)
    }

    fn has(&self, kind: &str) -> bool {
        self.records.iter().flat_map(|record| &record.events).any(|event| event.kind() == kind)
    }
}

/// All jobs of a data directory, by id.
#[derive(Clone, Debug, Default)]
pub struct Found(pub BTreeMap<String, Job>);

impl Found {
    /// Opens a data directory, reads all of it and closes it.
    pub fn read(data: &Path) -> Result<Self, StoreError> {
        let read = || {
            let store = SledStore::open(data)?;
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let found = read_all(&store).await;
                let closed = store.close().await;
                found.and_then(|found| closed.map(|()| found))
            })
        };
        // A thread of its own: the caller may be inside a runtime.
        std::thread::scope(|scope| scope.spawn(read).join().unwrap())
    }

    /// Everything that was said is here.
    pub fn hold(&self, words: &Words) -> Result<(), String> {
        for job in words.accepted.keys() {
            self.0.get(job).ok_or_else(|| format!("the accepted job {job} is lost"))?;
        }
        for (job, last) in &words.records {
            let known = self.0.get(job).map_or(0, |job| job.records.len() as u64);
            if known <= *last {
                return Err(format!("record {last} of job {job} is lost: it has {known}"));
            }
        }
        for job in &words.cancelled {
            if !self.0.get(job).is_some_and(|job| job.has("CancelRequested")) {
                return Err(format!("the cancel of job {job} is lost"));
            }
        }
        for (job, step, item, attempt) in &words.begun {
            let place = (step.clone(), *item, *attempt);
            let known =
                self.0.get(job).is_some_and(|it| it.attempts().values().any(|a| *a == place));
            if !known {
                return Err(format!("job {job} did {place:?}, and its journal does not know"));
            }
        }
        Ok(())
    }

    /// Each journal is the beginning of the one that was written: nothing in it differs, nothing in
    /// the middle is missing.
    pub fn begins(&self, whole: &Self) -> Result<(), String> {
        for (id, job) in &self.0 {
            let written = whole.0.get(id).ok_or_else(|| format!("nobody submitted job {id}"))?;
            let (count, most) = (job.records.len(), written.records.len());
            if count > most || job.records[..] != written.records[..count] {
                return Err(format!("the journal of job {id} is not what was written"));
            }
            if job.head.workflow != written.head.workflow || job.head.labels != written.head.labels
            {
                return Err(format!("the head of job {id} is not what was written"));
            }
            let over = job.records.last().and_then(|record| record.events.last());
            let over = over.is_some_and(|event| {
                matches!(event.kind(), "JobSucceeded" | "JobFailed" | "JobCancelled")
            });
            if over != job.head.status.has_ended() {
                return Err(format!("head and journal of job {id} do not agree on its end"));
            }
        }
        Ok(())
    }

    /// Every job has ended, and most of them as they should: a run in which all fails shows
    /// nothing.
    pub fn all_ended(&self) -> Result<(), String> {
        let mut as_they_should = 0;
        for (id, job) in &self.0 {
            let status = job.head.status;
            if !status.has_ended() {
                return Err(format!("job {id} did not end"));
            }
            let expected = match job.head.workflow.name.as_str() {
                "failing" => "failed",
                "stopped" => "cancelled",
                _ => "succeeded",
            };
            as_they_should += usize::from(status.as_str() == expected);
        }
        let all = self.0.len();
        match as_they_should * 10 >= all * 8 {
            true => Ok(()),
            false => Err(format!("only {as_they_should} of {all} jobs ended as they should")),
        }
    }

    /// Every file that a recorded result names is there and is whole, and so is every file that
    /// stands under its final name.
    pub fn artifacts_hold(&self, data: &Path) -> Result<(), String> {
        let root = data.join("artifacts");
        if !root.exists() {
            return self.0.values().try_for_each(|job| {
                named_files(job).is_empty().then_some(()).ok_or("all artifacts are lost".to_owned())
            });
        }
        let store = ArtifactStore::open(&root).map_err(|error| error.to_string())?;
        let named = self.0.values().flat_map(named_files).collect::<BTreeSet<_>>();
        for name in named.into_iter().chain(stored_files(&root)) {
            let digest: Digest = name.parse().map_err(|_| format!("no digest: {name}"))?;
            store.verify(&digest).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Results that were seen committed, over all lives of a store.
#[derive(Debug, Default)]
pub struct Memory(BTreeMap<(String, Place), (Value, usize)>);

impl Memory {
    /// No result that was seen before is gone or another one now, and no step that has one began
    /// again since.
    pub fn compare(&mut self, found: &Found, words: &Words) -> Result<(), String> {
        for (id, job) in &found.0 {
            for (place, output) in job.results()? {
                let seen = (output, words.begun.len());
                self.0.entry((id.clone(), place)).or_insert(seen);
            }
        }
        for ((id, place), (output, _)) in &self.0 {
            let now = found.0.get(id).map(Job::results).transpose()?.unwrap_or_default();
            if now.get(place) != Some(output) {
                return Err(format!("the committed result of {place:?} of job {id} changed"));
            }
        }
        for (n, (job, step, item, attempt)) in words.begun.iter().enumerate() {
            let place = (step.clone(), *item);
            match self.0.get(&(job.clone(), place)) {
                Some((_, seen_at)) if n >= *seen_at => {
                    return Err(format!(
                        "`{step}`, item {item}, of job {job} had its result; \
                         attempt {attempt} began"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Digests that the results of a job name.
fn named_files(job: &Job) -> Vec<String> {
    let results = job.results().unwrap_or_default();
    let files = results.values().flat_map(|output| [&output["file"], &output["copy"]]);
    files.filter_map(|file| file["artifact"].as_str()).map(str::to_owned).collect()
}

/// Names of the files that are stored; those that wait to be whole are in a folder of their own.
fn stored_files(root: &Path) -> Vec<String> {
    let shards = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let shards = shards.filter(|path| path.is_dir() && !path.ends_with("tmp"));
    let files = shards.flat_map(|shard| std::fs::read_dir(shard).unwrap());
    files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn read_all(store: &SledStore) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut before = None;
    loop {
        let page = store.list(ListQuery { limit: 100, before, ..ListQuery::default() }).await?;
        for head in page.heads {
            let records = store.journal(head.id, 0).await?;
            let definition = store.definition(head.workflow.digest.clone()).await?;
            let steps = definition.map(|it| it.steps.into_iter().map(|step| step.id).collect());
            let damaged = || StoreError::Damaged { job: head.id, why: "no definition".to_owned() };
            let steps = steps.ok_or_else(damaged)?;
            found.0.insert(head.id.to_string(), Job { head, records, steps });
        }
        before = page.next;
        if before.is_none() {
            return Ok(found);
        }
    }
}
