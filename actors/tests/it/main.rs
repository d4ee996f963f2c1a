//! The engine as an embedding service sees it.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod blocking;
mod cancel;
mod children;
mod events;
mod faulty;
mod full;
mod running;
mod steps;
mod supervision;
mod timers;
mod world;
