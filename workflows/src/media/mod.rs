//! Media files: what they are, what is in them, and whether a written one is whole.

mod analyze;
mod audio;
mod container;
mod cut_off;
mod facts;
mod length;
mod marks;
mod memo;
mod open;
mod probe;
mod verify;

pub use analyze::{Analysis, Analyze, Loudness, Question};
pub use audio::{ExtractAudio, Extracted, Media};
pub(crate) use container::{Container, FORMAT_WHITELIST};
pub(crate) use cut_off::Promise;
pub use facts::{Facts, Stream, StreamKind};
pub(crate) use length::copied_length;
pub use marks::{Scene as SceneChange, Silence};
pub(crate) use open::{OpenMedia, ffprobe, input_args, with_install_hint};
pub use probe::{Look, Probe};
pub use verify::{Verified, Verify, Written};
