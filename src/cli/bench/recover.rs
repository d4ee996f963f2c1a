//! kill -9 in the middle of many jobs, and the restart: how soon work goes on, what is repeated.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callsheet::{Engine, JobStatus, ListQuery};
use serde_json::json;

use super::child::{self, Child};
use super::ledger::{self, Ledger, judge};
use super::load;
use super::meter;
use super::place::Place;
use super::repertoire::{self, NAPS};
use super::report::Report;
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
pub(crate) async fn measure(name: String, jobs: usize, place: &Place) -> Result<Report> {
    let dir = place.join("recover");
    let path = ledger_of(&dir);
    std::fs::create_dir(&dir).map_err(|error| broken("a directory", error))?;
    let victim = Child::start(Job::Recover, Role::Victim, &dir, jobs)?;
    let killed = victim.id();
    // Half of all steps have begun; each has two lines in the end.
    let half = jobs as u64 * NAPS.steps;
    while ledger::count(&path) < half {
        tokio::time::sleep(LOOK_EVERY).await;
        if victim.since.elapsed() > Duration::from_secs(600) {
            return Err(broken("a child", "it does not come to the middle of its work"));
        }
    }
    let ran = victim.since.elapsed();
    victim.kill().await?;
    let restarted = ledger::now();
    let mut heir = Child::start(Job::Recover, Role::Heir, &dir, jobs)?;
    let ready = heir.says().await?;
    let ready_after = heir.since.elapsed();
    let summary = heir.says().await?;
    let all_after = heir.since.elapsed();
    heir.end().await?;

    let lines = ledger::read(&path).map_err(|error| broken("the ledger", error))?;
    let verdict = judge(&lines, killed);
    if verdict.doubled > 0 || verdict.steps != jobs as u64 * NAPS.steps {
        return Err(broken("the ledger", format!("{verdict:?} for {jobs} jobs")));
    }
    let first = verdict.first_at.map_or(0, |at| at.saturating_sub(restarted));
    let mut report = Report { job: name, concurrency: jobs, ..Report::default() };
    report.rss_mib = ready["rss_mib"].as_f64();
    report.note("first_step_ms", first as f64 / 1e3);
    report.note("ready_ms", ready_after.as_secs_f64() * 1e3);
    report.note("all_jobs_ended_ms", all_after.as_secs_f64() * 1e3);
    report.note("ran_before_the_kill_ms", ran.as_secs_f64() * 1e3);
    report.note("steps", verdict.steps);
    report.note("steps_running_at_the_kill", verdict.running);
    report.note("steps_repeated", verdict.repeated);
    report.note("steps_repeated_share", verdict.repeated as f64 / verdict.steps.max(1) as f64);
    report.note("steps_repeated_whose_body_had_ended", verdict.repeated_after_end);
    // The ledger says how often bodies began, the journals how often that was meant. A body that
    // ran again beyond that had a durable result, and should not have.
    let meant = summary["made_again"].as_u64().unwrap_or_default();
    report.note("durable_steps_repeated", verdict.repeated.saturating_sub(meant));
    report.note("jobs_succeeded", summary["jobs_succeeded"].clone());
    place.describe(&mut report);
    Ok(report)
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
    let all = until_all_have_ended(&engine).await?;
    child::say(&json!({ "jobs_succeeded": all.succeeded, "made_again": all.made_again }));
    engine.stop_now().await;
    Ok(())
}

async fn until_all_have_ended(engine: &Engine) -> Result<Outcome> {
    let running = || ListQuery { status: Some("running".into()), limit: 1, ..ListQuery::default() };
    loop {
        let page = engine.jobs(running()).await?;
        if page.heads.is_empty() && page.next.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (mut all, mut before) = (Outcome::default(), None);
    loop {
        let query = ListQuery { before, limit: 1_000, ..ListQuery::default() };
        let page = engine.jobs(query).await?;
        for head in &page.heads {
            let view = engine.job(head.id).view().await?;
            all.succeeded += u64::from(head.status == JobStatus::Succeeded);
            let attempts = view.state.steps.iter().map(|step| u64::from(step.attempts));
            all.made_again += attempts.map(|count| count.saturating_sub(1)).sum::<u64>();
        }
        before = page.next;
        if before.is_none() {
            return Ok(all);
        }
    }
}

/// What the journals say in the end.
#[derive(Default)]
struct Outcome {
    succeeded: u64,
    /// Attempts that the engine made again: it had found no durable result of them.
    made_again: u64,
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
