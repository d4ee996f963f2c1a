//! The whole system on real media: the `callsheet` binary, real ffmpeg, real kills.
#![allow(clippy::unwrap_used)]

#[path = "video/cancel.rs"]
mod cancel;
#[path = "video/hostile.rs"]
mod hostile;
#[path = "video/media.rs"]
mod media;
#[path = "video/resume.rs"]
mod resume;
#[path = "cli/world.rs"]
#[allow(dead_code)] // Shared with the tests of the command, which use all of it.
mod world;
