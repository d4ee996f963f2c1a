//! Subscribers hear all of what is committed, and only that.

use callsheet_actors::Submit;
use callsheet_engine::Event;
use futures::StreamExt;
use serde_json::json;

use crate::world::engine;

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
