//! Runs of ffmpeg, and the steps that encode.

mod burn;
mod log;
mod loudness;
mod master;
mod mix;
mod run;
mod score;

pub(crate) use burn::{BURN, CAPTIONS, copy_captions};
pub use burn::{Burn, Burned, Preset, Sound, Titled};
pub(crate) use master::{Film, Master, Mastered, check_levels, open_music};
pub use mix::{MixMusic, Mixed, Scoring};
pub(crate) use run::Run;
pub(crate) use score::{FORMAT, FROM_THE_START, Score};
