//! Files made by steps: stored once under the hash of their content, passed on by reference.

mod digest;
mod reference;
mod staging;
mod store;

pub use digest::{BadDigest, Digest};
pub use reference::{Artifact, is_plain_name};
pub(crate) use staging::make_dir;
pub use store::{ArtifactError, ArtifactStore};
pub(crate) use store::{sync_dir, sync_parent};
