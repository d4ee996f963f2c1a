//! Callsheet's front door: the HTTP routes, their wire types, OpenAPI, and a client for them.
//!
//! [`serve`] answers on a listener; [`router`] gives the same routes to a program that has a server
//! of its own. What goes over the wire stands in [`wire`], apart from the engine's own types, so
//! that the inside can change without breaking a client. [`client`] speaks to a running server.
//!
//! There is no knowledge here of any particular workflow or step kind.

pub mod client;
pub mod limits;
pub mod wire;

mod auth;
mod download;
mod error;
mod extract;
mod guard;
mod metrics;
mod observe;
mod openapi;
mod options;
mod points;
mod router;
mod routes;
mod server;
mod state;
mod text;
mod upload;

pub use error::{CODES, Code};
pub use options::ApiOptions;
pub use points::POINTS;
pub use router::router;
pub use routes::artifacts::artifact;
pub use server::serve;
