//! Jobs asleep on a long timer: what it costs to make them, what they cost while nothing happens,
//! and how soon an engine is ready that starts with all of them.
//!
//! Memory is taken in processes that have done nothing but open the store, with few jobs and with
//! many, each once as an engine and once as a store alone. What grows with the jobs in the engine
//! and not in the store alone is what the engine keeps of a job that sleeps.

use std::path::Path;
use std::time::{Duration, Instant};

use callsheet::{Engine, JobStatus, ListQuery, SledStore, Store};
use serde_json::{Value, json};

use super::child::{self, Child};
use super::load;
use super::meter;
use super::place::Place;
use super::repertoire::{self, IDLE, SINGLE};
use super::report::Report;
use super::throughput::{Asked, Beside, Subject};
use super::{Job, Role, broken};
use crate::cli::error::{CliError, Result};

/// Submits under way at once.
const SUBMITS: usize = 256;

/// Jobs asleep when the memory is taken for the first time; the growth from here on counts.
const FEW: usize = 100;

/// How often is looked whether all have fallen asleep.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Beyond this without one more durable record something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time to come to rest before the sleepers are watched.
const SETTLE: Duration = Duration::from_secs(2);

/// Makes so many sleepers, kills the engine, and starts it again with all of them.
///
/// # Errors
/// When there are too few to see a growth, or the engine or the disk fails.
pub(crate) async fn measure(asked: &Asked, place: &Place) -> Result<Report> {
    if asked.jobs < 2 * FEW {
        let (jobs, least) = (asked.jobs, 2 * FEW);
        let message = format!("`--jobs {jobs}` are too few to see what one costs");
        return Err(CliError::usage(message).hint(format!("try: --jobs {least}")));
    }
    let dir = place.join("idle");
    std::fs::create_dir(&dir).map_err(|error| broken("a directory", error))?;
    let stage = Stage { dir: &dir, time: asked.time };
    stage.fill(FEW).await?;
    let (_, few) = stage.restart().await?;
    let bare_few = stage.bare().await?;
    let disk = meter::bytes_on_disk(&dir);
    let many = asked.jobs - FEW;
    let filled = stage.fill(many).await?;
    let disk = meter::bytes_on_disk(&dir).saturating_sub(disk) as f64 / many as f64;
    let (killed, after_kill) = stage.restart().await?;
    let (closed, after_close) = stage.restart().await?;
    let bare = stage.bare().await?;

    let mut report = filled.report(asked, disk);
    report.rss_mib = rss(&after_close);
    let growth = |few: &Value, many_: &Value| {
        Some((rss(many_)? - rss(few)?) * 1024.0 * 1024.0 / many as f64)
    };
    let (whole, alone) = (growth(&few, &after_close), growth(&bare_few, &bare));
    report.note("memory_bytes_per_job", whole);
    report.note("memory_bytes_per_job_of_the_store_alone", alone);
    report.note("memory_bytes_per_job_beyond_the_store", whole.zip(alone).map(|(a, b)| a - b));
    report.note("cpu_percent_asleep", filled.asleep["cpu_percent"].clone());
    report.note("cpu_percent_asleep_after_restart", after_close["cpu_percent"].clone());
    report.note("rss_mib_when_made", filled.asleep["rss_mib"].clone());
    report.note("ready_ms", killed.as_secs_f64() * 1e3);
    report.note("ready_after_a_clean_stop_ms", closed.as_secs_f64() * 1e3);
    report.note("store_alone_open_ms", bare["open_ms"].clone());
    report.note("first_job_after_restart_ms", after_kill["first_job_ms"].clone());
    report.note("jobs_asleep_after_restart", after_close["asleep"].clone());
    beside(&mut report, asked, place, &filled).await?;
    place.describe(&mut report);
    Ok(report)
}

/// The bare store and log with the records of a sleeper, as fast as the engine makes them.
async fn beside(report: &mut Report, asked: &Asked, place: &Place, filled: &Filled) -> Result<()> {
    let subject = Subject::open(place).await?;
    let script = subject.script_of_a_sleeper(&IDLE).await?;
    subject.close().await;
    let records_per_s = filled.number("records") / filled.number("seconds");
    let bytes = filled.number("bytes") / filled.number("records").max(1.0);
    let asked = Asked { jobs: SUBMITS, name: asked.name.clone(), ..*asked };
    let beside = Beside::new(place, script, &asked);
    beside.all(report, records_per_s, bytes.max(1.0) as usize).await
}

fn rss(said: &Value) -> Option<f64> {
    said["rss_mib"].as_f64()
}

/// Where the children play.
struct Stage<'a> {
    dir: &'a Path,
    time: Duration,
}

impl Stage<'_> {
    fn start(&self, role: Role, jobs: usize) -> Result<Child> {
        Child::start((Job::Idle, role), self.dir, jobs, self.time)
    }

    /// Adds sleepers in a process that is then killed.
    async fn fill(&self, jobs: usize) -> Result<Filled> {
        let mut victim = self.start(Role::Victim, jobs)?;
        let made = victim.says().await?;
        let asleep = victim.says().await?;
        victim.kill().await?;
        Ok(Filled { jobs, made, asleep })
    }

    /// Starts an engine, which stops in order: the time until it was ready, and what it says.
    async fn restart(&self) -> Result<(Duration, Value)> {
        let mut heir = self.start(Role::Heir, 1)?;
        heir.says().await?;
        let ready = heir.since.elapsed();
        let said = heir.says().await?;
        heir.end().await?;
        Ok((ready, said))
    }

    /// Opens the store without an engine.
    async fn bare(&self) -> Result<Value> {
        let mut bare = self.start(Role::Bare, 1)?;
        let said = bare.says().await?;
        bare.end().await?;
        Ok(said)
    }
}

/// What the child said that made the sleepers.
struct Filled {
    jobs: usize,
    made: Value,
    asleep: Value,
}

impl Filled {
    fn number(&self, name: &str) -> f64 {
        self.made[name].as_f64().unwrap_or_default()
    }

    fn report(&self, asked: &Asked, disk: f64) -> Report {
        let jobs = self.jobs as f64;
        Report {
            job: asked.name.clone(),
            concurrency: asked.jobs,
            jobs_per_s: Some(jobs / self.number("seconds")),
            steps_per_s: Some(jobs * IDLE.steps as f64 / self.number("seconds")),
            p50_ms: self.made["p50_ms"].as_f64(),
            p99_ms: self.made["p99_ms"].as_f64(),
            cpu_ms_per_job: Some(self.number("cpu_ms") / jobs),
            bytes_per_step: Some(disk),
            flushes_per_step: Some(self.number("flushes") / jobs),
            ..Report::default()
        }
    }
}

/// The child that makes the sleepers and is killed.
///
/// # Errors
/// When the engine fails, or they do not fall asleep.
pub(crate) async fn victim(dir: &Path, jobs: usize, watch: Duration) -> Result<()> {
    let engine = open(dir).await?;
    let (store, cpu, since) = (engine.stats().store, meter::cpu_time(), Instant::now());
    let submit = {
        let engine = engine.clone();
        move || {
            let engine = engine.clone();
            async move { Ok(engine.submit(IDLE.job()).await.map(drop)?) }
        }
    };
    let answers = load::so_many(SUBMITS, jobs, submit).await?;
    until_asleep(&engine, store.records + 2 * jobs as u64).await?;
    let (now, [p50, p99]) = (engine.stats().store, answers.percentiles_ms([50.0, 99.0]));
    child::say(&json!({
        "seconds": since.elapsed().as_secs_f64(),
        "p50_ms": p50,
        "p99_ms": p99,
        "cpu_ms": (meter::cpu_time() - cpu).as_secs_f64() * 1e3,
        "records": now.records - store.records,
        "flushes": now.flushes - store.flushes,
        "bytes": now.bytes - store.bytes,
    }));
    drop(answers);
    let cpu_percent = watched(watch).await;
    child::say(&json!({ "cpu_percent": cpu_percent, "rss_mib": meter::resident_mib() }));
    // The parent ends this.
    std::future::pending().await
}

/// Waits until all that was accepted is on record as asleep: each job has two records then.
async fn until_asleep(engine: &Engine, records: u64) -> Result<()> {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let stats = engine.stats();
        if stats.store.records >= records && stats.jobs_active == 0 {
            return Ok(());
        }
        if stats.store.records > seen {
            (seen, since) = (stats.store.records, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            let why = format!("they have {seen} of {records} records and do not fall asleep");
            return Err(broken("the sleepers", why));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Processor time of this process, of one core, in which nothing should happen.
async fn watched(time: Duration) -> f64 {
    tokio::time::sleep(SETTLE).await;
    let (cpu, since) = (meter::cpu_time(), Instant::now());
    tokio::time::sleep(time).await;
    (meter::cpu_time() - cpu).as_secs_f64() / since.elapsed().as_secs_f64() * 100.0
}

/// The child that starts with all of them: an open engine accepts jobs, so it is ready then.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn heir(dir: &Path, watch: Duration) -> Result<()> {
    let engine = open(dir).await?;
    child::say(&json!({ "ready": true }));
    let since = Instant::now();
    engine.submit(SINGLE.job()).await?.job.wait().await?;
    let first_job_ms = since.elapsed().as_secs_f64() * 1e3;
    let cpu_percent = watched(watch).await;
    let rss_mib = meter::resident_mib(); // before the list reads what no sleeper needs
    child::say(&json!({
        "first_job_ms": first_job_ms,
        "cpu_percent": cpu_percent,
        "rss_mib": rss_mib,
        "asleep": asleep(&engine).await?,
    }));
    engine.shutdown().await;
    Ok(())
}

/// Counts the sleepers by the store's list.
async fn asleep(engine: &Engine) -> Result<u64> {
    let (mut count, mut before) = (0, None);
    loop {
        let page = engine.jobs(ListQuery { before, limit: 1_000, ..ListQuery::default() }).await?;
        let sleeps = |status| matches!(status, JobStatus::Sleeping { .. });
        count += page.heads.iter().filter(|head| sleeps(head.status)).count() as u64;
        before = page.next;
        if before.is_none() {
            return Ok(count);
        }
    }
}

/// The child that opens the store without an engine.
///
/// # Errors
/// When the store fails.
pub(crate) async fn bare(dir: &Path) -> Result<()> {
    let (path, since) = (dir.join("engine"), Instant::now());
    let opened = tokio::task::spawn_blocking(move || SledStore::open(&path)).await;
    let store = opened.map_err(|error| broken("the store", error))?;
    let store = store.map_err(|error| broken("the store", error))?;
    let open_ms = since.elapsed().as_secs_f64() * 1e3;
    tokio::time::sleep(SETTLE).await;
    child::say(&json!({ "open_ms": open_ms, "rss_mib": meter::resident_mib() }));
    store.close().await.map_err(|error| broken("the store", error))
}

async fn open(dir: &Path) -> Result<Engine> {
    Ok(repertoire::builder().data_dir(dir.join("engine")).open().await?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn sleepers_are_counted_and_too_few_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path()).await.unwrap();
        let before = engine.stats().store.records;
        for _ in 0..3 {
            engine.submit(IDLE.job()).await.unwrap();
        }
        until_asleep(&engine, before + 6).await.unwrap();
        engine.submit(SINGLE.job()).await.unwrap().job.wait().await.unwrap();
        assert_eq!(asleep(&engine).await.unwrap(), 3);
        engine.shutdown().await;
        let place = Place::find(Some(dir.path())).unwrap();
        let asked = Asked { name: "idle".into(), jobs: 199, time: Duration::from_secs(1) };
        let error = measure(&asked, &place).await.unwrap_err().to_string();
        assert!(error.contains("`--jobs 199` are too few"), "{error}");
        assert!(error.contains("hint: try: --jobs 200"), "{error}");
    }

    #[tokio::test]
    async fn work_in_the_background_is_seen() {
        let busy = std::thread::spawn(|| {
            let since = Instant::now();
            while since.elapsed() < SETTLE + Duration::from_millis(300) {
                std::hint::spin_loop();
            }
        });
        assert!(watched(Duration::from_millis(200)).await > 0.0);
        busy.join().unwrap();
    }
}
