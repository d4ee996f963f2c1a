//! Pure steps run ahead of the disk, nothing else does. The points are global, so this is a program
//! of its own, and one test after the other.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use callsheet_actors::{
    CancelAnswer, Engine, JobHandle, Step, StepContext, StepError, StepResult, Submit,
};
use callsheet_engine::Event;
use callsheet_engine::definition::Effect;
use callsheet_storage::JobStatus;
use serde_json::{Value, json};

/// Only something that never happens takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What must not happen has this long to happen.
const TIME_FOR_A_FAULT: Duration = Duration::from_millis(200);

static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What the bodies of one test share.
#[derive(Clone, Default)]
struct World {
    engine: Arc<OnceLock<Engine>>,
    /// Bodies that ran, by step, each with whether its start was on record.
    ran: Arc<Mutex<Vec<(String, bool)>>>,
    hanging: Arc<AtomicU32>,
}

struct Look {
    effect: Effect,
    world: World,
}

impl Step for Look {
    type Input = Value;
    type Output = String;

    fn kind(&self) -> String {
        if self.effect == Effect::Pure { "pure".into() } else { "keyed".into() }
    }

    fn effect(&self) -> Effect {
        self.effect
    }

    async fn run(&self, input: Value, context: StepContext) -> StepResult<String> {
        let job = self.world.engine.get().unwrap().job(context.job());
        let recorded = is_recorded(&job, &context).await?;
        self.world.ran.lock().unwrap().push((context.step().to_owned(), recorded));
        if input["hang_at"] == json!(context.attempt()) {
            self.world.hanging.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        Ok("x".repeat(10))
    }
}

/// Whether the start of this very attempt is durable.
async fn is_recorded(job: &JobHandle, context: &StepContext) -> StepResult<bool> {
    let view = job.view().await.map_err(|error| StepError::fatal("test", error.to_string()))?;
    let index = view.state.plan.index_of(context.step()).unwrap();
    let records =
        job.records(0).await.map_err(|error| StepError::fatal("test", error.to_string()))?;
    let mut events = records.iter().flat_map(|record| &record.events);
    Ok(events.any(|event| {
        matches!(event, Event::StepStarted { step, attempt, .. }
            if *step == index && *attempt == context.attempt())
    }))
}

impl World {
    async fn open(&self, root: Option<&Path>) -> Engine {
        let look = |effect| Look { effect, world: self.clone() };
        let builder = Engine::builder().step(look(Effect::Pure)).step(look(Effect::Idempotent));
        let place = match root {
            Some(root) => builder.data_dir(root),
            None => builder.in_memory(),
        };
        let engine = place.open().await.unwrap();
        assert!(self.engine.set(engine.clone()).is_ok());
        engine
    }

    fn ran(&self) -> Vec<String> {
        self.ran.lock().unwrap().iter().map(|(step, _)| step.clone()).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

fn chain(steps: &[&str]) -> String {
    let mut text = "name: test\nsteps:\n".to_owned();
    for (n, uses) in steps.iter().enumerate() {
        let needs = if n == 0 { String::new() } else { format!(", needs: [s{}]", n - 1) };
        text += &format!("  - {{ id: s{n}, {uses}{needs} }}\n");
    }
    text
}

async fn submit(engine: &Engine, steps: &[&str]) -> JobHandle {
    let plan = engine.validate(&chain(steps)).unwrap();
    engine.submit(Submit::plan(plan, json!({}))).await.unwrap().job
}

#[tokio::test(flavor = "multi_thread")]
async fn pure_steps_run_ahead_and_what_can_be_seen_waits_for_the_disk() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::default();
    let engine = world.open(None).await;
    fail::cfg("actors.commit.before", "pause").unwrap();
    let job =
        submit(&engine, &["uses: pure", "uses: pure", "uses: pure", "uses: keyed", "uses: keyed"])
            .await;
    world.until("three pure steps ran", |world| world.ran().len() == 3).await;
    assert_eq!(job.records(0).await.unwrap().len(), 1, "none of it is durable");

    fail::remove("actors.commit.before");
    let view = tokio::time::timeout(PATIENCE, job.wait()).await.unwrap().unwrap();
    assert_eq!(view.head.status, JobStatus::Succeeded);
    let ran = world.ran.lock().unwrap().clone();
    let expected = [("s0", false), ("s1", false), ("s2", false), ("s3", true), ("s4", true)];
    let ran: Vec<_> = ran.iter().map(|(step, recorded)| (step.as_str(), *recorded)).collect();
    assert_eq!(ran, expected, "each body once; the keyed ones after their own records");
    assert_eq!(view.records, 1 + 4, "what gathered while the first was written is one record");
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_seen_never_begins_before_its_start_is_durable() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::default();
    let engine = world.open(None).await;
    fail::cfg("actors.commit.before", "pause").unwrap();
    let job = submit(&engine, &["uses: keyed"]).await;
    tokio::time::sleep(TIME_FOR_A_FAULT).await;
    let too_soon = world.ran();
    fail::remove("actors.commit.before");
    assert_eq!(too_soon, [""; 0], "its start is not on the disk");
    let view = tokio::time::timeout(PATIENCE, job.wait()).await.unwrap().unwrap();
    assert_eq!((view.head.status, world.ran().len()), (JobStatus::Succeeded, 1));
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_answered_when_all_that_was_decided_before_is_durable() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = World::default();
    let engine = world.open(None).await;
    fail::cfg("actors.commit.before", "pause").unwrap();
    let job = submit(&engine, &["uses: pure", "uses: pure, with: { hang_at: 1 }"]).await;
    world.until("the second hangs", |world| world.hanging.load(Ordering::SeqCst) == 1).await;
    let asked = tokio::spawn({
        let job = job.clone();
        async move { job.cancel(None).await }
    });
    // Nothing says that the cancel was taken in, which is the point: an answer would come by now.
    tokio::time::sleep(TIME_FOR_A_FAULT).await;
    assert!(!asked.is_finished(), "an answer before the record");
    fail::remove("actors.commit.before");
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, CancelAnswer::Accepted);
    let records = job.records(0).await.unwrap();
    let events: Vec<_> =
        records.iter().flat_map(|record| &record.events).map(Event::kind).collect();
    assert!(events.contains(&"CancelRequested"), "{events:?}");
    let view = tokio::time::timeout(PATIENCE, job.wait()).await.unwrap().unwrap();
    assert_eq!(view.head.status, JobStatus::Cancelled);
    engine.shutdown().await;
}

// A step that kills the process must be counted: so it is on record from its second start on.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_interruption_pure_steps_wait_for_their_records_too() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let root = tempfile::tempdir().unwrap();
    let before = World::default();
    let engine = before.open(Some(root.path())).await;
    let job = submit(
        &engine,
        &["uses: pure", "uses: pure, with: { hang_at: 1 }", "uses: pure", "uses: pure"],
    )
    .await;
    before.until("the second hangs", |world| world.hanging.load(Ordering::SeqCst) == 1).await;
    let id = job.id();
    engine.stop_now().await;
    drop((engine, job, before));

    let after = World::default();
    fail::cfg("actors.commit.before", "pause").unwrap();
    let engine = after.open(Some(root.path())).await;
    tokio::time::sleep(TIME_FOR_A_FAULT).await;
    fail::remove("actors.commit.before");
    let job = engine.job(id);
    let view = tokio::time::timeout(PATIENCE, job.wait()).await.unwrap().unwrap();
    assert_eq!(view.head.status, JobStatus::Succeeded);
    let ran = after.ran.lock().unwrap().clone();
    let expected = ["s1", "s2", "s3"].map(|step| (step.to_owned(), true));
    assert_eq!(ran, expected);
    engine.shutdown().await;
}
