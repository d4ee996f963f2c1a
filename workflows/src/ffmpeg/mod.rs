//! Runs of ffmpeg, and the steps that encode.

mod burn;
mod log;
mod loudness;
mod mix;
mod run;
mod score;

pub use burn::{Burn, Burned, Preset, Sound, Titled};
pub use mix::{MixMusic, Mixed, Scoring};
pub(crate) use run::Run;
