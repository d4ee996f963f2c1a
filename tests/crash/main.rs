//! Kill -9 at random moments and at every named point, with a ledger of effects outside the process
//! that dies: no accepted job is lost, no committed step runs again, every job ends.
//!
//! `CALLSHEET_CRASH_ROUNDS` sets the number of random kills (100 unless set), and
//! `CALLSHEET_CRASH_SEED` their seed, which is printed. A kill says nothing about power loss: the
//! page cache survives it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod ledger;
mod parent;
mod victim;

use parent::{Kill, World};

/// Not a test of its own: what the parent starts and kills.
#[test]
#[ignore = "started by the other tests of this file"]
fn victim() {
    victim::run();
}

#[test]
fn random_kills_lose_nothing_and_repeat_nothing() {
    let seed = number("CALLSHEET_CRASH_SEED", 0x5eed);
    let rounds = number("CALLSHEET_CRASH_ROUNDS", 100);
    println!("seed {seed}, {rounds} rounds");
    let mut draw = Draw(seed);
    let mut world = World::new();
    for round in 0..rounds {
        // From before the store is open to well into the work.
        world.round(Kill::After(draw.next() % 400));
        world.check(&format!("round {round}"));
        if round % 2 == 1 {
            // Three deaths of one attempt in a row would rightly quarantine its job.
            world.finish();
        }
    }
    world.finish();
    let (accepted, repeated) = world.figures();
    println!("{rounds} kills, {accepted} accepted jobs, all ended; {repeated} attempts made again");
    assert!(accepted as u64 >= rounds, "too few jobs were accepted for the kills to mean anything");
    assert!(repeated > 0, "no kill ever hit a running step, so nothing was shown");
}

#[test]
fn a_kill_at_every_named_point_loses_nothing_and_repeats_nothing() {
    let points: Vec<&str> = callsheet_actors::POINTS
        .iter()
        .chain(callsheet_storage::failpoints::POINTS)
        .copied()
        .collect();
    let mut world = World::new();
    let mut never = Vec::new();
    for point in &points {
        let mut hit = 0;
        for passing in [1, 2, 5, 17] {
            hit += usize::from(world.round(Kill::At { point, passing }));
            world.check(&format!("{point} at passing {passing}"));
            world.finish();
        }
        if hit == 0 {
            never.push(*point);
        }
    }
    println!("{} points, each at 4 passings; {} accepted jobs", points.len(), world.figures().0);
    assert!(never.is_empty(), "never passed, so never tried: {never:?}");
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Numbers from a seed (xorshift64*, Vigna 2016).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }
}
