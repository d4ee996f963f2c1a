//! Many running jobs, each with a child process, cancelled at once.

use std::fs;
use std::time::{Duration, Instant};

use callsheet::{Engine, JobHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::bare_store::Script;
use super::broken;
use super::latency::Latencies;
use super::load::Done;
use super::meter;
use super::place::Place;
use super::repertoire::{CHILD_SECONDS, CHILDREN};
use super::report::Report;
use super::throughput::{Asked, Beside, Part, Subject};
use crate::cli::error::{CliError, Result};

/// Bodies that an engine runs at once: more jobs would wait, and have no child to end.
const MOST_JOBS: usize = 1_024;

/// Open files that one job with a child process needs: two pipes at both ends, and some room.
const FILES_A_JOB: u64 = 6;

/// How long is waited for processes to come, and to go.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the jobs, cancels all at once, and waits until their processes are gone.
///
/// # Errors
/// When the machine's limits do not allow so many processes, or the engine fails.
pub(crate) async fn measure(asked: &Asked, place: &Place) -> Result<Report> {
    let jobs = asked.jobs;
    if jobs > MOST_JOBS {
        let message =
            format!("`--jobs {jobs}` is more than the {MOST_JOBS} bodies that run at once");
        return Err(CliError::usage(message).hint(format!("try: --jobs {MOST_JOBS}")));
    }
    let files = allow_files(jobs)?;
    let subject = Subject::open(place).await?;
    let engine = subject.engine();
    let mut handles = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        handles.push(engine.submit(CHILDREN.job()).await?.job);
    }
    let started = Instant::now();
    until(jobs, started).await?;
    let (rss, meter, begun) = (meter::resident_mib(), subject.start(), Instant::now());
    let answers = cancel_all(handles.clone()).await?;
    let cancelled = cancelled(engine, jobs as u64).await;
    // Looking for processes is no work of the engine's.
    let (all, cost) = (begun.elapsed(), subject.stop(&meter));
    if cancelled < jobs as u64 {
        return Err(broken("the engine", format!("{cancelled} of {jobs} jobs are cancelled")));
    }
    until(0, begun).await?;
    let gone = begun.elapsed();
    let script = Script::of_job(engine, &CHILDREN, &handles[0]).await?;
    let mut part = Part::default();
    part.add(Done::all(answers.clone()), cost);
    let mut report = part.report(&CHILDREN, asked, script.records() as f64);
    report.rss_mib = Some(rss);
    let [last] = answers.percentiles_ms([100.0]);
    report.note("last_answer_ms", last);
    report.note("all_processes_gone_ms", gone.as_secs_f64() * 1e3);
    report.note("jobs_cancelled", cancelled);
    report.note("open_files_allowed", files);
    subject.close().await;
    // The jobs were accepted before; what a cancel records is the rest.
    let records_per_s = part.records() as f64 / all.as_secs_f64();
    let beside = Beside::new(place, script, asked);
    beside.all(&mut report, records_per_s, part.bytes_per_record()).await?;
    place.describe(&mut report);
    Ok(report)
}

async fn cancel_all(handles: Vec<JobHandle>) -> Result<Latencies> {
    let mut answers = JoinSet::new();
    let begun = Instant::now();
    for job in handles {
        answers.spawn(async move {
            job.cancel(None).await?;
            // All are asked for at one instant; what waits for a thread here waits in life too.
            Ok::<_, CliError>(begun.elapsed())
        });
    }
    let mut latencies = Latencies::default();
    while let Some(answer) = answers.join_next().await {
        latencies.push(answer.map_err(|error| broken("a cancel", error))??);
    }
    Ok(latencies)
}

/// Waits until the jobs are recorded as cancelled, and counts them.
async fn cancelled(engine: &Engine, jobs: u64) -> u64 {
    let since = Instant::now();
    while engine.stats().jobs_cancelled < jobs && since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    engine.stats().jobs_cancelled
}

/// Waits until there are so many child processes.
async fn until(count: usize, since: Instant) -> Result<()> {
    loop {
        let now = tokio::task::spawn_blocking(children).await;
        let now = now.map_err(|error| broken("the processes", error))?;
        if now == count {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            let why = format!("{now} child processes after {PATIENCE:?}, not {count}");
            return Err(broken("the processes", why)
                .hint("look at the limits of this shell: ulimit -u, ulimit -n"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Child processes of the jobs, counted where the kernel lists all: who was handed to another
/// parent counts too.
fn children() -> usize {
    let mark = format!("sleep\0{}\0", child_seconds());
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let is_one = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)
            && fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == mark.as_bytes())
    };
    entries.flatten().filter(is_one).count()
}

/// The argument of the children: no other process of the machine sleeps for just as long.
pub(crate) fn child_seconds() -> String {
    format!("{CHILD_SECONDS}.{:07}", std::process::id())
}

/// Raises this process's own limit of open files as far as is needed and allowed.
fn allow_files(jobs: usize) -> Result<u64> {
    let needed = jobs as u64 * FILES_A_JOB + 256;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|now| now < needed) && most >= needed {
        let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised)
            .map_err(|error| broken("the limit of open files", error))?;
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if now >= needed {
        return Ok(now);
    }
    Err(CliError::failed(format!("{jobs} jobs need {needed} open files, and {now} are allowed"))
        .hint("raise the limit with `ulimit -n`, or ask for fewer --jobs"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(jobs: usize) -> Asked {
        Asked { name: "cancel".into(), jobs, time: Duration::from_millis(300) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_are_cancelled_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::find(Some(dir.path())).unwrap();
        let report = measure(&asked(5), &place).await.unwrap();
        assert_eq!(report.detail["jobs_cancelled"], 5, "{report:?}");
        assert!(report.p50_ms.unwrap() > 0.0 && report.p99_ms >= report.p50_ms, "{report:?}");
        assert!(report.detail["all_processes_gone_ms"].as_f64().unwrap() > 0.0, "{report:?}");
        assert_eq!(children(), 0);
    }

    #[tokio::test]
    async fn more_than_can_run_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::find(Some(dir.path())).unwrap();
        let error = measure(&asked(2_000), &place).await.unwrap_err().to_string();
        assert!(error.contains("`--jobs 2000` is more than the 1024 bodies"), "{error}");
        let error = allow_files(usize::MAX / 100).unwrap_err().to_string();
        assert!(error.contains("open files"), "{error}");
        assert!(error.contains("hint: raise the limit with `ulimit -n`"), "{error}");
    }
}
