//! `callsheet show`: one job, its steps, its events as they happen.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callsheet::server::client::{Client, Update};
use callsheet::server::wire::{Event, Job, JobStatus};
use clap::Args;
use futures::StreamExt;
use serde_json::{Value, json};

use super::bring::bring;
use super::{ServerArgs, text};
use crate::cli::error::{CliError, Exit, Result};
use crate::cli::progress::{Display, Note, ProgressForm};
use crate::cli::run::{Given, table};
use crate::cli::{batch, offline, print};

/// The events of one record come together; when nothing came for so long, the last one did.
const SETTLED: Duration = Duration::from_millis(500);

/// Examples at the foot of `callsheet show --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet show 019a0000-0000-7000-8000-000000000000
  callsheet show 019a0000-0000-7000-8000-000000000000 --follow
  callsheet show 019a0000-0000-7000-8000-000000000000 --out results
  callsheet show 019a0000-0000-7000-8000-000000000000 --data-dir captioned/.callsheet";

/// Arguments of `callsheet show`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    /// The job's id
    job: String,

    /// Show the recorded events in place of the steps
    #[arg(long)]
    events: bool,

    /// Show the events as they happen, until the job has ended; fail if it does not succeed
    #[arg(long)]
    follow: bool,

    /// Put the files among the job's output into this directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["events", "follow", "data_dir"])]
    out: Option<PathBuf>,

    /// Print JSON: one object, or with events one object a line
    #[arg(long)]
    json: bool,

    /// Read a data directory that no engine is using, in place of asking a server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["events", "follow"])]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,
}

/// Shows the job.
///
/// # Errors
/// When the server or the directory cannot be read, or knows no such job.
pub(crate) async fn show(args: ShowArgs) -> Result<Exit> {
    if let Some(dir) = &args.data_dir {
        present(&offline::job(dir, &args.job).await?, args.json);
        return Ok(Exit::Done);
    }
    let client = args.server.client()?;
    if args.events || args.follow {
        return events(&args, &client).await;
    }
    let job = client.job(&args.job).await.map_err(|error| args.server.complain(&error))?;
    let out = args.out.as_deref().map(|dir| (dir, Given::find_in(&Value::Null)));
    deliver((&args.server, &client), &job, args.json, out).await?;
    Ok(Exit::Done)
}

/// Waits for a job's end and shows it; brings its files where they are wanted.
///
/// # Errors
/// When the server cannot be reached, a file cannot be put there, or the job did not succeed.
pub(super) async fn wait(
    (server, client): (&ServerArgs, &Client),
    id: &str,
    json: bool,
    out: Option<(&Path, Given)>,
) -> Result<Exit> {
    let job = client.wait(id).await.map_err(|error| server.complain(&error))?;
    deliver((server, client), &job, json, out).await?;
    verdict(&job)
}

/// Shows a job, and where its files are if they are wanted here.
async fn deliver(
    remote: (&ServerArgs, &Client),
    job: &Job,
    json: bool,
    out: Option<(&Path, Given)>,
) -> Result<()> {
    let Some((dir, given)) = out else {
        present(job, json);
        return Ok(());
    };
    let landed = bring(remote, job.output.as_ref().unwrap_or(&Value::Null), dir, &given).await;
    let landed = landed.map_err(|error| {
        error.hint(format!("the server has the files: callsheet show {} --out DIR", job.head.id))
    })?;
    if json {
        let mut object = json!(job);
        object["files"] = json!(landed);
        print::out_json(&object);
        return Ok(());
    }
    present(job, false);
    if !landed.is_empty() {
        print::out(format!("\n{}", table(&landed)));
    }
    Ok(())
}

fn present(job: &Job, json: bool) {
    if json {
        print::out_json(&json!(job));
    } else {
        print::out(text::job(job));
    }
}

/// Prints events: those recorded so far, or with `--follow` those to come as well.
async fn events(args: &ShowArgs, client: &Client) -> Result<Exit> {
    let complain = |error| args.server.complain(&error);
    let recorded = client.job(&args.job).await.map_err(complain)?.records;
    let mut display =
        Display::new(if args.json { ProgressForm::None } else { ProgressForm::Lines });
    let mut updates = std::pin::pin!(client.events(&args.job, None));
    let mut settled = false;
    loop {
        let next = if settled {
            match tokio::time::timeout(SETTLED, updates.next()).await {
                Ok(next) => next,
                Err(_) => return Ok(Exit::Done),
            }
        } else {
            updates.next().await
        };
        match next.transpose().map_err(complain)? {
            Some(Update::Event { id, event }) => {
                // What is recorded now is all that was asked for, unless more is to be followed.
                let record = sequence(&id);
                if !args.follow && record >= recorded {
                    return Ok(Exit::Done);
                }
                settled = !args.follow && record + 1 >= recorded;
                print_event(&event, args.json);
            }
            Some(Update::Progress(figure)) if args.follow => display.show(&Note::Moved {
                step: figure.step,
                percent: figure.percent,
                message: figure.message,
            }),
            Some(Update::Progress(_) | Update::JobProgress(_)) => {}
            None => break,
        }
    }
    if !args.follow {
        return Ok(Exit::Done);
    }
    let end = client.job(&args.job).await.map_err(complain)?;
    verdict(&end)
}

fn print_event(event: &Event, json: bool) {
    if json {
        // An event came as JSON, so it goes back into it.
        print::out(serde_json::to_string(event).unwrap_or_default());
    } else {
        print::out(text::event(event));
    }
}

/// The record that an event belongs to: ids are `record.place`.
fn sequence(id: &str) -> u64 {
    id.split('.').next().and_then(|record| record.parse().ok()).unwrap_or(0)
}

/// A job that did not succeed makes whoever waited for it fail, and so does an item of a batch.
fn verdict(job: &Job) -> Result<Exit> {
    match job.head.status {
        JobStatus::Succeeded => {
            let output = job.output.as_ref();
            let complaint = output.and_then(|it| batch::complaint(&job.head.workflow, it));
            complaint.map_or(Ok(Exit::Done), Err)
        }
        other => Err(CliError::failed(format!("the job is {}", other.as_str()))),
    }
}
