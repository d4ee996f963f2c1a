//! Jobs run to their end: order, data, fan-out, retries, fallbacks.

use std::sync::atomic::Ordering;

use callsheet_actors::{EngineError, Submit};
use callsheet_storage::{JobStatus, ListQuery};
use futures::FutureExt;
use serde_json::json;

use crate::world::{Runs, attempts, engine, eventually, failure, kinds, output, run, workflow};

#[tokio::test]
async fn data_flows_from_step_to_step() {
    let engine = engine(
        "  - { id: a, uses: say, with: { text: 'hello' } }
  - { id: b, uses: say, with: { text: '{{ steps.a.text }} world' } }
output: '{{ steps.b.text }}'",
    )
    .await;
    let view = run(&engine).await;
    assert_eq!(view.head.status, JobStatus::Succeeded);
    assert_eq!(output(&view, "b")["text"], "hello world");
    // The counters follow the commit; they are not part of it.
    eventually("the end is counted", || engine.stats().jobs_succeeded == 1).await;
    let stats = engine.stats();
    assert_eq!((stats.jobs_submitted, stats.jobs_succeeded), (1, 1));
    assert_eq!((stats.attempts_started, stats.attempts_succeeded, stats.attempts_open), (2, 2, 0));
    engine.shutdown().await;
}

#[tokio::test]
async fn a_job_whose_submitter_goes_away_in_the_middle_runs_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let steps = "  - { id: a, uses: say, with: { text: 'hello' } }";
    let builder = kinds(&Runs::default()).workflow(workflow(steps)).data_dir(dir.path());
    let engine = builder.open().await.unwrap();
    // Asked once, so that it has begun, and dropped before the disk has answered.
    let submit = engine.submit(Submit::named("test", json!({})));
    assert!(submit.now_or_never().is_none(), "the disk is not that quick");
    eventually("it runs to its end", || engine.stats().jobs_succeeded == 1).await;
    engine.shutdown().await;
}

#[tokio::test]
async fn a_fan_out_keeps_the_order_of_its_items() {
    let engine = engine(
        "  - { id: each, uses: say, for_each: [3, 1, 2], concurrency: 2,
      with: { text: 'n{{ item }} at {{ index }}' } }",
    )
    .await;
    let view = run(&engine).await;
    let texts: Vec<_> =
        output(&view, "each").as_array().unwrap().iter().map(|said| said["text"].clone()).collect();
    assert_eq!(texts, [json!("n3 at 0"), json!("n1 at 1"), json!("n2 at 2")]);
}

#[tokio::test]
async fn failures_are_retried_as_the_policy_says() {
    for (steps, status, tries) in [
        ("{ failures: 2 }", JobStatus::Succeeded, 3),
        ("{ failures: 9 }", JobStatus::Failed, 4),
        ("{ failures: 1, fatal: true }", JobStatus::Failed, 1),
    ] {
        let retry = "retry: { max_attempts: 4, initial: 1ms }";
        let steps = format!("  - {{ id: f, uses: flaky, with: {steps}, {retry} }}");
        let engine = engine(&steps).await;
        let view = run(&engine).await;
        assert_eq!((view.head.status, attempts(&view, "f")), (status, tries), "{steps}");
    }
}

#[tokio::test]
async fn a_long_wait_gives_up_the_actor_and_comes_back() {
    let engine = engine(
        "  - { id: f, uses: flaky, with: { failures: 1 },
      retry: { max_attempts: 2, initial: 1500ms, jitter: 0 } }",
    )
    .await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    loop {
        let view = job.view().await.unwrap();
        if let JobStatus::Sleeping { until } = view.head.status {
            assert_eq!(view.state.next_wake(), Some(until));
            break;
        }
        assert!(!view.head.status.has_ended());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    eventually("the job has no actor", || engine.stats().jobs_active == 0).await;
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_fallback_takes_over() {
    let engine = engine(
        "  - { id: f, uses: flaky, with: { failures: 9, fatal: true },
      fallback: [ { uses: say, with: { text: plan b } } ] }",
    )
    .await;
    let view = run(&engine).await;
    assert_eq!(output(&view, "f")["text"], "plan b");
}

#[tokio::test]
async fn a_step_that_panics_or_spills_fails_its_attempt_only() {
    let kinds =
        [("panic", "step.panic", 2), ("spill", "limit.output", 1), ("deep", "limit.output", 1)];
    for (kind, code, tries) in kinds {
        let engine = engine(&format!(
            "  - {{ id: p, uses: {kind}, with: {{}}, retry: {{ max_attempts: 2, initial: 1ms }} }}"
        ))
        .await;
        let view = run(&engine).await;
        assert_eq!((failure(&view).as_str(), attempts(&view, "p")), (code, tries));
        assert_eq!(engine.stats().actor_restarts, 0);
    }
}

#[tokio::test]
async fn a_key_gives_one_job_from_many_callers() {
    let runs = Runs::default();
    let engine = kinds(&runs)
        .in_memory()
        .workflow(workflow("  - { id: a, uses: say, with: { text: 'n{{ input.n }}' } }"))
        .open()
        .await
        .unwrap();
    let submit = |n: u32| {
        let request = Submit::named("test", json!({ "n": n })).idempotency_key("k");
        let engine = engine.clone();
        async move { engine.submit(request).await }
    };
    let answers = futures::future::join_all((0..32).map(|_| submit(1))).await;
    let mut ids: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().job.id()).collect();
    let new = answers.iter().filter(|answer| answer.as_ref().unwrap().is_new).count();
    ids.dedup();
    assert_eq!((ids.len(), new), (1, 1));
    let refused = submit(2).await.err().unwrap();
    assert_eq!(refused, EngineError::KeyReused { job: ids[0] });
    engine.job(ids[0]).wait().await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    for key in [String::new(), "k".repeat(256)] {
        let request = Submit::named("test", json!({ "n": 1 })).idempotency_key(key);
        assert_eq!(engine.submit(request).await.err().unwrap().code(), "idempotency.invalid");
    }
}

#[tokio::test]
async fn what_cannot_be_submitted_is_refused_with_a_hint() {
    let engine = engine("  - { id: a, uses: say }").await;
    let unknown = engine.submit(Submit::named("tset", json!({}))).await.err().unwrap();
    assert_eq!(unknown.code(), "workflow.unknown");
    assert_eq!(unknown.hint().as_deref(), Some("did you mean `test`?"));
    engine
        .register(
            "name: typed\ninput: { type: object, required: [n], \
             properties: { n: { type: integer } } }\nsteps: [ { id: a, uses: say } ]",
        )
        .unwrap();
    let bad = engine.submit(Submit::named("typed", json!({ "n": "x" }))).await.err().unwrap();
    assert_eq!(bad.code(), "input.invalid");
    let lost = engine.job(callsheet_engine::JobId(uuid::Uuid::nil())).view().await;
    assert_eq!(lost.err().unwrap().code(), "job.unknown");
    assert!(
        engine
            .jobs(ListQuery { limit: 10, ..ListQuery::default() })
            .await
            .unwrap()
            .heads
            .is_empty()
    );
}
