//! The front door as clients meet it: a real server on a loopback port over an engine in memory.
#![allow(clippy::unwrap_used)]

mod artifacts;
mod client;
mod docs;
mod doubt;
mod errors;
mod events;
mod jobs;
mod keeping;
mod openapi;
mod raw;
mod schemas;
mod security;
mod server;
mod status;
mod uploads;
