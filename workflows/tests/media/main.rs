//! The media steps at work: real programs, real files, a real engine in memory.
//!
//! They need ffmpeg, flite and PocketSphinx; `scripts/setup` installs them.
#![allow(clippy::unwrap_used)]

mod accuracy;
mod analyze;
mod cancelling;
mod caption;
mod compose;
mod convert;
mod cut_off;
mod fetching;
mod hostile;
mod merge;
mod music;
mod openai;
mod samples;
mod server;
mod steps;
mod stills;
mod support;
