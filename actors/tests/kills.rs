//! Kill -9 at every named point while jobs run jobs, follow jobs and are cancelled: there is one
//! child for each step and item, nobody outlives its parent, and whoever follows begins.
//!
//! `CALLSHEET_KILLS` sets how often each point is passed before the kill, as a list such as
//! `1,3,8` (which it is unless set).
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use callsheet_actors::{Engine, JobHandle, Kin, POINTS, StepContext, StepError, Submit};
use callsheet_storage::{JobHead, ListQuery};
use serde_json::{Value, json};

const DIR: &str = "CALLSHEET_KILLS_DIR";
const POINT: &str = "CALLSHEET_KILLS_POINT";

/// Worlds at a time. They sleep most of the time.
const SIDE_BY_SIDE: usize = 6;

/// Looks at the jobs before a world counts as hung, a twentieth of a second apart.
const LOOKS: usize = 1_200;

const WORKFLOWS: [&str; 6] = [
    "{ name: quick, steps: [{ id: a, uses: say }] }",
    "{ name: later, steps: [{ id: a, uses: once_more, \
       retry: { initial: 1100ms, max: 1100ms, jitter: 0 } }] }",
    "{ name: never, steps: [{ id: a, uses: once_more, retry: { initial: 1h, max: 1h } }, \
       { id: b, uses: nap }] }",
    "{ name: middle, steps: [{ id: c, uses: workflow.run, for_each: [quick, later], \
       with: { workflow: '{{ item }}' } }] }",
    "{ name: work, steps: [{ id: c, uses: workflow.run, for_each: [quick, middle, later], \
       with: { workflow: '{{ item }}' } }], output: '{{ steps.c }}' }",
    "{ name: stop, steps: [{ id: c, uses: workflow.run, for_each: [1, 2], \
       with: { workflow: never, input: { n: '{{ item }}' } } }] }",
];

const WATCH: &str = "{ name: watch, steps: [{ id: a, uses: watch }], output: '{{ steps.a }}' }";

/// Not a test of its own: what the test below starts and kills.
#[test]
#[ignore = "started by the other test of this file"]
fn victim() {
    let dir = std::env::var_os(DIR).expect("the parent sets the directory");
    arm();
    tokio::runtime::Runtime::new().unwrap().block_on(live(Path::new(&dir)));
}

/// Kills the process at the n-th passing of a point.
fn arm() {
    let Ok(point) = std::env::var(POINT) else { return };
    let (name, at) = point.split_once('@').unwrap();
    let (at, count) = (at.parse::<u64>().unwrap(), AtomicU64::new(0));
    fail::cfg_callback(name, move || {
        if count.fetch_add(1, Ordering::SeqCst) + 1 == at {
            println!("killed");
            let myself = rustix::process::getpid();
            rustix::process::kill_process(myself, rustix::process::Signal::KILL).unwrap();
            std::thread::sleep(Duration::from_secs(5));
        }
    })
    .unwrap();
}

async fn engine(dir: &Path) -> Engine {
    let once_more = |_: Value, context: StepContext| async move {
        match context.attempt() {
            1 => Err(StepError::retryable("test.flaky", "not yet")),
            _ => Ok("at last"),
        }
    };
    let nap = |_: Value, _: StepContext| async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        Ok(())
    };
    let watch = |_: Value, context: StepContext| async move {
        Ok(context.followed().await?.head.status.as_str())
    };
    let builder = Engine::builder()
        .data_dir(dir)
        .max_active_jobs(2)
        .step_fn("say", |_: Value, _: StepContext| async { Ok("said") })
        .step_fn("once_more", once_more)
        .step_fn("nap", nap)
        .step_fn("watch", watch)
        .workflow(WATCH);
    WORKFLOWS.into_iter().fold(builder, |it, text| it.workflow(text)).open().await.unwrap()
}

/// One life: asks for the jobs, cancels the one that is to be, and waits until all have ended.
async fn live(dir: &Path) {
    let engine = engine(dir).await;
    let watch = || Submit::named("watch", json!({}));
    let submit = |name: &str| Submit::named(name, json!({})).followed_by(watch());
    for name in ["work", "stop"] {
        engine.submit(submit(name).idempotency_key(name)).await.unwrap();
    }
    let stop = engine.submit(submit("stop").idempotency_key("stop")).await.unwrap().job;
    cancel_in_the_middle(&engine, &stop).await;
    for _ in 0..LOOKS {
        let heads = heads(&engine).await;
        if heads.iter().all(|head| head.status.has_ended()) {
            engine.stop_now().await;
            for head in heads {
                let kin = Kin::of(&head.labels);
                let parent = kin.parent.map(|it| format!("{}/{}/{}", it.job, it.step, it.item.0));
                let follows = kin.follows.map(|it| it.to_string());
                let (name, status) = (head.workflow.name, head.status.as_str());
                let of = parent.or(follows).unwrap_or_default();
                println!("job {} {name} {status} {of}", head.id);
            }
            println!("done");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("some never end: {:#?}", heads(&engine).await);
}

async fn heads(engine: &Engine) -> Vec<JobHead> {
    engine.jobs(ListQuery { limit: 100, ..ListQuery::default() }).await.unwrap().heads
}

async fn cancel_in_the_middle(engine: &Engine, job: &JobHandle) {
    for _ in 0..LOOKS {
        if job.view().await.unwrap().head.status.has_ended() {
            return;
        }
        if engine.children(job.id()).len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    job.cancel(None).await.unwrap();
}

#[test]
fn jobs_that_belong_together_survive_a_kill_at_any_point() {
    let passings = std::env::var("CALLSHEET_KILLS").unwrap_or_else(|_| "1,3,8".into());
    let all = POINTS.iter().filter(|point| !point.starts_with("actors.process"));
    let cases: Vec<String> =
        all.flat_map(|point| passings.split(',').map(move |at| format!("{point}@{at}"))).collect();
    let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    killed.fetch_add(usize::from(survives(case)), Ordering::SeqCst);
                }
            });
        }
    });
    let (killed, cases) = (killed.into_inner(), cases.len());
    println!("{killed} of {cases} worlds were killed");
    assert!(killed * 10 > cases * 8, "the points are hardly ever passed: {killed} of {cases}");
}

/// Kills a world there and lets it go on; answers whether it came to the kill.
fn survives(case: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let first = life(dir.path(), Some(case));
    let last = if first.contains("done") { first.clone() } else { life(dir.path(), None) };
    assert!(last.contains("done"), "{case}: {last}");
    check(case, &last);
    first.contains("killed")
}

fn life(dir: &Path, point: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "victim"]).env(DIR, dir);
    if let Some(point) = point {
        command.env(POINT, point);
    }
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn check(case: &str, told: &str) {
    let mut jobs = BTreeMap::new();
    for line in told.lines() {
        let mut words = line.split(' ').skip_while(|word| *word != "job").skip(1);
        let Some(id) = words.next() else { continue };
        let words: Vec<_> = words.map(str::to_owned).collect();
        jobs.insert(id.to_owned(), words);
    }
    let count = |name: &str, status: &str| {
        jobs.values().filter(|job| job[0] == name && job[1] == status).count()
    };
    for (name, status, expected) in [
        ("work", "succeeded", 1),
        ("middle", "succeeded", 1),
        ("quick", "succeeded", 2),
        ("later", "succeeded", 2),
        ("stop", "cancelled", 1),
        ("watch", "succeeded", 2),
    ] {
        assert_eq!(count(name, status), expected, "{case}: {name} {status}: {jobs:#?}");
    }
    // Killed early enough, a job has none; nobody of them has gone on.
    assert_eq!(count("never", "cancelled") + 9, jobs.len(), "{case}: {jobs:#?}");
    let mut places: Vec<_> = jobs.values().filter_map(|job| job.get(2)).collect();
    places.retain(|place| !place.is_empty());
    let all = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), all, "{case}: two belong to one place: {jobs:#?}");
}
