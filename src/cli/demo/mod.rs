//! `callsheet demo`: the captioning job on real input, killed in the middle with SIGKILL, and going
//! on where it was. The job runs in a process of its own, the same command that a user would type.

mod child;
mod verdict;
mod video;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::cli::error::{CliError, Exit, Result};
use crate::cli::progress::{Display, Note, ProgressForm};
use crate::cli::signals::Signals;
use crate::cli::{correct, print};

use child::{Ended, RunChild};

/// The step in which the engine is killed: late, and long enough to be hit.
const VICTIM_STEP: &str = "burn";

/// Examples at the foot of `callsheet demo --help`.
const EXAMPLES: &str = "\
Examples:
  callsheet demo
  callsheet demo --video talk.mp4 --out captioned";

/// Arguments of `callsheet demo`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// A video of your own with speech in it; without it one is made
    #[arg(long, value_name = "FILE")]
    video: Option<PathBuf>,

    /// Directory for the video, the captions and the job's data
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    out: PathBuf,

    /// How progress is shown on stderr
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    progress: ProgressForm,
}

/// Shows the whole: video, job, kill, restart, result.
///
/// # Errors
/// When a tool is missing, or anything does not go as it is promised to go.
pub(crate) async fn run(args: DemoArgs) -> Result<Exit> {
    check_tools(args.video.is_none())?;
    let mut signals = Signals::listen()?;
    tokio::select! {
        ended = show(&args) => ended,
        _ = signals.next() => Ok(Exit::Interrupted), // the child ends with its handle
    }
}

async fn show(args: &DemoArgs) -> Result<Exit> {
    std::fs::create_dir_all(&args.out)
        .map_err(|error| CliError::file("make", &args.out, &error))?;
    let video = match &args.video {
        Some(video) => existing(video)?,
        None => video::make(&args.out).await?,
    };
    let data = fresh_data(&args.out)?;
    let command = RunChild::new(&video, &args.out, &data)?;
    let mut display = Display::new(args.progress);

    heading("The job, in a process of its own");
    eprintln!("$ {}", command.shown());
    let first = command.start(&mut display, Some(VICTIM_STEP)).await;
    display.finish();
    let killed = match first? {
        Ended::Killed(killed) => killed,
        Ended::Exited(_) => return Err(too_quick(&video)),
    };

    heading("kill -9");
    eprintln!("process {} was killed with SIGKILL in step `{VICTIM_STEP}`.", killed.pid);
    eprintln!("Recorded as done before: {}.", killed.done.join(", "));

    heading("The same command again");
    eprintln!("$ {}", command.shown());
    let mut display = Display::new(args.progress);
    let second = command.start(&mut display, None).await;
    display.finish();
    let result = match second? {
        Ended::Exited(result) => result,
        Ended::Killed(_) => return Err(CliError::failed("the second process was killed")),
    };
    conclude(&killed, &result, args.video.is_none())
}

/// The files, the table, and whether all of it is as promised.
fn conclude(killed: &child::Killed, result: &Value, is_ours: bool) -> Result<Exit> {
    heading("Result");
    let (table, mut faults) = verdict::of(killed, result);
    let files = result["files"].as_object().into_iter().flatten();
    for (key, path) in files {
        print::out(format!("{key:<8} {}", path.as_str().unwrap_or_default()));
    }
    print::out(format!("\n{table}\n"));
    if is_ours {
        faults.extend(check_words(result));
    }
    if faults.is_empty() {
        let count = killed.done.len();
        print::out(format!(
            "All is as promised: {count} steps were recorded before the kill, none ran again."
        ));
        return Ok(Exit::Done);
    }
    let error = CliError::failed("the demo did not go as promised");
    Err(faults.into_iter().fold(error, CliError::hint))
}

/// Compares the captions with what was said; answers with a fault when they are far from it.
fn check_words(result: &Value) -> Option<String> {
    let srt = result["files"]["srt"].as_str().map(std::fs::read_to_string);
    let (right, spoken) = video::heard(&srt?.unwrap_or_default());
    print::out(format!("The captions hold {right} of the {spoken} spoken words in their order."));
    // Four in five: below that the recogniser or the sound is broken, not just imperfect.
    (right * 5 < spoken * 4).then(|| format!("only {right} of {spoken} words were heard right"))
}

/// What must be installed, with the command that installs it.
fn check_tools(makes_video: bool) -> Result<()> {
    let mut missing: Vec<(&str, &str)> =
        callsheet::media::missing_tools().iter().map(|tool| (tool.program, tool.package)).collect();
    if makes_video && !video::has_voice() {
        missing.push((video::VOICE, "flite"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    Err(CliError::failed(format!("not installed: {}", programs.join(", ")))
        .hint(format!("on Debian and Ubuntu: apt-get install {}", packages.join(" "))))
}

fn existing(video: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(video).map_err(|error| CliError::file("read", video, &error))
}

/// An empty data directory: a demo that was run before must not leave this one nothing to do.
fn fresh_data(out: &Path) -> Result<PathBuf> {
    let data = out.join(".callsheet-demo");
    if data.exists() {
        std::fs::remove_dir_all(&data).map_err(|error| CliError::file("remove", &data, &error))?;
    }
    Ok(data)
}

fn too_quick(video: &Path) -> CliError {
    CliError::failed("the job was over before it could be killed")
        .hint(format!("take a longer video than {}", correct::quote(&video.display().to_string())))
}

fn heading(text: &str) {
    eprintln!("\n== {text} ==");
}

/// Whether a note says that the kill should come now: work in the step is under way, or, should
/// that be too quick to be seen, the step is over and the job is not.
fn is_the_moment(note: &Note, step: &str) -> bool {
    match note {
        Note::Moved { step: of, percent, .. } => of == step && *percent > 0.0,
        Note::Succeeded { step: of, .. } => of == step,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kill_comes_in_the_middle_of_the_step() {
        let moved = |step: &str, percent| Note::Moved {
            step: step.into(),
            percent,
            message: String::new(),
        };
        let started = Note::Started { step: "burn".into(), item: None, attempt: 1 };
        let done =
            Note::Succeeded { step: "burn".into(), attempts: 1, cached: (0, 1), seconds: 1.0 };
        assert!(!is_the_moment(&started, "burn"));
        assert!(!is_the_moment(&moved("fetch", 50.0), "burn"));
        assert!(!is_the_moment(&moved("burn", 0.0), "burn"));
        assert!(is_the_moment(&moved("burn", 8.0), "burn"));
        assert!(is_the_moment(&done, "burn"));
    }
}
