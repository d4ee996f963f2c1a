//! Kill -9 at random moments, and at every named point a kill, a panic, a sleep and a cancel, with
//! a ledger of effects outside the process that suffers: no accepted job is lost, no committed step
//! runs again, nothing starts after a cancel, no process is left, every job ends.
//!
//! `CALLSHEET_CRASH_POINT` picks the points that have this in their name.
//! `CALLSHEET_CRASH_ROUNDS` sets the number of random kills (20 unless set), `CALLSHEET_CRASH_LOAD`
//! how many jobs of each shape a life submits (3 unless set), and `CALLSHEET_CRASH_SEED` the seed,
//! which is printed. A kill says nothing about power loss: the page cache survives it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "../draw/mod.rs"]
mod draw;
mod fate;
mod kinds;
mod ledger;
mod once;
mod parent;
mod sweep;
mod victim;

use draw::{Draw, number};
use fate::Fate;
use parent::World;

/// Not a test of its own: what the parent starts and kills.
#[test]
#[ignore = "started by the other tests of this file"]
fn victim() {
    victim::run();
}

/// Nor this one: what the tests of `once` start and kill.
#[test]
#[ignore = "started by the other tests of this file"]
fn once_victim() {
    once::run();
}

#[test]
fn random_kills_lose_nothing_and_repeat_nothing() {
    let seed = number("CALLSHEET_CRASH_SEED", 0x5eed);
    let rounds = number("CALLSHEET_CRASH_ROUNDS", 20);
    let load = number("CALLSHEET_CRASH_LOAD", 3);
    println!("seed {seed}, {rounds} rounds, {load} jobs of each shape in each");
    let mut draw = Draw(seed);
    let mut world = World::new(u32::try_from(load).unwrap());
    let mut killed = 0;
    for round in 0..rounds {
        // From before the store is open to well into the work.
        killed += u32::from(world.life(Fate::KilledAfter(draw.next() % 700)));
        if round % 2 == 1 {
            // Three deaths of one attempt in a row would rightly quarantine its job.
            world.finish();
        }
    }
    world.finish();
    let (accepted, succeeded, repeated) = world.figures();
    println!(
        "{killed} kills in {rounds} rounds, {accepted} accepted jobs, all ended, {succeeded} \
         succeeded; {repeated} attempts made again"
    );
    assert!(accepted as u64 >= rounds, "too few jobs were accepted for the kills to mean anything");
    assert!(succeeded * 2 > accepted, "too few succeeded for it to mean anything");
    assert!(repeated > 0, "no kill ever hit a running step, so nothing was shown");
}
