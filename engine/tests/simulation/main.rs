//! The simulation: whole engines in virtual time, one thread and one seed a world, with faults in
//! store, bodies, clock, actors and processes; judged at every transition.
//!
//! `CALLSHEET_SIM_SEEDS` says how many worlds are played here; `callsheet-sim` plays more. See
//! `docs/simulation.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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

use campaign::{Campaign, Graphs, trace};
use world::Play;

/// Worlds of a quick run; continuous integration plays ten thousand.
const FEW: u64 = 1_000;
/// Worlds after which everything has to have happened.
const MANY: u64 = 10_000;

#[test]
fn every_promise_holds_in_every_world() {
    let seeds = std::env::var("CALLSHEET_SIM_SEEDS").ok().map(|text| text.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let seeds = seeds.unwrap_or(FEW);
    let campaign = Campaign { from: 0, seeds, threads, without: vec![] };
    let report = campaign.run(|_| {});
    println!("{report}");
    for broken in &report.broken {
        println!("{broken}");
    }
    assert!(report.broken.is_empty(), "{} worlds broke a promise", report.broken.len());
    assert!(report.fair_percent() >= 80.0, "{:.1} % succeeded", report.fair_percent());
    if seeds >= MANY {
        let missing = report.coverage.missing();
        assert!(missing.is_empty(), "these never happened: {missing:#?}");
    }
}

#[test]
fn a_seed_is_played_again_bit_for_bit() {
    let mut graphs = Graphs::default();
    for seed in 0..100 {
        let play = Play::default();
        let (once, twice) = (graphs.world(seed, &play), Graphs::default().world(seed, &play));
        let (once, twice) = (once.unwrap(), twice.unwrap());
        assert_eq!((once.digest, once.steps), (twice.digest, twice.steps), "seed {seed}");
        assert_eq!(once.coverage, twice.coverage, "seed {seed}");
    }
    for seed in 0..20 {
        let (once, _) = trace(seed, &Play::default());
        let (twice, _) = trace(seed, &Play::default());
        assert!(once.len() > 10 && once == twice, "seed {seed}");
    }
}
