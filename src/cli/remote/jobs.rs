//! `callsheet jobs`: the jobs of a server, or of a data directory at rest.

use std::path::PathBuf;

use callsheet::server::wire::{JobPage, JobStatus, JobsQuery};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{ServerArgs, text};
use crate::cli::error::{Exit, Result};
use crate::cli::{offline, print};

/// Examples at the foot of `callsheet jobs --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet jobs
  callsheet jobs --status failed --workflow caption
  callsheet jobs --data-dir captioned/.callsheet --json";

/// Arguments of `callsheet jobs`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct JobsArgs {
    /// Only jobs of this status
    #[arg(long, value_enum)]
    status: Option<StatusArg>,

    /// Only jobs of this workflow
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,

    /// At most so many, newest first
    #[arg(long, default_value_t = 50, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,

    /// Where to go on: the `next` of the list before
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,

    /// Print the list as JSON
    #[arg(long)]
    json: bool,

    /// Read a data directory that no engine is using, in place of asking a server
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,
}

/// A status as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusArg {
    Running,
    Sleeping,
    Held,
    Stopping,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<StatusArg> for JobStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Running => Self::Running,
            StatusArg::Sleeping => Self::Sleeping,
            StatusArg::Held => Self::Held,
            StatusArg::Stopping => Self::Stopping,
            StatusArg::Succeeded => Self::Succeeded,
            StatusArg::Failed => Self::Failed,
            StatusArg::Cancelled => Self::Cancelled,
        }
    }
}

/// Prints a page of jobs.
///
/// # Errors
/// When the server or the directory cannot be read.
pub(crate) async fn jobs(args: JobsArgs) -> Result<Exit> {
    let query = JobsQuery {
        status: args.status.map(JobStatus::from),
        workflow: args.workflow.clone(),
        limit: Some(args.limit as usize),
        cursor: args.cursor.clone(),
    };
    let page = match &args.data_dir {
        Some(dir) => offline::jobs(dir, &query).await?,
        None => {
            let page = args.server.client()?.jobs(&query).await;
            page.map_err(|error| args.server.complain(&error))?
        }
    };
    if args.json {
        print::out_json(&json!(page));
    } else {
        show(&page);
    }
    Ok(Exit::Done)
}

fn show(page: &JobPage) {
    if !page.jobs.is_empty() {
        print::out(text::heads(&page.jobs));
    } else if page.next.is_some() {
        // A filter that matches little may leave a page empty that others follow.
        eprintln!("no such jobs on this page");
    } else {
        eprintln!("no jobs");
    }
    if let Some(next) = &page.next {
        eprintln!("there are more: --cursor {next}");
    }
}
