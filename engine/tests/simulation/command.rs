//! `callsheet-sim`: plays as many worlds as one has time for, or one of them again.

mod actor;
mod body;
mod caller;
mod campaign;
mod chronicle;
mod coverage;
mod dice;
mod doubts;
mod graph;
mod ledger;
mod process;
mod store;
mod weather;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use campaign::{Campaign, trace};
use weather::Fault;
use world::Play;

/// Worlds after which everything has to have happened.
const MANY: u64 = 10_000;

const USAGE: &str = "\
usage: callsheet-sim [--seeds N] [--from S] [--threads T]   play worlds S, S+1, …
       callsheet-sim --seed S [--trace]                     play one world again

  --without a,b    leave out classes of faults
  --max-jobs N     submit at most N jobs
  --max-steps N    stop after N steps, unjudged
  --quiet          no coverage, no progress";

/// What was asked for.
struct Wanted {
    campaign: Campaign,
    seed: Option<u64>,
    play: Play,
    trace: bool,
    quiet: bool,
}

fn main() -> ExitCode {
    match wanted(std::env::args().skip(1)) {
        Ok(wanted) => match wanted.seed {
            Some(seed) => play_one(seed, &wanted),
            None => play_many(&wanted),
        },
        Err(why) => {
            eprintln!("error: {why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn wanted(mut words: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let campaign = Campaign { from: 0, seeds: 10_000, threads: 1, without: vec![] };
    let (seed, play, trace, quiet) = (None, Play::default(), false, false);
    let mut wanted = Wanted { campaign, seed, play, trace, quiet };
    while let Some(flag) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("`{flag}` wants a number"))?;
            text.parse::<u64>().map_err(|_| format!("`{text}` is no number, as `{flag}` wants"))
        };
        match flag.as_str() {
            "--seeds" => wanted.campaign.seeds = number()?,
            "--from" => wanted.campaign.from = number()?,
            "--threads" => wanted.campaign.threads = number()?,
            "--seed" => wanted.seed = Some(number()?),
            "--max-jobs" => wanted.play.most_jobs = Some(number()? as usize),
            "--max-steps" => wanted.play.most_steps = Some(number()?),
            "--trace" => wanted.trace = true,
            "--quiet" => wanted.quiet = true,
            "--without" => wanted.play.without = faults(&words.next().unwrap_or_default())?,
            other => return Err(format!("unknown flag `{other}`")),
        }
    }
    wanted.campaign.without.clone_from(&wanted.play.without);
    Ok(wanted)
}

fn faults(names: &str) -> Result<Vec<Fault>, String> {
    let known = || Fault::ALL.map(|(_, name)| name).join(", ");
    let named = |name| Fault::named(name).ok_or_else(|| format!("no fault `{name}`: {}", known()));
    names.split(',').map(named).collect()
}

fn play_one(seed: u64, wanted: &Wanted) -> ExitCode {
    let (lines, fate) = trace(seed, &wanted.play);
    if wanted.trace {
        lines.iter().for_each(|line| println!("{line}"));
    }
    match fate {
        Ok(fate) => {
            println!("seed {seed}: {} steps, digest {:016x}", fate.steps, fate.digest);
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}

fn play_many(wanted: &Wanted) -> ExitCode {
    let (begun, quiet) = (Instant::now(), wanted.quiet);
    let report = wanted.campaign.run(|n| {
        if n % 100_000 == 0 && n > 0 && !quiet {
            eprintln!("{n} worlds in {:.0} s", begun.elapsed().as_secs_f64());
        }
    });
    let took = begun.elapsed().as_secs_f64();
    if !wanted.quiet {
        println!("{report}");
    }
    let (pace, speed) = (report.worlds as f64 / took, report.lived as f64 / 1e6 / took);
    println!("{took:.1} s: {pace:.0} worlds/s, {speed:.0} s of virtual time a second");
    for broken in &report.broken {
        println!("{broken}");
    }
    if wanted.campaign.seeds >= MANY && wanted.play.without.is_empty() {
        let missing = report.coverage.missing();
        missing.iter().for_each(|what| println!("this never happened: {what}"));
        if !missing.is_empty() {
            return ExitCode::FAILURE;
        }
    }
    match report.broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
