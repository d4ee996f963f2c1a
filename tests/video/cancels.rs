//! Each shipped workflow, cancelled in each of its steps: as soon as the step's first attempt is
//! recorded as begun. When the job has ended nothing of it is left: no process, no file.
//!
//! How long that takes is measured by `make bench-media`, not here.

use callsheet::media::{MediaOptions, register};
use callsheet::{CancelAnswer, Engine, Event, JobHandle, StepIndex, Submit};
use futures::StreamExt;
use serde_json::Value;

use super::media::{files, workers};
use super::samples::{Example, wanted};

/// A step may be over before its cancel arrives; then the job is asked for once more.
const TRIES: usize = 5;

#[test]
fn cancelled_in_any_step_nothing_of_the_job_is_left() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for example in wanted() {
        let (mut hit, mut missed) = (Vec::new(), Vec::new());
        runtime.block_on(async {
            let site = Site::open().await;
            for step in site.steps(&example) {
                let fate = site.cancel_in(&example, &step).await;
                match fate {
                    Fate::Cancelled => hit.push(step),
                    other => missed.push((step, other)),
                }
            }
            site.engine.shutdown().await;
        });
        println!("{}: cancelled in {hit:?}; but not in {missed:?}", example.workflow);
        let over = missed.iter().filter(|(_, fate)| *fate == Fate::Over).count();
        assert!(over <= 1 && hit.len() >= missed.len(), "{}: in {hit:?} only", example.workflow);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Cancelled,
    /// The example does not need the step.
    NotRun,
    /// The last step, and over each time before the cancel arrived; nothing was left either.
    Over,
}

/// An engine in this process. One for all steps of a workflow, so that what was worked out for a
/// job before, up to its cancel, need not be worked out again.
struct Site {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Site {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let builder = Engine::builder().data_dir(dir.path().join("state"));
        let options = MediaOptions { openai: None, ..MediaOptions::local() };
        let engine = register(builder, &options).open().await.unwrap();
        Self { dir, engine }
    }

    fn steps(&self, example: &Example) -> Vec<String> {
        let plan = self.engine.workflow(&example.workflow).unwrap();
        plan.workflow().steps.iter().map(|step| step.id.clone()).collect()
    }

    async fn cancel_in(&self, example: &Example, step: &str) -> Fate {
        for n in 0..TRIES {
            let mut submit = Submit::named(&example.workflow, example.json());
            if n > 0 {
                // What was worked out the last time would be recalled in no time.
                submit = submit.no_cache();
            }
            let job = self.engine.submit(submit).await.unwrap().job;
            if !self.begins(&job, &example.workflow, step).await {
                let ended = job.wait().await.unwrap();
                assert_eq!(ended.head.status.as_str(), "succeeded", "{example:?}");
                return Fate::NotRun;
            }
            let answer = job.cancel(None).await.unwrap();
            let ended = job.wait().await.unwrap();
            self.nothing_is_left(&format!("{} in {step}", example.workflow));
            if answer == CancelAnswer::Accepted {
                assert_eq!(ended.head.status.as_str(), "cancelled", "{example:?} in {step}");
                return Fate::Cancelled;
            }
        }
        Fate::Over
    }

    /// Waits until the step's first attempt is recorded; false when the job ends without one.
    async fn begins(&self, job: &JobHandle, workflow: &str, step: &str) -> bool {
        let plan = self.engine.workflow(workflow).unwrap();
        let wanted: StepIndex = plan.index_of(step).unwrap();
        let mut records = std::pin::pin!(job.events(0));
        while let Some(record) = records.next().await {
            let begins =
                |event: &Event| matches!(event, Event::StepStarted { step, .. } if *step == wanted);
            if record.unwrap().events.iter().any(begins) {
                return true;
            }
        }
        false
    }

    fn nothing_is_left(&self, when: &str) {
        let state = self.dir.path().join("state");
        assert_eq!(workers(&state), Vec::<u32>::new(), "{when}: processes are left");
        let left = files(&state.join("work"));
        assert!(left.is_empty(), "{when}: files are left: {left:?}");
        let mut staged = files(&state.join("artifacts/tmp"));
        staged.retain(|path| path.file_name().is_none_or(|name| name != "lock"));
        assert!(staged.is_empty(), "{when}: half files are left: {staged:?}");
    }
}

/// The examples mean the same as JSON as they do on the command line.
#[test]
fn what_is_repeated_is_a_list() {
    for example in wanted() {
        let json = example.json();
        for input in &example.inputs {
            let (name, text) = input.split_once('=').unwrap();
            let given = &json[name];
            let texts = |value: &Value| value.as_str().map_or(value.to_string(), ToOwned::to_owned);
            let all: Vec<String> =
                given.as_array().map_or(vec![texts(given)], |all| all.iter().map(texts).collect());
            assert!(all.iter().any(|it| it == text), "{name}: {given}");
        }
    }
}
