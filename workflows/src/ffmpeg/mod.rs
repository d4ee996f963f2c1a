//! Runs of ffmpeg, and the steps that encode.

mod burn;
mod log;
mod run;

pub use burn::{Burn, Burned, Preset, Sound, Titled};
pub(crate) use run::Run;
