//! Jobs within jobs, and jobs that follow others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsheet_actors::{Engine, EngineError, FOLLOWS_UNTIL, JobHandle, JobView, Submit};
use callsheet_engine::{Ending, Event, JobId, Phase, Timestamp, WorkflowRef};
use callsheet_storage::{JobHead, JobStatus, ListQuery, NewJob, Store};
use serde_json::{Value, json};

use crate::faulty::Faulty;
use crate::world::{Runs, eventually, failure, kinds, output, until_running};

const SLEEPER: &str = "name: sleeper
steps: [{ id: f, uses: flaky, with: { failures: 1 }, retry: { initial: 1h, max: 1h } }]";

/// Workflows to be run by others.
const CHILDREN: [&str; 6] = [
    "{ name: good, steps: [{ id: a, uses: say, with: { text: '{{ input.text }}' } }], \
       input: { type: object, required: [text], properties: { text: { type: string } } }, \
       output: '{{ steps.a.text }}' }",
    "{ name: bad, steps: [{ id: a, uses: flaky, with: { failures: 9, fatal: true } }] }",
    "{ name: long, steps: [{ id: a, uses: nap, with: { millis: 600000 } }] }",
    "{ name: itself, steps: [{ id: a, uses: workflow.run, with: { workflow: itself } }] }",
    "{ name: ping, steps: [{ id: a, uses: workflow.run, with: { workflow: pong } }] }",
    "{ name: pong, steps: [{ id: a, uses: workflow.run, with: { workflow: ping } }] }",
];

/// A builder with the workflow `test` of these steps, and children for it.
fn builder(steps: &str) -> callsheet_actors::EngineBuilder {
    let children = CHILDREN.into_iter().chain([SLEEPER]);
    let builder = kinds(&Runs::default()).workflow(crate::world::workflow(steps));
    children.fold(builder, |builder, child| builder.workflow(child))
}

async fn engine(steps: &str) -> Engine {
    builder(steps).in_memory().open().await.unwrap()
}

async fn submit(engine: &Engine, workflow: &str, input: Value) -> JobHandle {
    engine.submit(Submit::named(workflow, input)).await.unwrap().job
}

async fn run(engine: &Engine, workflow: &str) -> JobView {
    submit(engine, workflow, json!({})).await.wait().await.unwrap()
}

async fn heads(engine: &Engine) -> Vec<JobHead> {
    engine.jobs(ListQuery { limit: 500, ..ListQuery::default() }).await.unwrap().heads
}

async fn of_workflow(engine: &Engine, name: &str) -> Vec<JobHead> {
    let mut heads = heads(engine).await;
    heads.retain(|head| head.workflow.name == name);
    heads
}

/// Waits until so many jobs of a workflow have this status.
async fn until(engine: &Engine, workflow: &str, status: &str, count: usize) -> Vec<JobHead> {
    for _ in 0..3_000 {
        let mut heads = of_workflow(engine, workflow).await;
        heads.retain(|head| head.status.as_str() == status);
        if heads.len() == count {
            return heads;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never {count} {status} jobs of `{workflow}`: {:?}", heads(engine).await);
}

#[tokio::test]
async fn the_end_of_a_child_is_the_answer_of_its_step() {
    let report = |rest: &str| format!("{rest}, on_failure: report, id: x");
    for (with, expected) in [
        ("workflow: good, input: { text: hi }".to_owned(), "ok succeeded \"hi\""),
        (report("workflow: good, input: { text: hi }"), "ok x succeeded \"hi\""),
        ("workflow: bad".to_owned(), "failed test.fatal"),
        (report("workflow: bad"), "ok x failed test.fatal"),
        ("workflow: good".to_owned(), "failed input.invalid"),
        (report("workflow: good"), "ok x refused input.invalid"),
        ("workflow: god".to_owned(), "failed workflow.unknown"),
        (report("workflow: god"), "ok x refused workflow.unknown"),
        ("workflow: test".to_owned(), "failed child.recursion"),
        (report("workflow: test"), "ok x refused child.recursion"),
        ("workflow: itself".to_owned(), "failed child.recursion"),
        (report("workflow: ping"), "ok x failed child.recursion"),
    ] {
        let engine =
            engine(&format!("  - {{ id: c, uses: workflow.run, with: {{ {with} }} }}")).await;
        let view = run(&engine, "test").await;
        let told = match view.head.status {
            JobStatus::Succeeded => {
                let ran = output(&view, "c");
                let words = [&ran["id"], &ran["status"], &ran["failure"]["code"]];
                let words = words.iter().filter_map(|word| word.as_str());
                let result = ran.get("output").map(Value::to_string);
                let words = words.map(str::to_owned).chain(result).collect::<Vec<_>>();
                assert_eq!(view.children().len(), usize::from(ran.get("job").is_some()));
                format!("ok {}", words.join(" "))
            }
            _ => format!("failed {}", failure(&view)),
        };
        assert_eq!(told, expected, "{with}");
    }
}

#[tokio::test]
async fn parent_and_child_know_each_other() {
    let engine = engine(
        "  - { id: c, uses: workflow.run, for_each: [a, b], \
             with: { workflow: good, input: { text: '{{ item }}' } } }",
    )
    .await;
    let view = run(&engine, "test").await;
    let children = view.children();
    assert_eq!(children.len(), 2);
    for (n, (place, child)) in (0..).zip(children) {
        let seen = engine.job(child).view().await.unwrap();
        let parent = seen.kin().parent.unwrap();
        assert_eq!(parent, place);
        assert_eq!((parent.job, parent.step.as_str(), parent.item.0), (view.head.id, "c", n));
        assert_eq!(seen.state.output(), Some(&json!(["a", "b"][n as usize])));
    }
}

#[tokio::test]
async fn jobs_within_jobs_go_so_deep_and_no_deeper() {
    let deepest = callsheet_actors::limits::MAX_CHILD_DEPTH_COUNT;
    for (levels, expected) in [(deepest, "ok"), (deepest + 1, "child.too_deep")] {
        let mut builder = kinds(&Runs::default()).in_memory();
        for level in 0..levels {
            let steps =
                format!("[{{ id: a, uses: workflow.run, with: {{ workflow: w{} }} }}]", level + 1);
            builder = builder.workflow(format!("{{ name: w{level}, steps: {steps} }}"));
        }
        let last = format!("{{ name: w{levels}, steps: [{{ id: a, uses: say }}] }}");
        let engine = builder.workflow(last).open().await.unwrap();
        let view = run(&engine, "w0").await;
        let told =
            if view.head.status == JobStatus::Succeeded { "ok".into() } else { failure(&view) };
        assert_eq!(told, expected, "{levels} levels");
    }
}

#[tokio::test]
async fn parents_that_wait_take_no_place_from_their_children() {
    let fan = |name: &str, child: &str| {
        format!(
            "{{ name: {name}, steps: [{{ id: a, uses: workflow.run, for_each: [1, 2, 3], \
               with: {{ workflow: {child}, input: {{ text: x }} }} }}] }}"
        )
    };
    let builder = CHILDREN.into_iter().fold(kinds(&Runs::default()), |it, w| it.workflow(w));
    let builder = builder.workflow(fan("top", "middle")).workflow(fan("middle", "good"));
    let engine = builder.in_memory().max_active_jobs(2).open().await.unwrap();
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(submit(&engine, "top", json!({})).await);
    }
    for job in jobs {
        assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Succeeded);
    }
    assert_eq!(engine.stats().jobs_succeeded, 20 + 60 + 180);
}

#[tokio::test]
async fn more_bodies_that_wait_than_places_for_bodies() {
    let count = callsheet_actors::limits::MAX_RUNNING_BODIES_COUNT + 10;
    let items: Vec<usize> = (0..callsheet_engine::limits::MAX_OPEN_ATTEMPTS_COUNT).collect();
    let engine = engine(&format!(
        "  - {{ id: c, uses: workflow.run, for_each: {items:?}, concurrency: 1024, \
             with: {{ workflow: good, input: {{ text: x }} }} }}"
    ))
    .await;
    // One job alone has as many attempts open as there are places; the others come on top.
    let wide = submit(&engine, "test", json!({})).await;
    let others = (items.len()..count).map(|_| submit(&engine, "test", json!({})));
    for job in [wide].into_iter().chain(futures::future::join_all(others.take(1)).await) {
        assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Succeeded);
    }
}

#[tokio::test]
async fn a_cancel_takes_all_below_with_it() {
    for (child, status) in [("long", "running"), ("sleeper", "sleeping")] {
        let middle = format!(
            "{{ name: middle, steps: [{{ id: a, uses: workflow.run, for_each: [1, 2], \
               with: {{ workflow: {child}, input: {{ n: '{{{{ item }}}}' }} }} }}] }}"
        );
        let steps = "  - { id: c, uses: workflow.run, with: { workflow: middle } }";
        let engine = builder(steps).workflow(middle).in_memory().open().await.unwrap();
        let job = submit(&engine, "test", json!({})).await;
        until(&engine, child, status, 2).await;
        job.cancel(None).await.unwrap();
        assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
        until(&engine, "middle", "cancelled", 1).await;
        until(&engine, child, "cancelled", 2).await;
        assert_eq!(engine.stats().attempts_abandoned, 0);
    }
}

#[tokio::test]
async fn a_step_that_fails_takes_the_children_of_others_with_it() {
    let engine = engine(
        "  - { id: c, uses: workflow.run, with: { workflow: long } }
  - { id: d, uses: workflow.run, with: { workflow: sleeper } }
  - { id: n, uses: nap, with: { millis: 300 } }
  - { id: f, uses: flaky, needs: [n], with: { failures: 1, fatal: true } }",
    )
    .await;
    assert_eq!(failure(&run(&engine, "test").await), "test.fatal");
    until(&engine, "long", "cancelled", 1).await;
    until(&engine, "sleeper", "cancelled", 1).await;
}

#[tokio::test]
async fn a_step_that_takes_too_long_takes_its_child_with_it() {
    let engine = engine(
        "  - { id: c, uses: workflow.run, with: { workflow: long }, timeout: 300ms, \
             retry: { initial: 1ms } }",
    )
    .await;
    assert_eq!(failure(&run(&engine, "test").await), "step.timeout");
    assert_eq!(of_workflow(&engine, "long").await.len(), 1, "a retry finds the child of before");
}

#[tokio::test]
async fn a_child_that_is_cancelled_has_not_succeeded() {
    let engine = engine("  - { id: c, uses: workflow.run, with: { workflow: long } }").await;
    let job = submit(&engine, "test", json!({})).await;
    let child = until(&engine, "long", "running", 1).await[0].id;
    engine.job(child).cancel(None).await.unwrap();
    assert_eq!(failure(&job.wait().await.unwrap()), "child.cancelled");
}

#[tokio::test]
async fn a_fallback_has_a_child_of_its_own() {
    let engine = engine(
        "  - { id: c, uses: workflow.run, with: { workflow: bad }, fallback: [ \
             { uses: workflow.run, with: { workflow: good, input: { text: b } } } ] }",
    )
    .await;
    let view = run(&engine, "test").await;
    assert_eq!(output(&view, "c")["output"], "b");
}

#[tokio::test]
async fn a_shutdown_gives_the_wait_back_and_the_next_engine_finds_the_same_child() {
    let steps = "  - { id: c, uses: workflow.run, with: { workflow: sleeper } }";
    let dir = tempfile::tempdir().unwrap();
    let open = || builder(steps).data_dir(dir.path()).open();
    let engine = open().await.unwrap();
    let job = submit(&engine, "test", json!({})).await.id();
    let child = until(&engine, "sleeper", "sleeping", 1).await[0].id;
    // The drain's grace is long: who waits for another job would use it up.
    engine.shutdown().await;
    drop(engine);
    let engine = open().await.unwrap();
    until_running(&engine.job(job), "c").await;
    let events = engine.job(job).records(0).await.unwrap();
    let given_back = |event: &Event| event.kind() == "AttemptInterrupted";
    assert!(events.iter().flat_map(|record| &record.events).any(given_back));
    eventually("the parent waits again", || engine.stats().attempts_open == 1).await;
    assert_eq!(of_workflow(&engine, "sleeper").await.len(), 1);
    engine.job(child).cancel(None).await.unwrap();
    assert_eq!(failure(&engine.job(job).wait().await.unwrap()), "child.cancelled");
}

#[tokio::test]
async fn a_child_is_found_again_whatever_has_become_of_its_workflow() {
    let other = |input| format!("{{ name: long, steps: [{{ id: a, uses: say }}]{input} }}");
    let another = other(", input: { type: object, required: [more] }");
    for after in [None, Some(another)] {
        let dir = tempfile::tempdir().unwrap();
        let builder = |long: Option<String>| {
            let run = "  - { id: c, uses: workflow.run, with: { workflow: long } }";
            let builder = kinds(&Runs::default()).workflow(crate::world::workflow(run));
            long.into_iter().fold(builder, |builder, long| builder.workflow(long))
        };
        let open = |long| builder(long).data_dir(dir.path()).open();
        let engine = open(Some(CHILDREN[2].to_owned())).await.unwrap();
        let job = submit(&engine, "test", json!({})).await.id();
        let child = until(&engine, "long", "running", 1).await[0].id;
        engine.stop_now().await;
        drop(engine);
        let engine = open(after).await.unwrap();
        eventually("both go on", || engine.stats().attempts_open == 2).await;
        engine.job(child).cancel(None).await.unwrap();
        assert_eq!(failure(&engine.job(job).wait().await.unwrap()), "child.cancelled");
    }
}

/// A workflow that tells how the job before it ended.
const WATCH: &str = "{ name: watch, steps: [{ id: a, uses: watch }], output: '{{ steps.a }}' }";

fn watching(steps: &str) -> callsheet_actors::EngineBuilder {
    let watch = |_: Value, context: callsheet_actors::StepContext| async move {
        let view = context.followed().await?;
        Ok(match &view.state.phase {
            Phase::Ended { ending: Ending::Succeeded(output), .. } => json!({ "output": **output }),
            Phase::Ended { ending: Ending::Failed(failure), .. } => json!(failure.code),
            other => json!(format!("{other:?}")),
        })
    };
    builder(steps).step_fn("watch", watch).workflow(WATCH)
}

fn watched(workflow: &str) -> Submit {
    let input = json!({ "text": "x" });
    Submit::named(workflow, input).followed_by(Submit::named("watch", json!({})))
}

#[tokio::test]
async fn a_follower_begins_when_the_job_before_it_has_ended() {
    let engine = watching("  - { id: n, uses: nap, with: { millis: 200 } }").in_memory();
    let engine = engine.open().await.unwrap();
    for (workflow, expected) in [
        ("good", json!({ "output": "x" })),
        ("bad", json!("test.fatal")),
        ("test", json!({ "output": null })),
    ] {
        let job = engine.submit(watched(workflow)).await.unwrap().job;
        let kin = job.view().await.unwrap().kin();
        let follower = engine.job(kin.followed_by.unwrap());
        assert_eq!(follower.view().await.unwrap().kin().follows, Some(job.id()));
        let told = follower.wait().await.unwrap();
        assert!(job.view().await.unwrap().head.status.has_ended());
        assert_eq!(told.state.output(), Some(&expected), "{workflow}");
    }
    // Sleeping jobs have no actor, and neither has one that waits for them.
    let job = engine.submit(watched("sleeper")).await.unwrap().job;
    until(&engine, "sleeper", "sleeping", 1).await;
    eventually("nobody is active", || engine.stats().jobs_active == 0).await;
    job.cancel(None).await.unwrap();
    until(&engine, "watch", "succeeded", 4).await;
}

#[tokio::test]
async fn a_job_that_has_ended_can_be_followed_too() {
    let engine = watching("  - { id: n, uses: say }").in_memory().open().await.unwrap();
    let job = run(&engine, "bad").await.head.id;
    let watch = || Submit::named("watch", json!({}));
    let follower = engine.follow(job, watch()).await.unwrap().job;
    assert_eq!(follower.wait().await.unwrap().state.output(), Some(&json!("test.fatal")));
    // And one that runs.
    let job = submit(&engine, "long", json!({})).await;
    let follower = engine.follow(job.id(), watch()).await.unwrap().job;
    job.cancel(None).await.unwrap();
    assert_eq!(follower.wait().await.unwrap().head.status, JobStatus::Succeeded);
    let nobody = callsheet_engine::JobId::from_bytes([9; 16]);
    let error = engine.follow(nobody, watch()).await.err().unwrap();
    assert_eq!(error, EngineError::UnknownJob(nobody));
    let alone = run(&engine, "watch").await;
    assert_eq!(failure(&alone), "job.unknown");
}

#[tokio::test]
async fn whoever_asks_for_a_follower_and_hangs_up_has_asked_for_it() {
    let store = Arc::new(Faulty::new());
    let engine = watching("  - { id: n, uses: say }").store(store.clone()).open().await.unwrap();
    let job = submit(&engine, "long", json!({})).await;
    let answers = store.hold_answers().await;
    let asks = tokio::spawn({
        let (engine, followed) = (engine.clone(), job.id());
        async move { engine.follow(followed, Submit::named("watch", json!({}))).await.map(drop) }
    });
    eventually("the follower is accepted", || store.held() == 1).await;
    asks.abort();
    assert!(asks.await.unwrap_err().is_cancelled());
    drop(answers);
    job.cancel(None).await.unwrap();
    until(&engine, "watch", "succeeded", 1).await;
}

#[tokio::test]
async fn a_follower_is_woken_whatever_has_become_of_another() {
    let store = Arc::new(Faulty::new());
    let nobody = JobId::from_bytes([9; 16]).to_string();
    let plan = Faulty::one_step("watch", "say");
    let digest = store.define(plan.clone()).await;
    let ids = [0x10, 0x20]
        .map(|last| JobId::from_bytes([[1; 15].as_slice(), &[last]].concat().try_into().unwrap()));
    for id in ids {
        let workflow = WorkflowRef { name: "watch".to_owned(), digest: digest.clone() };
        let labels = BTreeMap::from([("callsheet.follows".to_owned(), nobody.clone())]);
        let (at, input, options) = (Timestamp(0), Value::Null, Default::default());
        let status = JobStatus::Sleeping { until: FOLLOWS_UNTIL };
        let head = JobHead {
            id,
            workflow: workflow.clone(),
            status,
            submitted_at: at,
            changed_at: at,
            labels: labels.clone(),
        };
        let events = vec![Event::JobSubmitted { workflow, input, labels, options, at }];
        let job = NewJob { head, events, definition: plan.clone().into(), idempotency: None };
        store.create(job).await.unwrap();
    }
    store.damage(ids[0]);
    let engine = kinds(&Runs::default()).store(store.clone()).open().await.unwrap();
    // With the one that came with the definition.
    let woken = until(&engine, "watch", "succeeded", 2).await;
    assert!(woken.iter().any(|head| head.id == ids[1]));
}

#[tokio::test]
async fn only_children_that_live_are_listed() {
    let steps = "  - { id: c, uses: workflow.run, for_each: [1500, 600000], \
                   with: { workflow: naps, input: { millis: '{{ item }}' } } }";
    let naps = "{ name: naps, steps: [{ id: a, uses: nap, with: '{{ input }}' }] }";
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let builder = builder(steps).workflow(naps).data_dir(dir.path());
        builder.drain_grace(Duration::from_secs(2)).open()
    };
    let engine = open().await.unwrap();
    let job = submit(&engine, "test", json!({})).await.id();
    let lists = |engine: &Engine| {
        engine.children(job).iter().map(|(place, _)| place.item.0).collect::<Vec<_>>()
    };
    until(&engine, "naps", "running", 2).await;
    assert_eq!(lists(&engine), [0, 1]);
    // The first child ends while nobody waits for it.
    engine.shutdown().await;
    drop(engine);
    let engine = open().await.unwrap();
    until(&engine, "naps", "succeeded", 1).await;
    eventually("the parent waits again", || engine.stats().attempts_started == 3).await;
    eventually("for the other", || engine.stats().attempts_open == 2).await;
    assert_eq!(lists(&engine), [1]);
    engine.job(job).cancel(None).await.unwrap();
    engine.job(job).wait().await.unwrap();
    assert_eq!(lists(&engine), [0_u32; 0]);
}

#[tokio::test]
async fn one_key_gives_one_job_and_one_follower() {
    let engine = watching("  - { id: n, uses: say }").in_memory().open().await.unwrap();
    let first = engine.submit(watched("good").idempotency_key("k")).await.unwrap();
    let again = engine.submit(watched("good").idempotency_key("k")).await.unwrap();
    assert!(first.is_new && !again.is_new && first.job.id() == again.job.id());
    let other = Submit::named("watch", json!({ "another": 1 }));
    let other = Submit::named("good", json!({ "text": "x" })).followed_by(other);
    for other in [other, Submit::named("good", json!({ "text": "x" }))] {
        let refused = engine.submit(other.idempotency_key("k")).await.err().unwrap();
        assert_eq!(refused, EngineError::KeyReused { job: first.job.id() });
    }
    until(&engine, "watch", "succeeded", 1).await;
    assert_eq!(heads(&engine).await.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_and_nothing_is_kept() {
    let engine = watching("  - { id: n, uses: say }").in_memory().open().await.unwrap();
    let watch = || Submit::named("watch", json!({}));
    for (submit, expected) in [
        (watched("god"), "workflow.unknown"),
        (Submit::named("good", json!({})).followed_by(watch()), "input.invalid"),
        (watched("good").label("callsheet.parent", "x"), "labels.reserved"),
        (watched("good").followed_by(watch().label("callsheet.follows", "x")), "labels.reserved"),
        (watched("good").followed_by(Submit::named("wach", json!({}))), "workflow.unknown"),
        (watched("good").followed_by(watch().followed_by(watch())), "engine.setup"),
        (watched("good").followed_by(watch().idempotency_key("k")), "engine.setup"),
    ] {
        assert_eq!(engine.submit(submit).await.err().unwrap().code(), expected);
    }
    assert_eq!(heads(&engine).await, []);
}
