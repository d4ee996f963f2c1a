//! The works that are measured: a job of ten steps with results of 100 bytes, seen by each part of
//! the durable path.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use callsheet::definition::Workflow;
use callsheet::{
    Event, JobHead, JobId, JobState, JobStatus, Plan, SledStore, Store, Timestamp, WorkflowRef,
    fold,
};
use callsheet_engine::definition::{Catalog, Effect, KindInfo};
use callsheet_engine::{Action, Input, Outcome, Submission, decide, submit};
use callsheet_storage::probe::Probe;
use callsheet_storage::{Commit, NewJob};
use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Steps of the job.
const STEPS: u64 = 10;

/// Records of the job: accepted, begun, and one for each end.
const RECORDS: u64 = STEPS + 2;

/// Jobs whose commits share a flush.
const JOBS: u64 = 256;

/// One part of the path.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// How many of them are done at once.
    pub(crate) units: u64,
    /// How often it is repeated to count its instructions: often enough that the start of a store,
    /// which is not the same twice, does not show.
    pub(crate) repeats: u64,
    /// Makes everything ready; what it answers with does the work once.
    pub(crate) prepare: fn() -> Box<dyn FnMut()>,
}

/// All of them, in the order of the path.
pub(crate) const WORKS: [&Work; 6] = [
    &Work { name: "decide", unit: "step", units: STEPS, repeats: 100, prepare: deciding },
    &Work { name: "fold", unit: "step", units: STEPS, repeats: 100, prepare: folding },
    &Work { name: "pack", unit: "record", units: JOBS, repeats: 20, prepare: packing },
    &Work { name: "unpack", unit: "record", units: JOBS, repeats: 20, prepare: unpacking },
    &Work {
        name: "commit alone",
        unit: "record",
        units: RECORDS,
        repeats: 400,
        prepare: || committing(1),
    },
    &Work {
        name: "commit at 256",
        unit: "record",
        units: RECORDS * JOBS,
        repeats: 16,
        prepare: || committing(JOBS),
    },
];

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} {}s", self.name, self.units, self.unit)
    }
}

/// Does a work so many times.
pub(crate) fn play(name: &str, count: u64) {
    let work = WORKS.iter().find(|work| work.name == name).expect("a work of this name");
    let mut once = (work.prepare)();
    (0..count).for_each(|_| once());
}

fn plan() -> Arc<Plan> {
    let mut catalog = Catalog::default();
    catalog.insert(KindInfo {
        name: "bench.no_op".to_owned(),
        description: "Nothing.".to_owned(),
        effect: Effect::Pure,
        probes: false,
        cache: None,
        input_schema: json!({}),
        output_schema: json!({ "type": "string" }),
    });
    let step = |n: u64| match n {
        1 => "  - { id: s1, uses: bench.no_op }\n".to_owned(),
        n => format!("  - {{ id: s{n}, uses: bench.no_op, needs: [s{}] }}\n", n - 1),
    };
    let steps: String = (1..=STEPS).map(step).collect();
    let text = format!("name: chain10\nsteps:\n{steps}output: \"{{{{ steps.s10 }}}}\"\n");
    Arc::new(Plan::load(&text, &catalog).expect("the definition is sound"))
}

fn id(number: u128) -> JobId {
    JobId::from_bytes(number.to_be_bytes())
}

/// A whole job, as the journal records it: the events of each record.
fn decided(plan: &Arc<Plan>) -> (JobState, Vec<Vec<Event>>) {
    let submission = Submission {
        id: id(1),
        plan: plan.clone(),
        input: json!({}),
        labels: Default::default(),
        options: Default::default(),
    };
    let now = Timestamp(1_700_000_000_000);
    let (mut state, first) = submit(submission, now).expect("it takes any input");
    let mut records = vec![vec![first]];
    let mut input = Input::Resume;
    loop {
        let decision = decide(&mut state, input, now);
        records.push(decision.events);
        let Some(Action::StartStep(start)) = decision.actions.into_iter().next() else { break };
        let outcome = Outcome::Succeeded(Value::String("x".repeat(98)));
        input = Input::StepEnded { token: start.token, outcome };
    }
    assert!(state.has_ended() && records.len() as u64 == RECORDS, "{records:?}");
    (state, records)
}

fn deciding() -> Box<dyn FnMut()> {
    let plan = plan();
    Box::new(move || {
        black_box(decided(&plan));
    })
}

fn folding() -> Box<dyn FnMut()> {
    let plan = plan();
    let events: Vec<Event> = decided(&plan).1.concat();
    Box::new(move || {
        let state = fold(id(1), plan.clone(), black_box(&events));
        black_box(state.expect("the journal is sound"));
    })
}

/// The record of a step that ends and one that begins, for as many jobs as share a batch, and what
/// packs it.
fn batch() -> (TempDir, Probe, Vec<Vec<Event>>) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let probe = Probe::new(dir.path()).expect("a directory of its own");
    let record = decided(&plan()).1.swap_remove(STEPS as usize / 2);
    (dir, probe, vec![record; JOBS as usize])
}

fn packing() -> Box<dyn FnMut()> {
    let (_, mut probe, records) = batch();
    Box::new(move || {
        black_box(probe.pack(black_box(&records)).expect("the records are small"));
    })
}

fn unpacking() -> Box<dyn FnMut()> {
    let (_, mut probe, records) = batch();
    let values = probe.pack(&records).expect("the records are small");
    Box::new(move || {
        black_box(probe.unpack(black_box(&values)).expect("it was packed just now"));
    })
}

/// The store with what it needs to write jobs, each under an id of its own.
struct Writing {
    runtime: Runtime,
    store: SledStore,
    definition: Arc<Workflow>,
    head: JobHead,
    records: Vec<Vec<Event>>,
    last: u128,
    #[expect(dead_code, reason = "kept for its drop, after the store's")]
    dir: TempDir,
}

fn committing(jobs: u64) -> Box<dyn FnMut()> {
    // On the disk of the build: the temporary directory may lie in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let plan = plan();
    let workflow =
        WorkflowRef { name: plan.workflow().name.clone(), digest: plan.digest().to_owned() };
    let at = Timestamp(1_700_000_000_000);
    let head = JobHead {
        id: id(0),
        workflow,
        status: JobStatus::Running,
        submitted_at: at,
        changed_at: at,
        labels: Default::default(),
    };
    let mut writing = Writing {
        runtime: Runtime::new().expect("a runtime"),
        store: SledStore::open(dir.path()).expect("a fresh store"),
        definition: Arc::clone(plan.workflow()),
        head,
        records: decided(&plan).1,
        last: 0,
        dir,
    };
    Box::new(move || writing.write(jobs))
}

impl Writing {
    fn write(&mut self, jobs: u64) {
        let ids: Vec<JobId> = (1..=u128::from(jobs)).map(|n| id(self.last + n)).collect();
        self.last += u128::from(jobs);
        let this = &*self;
        this.runtime.block_on(join_all(ids.into_iter().map(|id| this.one(id))));
    }

    /// One job, each record when the one before it is durable.
    async fn one(&self, id: JobId) {
        let head = |status| JobHead { id, status, ..self.head.clone() };
        let job = NewJob {
            head: head(JobStatus::Running),
            events: self.records[0].clone(),
            definition: Arc::clone(&self.definition),
            idempotency: None,
        };
        self.store.create(job).await.expect("a fresh id");
        let epoch = self.store.claim(id).await.expect("nobody else has it").epoch;
        for (sequence, events) in (0..).zip(&self.records).skip(1) {
            let is_last = sequence + 1 == RECORDS;
            let head = is_last.then(|| head(JobStatus::Succeeded));
            let commit = Commit { job: id, epoch, sequence, events: events.clone(), head };
            self.store.commit(commit).await.expect("the epoch and the sequence are right");
        }
    }
}
