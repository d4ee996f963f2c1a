//! The named points at which a test may stop, delay or kill the process. They do nothing unless the
//! crate is built with the feature `failpoints`.

/// Every point of this crate: a request has come and nothing was done for it, and its answer is
/// made and nothing of it was sent.
pub const POINTS: &[&str] = &["api.request.before", "api.answer.before"];
