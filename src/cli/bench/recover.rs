//! kill -9 in the middle of many jobs, and the restart: how soon work goes on, what is repeated.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callsheet::{Engine, JobStatus, ListQuery};
use serde_json::{Value, json};

use super::child::{self, Child};
use super::latency::Latencies;
use super::ledger::{self, Ledger, Verdict, judge};
use super::load;
use super::meter;
use super::place::Place;
use super::repertoire::{self, NAPS};
use super::report::Report;
use super::throughput::{Asked, Beside, Subject};
use super::{Job, Role, broken};
use crate::cli::error::Result;

/// How often the parent looks how far the ledger has come.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Submits under way at once.
const SUBMITS: usize = 64;

/// Runs so many jobs in a child process, kills it in the middle, and starts another.
///
/// # Errors
/// When a child fails, or the ledger shows what must never be.
pub(crate) async fn measure(asked: &Asked, place: &Place) -> Result<Report> {
    let (jobs, dir) = (asked.jobs, place.join("recover"));
    std::fs::create_dir(&dir).map_err(|error| broken("a directory", error))?;
    let (killed, ran) = run_and_kill(&dir, jobs).await?;
    let disk = meter::bytes_on_disk(&dir.join("engine"));
    let restarted = ledger::now();
    let mut heir = start(Role::Heir, &dir, jobs)?;
    let ready = heir.says().await?;
    let ready_after = heir.since.elapsed();
    heir.says().await?;
    let all_after = heir.since.elapsed();
    let summary = heir.says().await?;
    heir.end().await?;
    let disk = meter::bytes_on_disk(&dir.join("engine")).saturating_sub(disk);

    let lines = ledger::read(&ledger_of(&dir)).map_err(|error| broken("the ledger", error))?;
    let verdict = judge(&lines, killed);
    if verdict.doubled > 0 || verdict.steps != jobs as u64 * NAPS.steps {
        return Err(broken("the ledger", format!("{verdict:?} for {jobs} jobs")));
    }
    let heir = Heir { summary, time: all_after };
    let mut report = heir.report(asked, disk as f64);
    report.rss_mib = ready["rss_mib"].as_f64();
    let first = verdict.first_at.map_or(0, |at| at.saturating_sub(restarted));
    report.note("first_step_ms", first as f64 / 1e3);
    report.note("ready_ms", ready_after.as_secs_f64() * 1e3);
    report.note("all_jobs_ended_ms", all_after.as_secs_f64() * 1e3);
    report.note("ran_before_the_kill_ms", ran.as_secs_f64() * 1e3);
    heir.compare(&mut report, &verdict);
    let subject = Subject::open(place).await?;
    let script = subject.script(&NAPS).await?;
    subject.close().await;
    let (records, bytes) = (heir.number("records"), heir.number("bytes"));
    let bytes = (bytes / records.max(1.0)).max(1.0) as usize;
    let beside = Beside::new(place, script, asked);
    beside.all(&mut report, records / all_after.as_secs_f64(), bytes).await?;
    place.describe(&mut report);
    Ok(report)
}

/// Runs the jobs until half of their steps have begun, and kills: which process, after how long.
async fn run_and_kill(dir: &Path, jobs: usize) -> Result<(u32, Duration)> {
    let victim = start(Role::Victim, dir, jobs)?;
    let (killed, path) = (victim.id(), ledger_of(dir));
    // Each step has two lines in the end.
    let half = jobs as u64 * NAPS.steps;
    while ledger::count(&path) < half {
        tokio::time::sleep(LOOK_EVERY).await;
        if victim.since.elapsed() > Duration::from_secs(600) {
            return Err(broken("a child", "it does not come to the middle of its work"));
        }
    }
    let ran = victim.since.elapsed();
    victim.kill().await?;
    Ok((killed, ran))
}

fn start(role: Role, dir: &Path, jobs: usize) -> Result<Child> {
    // Nobody watches here; any time will do.
    Child::start((Job::Recover, role), dir, jobs, Duration::from_secs(1))
}

/// What the second child said, and the time from its start to the end of its last job.
struct Heir {
    summary: Value,
    time: Duration,
}

impl Heir {
    fn number(&self, name: &str) -> f64 {
        self.summary[name].as_f64().unwrap_or_default()
    }

    /// The figures of the time after the restart.
    fn report(&self, asked: &Asked, disk: f64) -> Report {
        let (jobs, steps) = (self.number("jobs_ended"), self.number("steps_ended").max(1.0));
        Report {
            job: asked.name.clone(),
            concurrency: asked.jobs,
            jobs_per_s: Some(jobs / self.time.as_secs_f64()),
            steps_per_s: Some(steps / self.time.as_secs_f64()),
            p50_ms: self.summary["p50_ms"].as_f64(),
            p99_ms: self.summary["p99_ms"].as_f64(),
            cpu_ms_per_job: Some(self.number("cpu_ms") / jobs.max(1.0)),
            bytes_per_step: Some(disk / steps),
            flushes_per_step: Some(self.number("flushes") / steps),
            ..Report::default()
        }
    }

    /// What the ledger says was done twice, beside what the journals say was meant to be.
    fn compare(&self, report: &mut Report, verdict: &Verdict) {
        report.note("steps", verdict.steps);
        report.note("steps_running_at_the_kill", verdict.running);
        report.note("steps_repeated", verdict.repeated);
        report.note("steps_repeated_share", verdict.repeated as f64 / verdict.steps.max(1) as f64);
        report.note("steps_repeated_whose_body_had_ended", verdict.repeated_after_end);
        report.note("durable_steps_repeated", self.summary["repeated_unmeant"].clone());
        report.note("jobs_succeeded", self.summary["jobs_succeeded"].clone());
    }
}

/// The child that is killed: submits the jobs and runs them.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn victim(dir: &Path, jobs: usize) -> Result<()> {
    let engine = open(dir).await?;
    let submit = {
        let engine = engine.clone();
        move || {
            let engine = engine.clone();
            async move { Ok(engine.submit(NAPS.job()).await.map(drop)?) }
        }
    };
    load::so_many(SUBMITS, jobs, submit).await?;
    // The parent ends this.
    std::future::pending().await
}

/// The child after it: goes on with what it finds.
///
/// # Errors
/// When the engine fails.
pub(crate) async fn heir(dir: &Path) -> Result<()> {
    let engine = open(dir).await?;
    child::say(&json!({ "rss_mib": meter::resident_mib() }));
    until_all_have_ended(&engine).await?;
    child::say(&json!({ "ended": true }));
    let (stats, cpu_ms) = (engine.stats(), meter::cpu_time().as_secs_f64() * 1e3);
    let lines = ledger::read(&ledger_of(dir)).map_err(|error| broken("the ledger", error))?;
    let all = Outcome::of(&engine, &ledger::repeated(&lines, std::process::id())).await?;
    let [p50, p99] = all.latencies.percentiles_ms([50.0, 99.0]);
    child::say(&json!({
        "jobs_succeeded": all.succeeded,
        "repeated_unmeant": all.repeated_unmeant,
        "p50_ms": p50,
        "p99_ms": p99,
        "jobs_ended": stats.jobs_succeeded,
        "steps_ended": stats.attempts_succeeded,
        "cpu_ms": cpu_ms,
        "records": stats.store.records,
        "flushes": stats.store.flushes,
        "bytes": stats.store.bytes,
    }));
    engine.stop_now().await;
    Ok(())
}

async fn until_all_have_ended(engine: &Engine) -> Result<()> {
    let running = || ListQuery { status: Some("running".into()), limit: 1, ..ListQuery::default() };
    loop {
        let page = engine.jobs(running()).await?;
        if page.heads.is_empty() && page.next.is_none() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the journals say in the end.
#[derive(Default)]
struct Outcome {
    succeeded: u64,
    /// Steps whose body ran in both processes, though the journal knows of one attempt: its result
    /// was durable, and it should not have run again.
    repeated_unmeant: u64,
    /// From submit to end, the kill and the restart in between.
    latencies: Latencies,
}

impl Outcome {
    async fn of(engine: &Engine, repeated: &HashSet<(&str, &str)>) -> Result<Self> {
        let (mut all, mut before) = (Self::default(), None);
        loop {
            let query = ListQuery { before, limit: 1_000, ..ListQuery::default() };
            let page = engine.jobs(query).await?;
            for head in &page.heads {
                let view = engine.job(head.id).view().await?;
                all.succeeded += u64::from(head.status == JobStatus::Succeeded);
                all.latencies.push(head.changed_at.since(head.submitted_at).into());
                let job = head.id.to_string();
                for (step, state) in view.state.plan.steps().iter().zip(&view.state.steps) {
                    let again = repeated.contains(&(job.as_str(), step.id.as_str()));
                    all.repeated_unmeant += u64::from(again && state.attempts < 2);
                }
            }
            before = page.next;
            if before.is_none() {
                return Ok(all);
            }
        }
    }
}

async fn open(dir: &Path) -> Result<Engine> {
    let path = ledger_of(dir);
    let ledger = Ledger::open(&path).map_err(|error| broken("the ledger", error))?;
    let builder = repertoire::builder_with(Arc::new(ledger));
    Ok(builder.data_dir(dir.join("engine")).open().await?)
}

fn ledger_of(dir: &Path) -> std::path::PathBuf {
    dir.join("ledger")
}
