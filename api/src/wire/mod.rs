//! What goes over the wire. Types of their own, turned by hand from those of the engine, so that
//! neither binds the other.
//!
//! Instants are RFC 3339 text in UTC, digests lower-case hexadecimal digits, lengths of time text
//! such as `30s`.

mod actor;
mod event;
mod file;
mod job;
mod kin;
mod percent;
mod problem;
mod secret;
mod time;
mod workflow;

pub use actor::{Actor, ActorList};
pub use event::{Event, JobProgress, Progress};
pub use file::FileReference;
pub use job::{
    Accepted, CancelAnswer, CancelOutcome, CancelRequest, Failure, Items, Job, JobHead, JobPage,
    JobStatus, JobsQuery, ResolveAs, ResolveRequest, Resolved, Step, StepStatus, SubmitRequest,
};
pub use kin::{Parent, Webhook, WebhookEvent};
pub use problem::{DefinitionProblem, Problem, Validation};
pub use workflow::{Workflow, WorkflowList, WorkflowStep, WorkflowSummary};

pub(crate) use event::Translator;
pub(crate) use percent::percent;
pub(crate) use time::rfc3339;
