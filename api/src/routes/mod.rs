//! The handlers, one file for each kind of thing.

pub(crate) mod actors;
pub(crate) mod artifacts;
pub(crate) mod backup;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod resolve;
pub(crate) mod server;
pub(crate) mod uploads;
pub(crate) mod webhooks;
pub(crate) mod workflows;
