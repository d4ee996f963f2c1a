//! `callsheet bench`: how fast the engine is on the user's own disk, and what bounds it.
//!
//! Every figure is of durable work: nothing counts before its fdatasync. Beside the engine, in the
//! same run, stand the store without an engine and a bare log, so that ratios can be trusted where
//! absolute times are one machine's.

mod bare_log;
mod bare_store;
mod cancel;
mod child;
mod door;
mod fan_out;
mod idle;
mod latency;
mod ledger;
mod load;
mod meter;
mod place;
mod recover;
mod repertoire;
mod report;
mod throughput;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callsheet::limits::MAX_FAN_OUT_ITEMS;
use clap::{Args, ValueEnum};

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::print;
use crate::cli::signals::Signals;

use door::Over;
use place::Place;
use report::Report;

/// Examples at the foot of `callsheet bench --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet bench chain10
  callsheet bench chain10 --jobs 256 --seconds 10
  callsheet bench submit --jobs 16 --over http --json
  callsheet bench recover
  callsheet bench idle --jobs 1000000
  callsheet bench fan100 --data /var/lib/callsheet-bench

Trust the ratios: they hold from machine to machine, the times are this disk's.";

/// Time for the engine when none is asked for.
const USUAL_TIME: Duration = Duration::from_secs(6);

/// Arguments of `callsheet bench`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[arg(value_enum, value_name = "JOB")]
    job: Job,

    /// Jobs at once: when one has ended the next is submitted; by default 1
    ///
    /// For `recover` and `cancel` all there are, by default 1,000; for `idle` all that sleep, by
    /// default 20,000. `fan100k` is always one job.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Items of the largest job of `fan100k`; by default 100,000
    #[arg(long, value_name = "N")]
    items: Option<NonZeroUsize>,

    /// How `submit` submits; by default embedded
    #[arg(long, value_enum, value_name = "WAY")]
    over: Option<Over>,

    /// Seconds that the engine is measured for, after a warm-up; by default 6
    ///
    /// The bare store and the bare log take a third of it each. With `idle` it is the time for
    /// which the sleepers are watched.
    #[arg(long, value_name = "S")]
    seconds: Option<Seconds>,

    /// Directory on the disk to measure; what is made in it is removed at the end
    ///
    /// Without it a temporary directory is used. File systems in memory are refused.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// What a child process of a measurement does, in the directory that it is given
    #[arg(long, value_enum, hide = true, requires = "data")]
    role: Option<Role>,
}

/// What a child process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// To be killed.
    Victim,
    /// To go on after that.
    Heir,
    /// To open the same store without an engine.
    Bare,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Victim => "victim",
            Self::Heir => "heir",
            Self::Bare => "bare",
        }
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Ten steps, one after another, each with a result of 100 bytes
    Chain10,
    /// One step fanned out to 100 items at once, and one that joins them
    Fan100,
    /// The answer to a submit, which comes when the job is on stable storage
    Submit,
    /// One job with very many items: what an item costs as they grow more
    Fan100k,
    /// kill -9 in the middle of many jobs of ten steps that take 50 ms, and the restart
    Recover,
    /// Many running jobs, each with a child process, cancelled at once
    Cancel,
    /// Jobs asleep on a timer of one hour: what they cost, and the restart with all of them
    Idle,
}

impl Job {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Jobs when none are asked for.
    fn jobs(self) -> usize {
        match self {
            Self::Chain10 | Self::Fan100 | Self::Submit | Self::Fan100k => 1,
            Self::Recover | Self::Cancel => 1_000,
            Self::Idle => 20_000,
        }
    }

    /// The most jobs that mean something. `cancel` has a bound of its own.
    fn most_jobs(self) -> usize {
        match self {
            Self::Idle => 10_000_000,
            Self::Fan100k => 1,
            _ => 100_000,
        }
    }
}

/// A length of time on the command line, such as `10` or `0.5`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seconds(Duration);

impl std::str::FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{text}` is no number of seconds from 0.1 to 3600");
        let seconds: f64 = text.parse().map_err(|_| wrong())?;
        let known = (0.1..=3_600.0).contains(&seconds);
        if known { Ok(Self(Duration::from_secs_f64(seconds))) } else { Err(wrong()) }
    }
}

/// Measures one thing and prints what it found.
///
/// # Errors
/// When the directory cannot be used, or the engine fails while it is measured.
pub(crate) async fn run(args: BenchArgs) -> Result<Exit> {
    args.check()?;
    if let (Some(role), Some(dir)) = (args.role, &args.data) {
        return play(&args, role, dir).await;
    }
    let mut signals = Signals::listen()?;
    let place = Place::find(args.data.as_deref())?;
    eprintln!("measuring {} in {place}", args.job.name());
    tokio::select! {
        report = measure(&args, &place) => {
            let report = report?;
            if args.json {
                print::out(report.json()?);
            } else {
                print::out(report.table());
            }
            Ok(Exit::Done)
        }
        _ = signals.next() => Ok(Exit::Interrupted), // the files go with the place
    }
}

async fn measure(args: &BenchArgs, place: &Place) -> Result<Report> {
    let (name, jobs) = (args.job.name(), args.jobs());
    let asked = throughput::Asked { name, jobs, time: args.time() };
    match args.job {
        Job::Chain10 => throughput::closed_loop(&repertoire::CHAIN10, &asked, place).await,
        Job::Fan100 => throughput::closed_loop(&repertoire::FAN100, &asked, place).await,
        Job::Submit => throughput::submits(args.over.unwrap_or_default(), &asked, place).await,
        Job::Fan100k => fan_out::measure(args.items(), &asked, place).await,
        Job::Recover => recover::measure(&asked, place).await,
        Job::Cancel => cancel::measure(&asked, place).await,
        Job::Idle => idle::measure(&asked, place).await,
    }
}

/// The part of a child process.
async fn play(args: &BenchArgs, role: Role, dir: &Path) -> Result<Exit> {
    match (args.job, role) {
        (Job::Recover, Role::Victim) => recover::victim(dir, args.jobs()).await?,
        (Job::Recover, Role::Heir) => recover::heir(dir).await?,
        (Job::Idle, Role::Victim) => idle::victim(dir, args.jobs(), args.time()).await?,
        (Job::Idle, Role::Heir) => idle::heir(dir, args.time()).await?,
        (Job::Idle, Role::Bare) => idle::bare(dir).await?,
        (job, _) => {
            let message = format!("`{}` needs no child process of this kind", job.name());
            return Err(CliError::usage(message).hint("leave --role out"));
        }
    }
    Ok(Exit::Done)
}

impl BenchArgs {
    fn jobs(&self) -> usize {
        match self.job {
            Job::Fan100k => 1,
            job => self.jobs.map_or(job.jobs(), NonZeroUsize::get),
        }
    }

    fn items(&self) -> usize {
        self.items.map_or(MAX_FAN_OUT_ITEMS, NonZeroUsize::get)
    }

    fn time(&self) -> Duration {
        self.seconds.map_or(USUAL_TIME, |seconds| seconds.0)
    }

    /// Refuses what would be ignored, and what no machine can do.
    fn check(&self) -> Result<()> {
        let name = self.job.name();
        let timed = !matches!(self.job, Job::Fan100k | Job::Recover | Job::Cancel);
        let flags = [
            ("--jobs", self.jobs.is_some(), self.job != Job::Fan100k),
            ("--items", self.items.is_some(), self.job == Job::Fan100k),
            ("--over", self.over.is_some(), self.job == Job::Submit),
            ("--seconds", self.seconds.is_some(), timed || self.role.is_some()),
        ];
        if let Some((flag, ..)) = flags.iter().find(|(_, given, means)| *given && !means) {
            let message = format!("`{flag}` means nothing to `{name}`");
            return Err(CliError::usage(message).hint(format!("leave {flag} out")));
        }
        let bounds = [
            ("--jobs", self.jobs(), self.job.most_jobs()),
            ("--items", self.items(), MAX_FAN_OUT_ITEMS),
        ];
        if let Some((flag, asked, most)) = bounds.iter().find(|(_, asked, most)| asked > most) {
            let message = format!("`{flag} {asked}` is more than the {most} that `{name}` can do");
            return Err(CliError::usage(message).hint(format!("try: {flag} {most}")));
        }
        Ok(())
    }
}

/// A complaint about something that should not happen while measuring.
fn broken(what: &str, why: impl std::fmt::Display) -> CliError {
    CliError::engine(format!("the measurement cannot go on: {what}: {why}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_numbers_within_reason() {
        assert_eq!("0.5".parse(), Ok(Seconds(Duration::from_millis(500))));
        assert_eq!("10".parse(), Ok(Seconds(Duration::from_secs(10))));
        for wrong in ["", "x", "0", "-1", "NaN", "inf", "1e9", "10s"] {
            assert!(wrong.parse::<Seconds>().is_err(), "{wrong}");
        }
    }
}
