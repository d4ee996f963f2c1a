//! What a world is like: how much there is to do, and which faults come how often.

use crate::dice::Dice;

/// A class of faults, which the command line can leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The process dies, at any point.
    Crash,
    /// The process is thought dead and is not: it acts on beside its follower.
    Zombie,
    /// A job's actor dies, or a supervisor.
    Actor,
    /// The store fails for good; its process ends.
    Store,
    /// The disk is full for a while.
    Full,
    /// The store is slow, and so are its answers.
    Slow,
    /// The clock jumps, mostly forward.
    Clock,
    /// Timers fire that nobody set.
    Timer,
    /// Bodies fail, hang, panic, answer twice or late.
    Body,
    /// Bodies kill their process.
    Deadly,
    /// Somebody cancels.
    Cancel,
    /// Callers do not wait for their answer.
    HangUp,
    /// Orderly shutdowns, in time or not.
    Shutdown,
}

impl Fault {
    pub(crate) const ALL: [(Self, &str); 13] = [
        (Self::Crash, "crash"),
        (Self::Zombie, "zombie"),
        (Self::Actor, "actor"),
        (Self::Store, "store"),
        (Self::Full, "full"),
        (Self::Slow, "slow"),
        (Self::Clock, "clock"),
        (Self::Timer, "timer"),
        (Self::Body, "body"),
        (Self::Deadly, "deadly"),
        (Self::Cancel, "cancel"),
        (Self::HangUp, "hang-up"),
        (Self::Shutdown, "shutdown"),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(fault, _)| *fault)
    }
}

/// What a world is like.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    /// Nothing goes wrong at all: jobs have to succeed.
    pub(crate) fair: bool,
    on: Vec<Fault>,
    pub(crate) submits: usize,
    /// Turns of one job that may share a record.
    pub(crate) turns_a_record: usize,
    /// Pure bodies begin before their start is durable.
    pub(crate) ahead: bool,
    /// The longest that a healthy body works, in microseconds.
    pub(crate) longest: u64,
    /// Jobs that have an actor at once.
    pub(crate) active_jobs: usize,
    /// Bodies that fail, of a thousand.
    pub(crate) failures: u64,
    /// Deaths at each of the points around a commit, of a thousand.
    pub(crate) deaths: u64,
    /// Deaths that are left.
    pub(crate) lives: u32,
}

/// One world in so many is a fair one.
const FAIR: u64 = 6;

impl Weather {
    pub(crate) fn draw(dice: &mut Dice, without: &[Fault]) -> Self {
        let fair = dice.below(FAIR) == 0;
        // Each class is absent from half of the worlds, so that each is also seen without the rest.
        let on: Vec<Fault> = Fault::ALL
            .iter()
            .map(|(fault, _)| *fault)
            .filter(|fault| dice.chance(450) && !fair && !without.contains(fault))
            .collect();
        Self {
            fair,
            on,
            submits: 1 + dice.index(5),
            turns_a_record: *dice.pick(&[1, 2, 100]),
            ahead: dice.chance(600),
            longest: *dice.pick(&[3_000, 1_000_000, 120_000_000]),
            active_jobs: *dice.pick(&[1, 2, 100, 100]),
            failures: *dice.pick(&[50, 200, 500]),
            deaths: *dice.pick(&[5, 20, 60]),
            lives: 1 + dice.below(6) as u32,
        }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.on.contains(&fault)
    }

    /// No fault comes from now on.
    pub(crate) fn clear_up(&mut self) {
        self.on.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        for (fault, name) in Fault::ALL {
            assert_eq!(Fault::named(name), Some(fault));
        }
        assert_eq!(Fault::named("bad luck"), None);
    }

    #[test]
    fn a_fault_that_is_left_out_moves_nothing_else() {
        for seed in 0..200 {
            let all = Weather::draw(&mut Dice::new(seed), &[]);
            let fewer = Weather::draw(&mut Dice::new(seed), &[Fault::Crash]);
            assert!(!fewer.has(Fault::Crash));
            let rest = Fault::ALL.iter().filter(|(fault, _)| *fault != Fault::Crash);
            assert!(rest.clone().all(|(fault, _)| all.has(*fault) == fewer.has(*fault)));
            assert_eq!((all.submits, all.lives), (fewer.submits, fewer.lives));
        }
    }
}
