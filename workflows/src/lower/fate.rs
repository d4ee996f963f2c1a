//! What becomes of one stream, and why.

use schemars::JsonSchema;
use serde::Serialize;

use crate::media::{Stream, StreamKind};

/// What becomes of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fate {
    /// Its number in the source.
    pub stream: u32,
    /// What it carries.
    pub kind: StreamKind,
    /// What becomes of it.
    pub way: Way,
    /// ffmpeg's name of its coding in the result.
    pub codec: Option<String>,
    /// Who encodes it, by ffmpeg's name.
    pub encoder: Option<String>,
    /// Why.
    pub reason: String,
}

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It is taken over bit for bit.
    Copied,
    /// Its two ends are encoded, what lies between is taken over bit for bit.
    Cut,
    /// It is encoded.
    Encoded,
    /// It is not in the result.
    LeftOut,
}

/// The fate of a stream that is coded so in the result.
pub(super) fn fate(stream: &Stream, way: Way, codec: &str, reason: String) -> Fate {
    let codec = Some(codec.to_owned()).filter(|codec| !codec.is_empty());
    Fate { stream: stream.index, kind: stream.kind, way, codec, encoder: None, reason }
}

/// The fate of a stream that is not in the result.
pub(super) fn left(stream: &Stream, reason: &str) -> Fate {
    fate(stream, Way::LeftOut, "", reason.to_owned())
}
