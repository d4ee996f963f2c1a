//! Captions: words with times become cues, cues become SubRip, WebVTT and ASS.
//!
//! Pure but for the step kind `subtitles.compose`, which stores what the rest writes;
//! `subtitles.check` refuses what it would refuse.

mod ass;
mod chain;
mod clock;
mod compose;
mod cue;
mod edit;
mod error;
mod pack;
mod script;
mod srt;
mod style;
mod vtt;
mod word;

pub use ass::{Look, write_ass};
pub use chain::{Place, chain_ass, chain_cues};
pub use compose::{CheckCaptions, Compose, Composed, Words};
pub use cue::{Before, Caption, Cue, Layout, Shown, captions, cues, too_fast};
pub use edit::{Exclusion, Replacement};
pub use error::SubtitleError;
pub use pack::Split;
pub(crate) use pack::join_text;
pub use srt::{read_srt, write_srt};
pub use style::{Color, Effect, Highlight, Position, Style};
pub use vtt::{read_vtt, write_vtt};
pub use word::Word;
