//! Durable truth for Callsheet: the [`Store`] trait, its sled and memory stores, and artifacts.
//!
//! [`SledStore`] keeps jobs on disk, [`MemoryStore`] in memory; both keep the promises that
//! [`conformance`] checks. [`ArtifactStore`] keeps the files that steps make.
//! [`maintenance`] backs up, restores, compacts and verifies whole stores.

pub mod conformance;
pub mod failpoints;
pub mod limits;
pub mod maintenance;

mod artifacts;
mod check;
mod error;
mod memory;
mod sled_store;
mod store;

pub use artifacts::{
    Artifact, ArtifactError, ArtifactStore, BadDigest, Digest, Due, Hashed, Hashing, Hold, Keep,
    Reservation, ResultKey, ResultStore, Terms, Trimmed, is_plain_name, mentions,
};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use sled_store::SledStore;
#[doc(hidden)]
pub use sled_store::probe;
pub use store::{
    Claim, Commit, CommitNotice, Created, Idempotency, JobHead, JobStatus, KeyTarget, ListQuery,
    NewJob, Page, Record, Store, StoreFuture, StoreStats, StoredKey,
};
