//! Runs of ffmpeg, and the steps that encode.

mod burn;
mod convert;
mod cut;
mod hardware;
mod log;
mod loudness;
mod master;
mod mix;
mod mux;
mod resolution;
mod run;
mod score;
mod sheet;
mod still;
mod thumbnail;
mod track;
mod whole;

pub(crate) use burn::{BURN, CAPTIONS, copy_captions};
pub use burn::{Burn, Burned, Preset, Sound, Titled};
pub use convert::{Conversion, Convert, Converted, PictureChoice, SoundChoice};
pub use hardware::Device;
pub(crate) use hardware::Hardware;
pub(crate) use loudness::{MEASURE, Measured, range_lu};
pub(crate) use master::{Film, Master, check_levels, open_music};
pub use mix::{MixMusic, Mixed, Scoring};
pub use mux::{Mux, Muxed, Subtitled};
pub use resolution::Resolution;
pub(crate) use run::{READ_ONLY, Run};
pub(crate) use score::{FORMAT, FROM_THE_START, Score, default_fade_out_s, default_music_volume};
pub use sheet::{ContactSheet, Sheet, Sheeted};
pub use still::{Moment, Still};
pub use thumbnail::{Glance, Glanced, Thumbnail};
pub(crate) use track::Track;
