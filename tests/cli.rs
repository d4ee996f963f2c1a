//! The `callsheet` command from outside: its words, its exit codes, and what it does when it is
//! interrupted or killed.
#![allow(clippy::unwrap_used)]

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/fake_providers.rs"]
mod fake_providers;
#[path = "cli/fakes.rs"]
mod fakes;
#[path = "cli/golden.rs"]
mod golden;
#[path = "cli/interrupt.rs"]
mod interrupt;
#[path = "cli/run.rs"]
mod run;
#[path = "cli/server.rs"]
mod server;
#[path = "cli/upkeep.rs"]
mod upkeep;
#[path = "cli/webhooks.rs"]
mod webhooks;
#[path = "cli/words.rs"]
mod words;
#[path = "cli/world.rs"]
#[allow(dead_code)] // Shared with the tests on media, which use all of it.
mod world;
