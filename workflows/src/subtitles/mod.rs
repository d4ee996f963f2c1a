//! Captions: words with times become cues, cues become SubRip, WebVTT and ASS.
//!
//! Pure but for the step kind `subtitles.compose`, which stores what the rest writes.

mod ass;
mod clock;
mod compose;
mod cue;
mod error;
mod srt;
mod vtt;
mod word;

pub use ass::{Look, write_ass};
pub use compose::{Compose, Composed, Words};
pub use cue::{Cue, Layout, cues, too_fast};
pub use error::SubtitleError;
pub use srt::{read_srt, write_srt};
pub use vtt::{read_vtt, write_vtt};
pub use word::Word;
