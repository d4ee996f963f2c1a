//! What goes over the wire. Types of their own, turned by hand from those of the engine, so that
//! neither binds the other.
//!
//! Instants are RFC 3339 text in UTC, digests lower-case hexadecimal digits, lengths of time text
//! such as `30s`.

mod actor;
mod control;
mod event;
mod file;
mod job;
mod kin;
mod percent;
mod problem;
mod time;
mod translate;
mod workflow;

pub use actor::{Actor, ActorList};
pub use control::{
    CancelAnswer, CancelOutcome, CancelRequest, ResolveAs, ResolveRequest, Resolved,
};
pub use event::{Event, JobProgress, Progress};
pub use file::FileReference;
pub use job::{
    Accepted, Failure, Items, Job, JobHead, JobPage, JobStatus, JobsQuery, Step, StepStatus,
    SubmitRequest,
};
pub use kin::{Parent, Webhook, WebhookEvent};
pub use problem::{DefinitionProblem, Problem, Validation};
pub use workflow::{Workflow, WorkflowList, WorkflowStep, WorkflowSummary};

pub(crate) use percent::percent;
pub(crate) use time::rfc3339;
pub(crate) use translate::Translator;
