//! From what is wished of a media file to the fewest encodes: what can be copied is copied, what
//! must be cut between keyframes is encoded at its two ends only, and nothing is decoded in vain.
//!
//! All of it is pure: [`lower`] takes what a probe found and a [`Plan`], and answers with a way for
//! every stream, the reason in words, and the arguments of ffmpeg.

mod codec;
mod decide;
mod fate;
mod filters;
mod format;
mod lowered;
mod plan;
mod smart;

pub(crate) use codec::{Maker, picture_args};
pub use codec::{PictureCodec, Quality, SoundCodec};
pub(crate) use decide::lower;
pub use fate::{Fate, Way};
pub(crate) use filters::{fit, fork};
pub use format::Format;
pub(crate) use lowered::Lowered;
pub(crate) use plan::{Clip, Picture, Plan, Sound};
pub(crate) use smart::{Packet, SmartCut, smart_cut};
