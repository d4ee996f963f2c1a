//! The engine as an embedding service sees it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod blocking;
mod body;
mod cache;
mod cancel;
mod children;
mod commands;
mod doubt;
mod events;
mod faulty;
mod files;
mod full;
mod handles;
mod kept;
mod kin;
mod running;
mod steps;
mod supervision;
mod timers;
mod trials;
mod world;
