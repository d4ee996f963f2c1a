//! `callsheet resolve`: says what became of a step that is held.

use callsheet::server::wire::{ResolveAs, ResolveRequest};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::ServerArgs;
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::print;

/// Examples at the foot of `callsheet resolve --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet resolve 019a0000-0000-7000-8000-000000000000 pay --as retry
  callsheet resolve 019a0000-0000-7000-8000-000000000000 pay --as succeeded --result '{\"id\": 7}'
  callsheet resolve 019a0000-0000-7000-8000-000000000000 pay --as failed --reason 'card expired'";

/// Arguments of `callsheet resolve`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ResolveArgs {
    /// The job's id
    job: String,

    /// The step's id
    step: String,

    /// What became of it, as you have seen outside
    #[arg(long = "as", value_enum, value_name = "VERDICT")]
    verdict: VerdictArg,

    /// Which item of a step with `for_each`; needed when several are held
    #[arg(long, value_name = "NUMBER")]
    item: Option<u32>,

    /// With --as succeeded: the step's result as JSON; null when left out
    #[arg(long, value_name = "JSON")]
    result: Option<String>,

    /// With --as failed: why; recorded with the failure
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Print the answer as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// A verdict as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VerdictArg {
    /// It was not done, or may be done twice: make another attempt
    Retry,
    /// It was not done and shall not be: its fallback takes over, or the step fails
    Failed,
    /// It was done
    Succeeded,
}

impl From<VerdictArg> for ResolveAs {
    fn from(verdict: VerdictArg) -> Self {
        match verdict {
            VerdictArg::Retry => Self::Retry,
            VerdictArg::Failed => Self::Failed,
            VerdictArg::Succeeded => Self::Succeeded,
        }
    }
}

/// Hands the verdict to the server.
///
/// # Errors
/// When the result is not JSON, the server cannot be reached, or the step is not held.
pub(crate) async fn resolve(args: ResolveArgs) -> Result<Exit> {
    let result = args.result.as_deref().map(read).transpose()?;
    let verdict = args.verdict.into();
    let request = ResolveRequest { verdict, item: args.item, result, reason: args.reason.clone() };
    let answer = args.server.client()?.resolve(&args.job, &args.step, &request).await;
    let answer = answer.map_err(|error| args.server.complain(&error))?;
    if args.json {
        print::out_json(&json!(answer));
        return Ok(Exit::Done);
    }
    let (step, word, status) = (&answer.step, verdict.as_str(), answer.status.as_str());
    print::out(format!("step {step} is recorded as {word}; the job is {status}"));
    Ok(Exit::Done)
}

fn read(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        CliError::failed(format!("--result is not JSON: {error}"))
            .hint("a text needs quotes of its own: --result '\"done\"'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_json() {
        assert_eq!(read(r#"{"id":7}"#).ok(), Some(json!({ "id": 7 })));
        assert!(read("done").is_err_and(|error| error.to_string().contains("not JSON")));
    }
}
