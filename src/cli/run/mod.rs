//! `callsheet run`: one job from start to end, in this process.

mod attach;
mod facts;
mod files;
mod given;
mod input;
mod paths;
mod report;
mod schema;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callsheet::media::MediaOptions;
use callsheet::{Engine, JobStatus, JobView, Keeping, Timestamp};
use clap::Args;
use serde_json::Value;

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::local::{self, Grace};
use crate::cli::logging::{self, LogFormat};
use crate::cli::progress::{Display, ProgressForm};
use crate::cli::signals::Signals;
use crate::cli::{batch, correct, env, offline, print, source};

pub(crate) use files::{Landed, table, targets};
pub(crate) use given::Given;
pub(crate) use input::{InputArgs, gather, set_files};
pub(crate) use paths::{inner_inputs, make_absolute};
pub(crate) use watch::store_failed;

use files::Landing;
use watch::Watched;

/// Examples at the foot of `callsheet run --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet run caption --input video=talk.mp4 --out captioned
  callsheet run caption -i video=talk.mp4 -i words_per_line=4 --out captioned --json
  callsheet run my-flow.yaml --input-file input.json --out results --data-dir state

Run the same command again after a crash, a kill or Ctrl-C, and it goes on with the job that it
began: steps that are recorded as done are not run again.

The exit code is 1 when the job did not succeed, and when an item of a batch did not.";

/// Arguments of `callsheet run`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// Name of a shipped workflow, or path of a YAML or JSON file
    workflow: String,

    #[command(flatten)]
    input: InputArgs,

    /// Directory for the files among the job's output; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Where the job is recorded; kept afterwards [default: DIR/.callsheet, removed on success]
    #[arg(long, env = env::DATA_DIR, value_name = "DATA")]
    data_dir: Option<PathBuf>,

    /// Run every step, whatever results the data directory has of before
    #[arg(long)]
    no_cache: bool,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,

    /// How progress is shown on stderr
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    progress: ProgressForm,

    #[command(flatten)]
    grace: Grace,
}

/// Runs the job and puts its files in place.
///
/// # Errors
/// When the workflow or the input is refused, or the engine fails.
pub(crate) async fn run(args: RunArgs) -> Result<Exit> {
    logging::start(LogFormat::Text, "off")?;
    // From the start, so that a signal in the first moments is not the end of the process.
    let mut signals = Signals::listen()?;
    make_dir(&args.out)?;
    let mut data = DataDir::choose(&args)?;
    let opened_at = now();
    // Whoever runs this may read the files of this machine anyhow.
    let keeping = Keeping { cache: !args.no_cache, ..Keeping::default() };
    let engine = local::over(&data.path, &MediaOptions::local(), args.grace, keeping).await?;
    let ended = with_engine(&args, &engine, opened_at, &mut data, &mut signals).await;
    // Whatever else lives in a shared data directory is given back and goes on another time.
    engine.stop_now().await;
    drop(engine);
    // A batch whose items failed is over as well: run again, the command begins a new one.
    data.clean_up(matches!(ended, Ok(Exit::Done | Exit::Failed)));
    ended
}

async fn with_engine(
    args: &RunArgs,
    engine: &Engine,
    opened_at: Timestamp,
    data: &mut DataDir,
    signals: &mut Signals,
) -> Result<Exit> {
    let plan = source::plan(engine, &args.workflow)?;
    let schema = plan.workflow().input.as_ref();
    let mut input = gather(&args.input, schema)?;
    inner_inputs(schema.unwrap_or(&Value::Null), &mut input, &mut |name, inner| {
        let known = engine.workflow(name).and_then(|plan| plan.workflow().input.clone());
        known.iter().for_each(|schema| make_absolute(schema, inner));
    });
    // In a directory of our own a job that has succeeded is one whose files were never put in
    // place: otherwise the directory would be gone.
    let since = if data.is_temporary { Timestamp(0) } else { opened_at };
    let attached = attach::attach_or_submit(engine, plan, input, since).await?;
    data.holds_job = true;
    let mut display = Display::new(args.progress);
    let (job, resumed) = (attached.job, attached.resumed);
    let watched = watch::to_end(engine, &job, resumed, &mut display, signals).await;
    let over = match watched {
        Ok(Watched::Over(view)) => Some(view),
        // The last step may have ended while the engine went down, unseen.
        Ok(Watched::Stopped(told)) => {
            let journal = offline::journal(&data.path, job.id()).await?;
            told.catch_up(journal, &mut display)?
        }
        Err(error) => {
            display.finish();
            return Err(error);
        }
    };
    display.finish();
    if let Some(view) = over {
        return finish(args, engine, &view, data);
    }
    eprintln!("interrupted: job {} is kept in {}", job.id(), data.path.display());
    eprintln!("hint: to go on, run it again: {}", correct::corrected("", ""));
    Ok(Exit::Interrupted)
}

/// Puts the files in place and says how it went.
fn finish(args: &RunArgs, engine: &Engine, view: &JobView, data: &DataDir) -> Result<Exit> {
    let landing = if data.is_temporary { Landing::Link } else { Landing::Copy };
    let output = view.state.output().unwrap_or(&Value::Null);
    let given = Given::find_in(&view.state.input);
    let landed = files::land(engine.artifacts(), output, &args.out, landing, &given);
    let landed = landed.map_err(|error| error.hint(elsewhere(data)))?;
    if args.json {
        print::out_json(&report::json(view, &landed));
    }
    let took = print::seconds(view.head.submitted_at, view.head.changed_at);
    match view.head.status {
        JobStatus::Succeeded => {
            if !args.json {
                show(output, &landed, took);
            }
            let complaint = batch::complaint(&view.head.workflow.name, output);
            Ok(complaint.map_or(Exit::Done, |complaint| {
                eprintln!("{complaint}");
                complaint.exit
            }))
        }
        _ => Err(not_succeeded(view, data)),
    }
}

/// How to go on when files could not be put in place.
fn elsewhere(data: &DataDir) -> String {
    let dir = correct::quote(&data.path.display().to_string());
    format!(
        "what was done is kept: the same command with another --out and --data-dir {dir} need not \
         do it again"
    )
}

/// The result for people: where the files are and what else is known, or else the output itself.
fn show(output: &Value, landed: &Landed, took: f64) {
    eprintln!("succeeded in {took:.1} s");
    if landed.is_empty() {
        return print::out_json(output);
    }
    print::out(files::table(landed));
    let facts = facts::rows(output, landed);
    if !facts.is_empty() {
        print::out(format!("\n{}", print::table(&["output", "value"], &[], &facts)));
    }
}

fn not_succeeded(view: &JobView, data: &DataDir) -> CliError {
    let id = view.head.id;
    let dir = correct::quote(&data.path.display().to_string());
    let error = match view.state.failure() {
        Some(failure) => CliError::from(failure.clone()),
        None => CliError::failed(format!("job {id} was cancelled")),
    };
    error
        .hint(format!("look at it with: callsheet show {id} --data-dir {dir}"))
        .hint("it stays as it is: the same command, run again, begins a new job")
}

/// The data directory of one run.
struct DataDir {
    path: PathBuf,
    is_temporary: bool,
    is_new: bool,
    /// Whether this run has a job in it.
    holds_job: bool,
}

impl DataDir {
    fn choose(args: &RunArgs) -> Result<Self> {
        let chosen = args.data_dir.clone();
        let is_temporary = chosen.is_none();
        let path = chosen.unwrap_or_else(|| args.out.join(".callsheet"));
        let is_new = !path.exists();
        make_dir(&path)?;
        Ok(Self { path, is_temporary, is_new, holds_job: false })
    }

    /// Removes a directory of our own once nothing in it can be needed: the job has succeeded, or
    /// none was ever accepted.
    fn clean_up(&self, succeeded: bool) {
        let is_empty = self.is_new && !self.holds_job;
        if !self.is_temporary || !(succeeded || is_empty) {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("warning: cannot remove `{}`: {error}", self.path.display());
        }
    }
}

/// Makes a directory, and those above it.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| CliError::file("make", path, &error))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
