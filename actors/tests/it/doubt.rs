//! Steps that must not be done twice: what leaves no answer is in doubt, and policies, probes and
//! persons decide. A ledger outside the engine counts the deeds.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callsheet_actors::{
    CancelAnswer, Engine, EngineError, HELD_UNTIL, JobHandle, Probed, Step, StepContext, StepError,
    StepResult, Submit,
};
use callsheet_engine::definition::Effect;
use callsheet_engine::{Event, Resolution};
use callsheet_storage::JobStatus;
use serde_json::{Value, json};

use crate::world::{Runs, eventually, failure, kinds, output, workflow};

/// The outside: what was done, by key, and how the next attempts and probes behave.
#[derive(Clone, Default)]
pub(crate) struct Outside(Arc<Inner>);

#[derive(Default)]
struct Inner {
    deeds: AtomicU32,
    keys: Mutex<Vec<String>>,
    /// The body gives no answer: `0` it does, `1` it says so, `2` it panics, `3` it hangs.
    silence: AtomicU32,
    /// Whether the silent body does its deed before it falls silent.
    idle: AtomicBool,
    /// Whether the probe cannot tell.
    blind: AtomicBool,
}

impl Step for Outside {
    type Input = Value;
    type Output = Value;

    fn kind(&self) -> String {
        "once".into()
    }

    fn effect(&self) -> Effect {
        Effect::Once
    }

    fn probes(&self) -> bool {
        true
    }

    async fn run(&self, _: Value, context: StepContext) -> StepResult<Value> {
        if !self.0.idle.swap(false, Ordering::SeqCst) {
            self.0.deeds.fetch_add(1, Ordering::SeqCst);
            self.0.keys.lock().unwrap().push(context.idempotency_key().to_owned());
        }
        match self.0.silence.swap(0, Ordering::SeqCst) {
            1 => Err(StepError::unanswered("the line is dead")),
            2 => panic!("on purpose"),
            3 => std::future::pending().await,
            _ => Ok(json!({ "attempt": context.attempt() })),
        }
    }

    async fn probe(&self, _: Value, context: StepContext) -> StepResult<Probed<Value>> {
        if self.0.blind.load(Ordering::SeqCst) {
            return Ok(Probed::Unknown);
        }
        let keys = self.0.keys.lock().unwrap();
        Ok(match keys.iter().any(|key| key == context.idempotency_key()) {
            true => Probed::Done(json!("found")),
            false => Probed::NotDone,
        })
    }
}

impl Outside {
    pub(crate) fn silent(how: u32) -> Self {
        let outside = Self::default();
        outside.0.silence.store(how, Ordering::SeqCst);
        outside
    }

    /// Makes the next body give no answer.
    pub(crate) fn silence(&self, how: u32) {
        self.0.silence.store(how, Ordering::SeqCst);
    }

    pub(crate) fn deeds(&self) -> u32 {
        self.0.deeds.load(Ordering::SeqCst)
    }

    async fn engine(&self, policy: &str) -> Engine {
        let steps = workflow(&format!(
            "  - {{ id: pay, uses: once, in_doubt: {policy}, timeout: 300ms, \
             retry: {{ max_attempts: 2, initial: 1ms, jitter: 0 }} }}"
        ));
        let builder = kinds(&Runs::default()).step(self.clone()).in_memory();
        builder.workflow(steps).open().await.unwrap()
    }
}

async fn submit(engine: &Engine) -> JobHandle {
    engine.submit(Submit::named("test", json!({}))).await.unwrap().job
}

/// Waits until all that the job waits for is a person.
async fn until_held(job: &JobHandle) {
    loop {
        let view = job.view().await.unwrap();
        if view.head.status == (JobStatus::Sleeping { until: HELD_UNTIL }) {
            return assert!(view.state.is_held());
        }
        assert!(!view.head.status.has_ended(), "{view:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn kinds_of(job: &JobHandle) -> Vec<&'static str> {
    let records = job.records(0).await.unwrap();
    records.iter().flat_map(|record| &record.events).map(Event::kind).collect()
}

#[tokio::test]
async fn whatever_leaves_no_answer_is_held_and_costs_no_actor() {
    for silence in 1..=3 {
        let outside = Outside::silent(silence);
        let engine = outside.engine("hold").await;
        let job = submit(&engine).await;
        until_held(&job).await;
        eventually("the job has no actor", || engine.stats().jobs_active == 0).await;
        let told = ["JobSubmitted", "StepStarted", "StepInDoubt", "StepHeld"];
        assert_eq!(kinds_of(&job).await, told, "{silence}");
        job.resolve("pay", None, Resolution::Succeeded(json!(7))).await.unwrap();
        let view = job.wait().await.unwrap();
        assert_eq!((output(&view, "pay"), outside.deeds()), (json!(7), 1), "{silence}");
    }
}

#[tokio::test]
async fn a_person_may_have_it_made_again_or_failed() {
    let outside = Outside::silent(1);
    let engine = outside.engine("hold").await;
    let job = submit(&engine).await;
    until_held(&job).await;
    job.resolve("pay", Some(0), Resolution::Retry).await.unwrap();
    let view = job.wait().await.unwrap();
    assert_eq!((output(&view, "pay"), outside.deeds()), (json!({ "attempt": 2 }), 2));

    outside.silence(1);
    let job = submit(&engine).await;
    until_held(&job).await;
    job.resolve("pay", None, Resolution::Failed("it bounced".into())).await.unwrap();
    assert_eq!(failure(&job.wait().await.unwrap()), "step.in_doubt");
}

#[tokio::test]
async fn only_what_is_held_can_be_resolved() {
    let outside = Outside::silent(1);
    let engine = outside.engine("hold").await;
    let job = submit(&engine).await;
    until_held(&job).await;
    let code = async |step: &str, item| {
        job.resolve(step, item, Resolution::Retry).await.map_err(|error| error.code())
    };
    assert_eq!(code("pya", None).await, Err("step.unknown"));
    assert_eq!(code("pay", Some(1)).await, Err("step.not_held"));
    let large = json!("x".repeat(callsheet_engine::limits::MAX_OUTPUT_BYTES + 1));
    let told = job.resolve("pay", None, Resolution::Succeeded(large)).await;
    assert!(matches!(told, Err(EngineError::ResultInvalid(_))), "{told:?}");
    // Of two who decide at once, one is told that the other was quicker.
    let said = || job.resolve("pay", None, Resolution::Succeeded(json!(1)));
    let (one, other) = tokio::join!(said(), said());
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    job.wait().await.unwrap();
    assert_eq!(code("pay", None).await, Err("step.not_held"));
    assert_eq!(outside.deeds(), 1);
}

#[tokio::test]
async fn a_held_job_is_cancelled_at_once() {
    let outside = Outside::silent(1);
    let engine = outside.engine("hold").await;
    let job = submit(&engine).await;
    until_held(&job).await;
    assert_eq!(job.cancel(None).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(job.view().await.unwrap().head.status, JobStatus::Cancelled);
    let told = job.resolve("pay", None, Resolution::Retry).await;
    assert_eq!(told.map_err(|error| error.code()), Err("step.not_held"));
}

#[tokio::test]
async fn a_probe_finds_what_was_done_and_has_the_rest_made_again() {
    let outside = Outside::silent(3);
    let engine = outside.engine("probe").await;
    let view = submit(&engine).await.wait().await.unwrap();
    assert_eq!((output(&view, "pay"), outside.deeds()), (json!("found"), 1));

    let idle = Outside::silent(1);
    idle.0.idle.store(true, Ordering::SeqCst);
    let engine = idle.engine("probe").await;
    let view = submit(&engine).await.wait().await.unwrap();
    assert_eq!((output(&view, "pay"), idle.deeds()), (json!({ "attempt": 2 }), 1));

    let blind = Outside::silent(2);
    blind.0.blind.store(true, Ordering::SeqCst);
    let engine = blind.engine("probe").await;
    let job = submit(&engine).await;
    until_held(&job).await;
    job.resolve("pay", None, Resolution::Succeeded(json!(1))).await.unwrap();
    job.wait().await.unwrap();
    assert_eq!(blind.deeds(), 1);
}

#[tokio::test]
async fn the_other_policies_repeat_or_fail() {
    let again = Outside::silent(2);
    let view = submit(&again.engine("retry").await).await.wait().await.unwrap();
    assert_eq!((output(&view, "pay"), again.deeds()), (json!({ "attempt": 2 }), 2));

    let failed = Outside::silent(3);
    let view = submit(&failed.engine("fail").await).await.wait().await.unwrap();
    assert_eq!((failure(&view).as_str(), failed.deeds()), ("step.in_doubt", 1));
}

#[tokio::test]
async fn what_a_stop_cut_off_is_held_by_the_next_engine() {
    let directory = tempfile::tempdir().unwrap();
    let outside = Outside::silent(3);
    let steps = workflow("  - { id: pay, uses: once, in_doubt: hold }");
    let open = async || {
        let builder = kinds(&Runs::default()).step(outside.clone()).workflow(&*steps);
        builder.data_dir(directory.path()).open().await.unwrap()
    };
    let before = open().await;
    let job = submit(&before).await;
    eventually("the deed is done", || outside.deeds() == 1).await;
    before.stop_now().await;
    let middle = open().await;
    until_held(&middle.job(job.id())).await;
    middle.shutdown().await;
    // Nobody wakes it; a word does.
    let after = open().await;
    let job = after.job(job.id());
    assert_eq!(after.stats().jobs_active, 0);
    job.resolve("pay", None, Resolution::Succeeded(json!("seen"))).await.unwrap();
    let view = job.wait().await.unwrap();
    assert_eq!((output(&view, "pay"), outside.deeds()), (json!("seen"), 1));
    after.shutdown().await;
}

#[tokio::test]
async fn a_deed_that_never_began_is_in_no_doubt() {
    let outside = Outside::silent(0);
    let places = format!("{:?}", (0..1_024).collect::<Vec<u32>>());
    let full = format!(
        "name: full\nsteps:\n  - {{ id: n, uses: stay, concurrency: 1024, for_each: {places} }}"
    );
    let pay = workflow("  - { id: pay, uses: once, in_doubt: hold }");
    let directory = tempfile::tempdir().unwrap();
    let begun = Runs::default();
    let open = async || {
        let count = begun.clone();
        let stay = move |_: Value, _: StepContext| {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<StepResult<Value>>()
        };
        let builder = kinds(&Runs::default()).step(outside.clone()).step_fn("stay", stay);
        builder.workflow(&*full).workflow(&*pay).data_dir(directory.path()).open().await.unwrap()
    };
    let engine = open().await;
    engine.submit(Submit::named("full", json!({}))).await.unwrap();
    eventually("all places are taken", || begun.load(Ordering::SeqCst) == 1_024).await;
    let job = submit(&engine).await;
    eventually("the deed waits for one", || engine.stats().attempts_open == 1_025).await;
    engine.stop_now().await;
    assert_eq!(outside.deeds(), 0);
    let heir = open().await;
    let told = kinds_of(&heir.job(job.id())).await;
    assert_eq!(told[..3], ["JobSubmitted", "StepStarted", "AttemptInterrupted"]);
    heir.stop_now().await;
}
