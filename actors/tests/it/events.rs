//! Subscribers hear all of what is committed, and only that.

use callsheet_actors::{StepContext, Submit};
use callsheet_engine::Event;
use futures::StreamExt;
use serde_json::json;

use crate::world::{Runs, engine, eventually, kinds, workflow};

#[tokio::test]
async fn a_follower_hears_every_record_once_from_wherever_it_begins() {
    let engine = engine(
        "  - { id: each, uses: say, for_each: [1, 2, 3, 4, 5], concurrency: 2 }
  - { id: last, uses: nap, needs: [each], with: { millis: 20 } }",
    )
    .await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    let live: Vec<_> = job.events(0).map(Result::unwrap).collect().await;
    let stored = job.records(0).await.unwrap();
    assert_eq!(live, stored);
    let last = live.last().unwrap().events.last().unwrap();
    assert!(matches!(last, Event::JobSucceeded { .. }));
    for from in 0..=stored.len() {
        let tail: Vec<_> = job.events(from as u64).map(Result::unwrap).collect().await;
        assert_eq!(tail, stored[from..]);
    }
}

#[tokio::test]
async fn progress_reaches_those_who_watch() {
    let engine = engine("  - { id: n, uses: nap, with: { millis: 10 } }").await;
    let mut progress = engine.progress();
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    let note = progress.recv().await.unwrap();
    assert_eq!((note.job, note.step_id.as_str()), (job.id(), "n"));
    assert_eq!((note.percent, note.message.as_str()), (10.0, "lying down"));
    job.wait().await.unwrap();
}

#[tokio::test]
async fn progress_is_of_the_whole_job_too_by_weight() {
    let (let_go, held) = tokio::sync::watch::channel(false);
    let steps = "  - { id: a, uses: say, weight: 3 }\n  - { id: b, uses: halfway, needs: [a] }";
    let engine = kinds(&Runs::default())
        .step_fn("halfway", move |_: serde_json::Value, context: StepContext| {
            let mut held = held.clone();
            async move {
                context.progress(f64::NAN, "who knows");
                context.progress(50.0, "halfway");
                context.progress(20.0, "again");
                held.wait_for(|free| *free).await.unwrap();
                Ok(())
            }
        })
        .in_memory()
        .workflow(workflow(steps))
        .open()
        .await
        .unwrap();
    let mut progress = engine.progress();
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    for (percent, overall) in [(0.0, 75.0), (50.0, 87.5), (20.0, 87.5)] {
        let note = progress.recv().await.unwrap();
        assert_eq!((note.percent, note.overall), (percent, overall));
    }
    assert_eq!(job.view().await.unwrap().progress, 87.5);
    assert_eq!(engine.progress_of(job.id()), Some(87.5));
    let_go.send_replace(true);
    assert_eq!(job.wait().await.unwrap().progress, 100.0);
    assert_eq!(job.view().await.unwrap().progress, 100.0);
    eventually("it has no actor", || engine.progress_of(job.id()).is_none()).await;
}
