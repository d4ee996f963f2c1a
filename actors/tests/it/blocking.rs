//! Bodies that block every thread there is for bodies. They are held until the assertions are done,
//! not for a time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use callsheet_actors::{CancelAnswer, Engine, StepContext, Submit};
use callsheet_storage::{JobStatus, ListQuery};
use serde_json::{Value, json};

use crate::world::eventually;

/// Holds whoever comes in by the thread.
#[derive(Default)]
struct Hold {
    released: Mutex<bool>,
    changed: Condvar,
    inside: AtomicU32,
}

impl Hold {
    fn enter(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let released = self.released.lock().unwrap();
        drop(self.changed.wait_while(released, |released| !*released).unwrap());
    }

    fn release(&self) {
        *self.released.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// Releases even when an assertion fails, or the test would never end.
struct Releaser(Arc<Hold>);

impl Drop for Releaser {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Threads that run bodies: twice the cores, at least eight.
fn threads() -> u32 {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    u32::try_from((2 * cores).max(8)).unwrap()
}

struct World {
    engine: Engine,
    hold: Arc<Hold>,
    begun: Arc<AtomicU32>,
    _releaser: Releaser,
}

/// An engine all of whose threads for bodies are blocked.
async fn blocked() -> (World, callsheet_actors::JobHandle) {
    let (hold, begun) = (Arc::new(Hold::default()), Arc::new(AtomicU32::new(0)));
    let (held, count) = (hold.clone(), begun.clone());
    let blockers = format!(
        "name: block\nsteps:\n  - {{ id: b, uses: block, for_each: '{{{{ range({n}) | list }}}}', \
         concurrency: {n} }}",
        n = threads()
    );
    let engine = Engine::builder()
        .in_memory()
        .step_fn("block", move |_: Value, _: StepContext| {
            let hold = held.clone();
            async move {
                hold.enter();
                Ok(())
            }
        })
        .step_fn("say", move |_: Value, _: StepContext| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok("said") }
        })
        .workflow(blockers)
        .workflow("name: say\nsteps: [{ id: a, uses: say }]")
        .open()
        .await
        .unwrap();
    let job = engine.submit(Submit::named("block", json!({}))).await.unwrap().job;
    let world = World { engine, begun, _releaser: Releaser(hold.clone()), hold };
    eventually("every thread is blocked", || world.hold.inside.load(Ordering::SeqCst) == threads())
        .await;
    (world, job)
}

#[tokio::test]
async fn nothing_but_bodies_waits_for_blocked_bodies() {
    let (world, blocked) = blocked().await;
    let engine = &world.engine;
    assert_eq!(engine.health(), Ok(()));
    let other = engine.submit(Submit::named("say", json!({}))).await.unwrap().job;
    let page = engine.jobs(ListQuery { limit: 9, ..ListQuery::default() }).await.unwrap();
    assert_eq!(page.heads.len(), 2);
    eventually("the other job has started its step", || {
        engine.stats().attempts_started == u64::from(threads()) + 1
    })
    .await;
    assert_eq!(other.view().await.unwrap().head.status, JobStatus::Running);
    assert_eq!(other.cancel(None).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(other.wait().await.unwrap().head.status, JobStatus::Cancelled);
    assert_eq!(blocked.cancel(None).await.unwrap(), CancelAnswer::Accepted);
    assert_eq!(blocked.wait().await.unwrap().head.status, JobStatus::Cancelled);
    let stats = engine.stats();
    // The other's body never had a thread; nobody could see it off either.
    assert!(stats.attempts_abandoned >= u64::from(threads()), "{stats:?}");
    assert_eq!((stats.attempts_open, stats.jobs_active), (0, stats.jobs_active));
    world.hold.release();
    let after = engine.submit(Submit::named("say", json!({}))).await.unwrap().job;
    assert_eq!(after.wait().await.unwrap().head.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_body_that_was_on_its_way_to_a_thread_does_not_begin_after_a_cancel() {
    let (world, _blocked) = blocked().await;
    let engine = &world.engine;
    let job = engine.submit(Submit::named("say", json!({}))).await.unwrap().job;
    eventually("its step is started, and waits for a thread", || {
        engine.stats().attempts_started == u64::from(threads()) + 1
    })
    .await;
    assert_eq!(job.cancel(None).await.unwrap(), CancelAnswer::Accepted);
    // From here on nothing of it may be seen, though the threads are free again.
    world.hold.release();
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
    let next = engine.submit(Submit::named("say", json!({}))).await.unwrap().job;
    assert_eq!(next.wait().await.unwrap().head.status, JobStatus::Succeeded);
    assert_eq!(world.begun.load(Ordering::SeqCst), 1, "only the next job's body began");
}
