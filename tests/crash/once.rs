//! A step that must not be done twice, killed between its deed and its result, or between the
//! decision to begin it and the record of that: a ledger outside counts the deeds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use callsheet_actors::{Engine, HELD_UNTIL, JobHandle, Probed, Step, StepContext, StepResult};
use callsheet_actors::{JobView, Submit};
use callsheet_engine::Resolution;
use callsheet_engine::definition::Effect;
use callsheet_storage::{JobStatus, ListQuery};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};

use crate::ledger;

/// Where the victim works.
const DIR: &str = "CALLSHEET_ONCE_DIR";
/// The policy of its step.
const POLICY: &str = "CALLSHEET_ONCE_POLICY";
/// What this life is about: see [`Life`].
const LIFE: &str = "CALLSHEET_ONCE_LIFE";

/// The time in which a body that begins too early would have begun.
const TOO_EARLY: Duration = Duration::from_millis(500);

/// What happens in one life of the victim.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// Its body does its deed and gives no answer; the parent kills it then.
    Hangs,
    /// It dies before the start of its step is on the disk.
    DiesBeforeTheIntent,
    /// It goes on for as long as there is something to do.
    GoesOn,
    /// The same, after somebody has said that the step was done.
    SaysDone,
    /// The same, after somebody has said that it is to be made again.
    SaysRetry,
}

/// The policies, what a life after a kill ends with, and how many deeds there are then.
#[test]
fn what_was_cut_off_between_deed_and_result_is_decided_by_its_policy() {
    let table = [
        ("hold", "held", 1),
        ("probe", "succeeded \"found\"", 1),
        ("fail", "failed null", 1),
        ("retry", "succeeded \"done\"", 2),
    ];
    for (policy, end, deeds) in table {
        let dir = tempfile::tempdir().unwrap();
        kill_after_the_deed(dir.path(), policy);
        assert_eq!(live(dir.path(), policy, Life::GoesOn), end, "{policy}");
        assert_eq!(deeds_in(dir.path()), deeds, "{policy}");
    }
}

#[test]
fn a_held_step_stays_held_over_restarts_until_somebody_says_what_became_of_it() {
    for (word, end, deeds) in
        [(Life::SaysDone, "succeeded \"seen\"", 1), (Life::SaysRetry, "succeeded \"done\"", 2)]
    {
        let dir = tempfile::tempdir().unwrap();
        kill_after_the_deed(dir.path(), "hold");
        for _ in 0..2 {
            assert_eq!(live(dir.path(), "hold", Life::GoesOn), "held");
            assert_eq!(deeds_in(dir.path()), 1, "a held step was made again");
        }
        assert_eq!(live(dir.path(), "hold", word), end);
        assert_eq!(deeds_in(dir.path()), deeds, "{word:?}");
    }
}

#[test]
fn no_deed_is_done_before_its_start_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(live(dir.path(), "hold", Life::DiesBeforeTheIntent), "");
    assert_eq!(deeds_in(dir.path()), 0, "the body began before its start was durable");
    assert_eq!(live(dir.path(), "hold", Life::GoesOn), "succeeded \"done\"");
    assert_eq!(deeds_in(dir.path()), 1);
}

fn deeds_in(dir: &Path) -> usize {
    ledger::read(&dir.join("deeds")).len()
}

fn victim(dir: &Path, policy: &str, life: Life) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["once_victim", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(POLICY, policy)
        .env(LIFE, format!("{life:?}"))
        .stderr(Stdio::inherit());
    command
}

/// One life; answers with its last word.
fn live(dir: &Path, policy: &str, life: Life) -> String {
    let ended = victim(dir, policy, life).output().unwrap();
    let text = String::from_utf8(ended.stdout).unwrap();
    let word = text.lines().find_map(|line| line.strip_prefix("end ")).unwrap_or_default();
    word.to_owned()
}

/// A life that is killed once its deed is done.
fn kill_after_the_deed(dir: &Path, policy: &str) {
    let mut child = victim(dir, policy, Life::Hangs).stdout(Stdio::null()).spawn().unwrap();
    while deeds_in(dir) == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "{policy}: it ended before its deed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A letter: who sends it twice, has sent two.
struct Letter {
    deeds: PathBuf,
    hangs: bool,
}

impl Step for Letter {
    type Input = Value;
    type Output = String;

    fn kind(&self) -> String {
        "letter".into()
    }

    fn effect(&self) -> Effect {
        Effect::Once
    }

    fn probes(&self) -> bool {
        true
    }

    async fn run(&self, _: Value, context: StepContext) -> StepResult<String> {
        ledger::write(&self.deeds, context.idempotency_key());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Ok("done".into())
    }

    async fn probe(&self, _: Value, context: StepContext) -> StepResult<Probed<String>> {
        let sent = ledger::read(&self.deeds);
        Ok(match sent.iter().any(|line| line[0] == context.idempotency_key()) {
            true => Probed::Done("found".into()),
            false => Probed::NotDone,
        })
    }
}

/// The process that dies.
pub fn run() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("the parent sets the directory"));
    let (policy, life) = (std::env::var(POLICY).unwrap(), std::env::var(LIFE).unwrap());
    println!(); // The test harness has begun a line.
    if life == "DiesBeforeTheIntent" {
        fail::cfg_callback("actors.commit.before", || {
            std::thread::sleep(TOO_EARLY);
            kill_process(getpid(), Signal::KILL).unwrap();
        })
        .unwrap();
    }
    let steps = format!("name: post\nsteps: [{{ id: send, uses: letter, in_doubt: {policy} }}]\n");
    let letter = Letter { deeds: dir.join("deeds"), hangs: life == "Hangs" };
    let builder = Engine::builder().step(letter).data_dir(dir.join("data"));
    let builder = builder.workflow(format!("{steps}output: '{{{{ steps.send }}}}'"));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let engine = builder.open().await.unwrap();
        let job = the_job(&engine).await;
        let word = match &*life {
            "SaysDone" => Some(Resolution::Succeeded(json!("seen"))),
            "SaysRetry" => Some(Resolution::Retry),
            _ => None,
        };
        if let Some(word) = word {
            job.resolve("send", None, word).await.unwrap();
        }
        let view = until_nothing_is_to_do(&job).await;
        match view.head.status.has_ended() {
            true => {
                let output = view.state.output().cloned().unwrap_or_default();
                println!("end {} {output}", view.head.status.as_str());
            }
            false => println!("end held"),
        }
        engine.shutdown().await;
    });
}

/// The one job of all lives.
async fn the_job(engine: &Engine) -> JobHandle {
    let page = engine.jobs(ListQuery { limit: 1, ..ListQuery::default() }).await.unwrap();
    match page.heads.first() {
        Some(head) => engine.job(head.id),
        None => engine.submit(Submit::named("post", json!({}))).await.unwrap().job,
    }
}

async fn until_nothing_is_to_do(job: &JobHandle) -> JobView {
    loop {
        let view = job.view().await.unwrap();
        let is_held = view.head.status == (JobStatus::Sleeping { until: HELD_UNTIL });
        if view.head.status.has_ended() || is_held {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
