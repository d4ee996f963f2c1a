//! Durable truth for Callsheet: the [`Store`] trait, its sled and memory stores, and artifacts.

mod error;
mod store;

pub use error::StoreError;
pub use store::{
    Claim, Commit, CommitNotice, Created, Idempotency, JobHead, JobStatus, ListQuery, NewJob, Page,
    Record, Store, StoreFuture,
};
