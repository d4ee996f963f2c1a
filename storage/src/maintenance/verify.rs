//! Reads all that a store holds and says everything that is wrong with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use callsheet_engine::{Ending, Event, JobId, JobState, Phase, Plan, fold};
use serde::Serialize;

use super::Progress;
use super::error::MaintenanceError;
use super::named::{lets_files_go, references_in};
use super::restore::blocking;
use crate::artifacts::{ArtifactError, ArtifactStore, Digest};
use crate::error::StoreError;
use crate::store::{JobHead, Record, Store};

/// What to look at.
#[derive(Clone)]
pub struct VerifyOptions {
    /// The content of stored files, too: all of it is read.
    pub artifacts: bool,
    /// Is told how far it has come.
    pub progress: Progress,
}

/// What was read, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Jobs.
    pub jobs: u64,
    /// Those that have ended.
    pub ended: u64,
    /// Records of their journals.
    pub records: u64,
    /// Idempotency keys.
    pub keys: u64,
    /// Definitions.
    pub definitions: u64,
    /// Stored files that records refer to.
    pub artifacts: u64,
    /// Their bytes.
    pub artifact_bytes: u64,
    /// Everything that is wrong.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What it is, such as `job` and its id.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
}

/// Reads every job and folds its journal, every idempotency key, every definition that a job runs
/// and every stored file that a record refers to.
///
/// # Errors
/// When the store fails as a whole; damage to a part of it is in the answer.
pub async fn verify(
    store: &dyn Store,
    artifacts: Arc<ArtifactStore>,
    options: VerifyOptions,
) -> Result<Verification, MaintenanceError> {
    let mut verifier = Verifier { store, plans: HashMap::new(), seen: Seen::default() };
    let mut ids: Vec<JobId> = Vec::new();
    loop {
        let page = store.ids(ids.last().copied()).await?;
        if page.is_empty() {
            break;
        }
        ids.extend(page);
    }
    for (id, done) in ids.iter().zip(1..) {
        verifier.job(*id).await?;
        (options.progress)("jobs", done, ids.len() as u64);
    }
    verifier.keys(&ids).await?;
    let Verifier { plans, mut seen, .. } = verifier;
    seen.found.definitions = plans.values().flatten().count() as u64;
    if options.artifacts {
        let progress = options.progress;
        seen = blocking(move || {
            seen.files(&artifacts, &progress);
            Ok(seen)
        })
        .await?;
    }
    Ok(seen.found)
}

struct Verifier<'s> {
    store: &'s dyn Store,
    /// Plans by digest; `None` for a definition that is damaged, which was said once.
    plans: HashMap<String, Option<Arc<Plan>>>,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    found: Verification,
    /// Files that are referred to: the first job to do so, the length, whether they must be there.
    files: BTreeMap<Digest, (JobId, u64, bool)>,
}

impl Verifier<'_> {
    async fn job(&mut self, id: JobId) -> Result<(), MaintenanceError> {
        self.seen.found.jobs += 1;
        let head = match self.store.head(id).await {
            Ok(Some(head)) => Some(head),
            Ok(None) => {
                self.seen.fault(format!("job `{id}`"), "its head is missing");
                None
            }
            Err(error) => {
                self.seen.fault(format!("job `{id}`"), part_of(error)?);
                None
            }
        };
        let records = match self.store.journal(id, 0).await {
            Ok(records) => records,
            Err(error) => {
                self.seen.fault(format!("job `{id}`"), part_of(error)?);
                return Ok(());
            }
        };
        self.seen.found.records += records.len() as u64;
        let must_be_there = !lets_files_go(&records);
        for artifact in references_in(&records) {
            let file = self.seen.files.entry(artifact.artifact);
            file.or_insert((id, artifact.size, false)).2 |= must_be_there;
        }
        let Some(head) = head else { return Ok(()) };
        self.seen.found.ended += u64::from(head.status.has_ended());
        let Some(plan) = self.plan(&head.workflow.digest).await? else {
            let why = format!("its definition `{}` cannot be used", head.workflow.digest);
            self.seen.fault(format!("job `{id}`"), why);
            return Ok(());
        };
        if let Err(why) = check_job(&head, &records, plan) {
            self.seen.fault(format!("job `{id}`"), why);
        }
        Ok(())
    }

    /// The plan of a definition, if it is one.
    async fn plan(&mut self, digest: &str) -> Result<Option<Arc<Plan>>, MaintenanceError> {
        if let Some(known) = self.plans.get(digest) {
            return Ok(known.clone());
        }
        let plan = match self.store.definition(digest.to_owned()).await {
            Ok(Some(workflow)) => Plan::recompile(workflow).map_err(|them| them.to_string()),
            Ok(None) => Err("it is not stored".to_owned()),
            Err(error) => Err(part_of(error)?),
        };
        let plan = plan.and_then(|plan| match plan.digest() == digest {
            true => Ok(Arc::new(plan)),
            false => Err(format!("it has the digest `{}`", plan.digest())),
        });
        let plan = plan.map_err(|why| self.seen.fault(format!("definition `{digest}`"), why)).ok();
        self.plans.insert(digest.to_owned(), plan.clone());
        Ok(plan)
    }

    async fn keys(&mut self, ids: &[JobId]) -> Result<(), MaintenanceError> {
        let mut last = None;
        let mut jobs = BTreeSet::new();
        loop {
            let page = self.store.keys(last).await?;
            let Some(end) = page.last() else { return Ok(()) };
            last = Some(end.digest);
            for key in page {
                self.seen.found.keys += 1;
                let what = format!("idempotency key `{}`", key.digest);
                match key.target {
                    Err(why) => self.seen.fault(what, why),
                    Ok(target) if ids.binary_search(&target.job).is_err() => {
                        self.seen.fault(what, format!("its job `{}` is missing", target.job));
                    }
                    Ok(target) if !jobs.insert(target.job) => {
                        let why = format!("its job `{}` has another one too", target.job);
                        self.seen.fault(what, why);
                    }
                    Ok(_) => {}
                }
            }
        }
    }
}

impl Seen {
    fn fault(&mut self, what: String, why: impl Into<String>) {
        self.found.faults.push(Fault { what, why: why.into() });
    }

    /// Reads all files that are referred to. Blocks.
    fn files(&mut self, artifacts: &ArtifactStore, progress: &Progress) {
        let files = std::mem::take(&mut self.files);
        let total = files.len() as u64;
        for ((digest, (job, size, must_be_there)), done) in files.into_iter().zip(1..) {
            let checked = artifacts.verify(&digest).and_then(|_| artifacts.size(&digest));
            let is_gone = matches!(checked, Err(ArtifactError::Missing(_)));
            self.found.artifacts += u64::from(must_be_there || !is_gone);
            match checked {
                Err(_) if is_gone && !must_be_there => {}
                Ok(found) if found == size => self.found.artifact_bytes += found,
                Ok(found) => {
                    let why = format!("it has {found} bytes; job `{job}` says {size}");
                    self.fault(format!("artifact `{digest}`"), why);
                }
                Err(error) => {
                    let why = format!("job `{job}` refers to it: {error}");
                    self.fault(format!("artifact `{digest}`"), why);
                }
            }
            progress("files", done, total);
        }
    }
}

/// Whether a journal is one of this definition, and the head what it says.
fn check_job(head: &JobHead, records: &[Record], plan: Arc<Plan>) -> Result<(), String> {
    let gap = records.iter().zip(0..).find(|(record, n)| record.sequence != *n);
    if let Some((record, n)) = gap {
        return Err(format!("record {n} is missing: {} follows", record.sequence));
    }
    let events = records.iter().flat_map(|record| &record.events);
    let state = fold(head.id, plan, events).map_err(|error| error.to_string())?;
    agree(head, records, &state)
}

fn agree(head: &JobHead, records: &[Record], state: &JobState) -> Result<(), String> {
    let begun = records.first().and_then(|record| record.events.first());
    let Some(Event::JobSubmitted { workflow, labels, .. }) = begun else {
        return Err("its journal does not begin with its submission".to_owned());
    };
    if *workflow != head.workflow || *labels != head.labels {
        return Err("its head names another workflow or other labels than its journal".to_owned());
    }
    let (status, found) = (head.status.as_str(), phase_of(state));
    if status == found || (status == "sleeping" && found == "running") {
        return Ok(());
    }
    Err(format!("its head says {status}, its journal {found}"))
}

fn phase_of(state: &JobState) -> &'static str {
    match &state.phase {
        Phase::Running => "running",
        Phase::Stopping(_) => "stopping",
        Phase::Ended { ending: Ending::Succeeded(_), .. } => "succeeded",
        Phase::Ended { ending: Ending::Failed(_), .. } => "failed",
        Phase::Ended { ending: Ending::Cancelled, .. } => "cancelled",
    }
}

/// What is wrong with a part, unless it is the whole store that has failed.
fn part_of(error: StoreError) -> Result<String, MaintenanceError> {
    match error {
        StoreError::Damaged { why, .. } | StoreError::Unreadable(why) => Ok(why),
        StoreError::UnknownJob(_) => Ok("its journal is missing".to_owned()),
        other => Err(other.into()),
    }
}
