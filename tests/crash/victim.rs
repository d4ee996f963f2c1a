//! The process that suffers: it tells what it finds committed, goes on with what it finds
//! unfinished, accepts new jobs, and works until it is killed or everything has ended.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callsheet::server::client::Client;
use callsheet::server::wire::SubmitRequest;
use callsheet::server::{ApiOptions, serve};
use callsheet_actors::{CancelAnswer, Engine, EngineError, JobHandle, Submit};
use callsheet_engine::{Event, ItemIndex, JobId, StepIndex, Token};
use callsheet_storage::{JobHead, ListQuery, SledStore, Store};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::fate::Act;
use crate::kinds::{self, Bodies, SHAPES};
use crate::ledger;

/// Where the victim works.
pub const DIR: &str = "CALLSHEET_VICTIM_DIR";
/// Rounds of jobs, one of each shape, that it submits.
pub const ROUNDS: &str = "CALLSHEET_VICTIM_ROUNDS";
/// The point at which something happens, at which passing of it, and what.
pub const POINT: &str = "CALLSHEET_VICTIM_POINT";

/// How long a thread sleeps at a point.
const SLEEP: Duration = Duration::from_secs(5);
/// Only a point that is never passed takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// A body that was let begin before a cancel has this long to say so.
const LATE_WORDS: Duration = Duration::from_millis(200);
/// Keys of former lives that are tried again.
const KEYS_AGAIN: usize = 10;

/// One life.
struct Life {
    dir: PathBuf,
    engine: Engine,
    bodies: Bodies,
    act: Option<Act>,
    /// Told when the point was passed.
    passed: Arc<Notify>,
}

pub fn run() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("the parent sets the directory"));
    let rounds: u32 = std::env::var(ROUNDS).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(); // The test harness has begun a line.
    let lived = runtime.block_on(async {
        tell_committed(&dir.join("data")).await;
        println!("open");
        let passed = Arc::new(Notify::new());
        let act = arm(&passed);
        let bodies = Bodies::new(&dir);
        let engine = kinds::engine(&dir, &bodies).open().await?;
        let life = Arc::new(Life { dir, engine, bodies, act, passed });
        tokio::select! {
            lived = life.clone().live(rounds) => lived?,
            error = life.engine.failed() => return Err(error),
        }
        life.engine.shutdown().await;
        Ok::<_, EngineError>(())
    });
    if let Err(error) = lived {
        println!("failed {}", error.code());
        // What hangs in a sleeping thread is not waited for: a server would end here too.
        std::process::exit(3);
    }
    println!("done");
}

/// Lets happen what the parent wants, at the n-th passing of the point that it names.
fn arm(passed: &Arc<Notify>) -> Option<Act> {
    let point = std::env::var(POINT).ok()?;
    let [name, at, act] = point.split('@').collect::<Vec<_>>()[..] else {
        panic!("not a point: {point}")
    };
    let (at, act, count) = (at.parse::<u64>().unwrap(), Act::parse(act), AtomicU64::new(0));
    let passed = passed.clone();
    if name == "tree.root" {
        // The root has something to do only when a branch of it has died.
        fail::cfg("tree.jobs", "1*panic").unwrap();
    }
    fail::cfg_callback(name, move || {
        if count.fetch_add(1, Ordering::SeqCst) + 1 != at {
            return;
        }
        println!("passed");
        passed.notify_one();
        match act {
            Act::Exit => {
                kill_process(getpid(), Signal::KILL).unwrap();
                std::thread::sleep(SLEEP);
            }
            Act::Panic => panic!("a panic at this point"),
            Act::Sleep | Act::Cancel | Act::CancelAndKill => std::thread::sleep(SLEEP),
        }
    })
    .unwrap();
    Some(act)
}

impl Life {
    async fn live(self: Arc<Self>, rounds: u32) -> Result<(), EngineError> {
        // A panic in a submit, here and below, is a submit without an answer.
        let again = self.clone();
        tokio::spawn(async move { again.try_keys_again().await }).await.unwrap_or(Ok(()))?;
        for job in self.unfinished().await? {
            let head = job.view().await?.head;
            // Nobody else ends it.
            if head.workflow.name == "long" {
                self.cancel(job).await?;
            }
        }
        let client = Arc::new(self.serve().await);
        let mut submits = JoinSet::new();
        for _ in 0..rounds {
            for shape in SHAPES {
                submits.spawn(self.clone().submit(client.clone(), shape));
            }
        }
        if self.act.is_some_and(Act::cancels) {
            let _ = tokio::time::timeout(PATIENCE, self.passed.notified()).await;
            self.cancel_all().await?;
        }
        while let Some(submitted) = submits.join_next().await {
            submitted.unwrap_or(Ok(()))?;
        }
        if self.act.is_some_and(Act::cancels) {
            self.cancel_all().await?;
        }
        for job in self.unfinished().await? {
            job.wait().await?;
        }
        Ok(())
    }

    /// The engine behind its front door.
    async fn serve(&self) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let engine = self.engine.clone();
        tokio::spawn(serve(listener, engine, ApiOptions::default(), std::future::pending()));
        Client::new(&url, None).unwrap()
    }

    async fn submit(self: Arc<Self>, client: Arc<Client>, shape: &str) -> Result<(), EngineError> {
        if shape == "mixed" {
            let request =
                SubmitRequest { workflow: Some(shape.into()), ..SubmitRequest::default() };
            // A lost answer is no promise.
            let Ok(accepted) = client.submit(&request, None).await else { return Ok(()) };
            println!("accepted {}", accepted.id);
            return Ok(());
        }
        let mut request = Submit::named(shape, json!({}));
        let key = (shape == "keyed").then(new_key);
        if let Some(key) = &key {
            request = request.idempotency_key(key);
        }
        let job = self.engine.submit(request).await?.job;
        println!("accepted {}", job.id());
        if let Some(key) = key {
            ledger::write(&self.dir.join("keys"), &format!("{key} {}", job.id()));
        }
        if shape == "long" {
            tokio::time::sleep(Duration::from_millis(30)).await;
            return self.cancel(job).await;
        }
        let ended = job.wait().await?;
        println!("ended {} {}", job.id(), ended.head.status.as_str());
        Ok(())
    }

    async fn cancel_all(self: &Arc<Self>) -> Result<(), EngineError> {
        let mut cancels = JoinSet::new();
        for job in self.unfinished().await? {
            let life = self.clone();
            cancels.spawn(async move { life.cancel(job).await });
        }
        while let Some(cancelled) = cancels.join_next().await {
            cancelled.expect("a cancel does not panic")?;
        }
        Ok(())
    }

    /// Cancels a job and sees to it that nothing of it is left.
    async fn cancel(&self, job: JobHandle) -> Result<(), EngineError> {
        let answer = loop {
            match job.cancel(None).await {
                // The tree slept for as long as a cancel waits for it: nothing is promised yet.
                Err(EngineError::Damaged { .. }) if self.act.is_some() => {}
                answer => break answer?,
            }
        };
        if answer != CancelAnswer::Accepted {
            return Ok(());
        }
        println!("cancelled {}", job.id());
        if self.act == Some(Act::CancelAndKill) {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        tokio::time::sleep(LATE_WORDS).await;
        ledger::write(&self.dir.join("ledger"), &format!("cancelled {}", job.id()));
        let ended = job.wait().await?;
        let (id, bodies) = (job.id(), self.bodies.of(&job.id().to_string()));
        println!("ended {id} {}", ended.head.status.as_str());
        if bodies > 0 {
            println!("left {bodies} bodies of {id}");
        }
        Ok(())
    }

    async fn unfinished(&self) -> Result<Vec<JobHandle>, EngineError> {
        let mut jobs = Vec::new();
        for status in ["running", "sleeping", "stopping"] {
            let mut query =
                ListQuery { status: Some(status.into()), limit: 100, ..ListQuery::default() };
            loop {
                let page = self.engine.jobs(query.clone()).await?;
                jobs.extend(page.heads.iter().map(|head| self.engine.job(head.id)));
                query.before = page.next;
                if page.next.is_none() {
                    break;
                }
            }
        }
        Ok(jobs)
    }

    /// A key that gave a job in a former life gives the same one now.
    async fn try_keys_again(&self) -> Result<(), EngineError> {
        let keys = ledger::read(&self.dir.join("keys"));
        for line in keys.iter().rev().take(KEYS_AGAIN) {
            let request = Submit::named("keyed", json!({})).idempotency_key(&line[0]);
            let again = self.engine.submit(request).await?;
            println!("again {} {} {}", line[1], again.job.id(), again.is_new);
        }
        Ok(())
    }
}

/// A key that nobody else has.
fn new_key() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{}-{}", getpid().as_raw_nonzero(), now.as_nanos())
}

/// Tells what is committed, before anything runs.
async fn tell_committed(data: &Path) {
    if !data.exists() {
        return;
    }
    let store = SledStore::open(data).unwrap();
    for head in all(&store).await {
        println!("head {} {}", head.id, head.status.as_str());
        tell(&store, &head).await;
    }
    store.close().await.unwrap();
}

async fn all(store: &dyn Store) -> Vec<JobHead> {
    let mut heads = Vec::new();
    let mut before = None;
    loop {
        let page =
            store.list(ListQuery { limit: 100, before, ..ListQuery::default() }).await.unwrap();
        heads.extend(page.heads);
        before = page.next;
        if before.is_none() {
            return heads;
        }
    }
}

/// Tells a job's results, and whether somebody wanted it to stop.
async fn tell(store: &dyn Store, head: &JobHead) {
    let definition = store.definition(head.workflow.digest.clone()).await.unwrap().unwrap();
    let id: JobId = head.id;
    let mut attempts: HashMap<Token, (StepIndex, ItemIndex, u32)> = HashMap::new();
    for event in store.journal(id, 0).await.unwrap().into_iter().flat_map(|it| it.events) {
        match event {
            Event::StepStarted { step, item, attempt, token, .. } => {
                attempts.insert(token, (step, item, attempt));
            }
            Event::StepSucceeded { token, output, .. } => {
                let (step, item, attempt) = attempts[&token];
                let step = &definition.steps[usize::try_from(step.0).unwrap()].id;
                let digest = callsheet_storage::Digest::of(output.to_string().as_bytes());
                println!("committed {id} {step} {} {attempt} {digest}", item.0);
            }
            Event::CancelRequested { .. } => println!("to-stop {id}"),
            _ => {}
        }
    }
}
