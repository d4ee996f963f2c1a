//! What becomes of a life of the victim.

use std::fmt;

/// How it goes with the victim.
#[derive(Clone, Copy, Debug)]
pub enum Fate<'a> {
    /// It is killed so many milliseconds after it began to open the store.
    KilledAfter(u64),
    /// At the n-th passing of a named point something happens.
    At { point: &'a str, passing: u64, act: Act },
    /// It lives in peace.
    Peace,
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The process dies as if by kill -9.
    Exit,
    /// The thread panics.
    Panic,
    /// The thread sleeps for five seconds.
    Sleep,
    /// It sleeps, and meanwhile every job is cancelled.
    Cancel,
    /// The same, and the process is killed as soon as the first cancel is answered.
    CancelAndKill,
}

impl Act {
    pub const ALL: [Self; 5] =
        [Self::Exit, Self::Panic, Self::Sleep, Self::Cancel, Self::CancelAndKill];

    pub fn parse(word: &str) -> Self {
        let named = Self::ALL.into_iter().find(|act| act.to_string() == word);
        named.unwrap_or_else(|| panic!("no act `{word}`"))
    }

    pub fn cancels(self) -> bool {
        matches!(self, Self::Cancel | Self::CancelAndKill)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
