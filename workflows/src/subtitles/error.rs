//! What is wrong with a subtitle file.

/// A line of a subtitle file that is not what the format asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected `HH:MM:SS,mmm --> HH:MM:SS,mmm`, found `{found}`")]
pub struct SubtitleError {
    /// Number of the line, from 1.
    pub line: usize,
    /// The start of what stands there.
    pub found: String,
}

impl SubtitleError {
    pub(super) fn new(index: usize, found: &str) -> Self {
        Self { line: index + 1, found: found.chars().take(60).collect() }
    }
}
