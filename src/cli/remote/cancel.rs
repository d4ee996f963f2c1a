//! `callsheet cancel`: stops a job now.

use callsheet::server::wire::CancelOutcome;
use clap::Args;
use serde_json::json;

use super::ServerArgs;
use crate::cli::error::{Exit, Result};
use crate::cli::print;

/// Examples at the foot of `callsheet cancel --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet cancel 019a0000-0000-7000-8000-000000000000
  callsheet cancel 019a0000-0000-7000-8000-000000000000 --reason 'wrong video'";

/// Arguments of `callsheet cancel`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CancelArgs {
    /// The job's id
    job: String,

    /// Why; recorded with the cancel
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Cancels the job. That it had ended before is no failure: the answer says how.
///
/// # Errors
/// When the server cannot be reached or knows no such job.
pub(crate) async fn cancel(args: CancelArgs) -> Result<Exit> {
    let answer = args.server.client()?.cancel(&args.job, args.reason.as_deref()).await;
    let answer = answer.map_err(|error| args.server.complain(&error))?;
    if args.json {
        print::out_json(&json!(answer));
        return Ok(Exit::Done);
    }
    print::out(match answer.outcome {
        CancelOutcome::Accepted => "cancelled: its work stops now".to_owned(),
        CancelOutcome::AlreadyStopping => "it was cancelled before and is stopping".to_owned(),
        CancelOutcome::AlreadyEnded => format!("it had ended before: {}", answer.status.as_str()),
    });
    Ok(Exit::Done)
}
