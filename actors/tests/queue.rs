//! Jobs that wait for a place: in order, without actors, and with little memory each.
//!
//! `CALLSHEET_QUEUED` sets the number of jobs (5,000 unless set).
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use callsheet_actors::{Engine, StepContext, Submit};
use callsheet_engine::JobId;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

struct World {
    engine: Engine,
    gate: Arc<Semaphore>,
    order: Arc<Mutex<Vec<JobId>>>,
}

async fn world(dir: &std::path::Path, active: usize) -> World {
    let (gate, order) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (held, begun) = (gate.clone(), order.clone());
    let engine = Engine::builder()
        .data_dir(dir)
        .max_active_jobs(active)
        .step_fn("hold", move |_: Value, context: StepContext| {
            let (gate, order) = (held.clone(), begun.clone());
            async move {
                gate.acquire().await?.forget();
                order.lock().unwrap().push(context.job());
                Ok(())
            }
        })
        .workflow("name: hold\nsteps: [{ id: a, uses: hold }]")
        .open()
        .await
        .unwrap();
    World { engine, gate, order }
}

async fn submit(engine: &Engine, count: usize, side_by_side: usize) -> Vec<JobId> {
    let submits = (0..count).map(|_| engine.submit(Submit::named("hold", json!({}))));
    let jobs: Vec<_> = futures::stream::iter(submits).buffered(side_by_side).collect().await;
    jobs.into_iter().map(|submitted| submitted.unwrap().job.id()).collect()
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_jobs_have_no_actors_and_begin_in_their_order_over_a_restart() {
    const COUNT: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let first = world(dir.path(), 1).await;
    let mut jobs = submit(&first.engine, COUNT, 1).await;
    assert!(first.engine.actors().len() <= 5, "{:?}", first.engine.actors());
    first.engine.stop_now().await;
    drop(first);

    let second = world(dir.path(), 1).await;
    jobs.extend(submit(&second.engine, COUNT, 1).await);
    assert!(second.engine.actors().len() <= 5);
    second.gate.add_permits(2 * COUNT);
    for job in &jobs {
        second.engine.job(*job).wait().await.unwrap();
    }
    assert_eq!(*second.order.lock().unwrap(), jobs, "first come, first served");
    second.engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_job_takes_little_memory_and_the_last_as_much_as_the_first() {
    let count = std::env::var("CALLSHEET_QUEUED").map_or(5_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path(), 4).await;
    submit(&world.engine, count / 5, 256).await;
    let before = resident_bytes();
    for part in 1..5 {
        let begun = Instant::now();
        submit(&world.engine, count / 5, 256).await;
        let rate = (count / 5) as f64 / begun.elapsed().as_secs_f64();
        println!("part {part}: {rate:.0} jobs/s, {} MiB", resident_bytes() >> 20);
    }
    let each = resident_bytes().saturating_sub(before) / (count / 5 * 4);
    println!("{count} queued, {each} bytes of memory each, the store's cache included");
    assert!(world.engine.actors().len() <= 3 + 2 * 4, "a queued job has no actor");
    // An actor alone takes 8 kB.
    assert!(each < 6_000, "{each} bytes a job");
    let begun = Instant::now();
    world.engine.stop_now().await;
    let gate = world.gate.clone();
    drop(world);
    let again = self::world(dir.path(), 4).await;
    println!("stopped and ready again after {:.2} s", begun.elapsed().as_secs_f64());
    assert!(again.engine.actors().len() <= 3 + 2 * 4);
    gate.close();
    again.engine.stop_now().await;
}
