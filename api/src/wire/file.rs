//! Files, by reference.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A stored file. Uploads answer with it, outputs hold it, and inputs take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileReference {
    /// The digest of its content: fetch it from `/v1/artifacts/{artifact}`.
    pub artifact: String,
    /// A plain file name for people.
    #[schema(example = "talk.mp4")]
    pub name: String,
    /// What it is.
    #[schema(example = "video/mp4")]
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
}
