//! Files made by steps: stored once under the hash of their content, passed on by reference.

mod checked;
mod digest;
mod hashing;
mod keep;
mod ledger;
mod mentions;
mod reference;
mod results;
mod staging;
mod store;
mod sweep;

pub use digest::{BadDigest, Digest};
pub use hashing::{Hashed, Hashing};
pub use keep::Keep;
pub use ledger::{Hold, Reservation};
pub use mentions::mentions;
pub use reference::{Artifact, is_plain_name};
pub use results::{ResultKey, ResultStore, Trimmed};
pub(crate) use staging::make_dir;
pub use store::{ArtifactError, ArtifactStore, Terms};
pub(crate) use store::{sync_dir, sync_parent};
pub use sweep::Due;
