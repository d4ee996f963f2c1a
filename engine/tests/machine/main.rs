//! The engine as a machine: random graphs under random interleavings of ends, failures, timers,
//! cancels and crashes, judged by an oracle of its own; damaged journals; graphs of full size.
//!
//! Nothing here looks inside the engine: an actor could have played every game.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod doubts;
mod graph;
mod interleavings;
mod journals;
mod meter;
mod oracle;
mod play;
mod scale;
mod told;
