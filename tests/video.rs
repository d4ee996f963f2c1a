//! The whole system on real media: the `callsheet` binary, real ffmpeg, real kills.
#![allow(clippy::unwrap_used)]

#[path = "video/cancel.rs"]
mod cancel;
#[path = "video/cancels.rs"]
mod cancels;
#[path = "video/commands.rs"]
mod commands;
#[path = "video/compat.rs"]
mod compat;
#[path = "draw/mod.rs"]
mod draw;
#[path = "video/encodes.rs"]
mod encodes;
#[path = "cli/fakes.rs"]
#[allow(dead_code)] // Shared with the tests of the command, which use all of it.
mod fakes;
#[path = "video/hostile.rs"]
mod hostile;
#[path = "video/journal.rs"]
mod journal;
#[path = "video/kills.rs"]
mod kills;
#[path = "video/measure/mod.rs"]
mod measure;
#[path = "video/media.rs"]
mod media;
#[path = "video/paid.rs"]
mod paid;
#[path = "video/resume.rs"]
mod resume;
#[path = "video/samples.rs"]
mod samples;
#[path = "cli/world.rs"]
#[allow(dead_code)] // Shared with the tests of the command, which use all of it.
mod world;
